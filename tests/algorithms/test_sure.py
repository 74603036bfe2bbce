"""The risk estimate against explicit matrices and the true risk; windows that stand for a picture."""

import math

import pytest
import torch
from skimage import data

from algorithms.classical import tikhonov
from algorithms.state import State
from algorithms.sure import RATIO, psf_of, sure_weight, typical_windows
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fft import otf_of
from imaging.masks import Identity, Masked
from imaging.sampling import Downsample
from imaging.testing import dense
from imaging.varying import VaryingBlur


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic(op):
    def solver(y, lam, warm):
        return State(tikhonov(op, y, lam=lam), 0.0)

    return solver


def camera(rows: int, columns: int) -> torch.Tensor:
    return torch.from_numpy(data.camera()[90 : 90 + rows, 190 : 190 + columns] / 255.0)[None, None]


def box(n: int) -> torch.Tensor:
    return torch.full((1, 1, n, n), 1 / n**2, dtype=torch.float64)


def exact_risk(op, y, lams, variance):
    """|A x - y|^2 / variance + 2 trace(A A_lam) - n, from the singular values of the blur."""
    H, W = op.img_size[1:]
    otf = torch.fft.fft2(op.A(torch.eye(1, H * W, dtype=torch.float64).reshape(1, 1, H, W)))
    rows, columns = (2 - 2 * torch.cos(2 * math.pi * torch.arange(n).double() / n) for n in (H, W))
    f, power = rows[:, None] + columns, otf.abs() ** 2
    Y = torch.fft.fft2(y).abs() ** 2 / (H * W)
    risk = []
    for lam in lams:
        kept = power / (power + lam * f)
        risk.append(float((((1 - kept) ** 2 * Y) / variance + 2 * kept).sum()) - H * W)
    return risk


def test_the_minimiser_is_that_of_the_exact_estimate():
    op, sigma = CircularBlur(box(5), (1, 96, 96)), 0.03
    y = op.A(camera(96, 96)) + sigma * randn(1, 1, 96, 96)
    choice = sure_weight(op, y, quadratic(op), variance=sigma**2, start=1e-2, seed=0)
    lams = [math.exp(t) for t in torch.linspace(math.log(1e-4), math.log(1), 200).tolist()]
    risk = exact_risk(op, y, lams, sigma**2)
    best = lams[risk.index(min(risk))]
    assert choice.rule == "sure"
    assert 1 / 1.6 < choice.value / best < 1.6
    at, half = exact_risk(op, y, [choice.value, choice.value / 2], sigma**2)
    assert at - min(risk) < 0.25 * (half - min(risk)) + 1e-9


@pytest.mark.parametrize("start", [3e-4, 3e-2])
def test_the_start_does_not_matter(start):
    op, sigma = CircularBlur(box(5), (1, 64, 64)), 0.03
    y = op.A(camera(64, 64)) + sigma * randn(1, 1, 64, 64)
    found = sure_weight(op, y, quadratic(op), variance=sigma**2, start=start, seed=0).value
    again = sure_weight(op, y, quadratic(op), variance=sigma**2, start=4e-3, seed=0).value
    assert found == pytest.approx(again, rel=0.15)


def test_a_minimum_out_of_reach_is_said():
    op, y = Identity((1, 16, 16)), 1 + 0.1 * randn(1, 1, 16, 16)

    def solver(data, lam, warm):  # too little at any weight in reach
        return State(data / (1 + 1e-9 * lam), 0.0)

    choice = sure_weight(op, y, solver, variance=4.0, start=1.0, seed=0)
    assert choice.rule == "first guess, the risk has no minimum near it"
    assert choice.value == 1.0


