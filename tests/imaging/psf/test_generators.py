"""Each generator against its shape computed another way."""

import numpy as np
import pytest

from imaging.psf.errors import PsfError
from imaging.psf.generators import box, disk, gaussian, motion, shake

EVERY = [
    gaussian(0.7),
    gaussian(3, 1, 30),
    disk(0.6),
    disk(4.3),
    motion(1),
    motion(9.5, 33),
    motion(14, 120),
    box(2),
    box(5),
    shake(0),
    shake(1, 15),
]


def moments(h):
    """Mean row, mean column, and the covariance about the centre n // 2."""
    r, c = (g - n // 2 for g, n in zip(np.mgrid[: h.shape[0], : h.shape[1]], h.shape, strict=True))
    mean = np.array([(h * r).sum(), (h * c).sum()])
    return mean, np.array([[(h * r * r).sum(), (h * r * c).sum()], [(h * r * c).sum(), (h * c * c).sum()]])


def supersampled(inside, shape, factor=40):
    """Area of {inside(row, column)} in each pixel, by counting points."""
    h, w = shape
    r = (np.arange(h * factor) + 0.5) / factor - h / 2
    c = (np.arange(w * factor) + 0.5) / factor - w / 2
    counted = inside(r[:, None], c[None, :]).reshape(h, factor, w, factor).mean((1, 3))
    return counted / counted.sum()


@pytest.mark.parametrize("h", EVERY)
def test_every_psf_is_float64_odd_nonnegative_centred_and_sums_to_one(h):
    assert h.dtype == np.float64 and h.ndim == 2
    assert h.shape[0] % 2 == h.shape[1] % 2 == 1
    assert h.min() >= 0
    assert h.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(moments(h)[0], 0, atol=1e-9)


def test_gaussian_has_the_covariance_asked_for():
    np.testing.assert_allclose(moments(gaussian(2.0))[1], 4.0 * np.eye(2), atol=0.02)
    a = np.radians(30)
    along, across = np.array([-np.sin(a), np.cos(a)]), np.array([np.cos(a), np.sin(a)])
    wanted = 9 * np.outer(along, along) + 2.25 * np.outer(across, across)
    np.testing.assert_allclose(moments(gaussian(3, 1.5, 30))[1], wanted, atol=0.05)


def test_gaussian_keeps_all_but_the_stated_tail():
    from scipy.special import erf

    h, wide = gaussian(2.0), 17
    assert h.shape == (wide, wide)
    assert 1 - erf((wide / 2) / 2 / np.sqrt(2)) ** 2 < 1.3e-4


ROUNDED = 3.6955446412150814  # its square as an array is above its square as a number


@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5, ROUNDED, 6.2])
def test_disk_pixels_hold_the_covered_area(radius):
    h = disk(radius)
    np.testing.assert_allclose(
        h, supersampled(lambda r, c: r * r + c * c <= radius**2, h.shape), atol=2e-3 / max(1, radius**2)
    )


@pytest.mark.parametrize(("length", "angle"), [(5, 0), (9, 30), (6.5, 45), (12, 100), (8, -20), (7, 170)])
def test_motion_pixels_hold_the_covered_area(length, angle):
    a, h = np.radians(angle), motion(length, angle)

    def inside(r, c):
        u, v = c * np.cos(a) - r * np.sin(a), c * np.sin(a) + r * np.cos(a)
        return (np.abs(u) <= length / 2) & (np.abs(v) <= 0.5)

    np.testing.assert_allclose(h, supersampled(inside, h.shape), atol=2e-2 / length)


def test_angles_run_counter_clockwise_from_the_column_axis_with_rows_downward():
    up_right = motion(9, 30)
    rows, columns = up_right.shape
    upper_right = up_right[: rows // 2, columns // 2 + 1 :].sum()
    upper_left = up_right[: rows // 2, : columns // 2].sum()
    assert upper_right > 0.3 and upper_left < 0.01
    assert moments(gaussian(3, 1, 30))[1][0, 1] < 0  # rows fall where columns rise
    assert motion(7, 90).shape == (7, 1) and motion(7, 0).shape == (1, 7)
    np.testing.assert_allclose(motion(9, 30), motion(9, 210), atol=1e-12)
    np.testing.assert_allclose(motion(9, 30)[:, ::-1], motion(9, 150), atol=1e-12)
    np.testing.assert_allclose(motion(9, 70), motion(9, 20).T, atol=1e-12)


def test_whole_lengths_along_an_axis_are_equal_pixels():
    np.testing.assert_allclose(motion(5, 0), np.full((1, 5), 0.2))
    np.testing.assert_allclose(motion(4, 180), [[0.125, 0.25, 0.25, 0.25, 0.125]])
    np.testing.assert_allclose(box(3), np.full((3, 3), 1 / 9))


def test_shake_is_decided_by_its_seed():
    np.testing.assert_array_equal(shake(5), shake(5))
    assert np.abs(shake(5) - shake(6)).max() > 0.01
    lit = [np.count_nonzero(shake(seed)) for seed in range(10)]
    assert min(lit) > 10 and max(lit) < 31 * 31 / 2  # a path, neither a point nor a blot


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: gaussian(0), "sx is 0, wanted a number of pixels above 0"),
        (lambda: gaussian(1, -2), "sy is -2"),
        (lambda: gaussian(1, 1, float("nan")), "angle is nan, wanted degrees"),
        (lambda: disk(float("inf")), "radius is inf"),
        (lambda: motion(-3), "length is -3"),
        (lambda: box(0), "width is 0"),
        (lambda: shake(0, 8), "wanted an odd number of at least 5"),
    ],
)
def test_unusable_numbers_are_refused(make, match):
    with pytest.raises(PsfError, match=match):
        make()
