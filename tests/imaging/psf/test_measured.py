"""A psf read off a point or an edge equals the one the picture was blurred with."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from imaging.psf.errors import PsfError, PsfNotFound
from imaging.psf.generators import disk, gaussian, motion
from imaging.psf.measured import psf_from_edge, psf_from_point
from imaging.psf.result import grey


def starry(psf, noise, brightness=0.8, seed=0):
    """A night sky with one star at (50, 60), another far away, a background of 0.1."""
    sky = np.zeros((120, 130))
    sky[50, 60], sky[100, 20] = brightness / psf.max(), 0.5 / psf.max()
    sky = fftconvolve(sky, psf, mode="same") + 0.1
    return sky + noise * np.random.default_rng(seed).standard_normal(sky.shape)


def distance(a, b):
    """Sum of absolute differences of two psfs whose centres are n // 2."""
    h, w = (max(m, n) for m, n in zip(a.shape, b.shape, strict=True))
    a, b = (np.pad(p, [((h - p.shape[0]) // 2,) * 2, ((w - p.shape[1]) // 2,) * 2]) for p in (a, b))
    return np.abs(a - b).sum()


@pytest.mark.parametrize("psf", [gaussian(1.5), disk(4), motion(9, 30)])
def test_a_star_shows_the_psf(psf):
    found = psf_from_point(starry(psf, 0.002), (53, 58), size=31)
    assert found.psf.shape[0] == found.psf.shape[1] and len(found.psf) % 2 == 1
    assert found.psf.sum() == pytest.approx(1) and found.psf.min() >= 0
    assert (found.parameters["row"], found.parameters["column"]) == (50, 60)
    assert distance(found.psf, psf) < 0.1
    assert "point at row 50, column 60" in found.text and found.confidence > 0.9


def test_colour_pictures_are_read_by_their_mean():
    sky = starry(gaussian(1.5), 0.002)
    colour = np.round(np.clip(np.dstack([sky] * 3), 0, 1) * 65535).astype(np.uint16)
    one, three = (psf_from_point(p, (50, 60), size=31).psf for p in (colour[..., 0], colour))
    np.testing.assert_allclose(one, three, atol=1e-9)


@pytest.mark.parametrize(
    ("picture", "at", "size", "match"),
    [
        (starry(gaussian(1.5), 0.3), (50, 60), 31, "no point of light stands out"),
        (np.zeros((50, 50)), (25, 25), 31, "no point of light stands out"),
        (starry(disk(10), 0.001), (50, 60), 21, "the light reaches the rim of the 21x21 window"),
        (np.clip(starry(gaussian(2), 0, 9.0), 0, 1), (50, 60), 31, "it is overexposed"),
    ],
)
def test_a_poor_point_is_refused(picture, at, size, match):
    with pytest.raises(PsfNotFound, match=match):
        psf_from_point(picture, at, size=size)


def test_windows_outside_and_even_are_refused():
    with pytest.raises(PsfError, match="leaves the 120x130 image"):
        psf_from_point(starry(gaussian(1), 0), (5, 60), size=31)
    with pytest.raises(PsfError, match="window size is 30, wanted an odd number"):
        psf_from_point(starry(gaussian(1), 0), (50, 60), size=30)


def edge(psf, angle, noise, seed=0):
    """A straight edge of 0.2 | 0.7 at `angle` degrees through (50, 50), sampled by area, blurred."""
    a, fine = np.radians(angle), 8
    r, c = (np.mgrid[: 120 * fine, : 120 * fine] + 0.5) / fine - 0.5 - 60
    side = (c * np.sin(a) + r * np.cos(a)) > 0.3
    sharp = 0.2 + 0.5 * side.reshape(120, fine, 120, fine).mean((1, 3))
    blurred = fftconvolve(sharp, psf, mode="valid")
    cut = (np.array(blurred.shape) - 91) // 2
    blurred = blurred[cut[0] : cut[0] + 91, cut[1] : cut[1] + 91]
    return blurred + noise * np.random.default_rng(seed).standard_normal(blurred.shape)


@pytest.mark.parametrize("angle", [4.0, 50.0, -35.0, 85.0])
@pytest.mark.parametrize("sigma", [0.8, 2.0])
def test_an_edge_shows_the_width_of_a_gaussian(angle, sigma):
    found = psf_from_edge(edge(gaussian(sigma), angle, 0.01), (45, 45), size=41)
    assert found.parameters["sigma"] == pytest.approx(sigma, rel=0.06)
    assert found.parameters["angle"] == pytest.approx(angle, abs=1.0)
    assert found.psf.sum() == pytest.approx(1) and f"gaussian:{found.parameters['sigma']:.2f}" in found.text


@pytest.mark.parametrize("radius", [2.0, 4.5])
def test_an_edge_shows_the_radius_of_a_disk(radius):
    found = psf_from_edge(edge(disk(radius), 12, 0.005), (45, 45), size=41, kind="disk")
    assert found.parameters["radius"] == pytest.approx(radius, rel=0.05)


def test_what_is_no_blurred_edge_is_refused():
    with pytest.raises(PsfNotFound, match="as sharp as the pixels"):
        psf_from_edge(edge(np.ones((1, 1)), 20, 0.005), (45, 45), size=31)
    corner = np.zeros((60, 60))
    corner[30:, 30:] = 1
    with pytest.raises(PsfNotFound, match="is no single straight edge"):
        psf_from_edge(fftconvolve(corner, gaussian(1.5), mode="same"), (30, 30), size=31)
    noise = np.random.default_rng(0).standard_normal((60, 60)) * 0.1
    with pytest.raises(PsfNotFound, match="edge"):
        psf_from_edge(noise, (30, 30), size=31)
    with pytest.raises(PsfNotFound, match="kind is 'motion', wanted one of gaussian, disk"):
        psf_from_edge(corner, (30, 30), size=31, kind="motion")


def test_grey_reads_integers_alpha_and_refuses_the_rest():
    colour = np.dstack([np.full((3, 4), v, np.uint8) for v in (0, 51, 102, 255)])
    np.testing.assert_allclose(grey(colour), 0.2)
    np.testing.assert_allclose(grey(colour[..., [1, 3]]), 0.2)
    with pytest.raises(PsfError, match=r"shape \(2, 2, 2, 2\), wanted \(H, W\)"):
        grey(np.ones((2, 2, 2, 2)))
    with pytest.raises(PsfError, match="NaN or infinite pixels"):
        grey(np.full((4, 4), np.nan))
