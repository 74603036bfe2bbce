"""The averaged periodogram and its fit, against direct computations."""

import numpy as np
import pytest
from scipy.optimize import minimize

from imaging.psf.generators import gaussian, motion
from imaging.psf.spectrum import PRIOR_MEAN, PRIOR_SD, frequencies, gain_of, spectrum_of, tile_size, whittle


def test_white_noise_has_a_flat_spectrum_of_its_variance():
    noise = 0.3 * np.random.default_rng(0).standard_normal((300, 420))
    power = spectrum_of(noise).power
    assert power.mean() == pytest.approx(0.09, rel=0.05)
    assert power[: len(power) // 2].mean() == pytest.approx(power[len(power) // 2 :].mean(), rel=0.08)


def test_gain_is_the_smeared_squared_transfer_function():
    psf, tile = motion(9, 33), 64
    row, column = frequencies(tile)
    r, c = np.mgrid[: psf.shape[0], : psf.shape[1]]

    def direct(fr, fc):
        return np.abs((psf * np.exp(-2j * np.pi * (r * fr + c * fc))).sum()) ** 2

    got = gain_of(psf, tile, np.ones(row.shape, dtype=bool)).reshape(row.shape)
    taper = {-1: 1 / 6, 0: 2 / 3, 1: 1 / 6}
    for i, j in [(0, 0), (3, 5), (60, 32), (32, 0), (1, 31)]:
        wanted = sum(
            taper[a] * taper[b] * direct(row[i, j] + a / tile, column[i, j] + b / tile)
            for a in taper
            for b in taper
        )
        assert got[i, j] == pytest.approx(wanted, abs=1e-12)


def test_the_fit_is_the_maximum_a_general_minimiser_finds():
    rng = np.random.default_rng(1)
    picture = np.cumsum(np.cumsum(rng.standard_normal((160, 160)), 0), 1)
    thin = spectrum_of(picture / np.ptp(picture) + 0.01 * rng.standard_normal((160, 160)))
    gain = gain_of(gaussian(1.5), thin.tile, thin.use)
    fit = whittle(thin, gain[None], steps=100)

    def negative(x):
        m = np.exp(x[-1]) + gain * np.exp(thin.basis @ x[:-1])
        pull = ((x[:-1] - PRIOR_MEAN) ** 2 / PRIOR_SD**2).sum() / 2
        return thin.looks * (np.log(m) + thin.power / m).sum() + pull

    start = np.append(fit.weights[0], np.log(fit.noise[0]))
    assert negative(start) == pytest.approx(-fit.score[0], rel=1e-9)
    lower = minimize(negative, start, method="L-BFGS-B").fun
    assert lower > negative(start) - 0.01
    assert negative(start + 0.3) > negative(start) + 1  # the check can fail


def test_larger_pictures_get_larger_tiles():
    assert [tile_size(s) for s in [(200, 300), (1300, 2000), (9000, 9000)]] == [128, 256, 512]