def test_the_score_itself_with_the_same_probe(psf):
    """For a linear solver the divergence is p^T A A_lam p exactly; the vertex follows from three scores."""
    op, sigma, start = CircularBlur(psf, (1, 9, 8)), 0.05, 0.02
    y = op.A(torch.rand(1, 1, 9, 8, dtype=torch.float64)) + sigma * randn(1, 1, 9, 8)
    choice = sure_weight(op, y, quadratic(op), variance=sigma**2, start=start, seed=3)
    probe = torch.empty(y.shape, dtype=y.dtype)
    probe.bernoulli_(0.5, generator=torch.Generator().manual_seed(3)).mul_(2).sub_(1)
    A = dense(op.A, (1, 9, 8), 1)[0]
    L = dense(lambda x: torch.stack([x.roll(-1, -2) - x, x.roll(-1, -1) - x], 1), (1, 9, 8), 1)[0]
    p, d = probe.flatten(), y.flatten()

    def score(k):
        influence = A @ torch.linalg.solve(A.T @ A + start * RATIO**k * L.T @ L, A.T)
        return float(((influence @ d - d).square().sum() / sigma**2 + 2 * p @ influence @ p) / 72)

    scores = {k: score(k) for k in range(-18, 19)}
    k = 0
    while abs(k) < 16 and (best := min((k - 1, k, k + 1), key=scores.__getitem__)) != k:
        k = best
    low, middle, high = scores[k - 1], scores[k], scores[k + 1]
    bend = low - 2 * middle + high
    shift = max(-1.0, min(1.0, (low - high) / (2 * bend))) if bend > 0 else 0.0
    assert choice.value == pytest.approx(start * RATIO ** (k + shift), rel=1e-6)


def test_the_choice_is_near_the_least_true_risk_of_a_varying_noise():
    op = CircularBlur(box(3), (1, 64, 64))
    truth = camera(64, 64)
    variance = (0.02 + 0.06 * truth) ** 2
    y = op.A(truth) + variance.sqrt() * randn(1, 1, 64, 64)
    choice = sure_weight(op, y, quadratic(op), variance=variance, start=1e-2, seed=0)

    def risk(lam):
        return float(((op.A(tikhonov(op, y, lam=lam)) - op.A(truth)).square() / variance).mean())

    best = min(risk(math.exp(t)) for t in torch.linspace(math.log(1e-4), 0, 60).tolist())
    assert risk(choice.value) < 1.1 * best


@pytest.mark.parametrize("garbage", [5.0, float("nan")])
def test_only_observed_pixels_count(garbage):
    mask = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    mask[..., 10:20, 10:20] = False
    op = Masked(CircularBlur(box(3), (1, 32, 32)), mask)
    y = op.A(camera(32, 32)) + 0.03 * randn(1, 1, 32, 32)

    def solver(data, lam, warm):
        return State(tikhonov(op, data, lam=lam), 0.0)

    clean = sure_weight(op, y, solver, variance=9e-4, start=1e-2, seed=0)
    spoilt = sure_weight(op, y.masked_fill(~mask, garbage), solver, variance=9e-4, start=1e-2, seed=0)
    assert spoilt == clean


def test_the_solver_gets_a_pair_and_what_it_gave_before():
    op, seen = Identity((1, 16, 16)), []
    y = randn(1, 1, 16, 16)

    def solver(data, lam, warm):
        seen.append((tuple(data.shape), lam, warm))
        return State(data / (1 + lam), 0.0)

    sure_weight(op, y, solver, variance=1.0, start=1.0, seed=0)
    assert all(shape == (2, 1, 16, 16) for shape, _, _ in seen)
    assert seen[0][2] is None and all(isinstance(warm, State) for _, _, warm in seen[1:])
    assert len({lam for _, lam, _ in seen}) == len(seen)  # nothing is solved twice


PSFS = {
    "odd": (torch.arange(1, 16).reshape(3, 5), None),
    "even": (torch.arange(1, 25).reshape(4, 6), None),
    "off centre": (torch.arange(1, 16).reshape(3, 5), (0, 4)),
    "one pixel": (torch.ones(1, 1), None),
}


