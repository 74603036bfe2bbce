"""Estimators against hand-made numbers, closed forms, and the theorem they stand for."""

import pytest
import torch

from algorithms import stability as s
from algorithms.attack import Effort
from algorithms.classical import tikhonov
from algorithms.details import KINDS, detail_bounds, insert, pattern
from algorithms.driver import last
from algorithms.linearise import by_autograd
from algorithms.lipschitz import (
    black_box_lipschitz,
    jacobian_norm,
    local_lipschitz,
    push_by_autograd,
    push_by_difference,
)
from algorithms.splitting_variation import Penalties, split_variation
from algorithms.variation import TotalVariation
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Identity

TOY = s.Errors(
    clean=torch.tensor([1.0, 3.0], dtype=torch.float64),
    noisy=torch.tensor([[2.0, 1.5], [3.5, 7.0]], dtype=torch.float64),
    moved=torch.tensor([[1.0, 1.0], [2.0, 4.0]], dtype=torch.float64),
    size=torch.tensor([[1.0, 0.1], [0.1, 2.0]], dtype=torch.float64),
)  # two pictures, two draws, worked out by hand below


def test_the_four_estimators_of_the_constant_differ_as_they_should():
    assert s.accuracy(TOY) == 3
    assert s.worst_constant(TOY) == pytest.approx(5.0)  # (3.5 - 3) / 0.1
    assert s.worst_error_constant(TOY) == pytest.approx(2.0)  # (7 - 3) / 2
    assert s.average_constant(TOY) == pytest.approx((3.5 - 2) / 0.8)
    assert s.ratios(TOY).tolist() == [[1.0, 5.0], pytest.approx([5.0, 2.0])]


def test_the_official_constant_never_exceeds_the_largest_ratio():
    for seed in range(20):
        draw = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        errors = s.Errors(draw[0, :, 0], draw[1], draw[2], draw[3] + 0.01)
        assert s.worst_error_constant(errors) <= s.worst_constant(errors) <= float(s.ratios(errors).max())


def test_gains_by_hand():
    gains = torch.tensor([1.0, 10.0, 20.0, 2.0])
    assert s.rms_gain(TOY) == pytest.approx(float(gains.square().mean().sqrt()))
    parts = [(4 - 1) / 1, (2.25 - 1) / 0.01, (12.25 - 9) / 0.01, (49 - 9) / 4]
    assert s.error_gain(TOY) == pytest.approx((sum(parts) / 4) ** 0.5)


@pytest.mark.parametrize("lam", [1e-3, 1e-2])
def test_the_gain_of_tikhonov_under_white_noise_has_a_closed_form(psf, lam):
    op = CircularBlur(psf, (1, 32, 30))
    x = torch.rand(3, 1, 32, 30, dtype=torch.float64)
    noises = [0.01 * torch.randn_like(x) for _ in range(40)]
    errors = s.measure(lambda op, y: tikhonov(op, y, lam=lam), op, x, op.A(x), noises)
    exact = s.tikhonov_gain(op, lam=lam).rms
    assert s.rms_gain(errors) == pytest.approx(exact, rel=0.02)
    assert s.error_gain(errors) == pytest.approx(exact, rel=0.1)


def test_the_closed_form_is_the_one_of_the_matrix(psf):
    op = CircularBlur(psf, (1, 6, 5))
    eye = torch.eye(30, dtype=torch.float64).view(30, 1, 6, 5)
    R = tikhonov(op, eye, lam=0.05).flatten(1)
    singular = torch.linalg.svdvals(R)
    gain = s.tikhonov_gain(op, lam=0.05)
    assert gain.worst == pytest.approx(float(singular[0]), rel=1e-9)
    assert gain.rms == pytest.approx(float(singular.square().mean().sqrt()), rel=1e-9)
    with pytest.raises(TypeError, match="no closed form, measure it"):
        s.tikhonov_gain(WindowedBlur(psf, (1, 6, 5)), lam=1.0)


def test_a_gaussian_filter_of_one_pixel_has_rms_gain_28_hundredths():
    """1 / (2 sqrt pi) for the continuous filter, worst gain 1."""
    t = torch.arange(-6, 7, dtype=torch.float64)
    g = torch.exp(-(t**2) / 2)
    op = CircularBlur((g[:, None] * g / g.sum() ** 2)[None, None], (1, 64, 64))
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    errors = s.measure(lambda _, y: op.A(y), Identity((1, 64, 64)), x, x, [torch.randn_like(x)] * 3)
    assert s.rms_gain(errors) == pytest.approx(0.282, abs=0.01)
    at = by_autograd(lambda _, y: op.A(y), Identity((1, 64, 64)))
    lipschitz = local_lipschitz(at, x, radius=torch.ones(1, dtype=x.dtype), effort=Effort(30, 1, seed=0))
    assert 0.99 < float(lipschitz.value) <= 1 + 1e-9


