"""sRGB and linear light: against the formula of the standard, written out for single numbers."""

import math

import numpy as np
import pytest
from PIL import ImageCms

from imaging.files import linear_to_srgb, srgb_to_linear


def standard(value):
    if value <= 0.04045:
        return value / 12.92
    return math.pow((value + 0.055) / 1.055, 2.4)


def test_against_the_standard():
    x = np.linspace(0, 1, 257)
    np.testing.assert_allclose(srgb_to_linear(x), [standard(float(v)) for v in x], rtol=1e-13)


def test_against_an_icc_profile():
    """Little CMS knows the curve too: grey 128 of sRGB is 21.4 % of the luminance of white."""
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    from PIL import Image

    lightness = (
        ImageCms.applyTransform(Image.new("RGB", (1, 1), (128, 128, 128)), lab).getpixel((0, 0))[0] / 2.55
    )
    luminance = ((lightness + 16) / 116) ** 3
    assert srgb_to_linear(np.array(128 / 255)) == pytest.approx(luminance, abs=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back_on_the_whole_line(dtype):
    x = np.linspace(-0.5, 1.5, 4001, dtype=dtype)
    linear = srgb_to_linear(x)
    assert linear.dtype == x.dtype
    np.testing.assert_allclose(linear_to_srgb(linear), x, atol=3e-6 if dtype == "float32" else 1e-14)
    assert (np.diff(linear) > 0).all()
    np.testing.assert_array_equal(srgb_to_linear(-x), -linear)


def test_the_two_branches_meet():
    below, above = np.nextafter(0.04045, 0), np.nextafter(0.04045, 1)
    assert srgb_to_linear(np.array(above)) - srgb_to_linear(np.array(below)) < 1e-8
