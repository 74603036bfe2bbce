"""The Zernike psf: diffraction, symmetry, geometry, centroid."""

import numpy as np
import pytest
from scipy.special import j1

from imaging.psf.errors import PsfError
from imaging.psf.optics import ENERGY, zernike


def test_no_aberration_is_the_airy_pattern():
    h = zernike({})
    n = len(h) // 2
    r = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1]) * np.pi / 2  # cutoff 1: first zero at 2.44 pixels
    r[n, n] = 1
    airy = (2 * j1(r) / r) ** 2
    airy[n, n] = 1
    np.testing.assert_allclose(h / h.max(), airy, atol=0.02)


def test_defocus_spreads_light_over_the_geometric_disk():
    h = zernike({"defocus": 6.0})
    n = len(h) // 2
    r = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])
    edge = 6.0 * 4 * np.sqrt(3) * 4 / (2 * np.pi)  # slope of the phase at the rim of the pupil
    assert h[r < edge * 1.1].sum() > 0.95 * h.sum()
    assert h[r < edge * 0.5].sum() == pytest.approx(0.25, abs=0.06)


def test_sum_size_and_centroid():
    for name in ("defocus", "astigmatism", "astigmatism_45", "coma_x", "coma_y", "spherical"):
        h = zernike({name: 0.8})
        n = len(h) // 2
        at = np.arange(len(h)) - n
        assert len(h) % 2 == 1 and h.sum() == pytest.approx(1) and h.min() >= 0
        assert abs((h.sum(0) * at).sum()) < 0.25 and abs((h.sum(1) * at).sum()) < 0.25
    assert 0.9 < ENERGY < 1


def test_coma_points_along_its_axis():
    h = zernike({"coma_x": 1.0})
    np.testing.assert_allclose(h, h[::-1], atol=1e-12)
    assert np.abs(h - h[:, ::-1]).max() > 0.01
    np.testing.assert_allclose(zernike({"coma_y": 1.0}), h.T, atol=1e-12)


def test_refusals():
    with pytest.raises(PsfError, match=r"unknown aberration 'comma_x'.*did you mean 'coma_x'"):
        zernike({"comma_x": 1})
    with pytest.raises(PsfError, match="cutoff is 2, wanted a share of the Nyquist"):
        zernike({}, cutoff=2)
    with pytest.raises(PsfError, match="give smaller coefficients"):
        zernike({"defocus": 500})
    with pytest.raises(PsfError, match="defocus is nan"):
        zernike({"defocus": float("nan")})
