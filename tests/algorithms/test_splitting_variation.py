"""Alternating directions against closed forms, explicit matrices, and the other road to the same minimum."""

import pytest
import torch

from algorithms.driver import Until, last, solve
from algorithms.primal_dual import primal_dual_variation
from algorithms.splitting_variation import Penalties, laplacian_spectrum, sees_everything, split_variation
from algorithms.state import State
from algorithms.variation import TotalVariation, split_optimality, tv_optimality
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import Huber, LeastSquares, PoissonKL
from imaging.masks import Identity, Inpainting, Masked
from imaging.sampling import Downsample

SIZE = (1, 8, 7)
ALL = torch.ones(1, 1, 8, 7, dtype=torch.bool)


def noisy(op, x: torch.Tensor, sigma: float = 0.02) -> torch.Tensor:
    y = op.A(x)
    return y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)


def fitted(x: torch.Tensor, op) -> torch.Tensor:
    """x continued or cut to the size of op's field."""
    return torch.nn.functional.pad(x, (0, 4, 0, 4), value=0.2)[..., : op.img_size[1], : op.img_size[2]]


def delta() -> torch.Tensor:
    return torch.ones(1, 1, 1, 1, dtype=torch.float64)


def step(rows: int, left: int, right: int) -> torch.Tensor:
    x = torch.full((1, 1, rows, left + right), 0.2, dtype=torch.float64)
    x[..., left:] = 0.8
    return x


@pytest.mark.parametrize("hide", [False, True], ids=["closed form in x", "data split too"])
@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 5)])
def test_a_step_shrinks_by_lam_over_the_width_of_each_side(hide, left, right):
    y = step(4, left, right)
    op = CircularBlur(delta(), tuple(y.shape[1:]))
    op = Masked(op, torch.ones_like(y)) if hide else op
    states = split_variation(
        LeastSquares(op, y), TotalVariation(0.12), penalties=Penalties(1.0, 1.0), x0=torch.zeros_like(y)
    )
    x = last(states, 300).x
    torch.testing.assert_close(x[..., :left], y[..., :left] + 0.12 / left, rtol=0, atol=1e-8)
    torch.testing.assert_close(x[..., left:], y[..., left:] - 0.12 / right, rtol=0, atol=1e-8)


def test_counts_of_a_step_shrink_as_poisson_says():
    """Stationarity of peak n (u - y log u) +- lam: u = y / (1 -+ lam / (peak n))."""
    y, lam, peak = step(4, 3, 5), 10.0, 40.0
    loss = PoissonKL(CircularBlur(delta(), (1, 4, 8)), y, peak)
    x = last(split_variation(loss, TotalVariation(lam), penalties=Penalties(40.0, 40.0), x0=y), 400).x
    torch.testing.assert_close(x[..., :3], y[..., :3] / (1 - lam / (peak * 3)), rtol=0, atol=1e-8)
    torch.testing.assert_close(x[..., 3:], y[..., 3:] / (1 + lam / (peak * 5)), rtol=0, atol=1e-8)


def test_no_weight_for_the_variation_across_the_seam_of_the_torus():
    ramp = torch.linspace(0, 1, 8, dtype=torch.float64).expand(1, 1, 6, 8).contiguous()
    loss = LeastSquares(CircularBlur(delta(), (1, 6, 8)), ramp)
    x = last(split_variation(loss, TotalVariation(1e-3), penalties=Penalties(1.0, 1.0), x0=ramp), 300).x
    wanted = ramp.clone()  # only the two ends move: an inner pixel is pulled both ways alike
    wanted[..., 0] += 1e-3
    wanted[..., -1] -= 1e-3
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-9)


def operators(psf: torch.Tensor) -> dict[str, object]:
    mask = ALL.clone()
    mask[..., 3:5, 3:5] = False
    return {
        "circular": CircularBlur(psf, SIZE),
        "masked": Masked(CircularBlur(psf, SIZE), mask),
        "windowed": WindowedBlur(psf, (1, 5, 4)),
        "decimated": Downsample(CircularBlur(psf, SIZE), 2),
    }


