"""Layouts, types and ranges come back."""

import numpy as np
import pytest

from proxlab.data import read_data
from proxlab.errors import InputError, UsageError
from proxlab.layout import layout_of

SHAPES = [(7, 5), (7, 5, 1), (7, 5, 3), (7, 5, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_there_and_back_changes_nothing(shape, dtype):
    rng = np.random.default_rng(1)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (rng.random(shape) * top).astype(dtype)
    data = read_data(image)
    back = data.store(data.planes)
    assert back.dtype == image.dtype and back.shape == image.shape
    np.testing.assert_array_equal(back, image)
    assert data.planes.dtype == (np.float64 if dtype == np.float64 else np.float32)


def test_channel_axis_first_equals_last():
    image = np.random.default_rng(2).random((3, 7, 5))
    first, last = read_data(image, channel_axis=0), read_data(np.moveaxis(image, 0, -1))
    np.testing.assert_array_equal(first.planes, last.planes)
    assert first.store(first.planes).shape == (3, 7, 5)


def test_alpha_is_set_aside_and_repeated_for_a_finer_result():
    image = np.zeros((2, 2, 4), np.uint8)
    image[..., 3] = [[10, 20], [30, 40]]
    data = read_data(image)
    assert data.layout.planes == (3, 2, 2)
    finer = data.store(np.zeros((3, 4, 4), np.float32))
    assert finer[..., 3].tolist() == [[10, 10, 20, 20], [10, 10, 20, 20], [30, 30, 40, 40], [30, 30, 40, 40]]


def test_integers_are_rounded_and_clipped_and_floats_never_clipped():
    whole, real = read_data(np.full((1, 1), 7, np.uint8)), read_data(np.full((1, 1), 0.5))
    assert whole.store(np.array([[[1.7]]])).item() == 255
    assert whole.store(np.array([[[0.5 + 0.003]]])).item() == round(255 * 0.503)
    assert real.store(np.array([[[1.7]]])).item() == 1.7


def test_data_range_scales_and_scales_back():
    data = read_data(np.array([[0.0, 2048.0, 4096.0]]), data_range=4096)
    assert data.planes.tolist() == [[[0.0, 0.5, 1.0]]]
    assert data.store(data.planes).tolist() == [[0.0, 2048.0, 4096.0]]


def test_linear_light_is_the_srgb_curve_there_and_back():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = read_data(image, mask=False, linear=True)
    srgb = image / 255  # IEC 61966-2-1, written out
    by_hand = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(data.planes[0], by_hand, atol=1e-6)
    np.testing.assert_array_equal(data.store(data.planes), image)


@pytest.mark.parametrize("shape", [(4, 4, 7), (4, 4, 2), (2, 4, 4, 3), (4,), ()])
def test_other_layouts_are_refused(shape):
    with pytest.raises(
        InputError, match=r"wanted \(H, W\) or \(H, W, C\) with C = 1, 3 or 4: name channel_axis"
    ):
        layout_of(np.zeros(shape))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 5)), r"the picture is empty: its shape is \(0, 5\)"),
        (np.zeros((4, 4), complex), "the picture is complex"),
        (np.full((4, 4), np.nan), "the picture has 16 NaN or infinite pixels"),
        (np.full((4, 4), 255.0), "floats are read on .*give data_range"),
        (np.zeros((4, 4), np.int64), "int64 pixels, whose range is not known: give data_range"),
        (np.full((4, 4), "x"), "pixels"),
    ],
)
def test_bad_pixels_get_one_sentence(image, message):
    with pytest.raises(ValueError, match=message):
        read_data(image)


def test_channel_axis_needs_three_axes():
    with pytest.raises(UsageError, match="channel_axis=0 with a picture of shape"):
        layout_of(np.zeros((4, 4)), channel_axis=0)


def test_masked_pixels_may_hold_anything():
    image = np.full((4, 4), 0.25)
    image[0, 0], image[1, 1] = np.nan, 1e9
    mask = np.isfinite(image) & (image < 1)
    data = read_data(image, mask)
    np.testing.assert_allclose(data.planes, 0.25)
    assert data.masked == 2


def test_mask_of_another_shape_and_an_empty_mask_are_refused():
    with pytest.raises(InputError, match=r"the mask has shape \(3, 4\) but the picture is 4x4"):
        read_data(np.zeros((4, 4)), np.ones((3, 4), bool))
    with pytest.raises(InputError, match="marks every pixel as invalid"):
        read_data(np.zeros((4, 4)), np.zeros((4, 4), bool))
