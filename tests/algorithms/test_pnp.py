"""Schedules as numbers, and short data steps held against dense matrices and the exact prox."""

import math
from itertools import pairwise

import pytest
import torch

from algorithms.pnp import (
    ShortLeastSquares,
    SpectralLeastSquares,
    data_term,
    geometric,
    in_turn,
    weights_of_counts,
)
from algorithms.splitting import hqs
from algorithms.unseen import FilledLeastSquares
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Identity, Masked
from imaging.sampling import Downsample
from imaging.testing import dense


def holes(size):
    mask = torch.ones(1, 1, *size, dtype=torch.bool)
    mask[..., 1:3, 2:5] = False
    return mask


def operators(psf):
    window = WindowedBlur(psf, (1, 9, 8))
    yield "window", window
    yield "mask", Masked(window, holes((9, 8)))
    yield "decimation", Downsample(window, 2)
    yield "reflection", PaddedBlur(psf, (1, 9, 8), "reflect")


NAMES = ["window", "mask", "decimation", "reflection"]


def test_the_schedule_falls_by_equal_factors_to_the_noise():
    pairs = geometric(0.01, start=0.2, n=8, weight=0.25)
    sigmas = [sigma for sigma, _ in pairs]
    assert len(pairs) == 8 and sigmas[0] == 0.2 and sigmas[-1] == pytest.approx(0.01)
    assert [b / a for a, b in pairwise(sigmas)] == pytest.approx([0.05 ** (1 / 7)] * 7)
    assert all(gamma == pytest.approx(sigma**2 / (0.25 * 1e-4)) for sigma, gamma in pairs)


def test_a_single_step_is_at_the_noise_and_no_level_is_below_it():
    assert geometric(0.01, start=0.2, n=1, weight=0.25)[0][0] == 0.01
    assert {sigma for sigma, _ in geometric(0.3, start=0.2, n=4, weight=0.25)} == {0.3}


def test_at_weight_one_quarter_the_data_step_amplifies_no_noise_beyond_the_level():
    noise, power = 0.02, torch.linspace(0, 1, 100_001, dtype=torch.float64)
    for sigma, gamma in geometric(noise, start=0.2, n=8, weight=0.25):
        let_through = noise * (gamma * power / (1 + gamma * power**2)).max()
        assert float(let_through) == pytest.approx(sigma, rel=1e-3)
    sigma, gamma = geometric(noise, start=0.2, n=8, weight=0.1)[3]
    assert float(noise * (gamma * power / (1 + gamma * power**2)).max()) > 1.5 * sigma


@pytest.mark.parametrize("wrong", [{"noise": 0.0}, {"start": -1.0}, {"n": 0}, {"weight": math.nan}])
def test_schedules_of_nothing_are_refused(wrong):
    options = {"noise": 0.01, "start": 0.2, "n": 8, "weight": 0.25, **wrong}
    with pytest.raises(ValueError, match="all must be positive"):
        geometric(options.pop("noise"), **options)