@pytest.mark.parametrize("name", ["circular", "masked", "windowed", "decimated"])
def test_against_explicit_matrices(name, gentle, small, dense_minimiser):
    """In the objective and in A x, which is unique even where x is not; a border unseen is found slowly."""
    op = operators(gentle)[name]
    y, lam = noisy(op, fitted(small, op)), 0.02
    loss, tv = LeastSquares(op, y), TotalVariation(lam)
    wanted = dense_minimiser(op, y, lam, rho=0.7, n=1000)
    found = last(split_variation(loss, tv, penalties=Penalties(1.0, 0.7), x0=op.embed(y)), 300).x
    at_found, at_wanted = (float(loss.value(x) + tv.value(x)) for x in (found, wanted))
    assert at_found == pytest.approx(at_wanted, rel=2e-4 if name == "windowed" else 1e-6)
    torch.testing.assert_close(op.A(found), op.A(wanted), rtol=0, atol=2e-3 if name == "windowed" else 1e-4)
    if name == "circular":
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_three_roads_to_one_minimiser(gentle, small):
    op, tv = CircularBlur(gentle, SIZE), TotalVariation(0.02)
    y = noisy(op, small)
    penalties = Penalties(1.0, 0.7)
    plain = last(split_variation(LeastSquares(op, y), tv, penalties=penalties, x0=y), 300).x
    hidden = LeastSquares(Masked(op, ALL), y)
    split = last(split_variation(hidden, tv, penalties=penalties, x0=y), 300).x
    dual = last(primal_dual_variation(hidden, tv, penalties=Penalties(1.0, 0.2), x0=y), 700).x
    torch.testing.assert_close(split, plain, rtol=0, atol=1e-6)
    torch.testing.assert_close(dual, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["poisson", "huber"])
def test_other_losses_by_two_roads(kind, gentle, small):
    """With an impulse of 0 for Huber to forgive, where the Poisson model ends on the border of its domain."""
    op = CircularBlur(gentle, SIZE)
    y = noisy(op, small).clamp_min(0)
    y[..., 5, 5] = 0.0
    loss = PoissonKL(op, y, 1.0) if kind == "poisson" else Huber(op, y, 0.05)
    tv = TotalVariation(0.05)
    one = last(split_variation(loss, tv, penalties=Penalties(1.0, 0.7), x0=y), 400)
    two = last(primal_dual_variation(loss, tv, penalties=Penalties(1.0, 0.2), x0=y), 700)
    torch.testing.assert_close(one.x, two.x, rtol=0, atol=1e-5)
    for state in (one, two):
        p, w = state.memory[:2]
        assert split_optimality(loss, tv, state.x, (p, w), gamma=1.0).relative(state.x) < 1e-5


def test_the_dual_point_of_the_data_is_their_gradient_in_the_end(gentle, small):
    op = WindowedBlur(gentle, (1, 5, 4))
    y = noisy(op, fitted(small, op))
    loss, tv = LeastSquares(op, y), TotalVariation(0.02)
    state = last(split_variation(loss, tv, penalties=Penalties(1.0, 0.7), x0=op.embed(y)), 300)
    torch.testing.assert_close(state.memory[1], op.A(state.x) - y, rtol=0, atol=1e-6)


def test_huber_forgives_what_least_squares_spreads(gentle, small):
    op, tv = CircularBlur(gentle, SIZE), TotalVariation(0.02)
    y = noisy(op, small)
    y[..., 5, 5] = 0.0

    def error(loss):
        x = last(split_variation(loss, tv, penalties=Penalties(1.0, 0.7), x0=y), 200).x
        return float((x - small).norm())

    assert error(Huber(op, y, 0.05)) < 0.8 * error(LeastSquares(op, y))


def test_channels_share_their_edges_and_a_batch_equals_its_singles(gentle, small):
    op = CircularBlur(gentle, (2, 8, 7))
    colour = torch.cat([small, 1 - small], 1)
    y = torch.cat([noisy(op, colour), noisy(op, colour.flip(-1))])
    tv = TotalVariation(0.02)

    def run(data):
        return last(split_variation(LeastSquares(op, data), tv, penalties=Penalties(1.0, 0.7), x0=data), 30).x

    both = run(y)
    torch.testing.assert_close(both[:1], run(y[:1]), rtol=0, atol=1e-12)
    torch.testing.assert_close(both[1:], run(y[1:]), rtol=0, atol=1e-12)
    swapped = run(y.flip(1)).flip(1)
    torch.testing.assert_close(both, swapped, rtol=0, atol=1e-12)