def test_jacobian_norm_by_two_kinds_of_push(psf):
    op = CircularBlur(psf, (1, 10, 9))
    R = lambda op, y: tikhonov(op, y, lam=0.05)  # noqa: E731
    y = torch.rand(2, 1, 10, 9, dtype=torch.float64)
    exact = s.tikhonov_gain(op, lam=0.05).worst
    for push in (push_by_autograd(R, op, y), push_by_difference(R, op, y)):
        norm = jacobian_norm(by_autograd(R, op), push, y, iterations=60, seed=0)
        assert (norm > 0.97 * exact).all() and (norm < exact * (1 + 1e-6)).all()


def test_local_constants_of_a_square_are_the_slope_at_the_far_end():
    y = torch.tensor([[[[1.0, 2.0]]]], dtype=torch.float64)
    at = by_autograd(lambda op, v: v**2, Identity((1, 1, 2)))
    value = local_lipschitz(at, y, radius=torch.tensor([0.1]), effort=Effort(60, 2, seed=0)).value
    assert float(value) == pytest.approx(4.1, rel=1e-3)  # (2.1^2 - 2^2) / 0.1
    weak = black_box_lipschitz(lambda v: v**2, y, radius=torch.tensor([0.1]), effort=Effort(100, 1, seed=0))
    assert 3.5 < float(weak.value) <= 4.1 + 1e-9


def test_total_variation_moves_the_data_no_further_than_they_moved(psf):
    op = WindowedBlur(psf, (1, 16, 14))
    y = torch.rand(1, 1, 16, 14, dtype=torch.float64)

    def predicted(v):
        states = split_variation(
            LeastSquares(op, v), TotalVariation(0.02), penalties=Penalties(0.5, 1.0), x0=op.embed(v)
        )
        return op.A(last(states, 150).x)

    for seed in range(2):
        e = 0.1 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
        quotient = float((predicted(y + e) - predicted(y)).norm() / e.norm())
        assert quotient <= s.VARIATIONAL_DATA_MAP + 1e-3


def test_the_detail_bound_holds_for_an_arbitrary_method(psf):
    op = CircularBlur(psf, (1, 32, 30))
    x = 0.2 + 0.6 * torch.rand(1, 1, 32, 30, dtype=torch.float64)
    for kind, bound in zip(KINDS, detail_bounds(op, x, amplitude=0.2), strict=True):
        d = insert(x, pattern(kind, (32, 30)), 0.2)
        assert 0 <= float((x + d).min()) and float((x + d).max()) <= 1
        for lam in (1e-4, 1e-2, 1.0):
            R = lambda v, lam=lam: tikhonov(op, v, lam=lam)  # noqa: E731
            eta = max(float((R(op.A(z)) - z).norm()) for z in (x, x + d))
            constant = (float((R(op.A(x + d)) - x).norm()) - eta) / float(op.A(d).norm())
            assert constant >= bound.constant(eta) - 1e-9
        assert bound.constant(bound.stable_above) == pytest.approx(1.0)


def test_an_unknown_detail_is_refused():
    with pytest.raises(ValueError, match="wanted one of text, dots, lines"):
        pattern("tumour", (8, 8))


def test_bootstrap_intervals_hold_the_truth_and_repeat():
    draw = torch.randn(60, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    low, high = s.mean_interval(draw, resamples=2000, seed=0)
    assert low < 0 < high and (low, high) == s.mean_interval(draw, resamples=2000, seed=0)
    assert high - low == pytest.approx(2 * 1.96 * float(draw.std()) / 60**0.5, rel=0.15)
    one = s.Errors(*(part[:1] for part in TOY))
    assert s.bootstrap(one, s.accuracy, resamples=10, seed=0) == (None, None)


def test_the_table_says_what_each_number_is():
    table = s.stability_table(TOY, resamples=50, seed=0)
    assert set(table) == set(s.DEFINITIONS)
    assert table["worst_constant"].kind == "empirical lower bound"
    assert table["rms_gain"].kind == "estimate" and table["ratio_max"].low <= table["ratio_max"].value
