"""Flat patches: selection, eigenvalue, DCT bands, and the estimate for tiny pictures."""

import numpy as np
import pytest
from scipy.fft import dctn

from imaging import noise_patches as np_

RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal((120, 130))
SEEN = np.ones(NOISE.shape, bool)


def test_flat_patches_avoid_the_textured_half():
    y = 0.02 * NOISE
    y[:, 65:] += (np.add.outer(np.arange(120), np.arange(65)) // 2 % 2) * 0.4
    flat = np_.flat_patches(y, SEEN)
    assert np.sqrt(np_.smallest_variance(flat)) == pytest.approx(0.02, rel=0.05)
    everything = np_._all_patches(y, SEEN)
    assert flat.std() < 0.03 < everything.std()  # the control: all patches are far from flat


def test_masked_pixels_are_in_no_patch():
    seen = SEEN.copy()
    seen[30:60, 40:80] = False
    flat = np_.flat_patches(np.where(seen, NOISE, 1e6), seen)
    assert np.abs(flat).max() < 10


def test_too_few_patches_are_refused_with_none():
    assert np_.flat_patches(NOISE[:12, :12], SEEN[:12, :12]) is None
    assert np_.flat_patches(NOISE[:4, :4], SEEN[:4, :4]) is None


def test_band_levels_are_variances_of_the_dct():
    patches = NOISE[:120, :126].reshape(20, 6, 21, 6).swapaxes(1, 2).reshape(-1, 6, 6)
    wanted = dctn(patches, axes=(1, 2), norm="ortho").var(0)
    assert np.allclose(np_.band_levels(patches.reshape(-1, 36)), wanted)


def test_tiny_picture():
    assert np_.tiny_picture_level(NOISE, SEEN) == pytest.approx(1, rel=0.05)
    seen = SEEN.copy()
    seen[:, :60] = False
    assert np_.tiny_picture_level(np.where(seen, NOISE, 50.0), seen) == pytest.approx(1, rel=0.05)
