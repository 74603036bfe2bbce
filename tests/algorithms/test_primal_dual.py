"""Primal-dual steps where no other solver goes, against explicit matrices and closed forms."""

import pytest
import torch

from algorithms.driver import last
from algorithms.primal_dual import primal_dual_variation
from algorithms.splitting_variation import Penalties
from algorithms.state import State
from algorithms.variation import TotalVariation, split_optimality
from imaging.blur import PaddedBlur
from imaging.fidelity import Huber, LeastSquares, PoissonKL
from imaging.masks import Identity, Inpainting
from imaging.varying import VaryingBlur

PENALTIES = Penalties(0.7, 0.2)


def noisy(op, x: torch.Tensor, sigma: float = 0.02) -> torch.Tensor:
    y = op.A(x)
    return y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)


def step(left: int, right: int) -> torch.Tensor:
    x = torch.full((1, 1, 4, left + right), 0.2, dtype=torch.float64)
    x[..., left:] = 0.8
    return x


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 5)])
def test_a_step_shrinks_by_lam_over_the_width_of_each_side(left, right):
    y = step(left, right)
    loss = LeastSquares(Identity(tuple(y.shape[1:])), y)
    x = last(primal_dual_variation(loss, TotalVariation(0.12), penalties=PENALTIES, x0=0 * y), 500).x
    torch.testing.assert_close(x[..., :left], y[..., :left] + 0.12 / left, rtol=0, atol=1e-8)
    torch.testing.assert_close(x[..., left:], y[..., left:] - 0.12 / right, rtol=0, atol=1e-8)


def test_a_strong_weight_leaves_the_mean():
    y = step(3, 5)
    loss = LeastSquares(Identity((1, 4, 8)), y)
    x = last(primal_dual_variation(loss, TotalVariation(1.5), penalties=PENALTIES, x0=y), 500).x
    torch.testing.assert_close(x, torch.full_like(y, float(y.mean())), rtol=0, atol=1e-6)


def test_a_hole_in_a_flat_picture_is_filled():
    y = torch.full((1, 1, 6, 6), 0.4, dtype=torch.float64)
    mask = torch.ones_like(y)
    mask[..., 2:4, 2:4] = 0
    loss = LeastSquares(Inpainting(mask, (1, 6, 6)), y * mask)
    x = last(primal_dual_variation(loss, TotalVariation(0.01), penalties=PENALTIES, x0=y * mask), 600).x
    torch.testing.assert_close(x, y, rtol=0, atol=1e-5)


def matrices(psf: torch.Tensor, name: str):
    if name == "varying":
        psfs = torch.stack([torch.stack([psf[0], psf[0].flip(-1)]), torch.stack([psf[0].flip(-2), psf[0]])])
        return VaryingBlur(psfs, (1, 7, 6))
    return PaddedBlur(psf, (1, 7, 6), name)


@pytest.mark.parametrize("name", ["reflect", "edge", "zero", "varying"])
def test_against_explicit_matrices(name, gentle, small, dense_minimiser):
    op = matrices(gentle, name)
    _, H, W = op.img_size
    x = torch.nn.functional.pad(small, (0, 9, 0, 9), value=0.2)[..., :H, :W]
    y, lam = noisy(op, x), 0.02
    loss, tv = LeastSquares(op, y), TotalVariation(lam)
    wanted = dense_minimiser(op, y, lam, rho=0.7, n=1000)
    found = last(primal_dual_variation(loss, tv, penalties=PENALTIES, x0=op.embed(y)), 500).x
    at_found, at_wanted = (float(loss.value(x) + tv.value(x)) for x in (found, wanted))
    assert at_found == pytest.approx(at_wanted, rel=1e-5)
    if name != "varying":  # there x is unique
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["poisson", "huber"])
def test_other_losses_end_where_the_proof_says_so(kind, gentle, small):
    op = PaddedBlur(gentle, (1, 8, 7), "reflect")
    y = noisy(op, small).clamp_min(0)
    loss = PoissonKL(op, y, 1.0) if kind == "poisson" else Huber(op, y, 0.03)
    tv = TotalVariation(0.02)
    state = last(primal_dual_variation(loss, tv, penalties=PENALTIES, x0=y), 600)
    assert split_optimality(loss, tv, state.x, state.memory[:2], gamma=1.0).relative(state.x) < 1e-4


def test_resuming_equals_not_stopping_bit_for_bit_and_x0_is_untouched(gentle, small):
    op = PaddedBlur(gentle, (1, 8, 7), "reflect")
    y = noisy(op, small)
    loss, tv, start = LeastSquares(op, y), TotalVariation(0.02), y.clone()
    whole = last(primal_dual_variation(loss, tv, penalties=PENALTIES, x0=start), 20)
    assert torch.equal(start, y)
    half = last(primal_dual_variation(loss, tv, penalties=PENALTIES, x0=start), 10)
    copies = [half.x.clone(), *(part.clone() for part in half.memory)]
    resumed = last(primal_dual_variation(loss, tv, penalties=PENALTIES, x0=half), 10)
    assert torch.equal(resumed.x, whole.x)
    assert all(torch.equal(a, b) for a, b in zip(resumed.memory, whole.memory, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(copies, [half.x, *half.memory], strict=True))


def test_a_state_of_another_solver_is_refused(small):
    loss = LeastSquares(Identity((1, 8, 7)), small)
    with pytest.raises(ValueError, match="resume from has 2 parts, this solver's have 3"):
        states = primal_dual_variation(
            loss, TotalVariation(0.1), penalties=PENALTIES, x0=State(small, 0.1, (small, small))
        )
        next(states)


def test_an_operator_without_a_proven_norm_is_refused_at_the_call(small):
    from deepinv.physics import LinearPhysics

    loss = LeastSquares(LinearPhysics(A=lambda x, **_: x, A_adjoint=lambda y, **_: y), small)
    with pytest.raises(TypeError, match="has no proven bound of its norm"):
        primal_dual_variation(loss, TotalVariation(0.1), penalties=PENALTIES, x0=small)