def test_uncoupled_channels_equal_their_singles(gentle, small):
    colour = torch.cat([small, 1 - small.flip(-1)], 1)
    y = noisy(CircularBlur(gentle, (2, 8, 7)), colour)

    def run(data):
        op = CircularBlur(gentle, (data.shape[1], 8, 7))
        tv = TotalVariation(0.02, (1,))
        return last(split_variation(LeastSquares(op, data), tv, penalties=Penalties(1.0, 0.7), x0=data), 30).x

    torch.testing.assert_close(run(y), torch.cat([run(y[:, :1]), run(y[:, 1:])], 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "budget"), [("circular", 250), ("masked", 300), ("windowed", 300)])
def test_iteration_budget(name, budget, gentle, small):
    op = operators(gentle)[name]
    y = noisy(op, fitted(small, op))
    loss, tv = LeastSquares(op, y), TotalVariation(0.02)
    states = split_variation(loss, tv, penalties=Penalties(0.05, 0.8), x0=op.embed(y))
    until = Until(
        tol=5e-4,
        max_iter=budget,
        measure=lambda s: tv_optimality(loss, tv, s.x, s.memory[0]).relative(s.x),
        period=10,
    )
    assert solve(states, until).require().n_iter <= budget


@pytest.mark.parametrize("hide", [False, True], ids=["unsplit", "split"])
def test_resuming_equals_not_stopping_bit_for_bit_and_x0_is_untouched(hide, gentle, small):
    op = CircularBlur(gentle, SIZE)
    y = noisy(op, small)
    loss = LeastSquares(Masked(op, ALL) if hide else op, y)
    start, penalties, tv = y.clone(), Penalties(1.0, 0.7), TotalVariation(0.02)
    whole = last(split_variation(loss, tv, penalties=penalties, x0=start), 20)
    assert torch.equal(start, y)
    half = last(split_variation(loss, tv, penalties=penalties, x0=start), 10)
    copies = [half.x.clone(), *(part.clone() for part in half.memory)]
    resumed = last(split_variation(loss, tv, penalties=penalties, x0=half), 10)
    assert torch.equal(resumed.x, whole.x)
    assert all(torch.equal(a, b) for a, b in zip(resumed.memory, whole.memory, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(copies, [half.x, *half.memory], strict=True))


def test_a_state_of_another_solver_is_refused(gentle, small):
    loss = LeastSquares(CircularBlur(gentle, SIZE), small)
    state = State(small, 0.1, (small,))
    with pytest.raises(ValueError, match="resume from has 1 parts, this solver's have 2"):
        next(split_variation(loss, TotalVariation(0.1), penalties=Penalties(1.0, 1.0), x0=state))


def test_an_operator_without_structure_is_refused_at_the_call(gentle, small):
    loss = LeastSquares(PaddedBlur(gentle, SIZE, "reflect"), small)
    with pytest.raises(TypeError, match=r"PaddedBlur is not a selection .*: use primal_dual_variation"):
        split_variation(loss, TotalVariation(0.1), penalties=Penalties(1.0, 1.0), x0=small)


def test_what_is_seen_whole(gentle):
    assert sees_everything(CircularBlur(gentle, SIZE))
    assert sees_everything(Identity(SIZE))
    for name in ("masked", "windowed", "decimated"):
        assert not sees_everything(operators(gentle)[name])
    assert not sees_everything(Inpainting(ALL, SIZE))


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 4), (3, 1)])
def test_laplacian_spectrum_is_that_of_the_matrix(size):
    H, W = size
    impulse = torch.zeros(size, dtype=torch.float64)
    impulse[0, 0] = 1
    laplacian = sum(2 * impulse - impulse.roll(1, axis) - impulse.roll(-1, axis) for axis in (0, 1))
    wanted = torch.fft.rfft2(laplacian).real
    torch.testing.assert_close(laplacian_spectrum((H, W), impulse), wanted, rtol=0, atol=1e-12)
