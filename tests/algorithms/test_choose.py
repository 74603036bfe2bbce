"""Rules against explicit matrices, against data drawn from the model, against the truth."""

import math

import pytest
import torch
from skimage import data

from algorithms.choose import (
    decimates,
    evidence_weight,
    gcv_weight,
    moment_weight,
    noise_reached,
    spectra,
)
from algorithms.classical import penalty_spectrum, tikhonov
from algorithms.state import State
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Identity, Inpainting, Masked
from imaging.sampling import Downsample
from imaging.testing import dense


class Unstructured(CircularBlur):
    """A blur that does not say so: the general road, on a problem whose answer the short one knows."""

    def factored(self):
        return None


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def camera(rows: int, columns: int) -> torch.Tensor:
    return torch.from_numpy(data.camera()[90 : 90 + rows, 190 : 190 + columns] / 255.0)[None, None]


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * float((x - truth).square().mean().log10())


def box(n: int) -> torch.Tensor:
    return torch.full((1, 1, n, n), 1 / n**2, dtype=torch.float64)


def periodic_differences(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.roll(-1, -2) - x, x.roll(-1, -1) - x], 1)


def smooth_signal(size: tuple[int, int], c: float, seed: int) -> torch.Tensor:
    """A draw of the prior with spectrum c / |f|^2."""
    spectrum = penalty_spectrum("gradient", size, torch.zeros(1, dtype=torch.float64))
    shape = torch.where(spectrum > 0, (c / spectrum.clamp_min(1e-300)).sqrt(), 0)
    return torch.fft.irfft2(torch.fft.rfft2(randn(1, 1, *size, seed=seed)) * shape, s=size)


@pytest.mark.parametrize("penalty", ["gradient", "identity"])
def test_gcv_is_the_one_of_explicit_matrices(penalty, psf):
    op = CircularBlur(psf, (1, 9, 8))
    y = op.A(smooth_signal((9, 8), 0.05, 3)) + 0.05 * randn(1, 1, 9, 8, seed=4)
    A = dense(op.A, (1, 9, 8), 1)[0]
    L = dense(periodic_differences, (1, 9, 8), 1)[0] if penalty == "gradient" else torch.eye(72).double()

    def score(lam):
        influence = A @ torch.linalg.solve(A.T @ A + lam * L.T @ L, A.T)
        left = torch.eye(72).double() - influence
        return float((left @ y.flatten()).square().sum() / left.trace() ** 2)

    choice = gcv_weight(op, y, penalty=penalty, seed=0)
    weights = torch.linspace(math.log(1e-6), math.log(10), 400).exp().tolist()
    best = min(map(score, weights))
    assert choice.rule == "gcv"
    assert score(choice.value) <= best * (1 + 1e-4)
    at = score(choice.value)
    assert choice.rise[0] == pytest.approx(score(choice.value / 2) / at - 1, rel=1e-6, abs=1e-9)
    assert choice.rise[1] == pytest.approx(score(choice.value * 2) / at - 1, rel=1e-6, abs=1e-9)


def test_the_general_road_comes_close_to_the_closed_form():
    op, general = CircularBlur(box(5), (1, 32, 32)), Unstructured(box(5), (1, 32, 32))
    y = op.A(camera(32, 32)) + 0.02 * randn(1, 1, 32, 32)
    exact, probed = gcv_weight(op, y, seed=0), gcv_weight(general, y, seed=1)
    assert probed.rule == "gcv with a random probe"
    assert 0.5 < probed.value / exact.value < 2


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_float32_and_few_samples_do_not_stop_the_general_road(mode, psf):
    """Weak weights cannot be solved to the last digit there; the criterion does not need that digit."""
    fine = Downsample(PaddedBlur(psf.float(), (1, 24, 24), mode), 2)
    y = (fine.A(camera(24, 24).float()) + 0.02 * randn(1, 1, 12, 12)).float()
    coarse = gcv_weight(fine, y, seed=0)
    exact = gcv_weight(fine.double(), y.double(), seed=0)
    assert coarse.value == pytest.approx(exact.value, rel=0.05)


def test_the_probe_is_drawn_from_the_seed():
    op, y = Unstructured(box(3), (1, 12, 12)), camera(12, 12) + 0.05 * randn(1, 1, 12, 12)
    assert gcv_weight(op, y, seed=1) == gcv_weight(op, y, seed=1)
    assert gcv_weight(op, y, seed=1) != gcv_weight(op, y, seed=2)


@pytest.mark.parametrize("garbage", [9.0, float("nan")])
def test_masked_data_do_not_move_the_general_road(garbage):
    mask = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    mask[..., 4:8, 4:12] = False
    op = Inpainting(mask, (1, 16, 16))
    y = camera(16, 16) + 0.05 * randn(1, 1, 16, 16)
    assert gcv_weight(op, y.masked_fill(~mask, garbage), seed=0) == gcv_weight(op, y, seed=0)


@pytest.mark.parametrize("sigma", [0.01, 0.05])
@pytest.mark.parametrize("border", ["circular", "windowed"])
@pytest.mark.parametrize("rule", ["gcv", "evidence"])
def test_the_choice_costs_little_against_the_best_weight(rule, border, sigma):
    psf = box(5)
    op = CircularBlur(psf, (1, 96, 96)) if border == "circular" else WindowedBlur(psf, (1, 92, 92))
    truth = camera(*op.img_size[1:])
    clean = op.A(truth)
    y = clean + sigma * randn(*clean.shape, seed=1)
    if rule == "gcv":
        chosen = gcv_weight(op, y, seed=0).value
    else:
        chosen = sigma**2 / evidence_weight(op, y, sigma=sigma).value

    def quality(lam):
        return psnr(op.window(tikhonov(op, y, lam=lam)), op.window(truth))

    best = max(quality(math.exp(t)) for t in torch.linspace(math.log(1e-5), math.log(0.3), 16).tolist())
    allowed = 0.2 if rule == "gcv" else 0.5  # evidence believes in the spectrum 1 / |f|^2, photographs less
    assert quality(chosen) > best - allowed
    assert quality(chosen / 100) < best - 0.2  # the quality does depend on it


