"""Quadratic solvers against explicit matrices, the textbook and the prior they are best for."""

import math

import pytest
import torch

from algorithms.classical import penalty_spectrum, tikhonov, wiener
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.linsolve import SolveError
from imaging.masks import Identity, Inpainting, Masked
from imaging.sampling import Downsample
from imaging.testing import dense
from imaging.varying import VaryingBlur


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask(h: int, w: int) -> torch.Tensor:
    return (torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(4)) > 0.2).double()


def grid(psf: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.stack([psf[0], psf[0].flip(-1)]), torch.stack([psf[0].flip(-2), psf[0]])])


OPERATORS = {
    "circular": lambda k: CircularBlur(k, (1, 9, 8)),
    "odd width": lambda k: CircularBlur(k, (1, 8, 9)),
    "windowed": lambda k: WindowedBlur(k, (1, 9, 8)),
    "reflect": lambda k: PaddedBlur(k, (1, 9, 8), "reflect"),
    "edge": lambda k: PaddedBlur(k, (1, 9, 8), "edge"),
    "zero": lambda k: PaddedBlur(k, (1, 9, 8), "zero"),
    "varying": lambda k: VaryingBlur(grid(k), (1, 9, 8)),
    "decimated": lambda k: Downsample(CircularBlur(k, (1, 8, 10)), 2),
    "decimated window": lambda k: Downsample(WindowedBlur(k, (1, 9, 8)), 2),
    "masked": lambda k: Masked(CircularBlur(k, (1, 9, 8)), mask(9, 8)),
    "masked window": lambda k: Masked(WindowedBlur(k, (1, 9, 8)), mask(9, 8)),
    "masked decimation": lambda k: Masked(Downsample(WindowedBlur(k, (1, 9, 8)), 2), mask(5, 4)),
    "inpainting": lambda k: Inpainting(mask(9, 8), (1, 9, 8)),
    "identity": lambda k: Identity((1, 9, 8)),
}


def periodic_differences(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.roll(-1, -2) - x, x.roll(-1, -1) - x], 1)


@pytest.mark.parametrize("penalty", ["gradient", "identity"])
@pytest.mark.parametrize("name", list(OPERATORS))
def test_tikhonov_is_a_dense_solve(name, penalty, psf):
    op, lam = OPERATORS[name](psf), 0.03
    y = randn(2, *op.data_size)
    A = dense(op.A, op.img_size, 1)[0]
    L = dense(periodic_differences, op.img_size, 1)[0] if penalty == "gradient" else torch.eye(A.shape[1])
    L = L.to(A)
    wanted = torch.linalg.solve(A.T @ A + lam * L.T @ L, A.T @ y.flatten(1).T).T.reshape(2, *op.img_size)
    before = y.clone()
    found = tikhonov(op, y, lam=lam, penalty=penalty, rtol=1e-10)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-7)
    assert torch.equal(y, before)


def test_colour_with_a_psf_a_channel(psf):
    kernels = torch.cat([psf, psf.flip(-1)], 1)
    y = randn(1, 2, 9, 8)
    both = tikhonov(WindowedBlur(kernels, (2, 9, 8)), y, lam=0.05, rtol=1e-10)
    for c in range(2):
        alone = tikhonov(WindowedBlur(kernels[:, [c]], (1, 9, 8)), y[:, [c]], lam=0.05, rtol=1e-10)
        torch.testing.assert_close(both[:, [c]], alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("lam", [0.0, -1.0, math.nan])
def test_a_weight_that_is_not_positive_is_refused(lam):
    with pytest.raises(ValueError, match=f"lam is {lam}, wanted a positive number: larger is smoother"):
        tikhonov(Identity((1, 2, 2)), randn(1, 1, 2, 2), lam=lam)


def test_a_budget_too_small_is_an_error_not_an_answer(psf):
    with pytest.raises(SolveError, match="stopped after 2 steps at relative residual"):
        tikhonov(WindowedBlur(psf, (1, 9, 8)), randn(1, 1, 9, 8), lam=1e-4, max_iter=2)


def test_wiener_is_the_textbook_formula(psf):
    """X = conj(H) S / (|H|^2 S + sigma^2) Y with S = c / (4 sin^2 + 4 sin^2), S infinite at the mean."""
    H, W, sigma, c = 9, 8, 0.03, 0.02
    op, y = CircularBlur(psf, (1, H, W)), randn(1, 1, H, W)
    impulse = torch.zeros(1, 1, H, W, dtype=torch.float64)
    impulse[..., 0, 0] = 1
    h = torch.fft.fft2(op.A(impulse))
    rows = 2 - 2 * torch.cos(2 * math.pi * torch.arange(H, dtype=torch.float64) / H)
    columns = 2 - 2 * torch.cos(2 * math.pi * torch.arange(W, dtype=torch.float64) / W)
    f = rows[:, None] + columns
    f[0, 0] = 1e-300  # the mean: any value, without noise in it
    signal = c / f
    wanted = torch.fft.ifft2(h.conj() * signal / (h.abs() ** 2 * signal + sigma**2) * torch.fft.fft2(y)).real
    torch.testing.assert_close(wiener(op, y, sigma=sigma, c=c), wanted, rtol=0, atol=1e-10)


def test_wiener_is_best_where_the_signal_has_the_assumed_spectrum(psf):
    size, sigma, c = (64, 64), 0.05, 0.02
    op = CircularBlur(psf, (1, *size))
    spectrum = penalty_spectrum("gradient", size, psf)
    shape = torch.where(spectrum > 0, (c / spectrum.clamp_min(1e-300)).sqrt(), 0)
    x = torch.fft.irfft2(torch.fft.rfft2(randn(8, 1, *size, seed=1)) * shape, s=size)
    y = op.A(x) + sigma * randn(*x.shape, seed=2)

    def error(power):
        return float((wiener(op, y, sigma=sigma, c=power) - x).square().mean())

    assert error(c) < 0.97 * min(error(c / 4), error(c * 4))
    assert error(c) < 0.7 * float((y - x).square().mean())


def test_penalty_spectrum_of_the_identity_is_one(psf):
    assert penalty_spectrum("identity", (5, 6), psf).tolist() == [[1.0] * 4] * 5
