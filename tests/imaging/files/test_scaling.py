"""Stored pixels to floats and back: against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from imaging.files import PictureError, from_float, join_alpha, split_alpha, to_float


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
def test_every_integer_survives(dtype):
    stored = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
    x, scale = to_float(stored)
    assert x.dtype == np.float32 and x.min() == 0 and x.max() == 1
    exact = [float(Fraction(int(v), int(stored.max()))) for v in stored[3]]
    np.testing.assert_allclose(x[3], exact, rtol=1e-7)
    back = from_float(x, scale)
    assert back.dtype == stored.dtype
    np.testing.assert_array_equal(back, stored)


def test_integers_are_rounded_and_clipped():
    _, scale = to_float(np.zeros((1, 1), np.uint8))
    x = np.array([-0.3, 0.4999 / 255, 0.5001 / 255, 1.0, 7.0])
    assert from_float(x, scale).tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_never_clipped(dtype):
    stored = np.array([[-0.7, 0.25, 1.9]], dtype=dtype)
    x, scale = to_float(stored)
    assert x.dtype == (np.float64 if dtype == "float64" else np.float32)
    back = from_float(x * 3, scale)
    assert back.dtype == stored.dtype
    np.testing.assert_allclose(back, stored * 3, rtol=1e-3)
    np.testing.assert_array_equal(from_float(x, scale), stored)


def test_data_range():
    stored = np.array([[0.0, 100.0, 400.0]])
    x, scale = to_float(stored, data_range=200)
    assert x.tolist() == [[0.0, 0.5, 2.0]]
    np.testing.assert_allclose(from_float(x, scale), stored)
    x, scale = to_float(np.array([[100, 300]], np.int16), data_range=(100, 300))
    assert x.tolist() == [[0.0, 1.0]] and from_float(x, scale).tolist() == [[100, 300]]
    # Twelve bits in sixteen: white is 4095, and a result does not go beyond it ...
    _, scale = to_float(np.array([[7, 4000]], np.uint16), data_range=4095)
    assert from_float(np.array([-1.0, 2.0]), scale).tolist() == [0, 4095]
    # ... unless the picture itself does.
    _, scale = to_float(np.array([[7, 5000]], np.uint16), data_range=4095)
    assert from_float(np.array([2.0]), scale).tolist() == [5000]


def test_large_integers_do_not_pass_through_float32():
    stored = np.array([[0, 2**31 - 1]], np.int32)
    _, scale = to_float(stored, data_range=2**31 - 1)
    assert from_float(np.array([0.0, 1.0], np.float32), scale).tolist() == [0, 2**31 - 1]


def test_bool():
    stored = np.eye(3, dtype=bool)
    x, scale = to_float(stored)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(from_float(x * 0.6, scale), stored)


def test_the_argument_is_left_alone():
    stored = np.linspace(0, 1, 12).reshape(3, 4)
    copy = stored.copy()
    x, scale = to_float(stored)
    x += 1
    np.testing.assert_array_equal(stored, copy)
    y = np.linspace(0, 1, 12).reshape(3, 4)
    from_float(y, scale)[:] = 7
    np.testing.assert_array_equal(y, copy)


@pytest.mark.parametrize(
    "pixels, options, message",
    [
        (
            np.array([[0.0, 255.0]]),
            {},
            r"float64 pixels from 0 to 255, but floats are read on \[0, 1\]: give data_range",
        ),
        (np.array([[-1.5, 0.5]]), {}, r"pixels from -1.5 to 0.5, but floats are read on \[0, 1\]"),
        (np.array([[1]], np.int32), {}, "int32 pixels, whose range is not known: give data_range"),
        (np.array([[1j]]), {}, r"the picture is complex \(complex128\): pass its real part or its magnitude"),
        (np.array([["a"]]), {}, "the picture has <U1 pixels: uint8, uint16, float32 or float64 were wanted"),
        (np.zeros((0, 4)), {}, r"the picture is empty: its shape is \(0, 4\), at least one pixel was wanted"),
        (
            np.array([[0, np.nan], [np.inf, 0]]),
            {},
            r"has 2 NaN or infinite pixels \(the first at \(0, 1\)\): replace",
        ),
        (np.ones((1, 1)), {"data_range": 0}, "data_range is 0: the value of white, or a pair"),
        (np.ones((1, 1)), {"data_range": (1, 1)}, r"data_range is \(1, 1\): the value of white, or a pair"),
        (np.ones((1, 1)), {"data_range": float("nan")}, "data_range is nan"),
    ],
)
def test_refusals(pixels, options, message):
    with pytest.raises(PictureError, match=message):
        to_float(pixels, **options)


def test_a_result_that_no_integer_holds():
    _, scale = to_float(np.zeros((1, 1), np.uint8))
    with pytest.raises(PictureError, match="NaN or infinite values and cannot be stored as uint8"):
        from_float(np.array([np.nan]), scale)


def test_overshoot_is_accepted():
    assert to_float(np.array([[-1.0, 2.0]]))[0].tolist() == [[-1.0, 2.0]]


@pytest.mark.parametrize("shape", [(4, 5, 4), (4, 5, 2), (3, 4, 5, 4)])
def test_alpha_goes_through_untouched(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    colour, alpha = split_alpha(pixels)
    assert colour.shape[-1] == shape[-1] - 1 and alpha.shape == (*shape[:-1], 1)
    np.testing.assert_array_equal(join_alpha(colour, alpha), pixels)


def test_no_alpha():
    for shape in ((4, 5), (4, 5, 3), (4, 5, 1)):
        pixels = np.zeros(shape)
        colour, alpha = split_alpha(pixels)
        assert colour is pixels and alpha is None and join_alpha(colour, alpha) is pixels


def test_alpha_of_other_sizes():
    alpha = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    fine = join_alpha(np.zeros((4, 6, 3), np.uint8), alpha)
    np.testing.assert_array_equal(fine[::2, ::2, 3], alpha[..., 0])
    np.testing.assert_array_equal(fine[1::2, 1::2, 3], alpha[..., 0])
    with pytest.raises(
        PictureError, match="alpha is 2x3 but the colours are 3x3: crop alpha in the same way"
    ):
        join_alpha(np.zeros((3, 3, 3), np.uint8), alpha)
    with pytest.raises(PictureError, match="alpha is uint8 but the colours are float64: convert the colours"):
        join_alpha(np.zeros((2, 3, 3)), alpha)
