"""The spectral fit: periodogram of known noise, synthetic spectra, filling, tiles."""

import numpy as np
import pytest

from imaging import noise_spectrum as ns

DELTA = np.ones((1, 1))


def test_periodogram_of_white_noise_is_its_variance_with_and_without_holes():
    n = 0.3 * np.random.default_rng(0).standard_normal((200, 180))
    seen = np.random.default_rng(1).random(n.shape) > 0.2
    for observed in (np.ones_like(seen), seen):
        s = ns.spectrum(n, DELTA, observed)
        assert np.mean(s.power / s.noise) == pytest.approx(0.09, rel=0.05)
    assert (
        s.noise.min() < 0.9
    )  # the filling does colour the noise: without its response the level would be low


def test_a_ramp_and_a_jump_across_the_border_do_not_leak():
    ramp = np.add.outer(np.linspace(0, 1, 128), np.linspace(0, 2, 128))
    steep = np.where(np.arange(128) > 64, 1.0, 0.0)[:, None] * np.ones(128)
    smooth = ns.spectrum(ramp, DELTA, np.ones(ramp.shape, bool))
    jump = ns.spectrum(steep, DELTA, np.ones(ramp.shape, bool))
    assert smooth.power.max() < 1e-12
    assert jump.power.max() > 1e-3  # the control: a jump inside the picture is signal


def test_gain_is_the_transfer_function_also_of_a_psf_larger_than_the_tile():
    rng = np.random.default_rng(0)
    psf = rng.random((41, 37))
    s = ns.spectrum(rng.random((32, 32)), psf, np.ones((32, 32), bool))
    i, j = np.mgrid[:41, :37]
    for index in (5, 100, 300):
        f = s.radius[index] * np.array([np.sin(s.angle[index]), np.cos(s.angle[index])])
        wanted = abs((psf * np.exp(-2j * np.pi * (f[0] * i + f[1] * j))).sum()) ** 2
        assert s.gain[index] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("tiles", [1, 9])
def test_fit_recovers_the_variance_of_its_own_model(tiles):
    rng = np.random.default_rng(tiles)
    fy, fx = np.meshgrid(np.fft.fftfreq(150), np.fft.rfftfreq(150), indexing="ij")
    radius, angle = np.hypot(fy, fx), np.arctan2(fy, fx)
    keep = radius > ns.LOWEST
    radius, angle = radius[keep], angle[keep]
    gain = np.exp(-4 * np.pi**2 * radius**2)
    model = 1e-4 + gain * 1e-4 * radius**-2.2 * np.exp(0.8 * np.cos(2 * angle))
    power = model * rng.gamma(tiles, 1 / tiles, model.shape)
    spectrum = ns.Spectrum(power, np.ones_like(power), radius, angle, gain, tiles)
    variance, signal = ns.fit_noise(spectrum)
    assert variance == pytest.approx(1e-4, rel=0.04)
    assert np.median(signal / (model - 1e-4)) == pytest.approx(1, abs=0.1)
    power[::50] *= 100  # isolated lines, as of a weave
    assert ns.fit_noise(spectrum)[0] == pytest.approx(1e-4, rel=0.12)


def test_fill_is_linear_keeps_what_is_seen_and_follows_smooth_pictures():
    rng = np.random.default_rng(0)
    seen = rng.random((40, 50)) > 0.3
    seen[10:16, 20:27] = False
    a, b = rng.random((2, 40, 50))
    assert np.array_equal(ns.fill(a, seen)[seen], a[seen])
    assert np.allclose(ns.fill(2 * a - b, seen), 2 * ns.fill(a, seen) - ns.fill(b, seen), atol=1e-12)
    assert np.allclose(ns.fill(np.full((40, 50), 0.7), seen), 0.7)
    wave = np.sin(np.add.outer(np.arange(40), np.arange(50)) / 6)
    inside = np.s_[4:-4, 4:-4]
    scattered = rng.random((40, 50)) > 0.3
    assert np.abs(ns.fill(wave, scattered) - wave)[inside].max() < 0.1


def test_a_large_picture_is_cut_in_tiles_that_cover_it():
    cover = np.zeros((1300, 700), int)
    parts = list(ns._tiles(cover.shape, (512, 512), 6))
    for part in parts:
        assert cover[part].shape == (512, 512)
        cover[part] += 1
    assert cover.min() >= 1 and len(parts) <= 36
    assert len(list(ns._tiles((40_000, 40_000), (512, 512), 6))) == 36


def test_scattered_few_pixels_are_refused():
    seen = np.zeros((64, 64), bool)
    seen[::8, ::8] = True
    with pytest.raises(ValueError, match=r"only 1.6% of the pixels are observed"):
        ns.spectrum(np.zeros((64, 64)), DELTA, seen)
