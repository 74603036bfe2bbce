"""Richardson-Lucy against the formula written out, scipy's convolution and scikit-image."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.signal import convolve
from skimage import data, restoration

from algorithms.choose import noise_reached
from algorithms.driver import Until, last, solve
from algorithms.lucy import SEEN, richardson_lucy
from algorithms.state import Status
from algorithms.variation import TotalVariation
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Identity, Masked


def crop(rows: slice, columns: slice) -> torch.Tensor:
    return torch.from_numpy(data.camera()[rows, columns] / 255.0)[None, None]


def disk(radius: int) -> torch.Tensor:
    r = torch.arange(-radius, radius + 1, dtype=torch.float64)
    k = (r[:, None] ** 2 + r**2 <= radius**2).double()
    return (k / k.sum())[None, None]


def counts(clean: torch.Tensor, peak: float = 500.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).poisson(clean.clamp_min(0).numpy() * peak) / peak)


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * float((x - truth).square().mean().log10())


def test_iterates_are_the_formula_with_scipy(psf):
    """Field = data + psf - 1 here, so A is a valid convolution and A^T a full correlation."""
    op = WindowedBlur(psf, (1, 10, 9))
    assert op.img_size == (1, 12, 12)
    y = torch.rand(1, 1, 10, 9, dtype=torch.float64) + 0.1
    k, d = psf[0, 0].numpy(), y[0, 0].numpy()

    def forward(x):
        return convolve(x, k, mode="valid", method="direct")

    def adjoint(r):
        return convolve(r, k[::-1, ::-1], mode="full", method="direct")

    share, x = adjoint(np.ones_like(d)), op.embed(y)[0, 0].numpy()
    states = richardson_lucy(op, y, tv=None, x0=op.embed(y))
    for _ in range(8):
        ratio = adjoint(d / forward(x)) / np.maximum(share, 1e-9)
        x = x * np.where(share < SEEN, 1, ratio)
        state = next(states)
        np.testing.assert_allclose(state.x[0, 0].numpy(), x, rtol=1e-9)
        np.testing.assert_allclose(state.memory[0][0, 0].numpy(), forward(x), rtol=1e-9)


def test_the_interior_is_that_of_scikit_image():
    y = counts(PaddedBlur(disk(2), (1, 64, 64), "zero").A(crop(slice(64, 128), slice(200, 264)) + 0.1))
    op = PaddedBlur(disk(2), (1, 64, 64), "zero")
    ours = last(richardson_lucy(op, y, tv=None, x0=torch.full_like(y, 0.5)), 5).x[0, 0].numpy()
    theirs = restoration.richardson_lucy(y[0, 0].numpy(), disk(2)[0, 0].numpy(), num_iter=5, clip=False)
    inside = np.s_[22:-22, 22:-22]  # two pixels a convolution, ten convolutions away from the border
    np.testing.assert_allclose(ours[inside], theirs[inside], rtol=1e-6)
    assert np.abs(ours - theirs).max() > 1e-2  # theirs ignores that the border lost light


def test_periodic_borders_keep_the_light_and_the_sign(psf):
    op = CircularBlur(psf, (1, 24, 20))
    y = torch.rand(2, 1, 24, 20, dtype=torch.float64)
    for state, _ in zip(richardson_lucy(op, y, tv=None, x0=y), range(6), strict=False):
        torch.testing.assert_close(state.x.sum((1, 2, 3)), y.sum((1, 2, 3)))
        assert float(state.x.min()) >= 0


def test_the_likelihood_never_falls(psf, truth):
    op = WindowedBlur(psf, (1, 20, 16))
    y = counts(op.A(torch.nn.functional.pad(truth, (0, 8, 0, 4), value=0.2)[..., :24, :20]), 50.0)
    likelihood = []
    for state, _ in zip(richardson_lucy(op, y, tv=None, x0=op.embed(y)), range(20), strict=False):
        u = state.memory[0]
        likelihood.append(float((torch.xlogy(y, u) - u).sum()))
    assert all(b >= a - 1e-9 for a, b in pairwise(likelihood))
    assert likelihood[-1] > likelihood[0]


def test_unknown_borders_beat_zero_borders_on_a_cropped_picture():
    psf, size = disk(3), (1, 70, 70)
    unknown, zero = WindowedBlur(psf, size), PaddedBlur(psf, size, "zero")
    _, H, W = unknown.img_size
    field = crop(slice(94, 94 + H), slice(194, 194 + W))
    truth, y = unknown.window(field), counts(unknown.A(field), 5000.0)
    ours = unknown.window(last(richardson_lucy(unknown, y, tv=None, x0=unknown.embed(y)), 15).x)
    theirs = last(richardson_lucy(zero, y, tv=None, x0=y), 15).x
    assert psnr(ours, truth) > psnr(y, truth) + 1
    assert psnr(ours, truth) > psnr(theirs, truth) + 1


@pytest.mark.parametrize("garbage", [7.0, float("nan")])
def test_masked_data_may_hold_anything(garbage, psf, truth):
    op = CircularBlur(psf, (1, 24, 20))
    y, mask = op.A(truth), torch.ones(1, 1, 24, 20, dtype=torch.bool)
    mask[..., 8:11, 8:11] = False
    masked = Masked(op, mask)
    spoilt = y.masked_fill(~mask, garbage)
    clean = last(richardson_lucy(masked, y * mask, tv=None, x0=y), 10).x
    torch.testing.assert_close(last(richardson_lucy(masked, spoilt, tv=None, x0=y), 10).x, clean)
    blind = last(richardson_lucy(op, y * mask, tv=None, x0=y), 10).x
    assert float((clean - truth).norm()) < 0.5 * float((blind - truth).norm())


def test_unseen_pixels_keep_their_start_value():
    mask = torch.ones(1, 1, 4, 5, dtype=torch.bool)
    mask[..., 2] = False
    op = Masked(Identity((1, 4, 5)), mask)
    y, x0 = torch.rand(1, 1, 4, 5, dtype=torch.float64), torch.full((1, 1, 4, 5), 0.3, dtype=torch.float64)
    x = last(richardson_lucy(op, y, tv=None, x0=x0), 3).x
    torch.testing.assert_close(x, torch.where(mask, y, x0))


def test_dark_and_negative_data_give_zeros_not_nan(psf):
    op = CircularBlur(psf, (1, 8, 8))
    y = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    y[..., 4, 4], y[..., 0, 0] = 1.0, -0.5
    state = last(richardson_lucy(op, y, tv=None, x0=y), 50)
    assert bool(torch.isfinite(state.x).all())
    assert float(state.x.min()) >= 0
    assert float(state.x.sum()) == pytest.approx(1.0)
    dark = last(richardson_lucy(op, 0 * y, tv=None, x0=y), 3)
    assert float(dark.x.abs().max()) == 0


def test_stops_at_the_first_iterate_below_the_noise(psf, truth):
    op = CircularBlur(psf, (1, 24, 20))
    noise = 0.02 * torch.randn(1, 1, 24, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = op.A(truth) + noise
    run = solve(
        richardson_lucy(op, y, tv=None, x0=torch.full_like(y, 0.5)),
        Until(tol=0.0, max_iter=200, rule=noise_reached(y, 0.02**2, valid=None)),
    )
    assert run.status is Status.stopped
    assert 2 <= run.n_iter < 200

    def misfit(n):
        return float((op.A(last(richardson_lucy(op, y, tv=None, x0=torch.full_like(y, 0.5)), n).x) - y).std())

    assert misfit(run.n_iter) <= 0.0201
    assert misfit(run.n_iter - 1) > 0.02


def test_the_step_with_variation_is_the_formula(psf, truth):
    """x / (A^T 1 - lam div(D x / |D x|)) A^T(y / A x), Dey et al. (2006), by numpy on a periodic blur."""
    op, lam = CircularBlur(psf, (1, 24, 20)), 0.02
    y = (op.A(truth) + 0.05).contiguous()
    x = y[0, 0].numpy()
    down, right = np.zeros_like(x), np.zeros_like(x)
    down[:-1], right[:, :-1] = np.diff(x, axis=0), np.diff(x, axis=1)
    size = np.sqrt(down**2 + right**2 + 1e-6)
    p, q = down / size, right / size
    divergence = p + q
    divergence[1:] -= p[:-1]
    divergence[:, 1:] -= q[:, :-1]
    ratio = op.A_adjoint(y / op.A(y))[0, 0].numpy()
    wanted = x * ratio / (1 - lam * divergence)
    found = next(richardson_lucy(op, y, tv=TotalVariation(lam), x0=y)).x[0, 0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_variation_makes_it_smoother(psf, truth):
    op = CircularBlur(psf, (1, 24, 20))
    y = counts(op.A(truth), 100.0)
    values = [
        float(TotalVariation(1.0).value(last(richardson_lucy(op, y, tv=tv, x0=y), 30).x))
        for tv in (None, TotalVariation(0.003), TotalVariation(0.01))
    ]
    assert values[0] > 1.1 * values[1] > 1.2 * values[2]


def test_resuming_equals_not_stopping_bit_for_bit_and_arguments_are_untouched(psf):
    op = CircularBlur(psf, (1, 24, 20))
    y = torch.rand(1, 1, 24, 20, dtype=torch.float64) - 0.1
    x0, before = y.clone(), y.clone()
    whole = last(richardson_lucy(op, y, tv=TotalVariation(0.01), x0=x0), 12)
    half = last(richardson_lucy(op, y, tv=TotalVariation(0.01), x0=x0), 6)
    resumed = last(richardson_lucy(op, y, tv=TotalVariation(0.01), x0=half), 6)
    assert torch.equal(resumed.x, whole.x) and torch.equal(resumed.memory[0], whole.memory[0])
    assert torch.equal(x0, before) and torch.equal(y, before)


def test_iterations_are_differentiable(psf):
    """Unrolled, and attacked, by autograd: as a difference quotient along a direction, at the same values."""
    op = WindowedBlur(psf, (1, 10, 9))
    y = torch.rand(1, 1, *op.data_size[-2:], dtype=torch.float64) + 0.1
    start, direction = torch.full((1, *op.img_size), 0.5, dtype=torch.float64), torch.randn_like(y)

    def third(data: torch.Tensor) -> torch.Tensor:
        return last(richardson_lucy(op, data, tv=None, x0=start), 3).x.square().sum()

    data = y.clone().requires_grad_()
    third(data).backward()
    quotient = (third(y + 1e-6 * direction) - third(y - 1e-6 * direction)) / 2e-6
    assert float((data.grad * direction).sum()) == pytest.approx(float(quotient), rel=1e-6)
    with torch.no_grad():
        assert torch.equal(third(y), third(data.detach()))