@pytest.mark.parametrize("size", [(24, 20), (21, 17)])
@pytest.mark.parametrize("name", list(PSFS))
def test_psf_of_reads_the_psf_back(name, size):
    values, origin = PSFS[name]
    psf = (values / values.sum()).double()[None, None]
    otf = otf_of(psf, size, origin)
    found = psf_of(otf, size)
    h, w = found.shape[-2:]
    assert h % 2 == w % 2 == 1
    torch.testing.assert_close(otf_of(found, size), otf, rtol=0, atol=1e-12)
    row, column = origin or (psf.shape[-2] // 2, psf.shape[-1] // 2)
    top, left = h // 2 - row, w // 2 - column
    inner = found[..., top : top + psf.shape[-2], left : left + psf.shape[-1]]
    torch.testing.assert_close(inner, psf, rtol=0, atol=1e-12)
    assert float(found.abs().sum()) == pytest.approx(1.0)


def test_psf_of_channels_and_of_float32():
    psf = torch.rand(1, 3, 5, 3, dtype=torch.float32)
    found = psf_of(otf_of(psf, (40, 42)), (40, 42))
    assert found.shape == (1, 3, 5, 5)
    torch.testing.assert_close(found[..., 1:4], psf, rtol=0, atol=1e-6)


def test_a_small_problem_stands_for_itself():
    op, y = CircularBlur(box(3), (1, 40, 40)), randn(1, 1, 40, 40)
    assert typical_windows(op, y, side=20, count=4) == (op, y)
    other = VaryingBlur(box(3).expand(2, 2, 1, 3, 3), (1, 64, 64))
    data_ = randn(1, 1, 64, 64)
    assert typical_windows(other, data_, side=16, count=4) == (other, data_)
    thin = Downsample(CircularBlur(box(3), (1, 128, 128)), 2)
    assert typical_windows(thin, data_, side=16, count=4) == (thin, data_)
    wide = CircularBlur(box(19), (1, 64, 64))
    assert typical_windows(wide, data_, side=16, count=4) == (wide, data_)


def test_windows_are_tiles_of_the_picture_spread_over_its_variance(psf):
    op = WindowedBlur(psf, (2, 70, 64))
    contrast = torch.arange(1, 5).repeat_interleave(16).double()[:, None] * torch.ones(64).double()
    y = randn(1, 2, 70, 64) * torch.nn.functional.pad(contrast, (0, 0, 0, 6))
    small, windows = typical_windows(op, y, side=16, count=4)
    assert isinstance(small, WindowedBlur) and small.data_size == (2, 16, 16)
    assert windows.shape == (4, 2, 16, 16)
    x = randn(1, 2, *op.img_size[1:])  # the same blur: compare on data both can see
    patch = x[..., : small.img_size[1], : small.img_size[2]].contiguous()
    full = CircularBlur(psf, (2, *small.img_size[1:])).A(patch)
    torch.testing.assert_close(small.A(patch), small.window(full), rtol=0, atol=1e-12)
    tiles = [y[..., r : r + 16, c : c + 16] for r in range(0, 64, 16) for c in range(0, 64, 16)]
    places = [next(n for n, t in enumerate(tiles) if torch.equal(t[0], w)) // 4 for w in windows]
    assert places == [0, 1, 2, 3]  # one a quarter of the contrast


@pytest.mark.parametrize("mode", ["reflect", "zero"])
@pytest.mark.parametrize("masked", [False, True])
def test_windows_of_other_borders_see_the_same_blur(mode, masked, psf):
    op = PaddedBlur(psf, (1, 64, 64), mode)
    op = Masked(op, torch.ones(1, 1, 64, 64)) if masked else op
    small, windows = typical_windows(op, randn(1, 1, 64, 64), side=16, count=4)
    assert windows.shape == (4, 1, 16, 16)
    x = randn(1, 1, 64, 64)
    (_, H, W), (top, left) = small.img_size, small.start
    patch = x[..., 20 : 20 + H, 20 : 20 + W].contiguous()
    inside = op.A(x)[..., 20 + top : 36 + top, 20 + left : 36 + left]
    torch.testing.assert_close(small.A(patch), inside, rtol=0, atol=1e-12)


def test_masked_tiles_are_avoided(psf):
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    mask[..., :40, 5] = False
    y = randn(1, 1, 64, 64).masked_fill(~mask, 99.0)
    op = Masked(WindowedBlur(psf, (1, 64, 64)), mask)
    _, windows = typical_windows(op, y, side=16, count=4)
    assert windows.shape == (4, 1, 16, 16) and float(windows.max()) < 99
    everywhere = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    everywhere[..., ::8, ::8] = False
    op = Masked(WindowedBlur(psf, (1, 64, 64)), everywhere)
    assert typical_windows(op, y, side=16, count=4) == (op, y)
