"""Blind estimates on a synthetic picture: right within tolerance, and refused where they would be a guess."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from imaging.psf.errors import PsfError, PsfNotFound
from imaging.psf.estimate import estimate_psf
from imaging.psf.generators import disk, gaussian, motion


@pytest.fixture(scope="module")
def leaves():
    """A sharp picture: opaque disks of power-law radii over one another, averaged from a finer grid."""
    rng = np.random.default_rng(4)
    fine = np.full((640, 720), 0.5)
    for _ in range(2500):
        radius = 4 / np.sqrt(rng.uniform(0.0012, 1))  # density r^-3: spectrum close to a photograph's
        r, c = rng.uniform(0, 640), rng.uniform(0, 720)
        rows = slice(max(0, int(r - radius)), int(r + radius) + 2)
        columns = slice(max(0, int(c - radius)), int(c + radius) + 2)
        part = fine[rows, columns]
        y, x = np.mgrid[rows, columns][:, : part.shape[0], : part.shape[1]]
        part[(y - r) ** 2 + (x - c) ** 2 <= radius**2] = rng.uniform(0.05, 0.95)
    return fine.reshape(320, 2, 360, 2).mean((1, 3))


def seen(picture, psf, sigma=0.01):
    """Blurred, cropped to what the sensor saw, noisy."""
    y = fftconvolve(picture, psf, mode="valid")
    return y + sigma * np.random.default_rng(5).standard_normal(y.shape)


@pytest.mark.parametrize(("length", "angle"), [(9.0, 0.0), (15.0, 30.0), (20.0, 110.0)])
def test_motion_is_found(leaves, length, angle):
    found = estimate_psf(seen(leaves, motion(length, angle)), "motion")
    assert found.parameters["length"] == pytest.approx(length, abs=0.5)
    assert abs((found.parameters["angle"] - angle + 90) % 180 - 90) < 2
    np.testing.assert_array_equal(found.psf, motion(found.parameters["length"], found.parameters["angle"]))
    assert 0.5 <= found.confidence <= 1 and found.text.startswith("motion:") and "above no blur" in found.text


@pytest.mark.parametrize("radius", [3.0, 5.0])
def test_a_disk_is_found(leaves, radius):
    found = estimate_psf(seen(leaves, disk(radius)), "disk")
    assert found.parameters["radius"] == pytest.approx(radius, rel=0.04)


@pytest.mark.parametrize("sigma", [1.5, 2.5])
def test_a_gaussian_is_found(leaves, sigma):
    found = estimate_psf(seen(leaves, gaussian(sigma)), "gaussian")
    assert found.parameters["sigma"] == pytest.approx(sigma, rel=0.2)


def test_units_of_the_picture_and_colour_do_not_matter(leaves):
    y = np.round(np.clip(seen(leaves, motion(15, 30)), 0, 1) * 255).astype(np.uint8)
    found = estimate_psf(np.dstack([y, y, y, np.full_like(y, 255)]), "motion").parameters
    assert found == pytest.approx({"length": 15, "angle": 30}, abs=0.6)


@pytest.mark.parametrize("kind", ["motion", "gaussian", "disk"])
def test_a_sharp_picture_is_refused(leaves, kind):
    with pytest.raises(PsfNotFound, match=r"this would be a guess: give the psf by numbers, or measure it"):
        estimate_psf(seen(leaves, np.ones((1, 1))), kind)


@pytest.mark.parametrize(
    ("psf", "kind"),
    [(disk(4), "gaussian"), (disk(4), "motion"), (motion(15, 30), "disk"), (gaussian(2.5), "motion")],
)
def test_another_kind_is_refused(leaves, psf, kind):
    with pytest.raises(PsfNotFound, match=r"looks less like|shows no clear|as small as"):
        estimate_psf(seen(leaves, psf, 0.005), kind)


def test_noise_alone_is_refused():
    with pytest.raises(PsfNotFound, match=r"shows no clear motion"):
        estimate_psf(np.random.default_rng(0).standard_normal((200, 200)), "motion")


def test_a_blur_under_heavy_noise_is_refused(leaves):
    with pytest.raises(PsfNotFound, match=r"shows no clear motion"):
        estimate_psf(seen(leaves, motion(15, 30), 0.5), "motion")


def test_repeating_texture_is_refused():
    stripes = 0.5 + 0.4 * np.sign(np.sin(np.arange(256) * 0.9))[None, :] * np.ones((256, 1))
    stripes += 0.01 * np.random.default_rng(0).standard_normal(stripes.shape)
    with pytest.raises(PsfNotFound, match=r"would be a guess"):
        estimate_psf(stripes, "motion")


def test_a_flat_picture_is_refused():
    with pytest.raises(PsfNotFound, match="the picture is flat"):
        estimate_psf(np.full((200, 200), 0.3), "disk")


def test_what_cannot_be_asked():
    with pytest.raises(
        PsfError, match=r"of kind 'motoin', wanted one of motion, gaussian, disk: did you mean 'motion'"
    ):
        estimate_psf(np.zeros((200, 200)), "motoin")
    with pytest.raises(PsfError, match="image is 100x300, wanted at least 128 pixels a side"):
        estimate_psf(np.random.default_rng(0).uniform(size=(100, 300)), "motion")
