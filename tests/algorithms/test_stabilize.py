import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from algorithms.classical import tikhonov
from algorithms.krylov import cgls
from algorithms.stabilize import (
    ConjugateGradients,
    Denoise,
    GaussianFilter,
    Quadratic,
    Stabilised,
    Untouched,
    Variation,
    noise_gain,
)
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Masked
from imaging.noise import gaussian

SIDE = 256


def paper_psf():
    """11x11 Gaussian, 1.3 pixels wide."""
    bell = torch.exp(-0.5 * (torch.arange(-5, 6, dtype=torch.float64) / 1.3) ** 2)
    psf = bell[:, None] * bell
    return (psf / psf.sum())[None, None]


@pytest.fixture(scope="module")
def picture():
    from skimage import data

    return torch.from_numpy(data.camera()[100 : 100 + SIDE, 128 : 128 + SIDE] / 255.0)[None, None]


@pytest.fixture(scope="module")
def paper(picture):
    op = CircularBlur(paper_psf(), (1, SIDE, SIDE))
    return op, op.A(picture)


def every_operator(psf, size=(1, 24, 20)):
    mask = torch.ones(1, 1, *size[1:], dtype=torch.bool)
    mask[..., 3:6, 2:5] = False
    return [
        CircularBlur(psf, size),
        WindowedBlur(psf, size),
        PaddedBlur(psf, size, "reflect"),
        Masked(WindowedBlur(psf, size), mask),
    ]


def matrix(op):
    """Dense A, by the images of the basis."""
    count = math.prod(op.img_size)
    basis = torch.eye(count, dtype=torch.float64).view(count, *op.img_size)
    return op.A(basis).flatten(1).T


@pytest.mark.parametrize("which", range(4))
def test_cgls_is_the_krylov_minimiser_for_every_operator(which, psf, truth):
    """k steps minimise the objective over span{s, M s, ..., M^(k-1) s}, M = A^T A + lam: solved densely."""
    op = every_operator(psf, (1, 9, 8))[which]
    y = torch.rand(1, *op.data_size, dtype=torch.float64)
    A, lam, steps = matrix(op), 0.03, 3
    normal = A.T @ A + lam * torch.eye(A.shape[1], dtype=torch.float64)
    start = torch.rand(1, *op.img_size, dtype=torch.float64)
    for x0 in (None, start):
        origin = torch.zeros(A.shape[1], dtype=torch.float64) if x0 is None else x0.flatten()
        s = A.T @ (y.flatten() - A @ origin) - lam * origin
        vectors = [s]
        for _ in range(steps - 1):
            vectors.append(normal @ vectors[-1])
        basis, _ = torch.linalg.qr(torch.stack(vectors, 1))
        expected = origin + basis @ torch.linalg.solve(basis.T @ normal @ basis, basis.T @ s)
        found = cgls(op, y, lam=lam, n_iter=steps, x0=x0)
        assert torch.allclose(found.flatten(), expected, atol=1e-8)
        assert not torch.allclose(cgls(op, y, lam=lam, n_iter=steps + 1, x0=x0), found, atol=1e-6)


def test_many_steps_reach_tikhonov_with_the_weight_as_stated(psf, truth):
    """A weight that entered squared would be found here."""
    op = CircularBlur(psf, (1, 24, 20))
    y = op.A(truth)
    expected = tikhonov(op, y, lam=0.05, penalty="identity")
    assert torch.allclose(cgls(op, y, lam=0.05, n_iter=60), expected, atol=1e-9)
    assert not torch.allclose(cgls(op, y, lam=0.05**2, n_iter=60), expected, atol=1e-3)


def test_a_batch_equals_its_singles_and_nothing_is_changed(psf, truth):
    op = CircularBlur(psf, (1, 24, 20))
    y = torch.cat([op.A(truth), op.A(1 - truth) / 3])
    kept = y.clone()
    for phi in (
        GaussianFilter(1.0),
        ConjugateGradients(1e-4, 3),
        Quadratic(None, "gradient", 0),
        Variation(0.8, 4),
        Denoise(lambda x, sigma: x / (1 + sigma.view(-1, 1, 1, 1))),
    ):
        together = phi(op, y)
        assert torch.allclose(together[1:], phi(op, y[1:]), atol=1e-9)
        assert torch.equal(y, kept)


@pytest.mark.parametrize("which", range(4))
def test_all_work_with_every_operator(which, psf, truth):
    op = every_operator(psf)[which]
    y = gaussian(op.A(op.embed(truth) if op.img_size != op.data_size else truth), 0.05, seed=1)
    tools = [Untouched(), GaussianFilter(1.0), ConjugateGradients(1e-4, 3), Quadratic(0.01, "gradient", 0)]
    tools += [Denoise(lambda x, sigma: x)] + ([Variation(0.8, 4)] if which != 2 else [])
    for phi in tools:
        x = phi(op, y)
        assert x.shape == (1, *op.img_size) and torch.isfinite(x).all()


def test_the_gaussian_filter_is_scipy_s():
    y = torch.rand(1, 1, 30, 21, dtype=torch.float64)
    psf = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    periodic = GaussianFilter(1.3)(CircularBlur(psf, (1, 30, 21)), y)
    assert np.allclose(periodic[0, 0], gaussian_filter(y[0, 0].numpy(), 1.3, mode="wrap"), atol=1e-12)
    nearest = GaussianFilter(1.3)(PaddedBlur(psf, (1, 30, 21), "edge"), y)
    assert np.allclose(nearest[0, 0], gaussian_filter(y[0, 0].numpy(), 1.3, mode="nearest"), atol=1e-12)


