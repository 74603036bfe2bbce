"""Noise level: recovered on pictures with edges, every branch, masks, clipping, colour, and refusals."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, laplace, zoom
from scipy.signal import fftconvolve

from imaging import noise
from imaging.noise_level import NoiseLook, colour_of_noise, estimate_peak, estimate_sigma, level_beside_signal

AXIS = np.arange(-5, 6)
GAUSS = np.exp(-(AXIS[:, None] ** 2 + AXIS**2) / 2)
GAUSS /= GAUSS.sum()
PSF = torch.from_numpy(GAUSS)[None, None]


def scene(seed: int, size: tuple[int, int] = (150, 170)) -> np.ndarray:
    """Overlapping discs with texture of 1/|f| amplitude: edges, detail at all scales."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.full(size, 0.5)
    for _ in range(40):
        row, column, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(4, 40)
        picture[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.uniform(0.15, 0.85)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij"))
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal(size)) / np.maximum(radius, 0.02)).real
    return picture + 0.02 * texture / texture.std()


def photograph(seed: int, sigma: float, psf: np.ndarray = GAUSS) -> torch.Tensor:
    """Only what a sensor sees of a larger blurred scene."""
    blurred = fftconvolve(scene(seed), psf, "valid")
    return noise.gaussian(torch.from_numpy(blurred.copy())[None, None], sigma, seed)


@pytest.mark.parametrize("sigma", [0.05, 0.02, 0.005])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_level_with_the_psf(seed, sigma):
    assert float(estimate_sigma(photograph(seed, sigma), PSF)) == pytest.approx(sigma, rel=0.06)


def test_level_with_a_motion_psf_whose_zeros_are_lines():
    motion = np.zeros((9, 9))
    motion[np.arange(9), np.arange(9)] = 1 / 9
    y = photograph(3, 0.01, motion)
    assert float(estimate_sigma(y, torch.from_numpy(motion)[None, None])) == pytest.approx(0.01, rel=0.08)


@pytest.mark.parametrize("sigma", [0.05, 0.02])
def test_level_without_the_psf_on_sharp_and_blurred_pictures(sigma):
    sharp = photograph(4, sigma, np.ones((1, 1)))
    assert float(estimate_sigma(sharp)) == pytest.approx(sigma, rel=0.15)
    assert float(estimate_sigma(photograph(4, sigma))) == pytest.approx(sigma, rel=0.1)


def test_a_psf_that_removes_nothing_is_no_help():
    y, delta = photograph(5, 0.03, np.ones((1, 1))), torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    delta[..., 2, 2] = 2.0
    assert torch.equal(estimate_sigma(y, delta), estimate_sigma(y))
    assert not torch.equal(estimate_sigma(y, PSF), estimate_sigma(y))


def test_a_psf_that_did_not_blur_this_picture_is_not_believed():
    sharp, motion = photograph(4, 0.005, np.ones((1, 1))), torch.eye(13, dtype=torch.float64)[None, None]
    assert torch.equal(estimate_sigma(sharp, motion), estimate_sigma(sharp))
    moved = photograph(4, 0.005, np.eye(13) / 13)  # the control: the same psf, where it did blur the picture
    assert float(estimate_sigma(moved, motion)) == pytest.approx(0.005, rel=0.1)
    assert not torch.equal(estimate_sigma(moved, motion), estimate_sigma(moved))


def test_a_strip_without_noise_does_not_pull_the_level_down():
    y = photograph(4, 0.03)
    y[..., :30] = 0.4
    for psf in (PSF, None):
        assert 0.025 < float(estimate_sigma(y, psf)) < 0.033


def test_batch_is_singles_and_colour_is_pooled():
    a, b = photograph(6, 0.02), photograph(7, 0.04)
    for psf in (PSF, None):
        singles = [float(estimate_sigma(u, psf)) for u in (a, b)]
        assert estimate_sigma(torch.cat([a, b]), psf).tolist() == pytest.approx(singles)
        pooled = float(estimate_sigma(torch.cat([a, b], 1), psf))
        assert pooled == pytest.approx(np.sqrt(np.mean(np.square(singles))))


def test_psf_per_channel_is_used_per_channel():
    wide = gaussian_filter(GAUSS, 1.0)
    wide /= wide.sum()
    y = torch.cat([photograph(8, 0.02), photograph(9, 0.02, wide)], 1)
    psfs = torch.from_numpy(np.stack([GAUSS, wide]))[None]
    wanted = [float(estimate_sigma(y[:, i : i + 1], psfs[:, i : i + 1])) for i in (0, 1)]
    assert float(estimate_sigma(y, psfs)) == pytest.approx(np.sqrt(np.mean(np.square(wanted))))


def test_dtype_scale_and_purity():
    y = photograph(10, 0.02)
    before = y.clone()
    narrow = estimate_sigma(y.float(), PSF.float())
    assert narrow.dtype == torch.float32
    assert float(narrow) == pytest.approx(float(estimate_sigma(y, 7 * PSF)), rel=1e-4)  # any sum of the psf
    assert float(estimate_sigma(y / 4 + 0.3, PSF)) == pytest.approx(
        float(estimate_sigma(y, PSF)) / 4, rel=1e-3
    )
    assert torch.equal(before, y)