@pytest.mark.parametrize("name", NAMES)
def test_many_steps_solve_the_dense_normal_equations(psf, name):
    op = dict(operators(psf))[name]
    y, z = torch.rand(2, *op.data_size).double(), torch.rand(2, *op.img_size).double()
    w = 0.5 + torch.rand(1, *op.data_size).double()
    x = ShortLeastSquares(op, y, 80, 1e-13, lambda _: w).prox(z, gamma=3.0)
    A = dense(op.A, op.img_size, 1)[0]
    W = torch.diag(w.flatten())
    matrix = torch.eye(A.shape[1], dtype=A.dtype) + 3 * A.T @ W @ A
    wanted = torch.linalg.solve(matrix, (z.flatten(1) + 3 * y.flatten(1) @ W @ A).T).T
    assert torch.allclose(x.flatten(1), wanted, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_few_steps_come_nearer_and_say_how_near(psf, name):
    op = dict(operators(psf))[name]
    y, z = torch.rand(1, *op.data_size).double(), torch.rand(1, *op.img_size).double()
    exact = op.prox_l2(z, y, 20.0)
    f = ShortLeastSquares(op, y, 3, 0.0)
    x = f.prox(z, gamma=20.0)
    assert (x - exact).norm() < 0.5 * (z - exact).norm()
    y = y if op.valid is None else y.masked_fill(~op.valid, 0)
    residuals = [v + 20 * op.A_adjoint(op.A(v)) - z - 20 * op.A_adjoint(y) for v in (x, z)]
    assert f.left == [pytest.approx(float(residuals[0].norm() / residuals[1].norm()), rel=1e-6)]


def test_a_batch_equals_its_singles_and_takes_a_gamma_each(psf):
    op = WindowedBlur(psf, (1, 9, 8))
    y, z = torch.rand(2, *op.data_size).double(), torch.rand(2, *op.img_size).double()
    gamma = torch.tensor([2.0, 30.0]).double()
    both = ShortLeastSquares(op, y, 3, 0.0).prox(z, gamma=gamma)
    for n in range(2):
        one = ShortLeastSquares(op, y[n : n + 1], 3, 0.0).prox(z[n : n + 1], gamma=float(gamma[n]))
        assert torch.allclose(both[n : n + 1], one, atol=1e-12)


def test_it_ends_when_the_residual_is_small_enough(psf):
    op = WindowedBlur(psf, (1, 9, 8))
    y, z = torch.rand(2, *op.data_size).double(), torch.rand(2, *op.img_size).double()
    f = ShortLeastSquares(op, y, 50, 1e-3)
    both = f.prox(z, gamma=20.0)
    assert f.left[0] <= 1e-3 and 2 < f.taken[0] < 50
    for n in range(2):
        one = ShortLeastSquares(op, y[n : n + 1], 50, 1e-3).prox(z[n : n + 1], gamma=20.0)
        assert torch.allclose(both[n : n + 1], one, atol=1e-12)


def test_masked_data_may_hold_anything(psf):
    op = dict(operators(psf))["mask"]
    y, z = torch.rand(1, *op.data_size).double(), torch.rand(1, *op.img_size).double()
    spoilt = torch.where(op.valid, y, torch.nan)
    clean = ShortLeastSquares(op, y, 3, 0.0).prox(z, gamma=5.0)
    assert torch.equal(ShortLeastSquares(op, spoilt, 3, 0.0).prox(z, gamma=5.0), clean)


def test_the_exact_prox_is_used_where_there_is_one(psf):
    circular, window = CircularBlur(psf, (1, 9, 8)), WindowedBlur(psf, (1, 9, 8))
    y = torch.rand(1, 1, 9, 8).double()
    assert isinstance(data_term(circular, y, steps=3, enough=0.0), LeastSquares)
    assert isinstance(data_term(Identity((1, 9, 8)), y, steps=3, enough=0.0), LeastSquares)
    for op in (window, Masked(window, holes((9, 8)))):
        assert data_term(op, y, steps=30, enough=0.0, fill=2).steps == 2
        assert isinstance(data_term(op, y, steps=3), FilledLeastSquares)
    assert isinstance(data_term(circular, y, steps=3, enough=0.0, weigh=lambda b: b), ShortLeastSquares)
    assert isinstance(data_term(window, y, steps=3, enough=0.0, weigh=lambda b: b), ShortLeastSquares)
    assert isinstance(data_term(Downsample(window, 2), y[..., :5, :4], steps=3), ShortLeastSquares)
    with pytest.raises(ValueError, match="steps is 0, wanted at least 1"):
        data_term(window, y, steps=0, enough=0.0)


def test_weights_of_counts_are_inverse_variances():
    blurred = torch.tensor([0.5, 0.1, 0.001])
    weigh = weights_of_counts(200.0, 0.03, least=0.02)
    variance = torch.tensor([0.5, 0.1, 0.02]) / 200
    assert torch.allclose(weigh(blurred), 0.03**2 / variance)


def test_unknown_borders_cost_little_beside_periodic_ones(truth, psf):
    """The same scene with a known and an unknown border: in the middle the results agree."""
    pairs = geometric(0.01, start=0.1, n=6, weight=0.25)

    def smooth(x, sigma):
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return torch.lerp(x, torch.nn.functional.avg_pool2d(padded, 3, 1), min(1.0, 2 * sigma))

    circular = CircularBlur(psf, (1, 24, 20))
    y = circular.A(truth)
    periodic = list(hqs(LeastSquares(circular, y), smooth, pairs, x0=y))[-1].x
    op = WindowedBlur(psf, (1, 24, 20))
    seen = list(hqs(data_term(op, y, steps=3, enough=0.0), smooth, pairs, x0=op.embed(y)))[-1].x
    middle = (..., slice(5, -5), slice(5, -5))
    assert (op.window(seen) - periodic)[middle].abs().max() < 0.02
    assert (periodic - truth)[middle].square().mean() < 0.3 * (y - truth)[middle].square().mean()


def test_in_turn_undoes_its_turns_and_takes_all_eight():
    """A denoiser blind to orientation is left as it is; one that marks a corner marks all places of it."""
    pairs = geometric(0.01, start=0.2, n=8, weight=0.25)
    x = torch.rand(1, 1, 5, 7, dtype=torch.float64)

    def mark(z, sigma):
        z = torch.zeros_like(z)
        z[..., 0, 1] = 1
        return z

    seen = set()
    for sigma, _ in pairs:
        assert torch.equal(in_turn(lambda z, s: z * s, pairs)(x, sigma), x * sigma)
        (place,) = in_turn(mark, pairs)(x, sigma)[0, 0].nonzero().tolist()
        seen.add(tuple(place))
    corners = {(0, 1), (0, 5), (4, 1), (4, 5), (1, 0), (1, 6), (3, 0), (3, 6)}
    assert seen == corners


@pytest.mark.parametrize("size", [(9, 8), (8, 9)])
def test_a_circular_data_step_keeps_the_data_and_is_still_the_exact_prox(psf, size):
    op = CircularBlur(psf, (2, *size))
    y, z = torch.rand(3, 2, *size, dtype=torch.float64), torch.rand(3, 2, *size, dtype=torch.float64)
    f = data_term(op, y, steps=1)
    assert isinstance(f, SpectralLeastSquares)
    for gamma in (0.3, 40.0, torch.tensor([0.1, 2.0, 50.0], dtype=torch.float64)):
        assert torch.allclose(f.prox(z, gamma=gamma), op.prox_l2(z, y, gamma), atol=1e-12)
    assert not torch.allclose(f.prox(z, gamma=0.3), op.prox_l2(z, y, 0.4), atol=1e-3)
    steps = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    f.prox(z, gamma=steps).sum().backward()
    exact = torch.autograd.grad(op.prox_l2(z, y, steps).sum(), steps)[0]
    assert torch.allclose(steps.grad, exact) and float(exact.abs()) > 1e-3


def test_a_circular_data_step_can_be_learned_through(psf):
    op, y = CircularBlur(psf, (1, 9, 8)), torch.rand(1, 1, 9, 8, dtype=torch.float64)
    z = torch.rand(1, 1, 9, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: data_term(op, y, steps=1).prox(v, gamma=3.0), z)