def test_the_filter_wraps_around_a_picture_smaller_than_itself():
    y = torch.rand(1, 1, 3, 5, dtype=torch.float64)
    op = CircularBlur(torch.ones(1, 1, 1, 1, dtype=torch.float64), (1, 3, 5))
    expected = gaussian_filter(np.tile(y[0, 0].numpy(), (9, 9)), 2.0, mode="wrap")[12:15, 20:25]
    assert np.allclose(GaussianFilter(2.0)(op, y)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("phi", [Untouched(), GaussianFilter(1.0), Quadratic(0.01, "identity", 0)])
def test_exact_gains_are_those_of_white_noise(phi, psf):
    op = CircularBlur(psf, (1, 25, 32))
    y = torch.zeros(1, 1, 25, 32, dtype=torch.float64)
    gain = noise_gain(phi, op, y, sigma=0.1, seed=0)
    assert gain.rule == "exact"
    noise = torch.randn(300, 1, 25, 32, dtype=torch.float64)
    measured = phi(op, noise).norm() / noise.norm()
    assert abs(gain.rms / float(measured) - 1) < 0.02
    columns = phi(op, torch.eye(800, dtype=torch.float64).view(800, 1, 25, 32)).flatten(1).T
    assert abs(gain.worst - float(torch.linalg.svdvals(columns)[0])) < 1e-9


def test_what_is_not_linear_is_estimated_and_seeded(psf, truth):
    op = CircularBlur(psf, (1, 24, 20))
    y = op.A(truth)
    phi = ConjugateGradients(1e-4, 3)
    gain = noise_gain(phi, op, y, sigma=0.05, seed=3)
    assert gain.rule == "estimated from 4 draws at sigma 0.05"
    assert gain == noise_gain(phi, op, y, sigma=0.05, seed=3) != noise_gain(phi, op, y, sigma=0.05, seed=4)
    assert noise_gain(GaussianFilter(1.0), WindowedBlur(psf, (1, 20, 20)), torch.rand(1, 1, 20, 20).double(),
                      sigma=0.1, seed=0).rule.startswith("estimated")  # fmt: skip


def test_the_paper_s_gains(paper):
    """Measured at the paper's kernel and size: 0.284, and for 2, 3 and 10 steps 0.42, 0.61 and 2.1."""
    op, y = paper
    border = PaddedBlur(paper_psf(), (1, SIDE, SIDE), "edge")
    assert abs(noise_gain(GaussianFilter(1.0), border, y, sigma=0.01, seed=0).rms - 0.284) < 0.002
    assert abs(noise_gain(GaussianFilter(1.0), op, y, sigma=0.01, seed=0).rms - 1 / (2 * math.pi**0.5)) < 1e-3
    for steps, low, high in ((2, 0.42, 0.44), (3, 0.61, 0.68), (10, 2.1, 2.7)):
        found = [
            noise_gain(ConjugateGradients(1e-4, steps), op, y, sigma=s, seed=0).rms for s in (0.01, 0.05)
        ]
        assert abs(found[0] / low - 1) < 0.07 and abs(found[1] / high - 1) < 0.07
    exact = noise_gain(Quadratic(1e-4, "identity", 0), op, y, sigma=0.01, seed=0)
    assert abs(exact.rms - 21.7) < 0.3 and abs(exact.worst - 50) < 0.1


def test_denoising_is_told_the_level_and_splits_colours():
    class Grey:
        config = type("Config", (), {"channels": 1})

        def __init__(self):
            self.seen = []

        def __call__(self, x, sigma):
            self.seen.append((x.shape, sigma))
            return x

    denoiser, y = Grey(), gaussian(torch.full((1, 3, 64, 64), 0.5, dtype=torch.float64), 0.05, seed=0)
    op = CircularBlur(torch.ones(1, 1, 1, 1, dtype=torch.float64), (3, 64, 64))
    assert torch.equal(Denoise(denoiser)(op, y), y)
    shape, sigma = denoiser.seen[0]
    assert shape == (3, 1, 64, 64) and sigma.shape == (3,) and abs(float(sigma[0]) - 0.05) < 0.005


def test_composition_is_composition(psf, truth):
    op = CircularBlur(psf, (1, 24, 20))
    chain = Stabilised(GaussianFilter(1.0), lambda x: 2 * x)
    assert torch.equal(chain(op, truth), 2 * GaussianFilter(1.0)(op, truth))


def test_impossible_steps_are_refused(psf, truth):
    with pytest.raises(ValueError, match="n_iter is 0 and lam 1: give at least one step"):
        cgls(CircularBlur(psf, (1, 24, 20)), truth, lam=1, n_iter=0)


def test_variation_has_the_derivative_of_its_fixed_point(psf):
    """Beside a difference quotient of the solver run to its end, along the gradient of a squared error."""
    op = WindowedBlur(psf, (1, 24, 22))
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(1, *op.img_size, dtype=torch.float64)
    x[..., 8:20, 6:16] = 1
    y = op.A(x) + 0.02 * torch.randn(1, 1, 24, 22, generator=generator, dtype=torch.float64)
    run = Variation(0.8, 400, sigma=0.02)
    data = y.clone().requires_grad_()
    out = run(op, data)
    assert torch.equal(out.detach(), run(op, y)) and run(op, y).grad_fn is None
    rest = (out - x).detach()
    (g,) = torch.autograd.grad(out, data, rest)
    v, h = g / g.norm(), 0.02
    ends = [float((run(op, y + s * h * v) - x).square().sum()) / 2 for s in (1, -1)]
    assert float((g * v).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=0.1)