@pytest.mark.parametrize("psf", [PSF, None])
def test_unobserved_pixels_do_not_count(psf):
    y = photograph(11, 0.02)
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.random(y.shape) > 0.02)
    mask[..., 30:60, 40:80] = False
    spoiled = torch.where(mask, y, torch.nan)
    assert float(estimate_sigma(spoiled, psf, mask=mask)) == pytest.approx(0.02, rel=0.1)
    wild = torch.where(mask, y, 1.7)
    assert float(estimate_sigma(wild, psf, mask=mask)) == float(estimate_sigma(spoiled, psf, mask=mask))


def test_half_the_pixels_missing():
    y = photograph(12, 0.02)
    mask = torch.from_numpy(np.random.default_rng(1).random(y.shape) > 0.5)
    assert float(estimate_sigma(y * mask, PSF, mask=mask)) == pytest.approx(0.02, rel=0.08)


def test_eight_bits_and_clipped_regions():
    dark = photograph(13, 0.0) * 1.8 - 0.6
    noisy = noise.gaussian(dark, 0.03, 1)
    file = noise.quantise(noisy, 256)
    assert float((file <= 0).double().mean()) > 0.03
    assert float(estimate_sigma(file, PSF)) == pytest.approx(0.03, rel=0.1)


def test_small_and_empty_pictures():
    tiny = noise.gaussian(torch.full((1, 1, 16, 16), 0.5, dtype=torch.float64), 0.05, 0)
    assert float(estimate_sigma(tiny, PSF)) == pytest.approx(0.05, rel=0.3)
    flat = torch.full((1, 1, 64, 64), 0.5, dtype=torch.float64)
    assert float(estimate_sigma(flat)) < 1e-9
    assert float(estimate_sigma(flat, PSF)) < 1e-9


def test_white_noise_is_told_from_resized_smoothed_and_sharpened_noise():
    clean, n = photograph(14, 0.0), np.random.default_rng(2).standard_normal((140, 160))
    resized = zoom(n[:70, :80], 2, order=1)
    colours = {}
    for name, field in {
        "white": n,
        "resized": resized,
        "smooth": gaussian_filter(n, 0.7),
        "sharp": n - 0.5 * laplace(n),
    }.items():
        y = clean + torch.from_numpy(0.02 * field / field.std())
        colours[name] = (float(colour_of_noise(y, PSF)), float(colour_of_noise(y)))
    assert colours["white"] == pytest.approx((1, 1), abs=0.1)
    assert max(colours["resized"]) < 0.8 and max(colours["smooth"]) < 0.8
    assert min(colours["sharp"]) > 1.1


def test_jpeg_noise_is_not_white():
    import io

    from PIL import Image

    y = photograph(15, 0.03)
    stored = io.BytesIO()
    Image.fromarray((noise.quantise(y, 256)[0, 0].numpy() * 255).astype("uint8")).save(
        stored, "JPEG", quality=75
    )
    back = torch.from_numpy(np.asarray(Image.open(stored)) / 255.0)[None, None]
    assert float(colour_of_noise(back, PSF)) < 0.8 < float(colour_of_noise(y, PSF))
    assert float(colour_of_noise(back)) < 0.8 < float(colour_of_noise(y))


@pytest.mark.parametrize("peak", [30.0, 300.0])
def test_peak(peak):
    y = noise.poisson(photograph(16, 0.0), peak, 0)
    assert estimate_peak(y) == pytest.approx(peak, rel=0.2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda y: estimate_sigma((y * 255).byte()), TypeError, "pixels of torch.uint8, floating ones"),
        (
            lambda y: estimate_sigma(y[0]),
            ValueError,
            r"shape \(1, 140, 160\), \(B, C, H, W\) from 3x3 pixels up",
        ),
        (lambda y: estimate_sigma(y / 0), ValueError, "NaN or infinity: mask those pixels"),
        (lambda y: estimate_sigma(y, mask=torch.zeros(140, 160)), ValueError, "the mask leaves no pixel"),
        (lambda y: estimate_sigma(y, PSF[0]), ValueError, r"psf of shape \(1, 11, 11\).* is wanted"),
        (lambda y: estimate_sigma(y, PSF - PSF.mean()), ValueError, "psf sums to 0"),
        (lambda y: estimate_peak(y[..., :16, :16]), ValueError, "no noise that grows with the light"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call(photograph(0, 0.02))


@pytest.mark.parametrize("psf", [PSF, None])
def test_one_look_gives_what_the_single_functions_give(psf):
    y = torch.cat([photograph(17, 0.02), photograph(18, 0.03)], 1)
    mask = torch.from_numpy(np.random.default_rng(0).random(y.shape) > 0.05)
    look = NoiseLook(y, psf, mask=mask)
    assert torch.equal(look.colour(), colour_of_noise(y, psf, mask=mask))
    assert torch.equal(look.sigma(), estimate_sigma(y, psf, mask=mask))
    if psf is not None:
        assert torch.equal(look.beside_signal(), level_beside_signal(y, psf, mask=mask))


@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_a_rough_look_is_close_enough_to_tell_a_wrong_level(sigma):
    blurred = torch.from_numpy(fftconvolve(scene(19, (410, 330)), GAUSS, "valid").copy())[None, None]
    y = noise.gaussian(blurred, sigma, 1)
    rough, whole = NoiseLook(y, PSF, roughly=True), NoiseLook(y, PSF)
    assert float(rough.sigma()) == pytest.approx(sigma, rel=0.06)
    assert not torch.equal(rough.sigma(), whole.sigma())  # it has seen less
    assert float(rough.colour()) == pytest.approx(1, abs=0.1)
    assert torch.equal(NoiseLook(y, roughly=True).sigma(), estimate_sigma(y))  # no short cut without a psf