@pytest.mark.parametrize("c", [0.001, 0.02])
@pytest.mark.parametrize("border", ["circular", "windowed"])
def test_evidence_finds_the_spectrum_the_data_were_drawn_from(border, c, psf):
    op = CircularBlur(psf, (1, 128, 128)) if border == "circular" else WindowedBlur(psf, (1, 120, 120))
    sigma = 0.01
    clean = op.A(smooth_signal(tuple(op.img_size[1:]), c, 5))
    found = evidence_weight(op, clean + sigma * randn(*clean.shape, seed=6), sigma=sigma)
    assert found.rule == "evidence"
    assert found.value == pytest.approx(c, rel=0.15)
    assert min(found.rise) > 0


def test_evidence_needs_spectra():
    op = Unstructured(box(3), (1, 16, 16))
    assert evidence_weight(op, op.A(camera(16, 16)), sigma=0.02) is None


def test_the_moment_of_the_differences_is_counted_pixel_by_pixel():
    y = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    y[..., 2:] = 1.0  # four unit steps in sixteen pixels
    choice = moment_weight(y, sigma=0.1, valid=None)
    assert choice.value == pytest.approx(4 / 16 - 4 * 0.1**2)
    assert moment_weight(0 * y, sigma=0.1, valid=None).value == pytest.approx(0.1**2)  # never below the noise


def test_the_end_of_the_range_is_said():
    op = CircularBlur(torch.ones(1, 1, 1, 1, dtype=torch.float64), (1, 16, 16))
    choice = evidence_weight(op, camera(16, 16), sigma=1e-6)  # no noise at all: the smallest weight is best
    assert choice.rule == "evidence, at the end of the range tried"
    assert choice.rise == (0.0, 0.0)


def test_a_flat_criterion_says_so(psf):
    """Without noise and without blur any small weight does; with noise it matters."""
    op = CircularBlur(torch.ones(1, 1, 1, 1, dtype=torch.float64), (1, 48, 48))
    ramp = torch.sin(torch.arange(48, dtype=torch.float64) / 24 * math.pi)
    flat = gcv_weight(op, (ramp[:, None] * ramp)[None, None].contiguous(), seed=0)
    noisy = gcv_weight(op, (ramp[:, None] * ramp)[None, None] + 0.3 * randn(1, 1, 48, 48), seed=0)
    blurred = gcv_weight(CircularBlur(box(9), (1, 48, 48)), randn(1, 1, 48, 48), seed=0)
    assert max(noisy.rise) > 0.01
    assert max(map(abs, blurred.rise)) < 0.01
    assert math.isfinite(flat.rise[0])


def test_spectra_of_white_noise_read_its_variance(psf):
    y = 0.3 * randn(1, 2, 64, 60)
    for op in (CircularBlur(psf, (2, 64, 60)), WindowedBlur(psf, (2, 64, 60))):
        s = spectra(op, y)
        mean = float((s.count * s.power).sum() / s.count.sum())
        assert mean == pytest.approx(0.09, rel=0.06)


def test_a_masked_hole_is_filled_before_its_spectrum_is_taken(psf):
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    mask[..., 20:30, 20:30] = False
    op = CircularBlur(box(5), (1, 64, 64))
    y = op.A(camera(64, 64)) + 0.02 * randn(1, 1, 64, 64)
    whole = gcv_weight(WindowedBlur(box(5), (1, 64, 64)), y, seed=0)
    holed = gcv_weight(Masked(op, mask), y.masked_fill(~mask, 9.0), seed=0)
    assert 1 / 3 < holed.value / whole.value < 3


def test_only_blurs_behind_a_window_have_spectra(psf):
    y = randn(1, 1, 8, 8)
    assert spectra(PaddedBlur(psf, (1, 8, 8), "reflect"), y) is None
    assert spectra(Identity((1, 8, 8)), y) is None
    thinned = Downsample(CircularBlur(psf, (1, 16, 16)), 2)
    assert decimates(thinned, y) and spectra(thinned, y) is None
    assert not decimates(WindowedBlur(psf, (1, 8, 8)), y)


def test_noise_reached_counts_observed_pixels_only():
    y = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    fit = torch.tensor([[[[0.1, -0.1], [0.1, 5.0]]]], dtype=torch.float64)
    valid = torch.tensor([[[[True, True], [True, False]]]])
    state = State(fit, 1.0, (fit,))
    assert noise_reached(y, 0.0101, valid=valid)(state)
    assert not noise_reached(y, 0.0099, valid=valid)(state)
    assert not noise_reached(y, 0.0101, valid=None)(state)
    spoilt = y.masked_fill(~valid, float("nan"))
    assert noise_reached(spoilt, 0.0101, valid=valid)(state)


def test_noise_reached_weighs_each_pixel_by_its_own_variance():
    y = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    fit = torch.tensor([[[[0.1, 0.3]]]], dtype=torch.float64)
    state = State(fit, 1.0, (fit,))
    variance = torch.tensor([[[[0.01, 0.09]]]], dtype=torch.float64)
    assert noise_reached(y, variance * 1.01, valid=None)(state)
    assert not noise_reached(y, variance.flip(-1), valid=None)(state)
