"""Between stored pixels of any type and floats on [0, 1]; alpha taken off and put back untouched."""

from typing import NamedTuple

import numpy as np

from imaging.files.errors import PictureError


class Scale(NamedTuple):
    """How a picture was stored: dtype, the values that became 0 and 1, integers to clip to."""

    dtype: np.dtype
    low: float
    high: float
    clip: tuple[int, int] | None


def to_float(
    pixels: np.ndarray, *, data_range: float | tuple[float, float] | None = None
) -> tuple[np.ndarray, Scale]:
    """Return the picture as floats, (pixels - low) / (high - low), and the Scale for the way back.

    Any shape. float64 stays float64, everything else becomes float32. [low, high] is [0, 255] for uint8,
    [0, 65535] for uint16, [0, 1] for bool and floats, or `data_range`: the value of white, or a pair
    (black, white). Other integers need `data_range`.

    Raises:
        PictureError: complex, empty, not numeric or not finite pixels; floats outside [-1, 2] (more than
            overshoot) or integers of another type without `data_range`; a `data_range` that is no interval.

    >>> x, scale = to_float(np.array([[0, 51, 255]], dtype=np.uint8))
    >>> x, from_float(x + 0.1, scale)
    (array([[0. , 0.2, 1. ]], dtype=float32), array([[ 26,  76, 255]], dtype=uint8))
    """
    pixels = np.asarray(pixels)
    _check(pixels)
    low, high = _range(pixels, data_range)
    clip = None
    if pixels.dtype.kind in "iu":
        info = np.iinfo(pixels.dtype)
        # A declared range narrower than the type holds, but never against what the picture itself contains.
        clip = (
            max(info.min, int(min(np.ceil(low), pixels.min()))),
            min(info.max, int(max(np.floor(high), pixels.max()))),
        )
    work = np.float64 if pixels.dtype.kind == "f" and pixels.dtype.itemsize == 8 else np.float32
    x = pixels.astype(work)
    if (low, high) != (0.0, 1.0):
        x = (x - work(low)) / work(high - low)
    return x, Scale(pixels.dtype, low, high, clip)


def from_float(x: np.ndarray, scale: Scale) -> np.ndarray:
    """Return x, nominally on [0, 1], in the stored type: integers rounded and clipped, floats never clipped.

    bool pixels are True from 0.5 on.

    Raises:
        PictureError: NaN or infinite values, which no integer can hold, for an integer or bool type.
    """
    x = np.asarray(x)
    if scale.dtype.kind != "f" and not np.isfinite(x).all():
        message = f"the result has NaN or infinite values and cannot be stored as {scale.dtype}."
        raise PictureError(message)
    if scale.dtype.kind == "b":
        return x >= 0.5
    # 32-bit integers do not fit into float32 exactly.
    values = x.astype(np.float64) if scale.dtype.itemsize >= 4 else x
    values = values * (scale.high - scale.low) + scale.low
    if scale.clip is not None:
        values = np.clip(np.rint(values), *scale.clip)
    return values.astype(scale.dtype)


def split_alpha(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Separate (..., 4) or (..., 2) pixels into colour (..., 3 or 1) and alpha (..., 1); no alpha gives None.

    >>> colour, alpha = split_alpha(np.zeros((5, 6, 4), np.uint8))
    >>> colour.shape, alpha.shape
    ((5, 6, 3), (5, 6, 1))
    """
    if pixels.ndim < 3 or pixels.shape[-1] not in (2, 4):
        return pixels, None
    return pixels[..., :-1], pixels[..., -1:]


def join_alpha(colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Put back the alpha that `split_alpha` took off, its values untouched.

    A colour picture finer by a whole factor (after super-resolution) gets every alpha value repeated.

    Raises:
        PictureError: other sizes, or another dtype.
    """
    if alpha is None:
        return colour
    if alpha.dtype != colour.dtype:
        message = (
            f"alpha is {alpha.dtype} but the colours are {colour.dtype}: convert the colours back first."
        )
        raise PictureError(message)
    (height, width), (rows, columns) = colour.shape[-3:-1], alpha.shape[-3:-1]
    if height % rows or width % columns:
        message = (
            f"alpha is {rows}x{columns} but the colours are {height}x{width}: crop alpha in the same way."
        )
        raise PictureError(message)
    finer = alpha.repeat(height // rows, axis=-3).repeat(width // columns, axis=-2)
    return np.concatenate([colour, finer], axis=-1)


def _check(pixels: np.ndarray) -> None:
    if pixels.dtype.kind == "c":
        message = f"the picture is complex ({pixels.dtype}): pass its real part or its magnitude."
        raise PictureError(message)
    if pixels.dtype.kind not in "biuf" or pixels.dtype.itemsize > 8:
        message = f"the picture has {pixels.dtype} pixels: uint8, uint16, float32 or float64 were wanted."
        raise PictureError(message)
    if pixels.size == 0:
        message = f"the picture is empty: its shape is {pixels.shape}, at least one pixel was wanted."
        raise PictureError(message)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        bad = ~np.isfinite(pixels)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        message = (
            f"the picture has {int(bad.sum())} NaN or infinite pixels (the first at {first}): "
            "replace them and mark them in a mask."
        )
        raise PictureError(message)


def _range(pixels: np.ndarray, data_range: float | tuple[float, float] | None) -> tuple[float, float]:
    if data_range is not None:
        low, high = (0.0, data_range) if np.ndim(data_range) == 0 else tuple(data_range)  # type: ignore[arg-type]
        if not (np.isfinite(low) and np.isfinite(high) and low < high):  # type: ignore[operator, arg-type]
            message = f"data_range is {data_range}: the value of white, or a pair (black, white), was wanted."
            raise PictureError(message)
        return float(low), float(high)  # type: ignore[arg-type]
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return 0.0, float(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind in "iu":
        message = (
            f"the picture has {pixels.dtype} pixels, whose range is not known: "
            "give data_range, the value of white."
        )
        raise PictureError(message)
    smallest, largest = float(pixels.min()), float(pixels.max())
    if largest > 2 or smallest < -1:
        message = (
            f"the picture has {pixels.dtype} pixels from {smallest:g} to {largest:g}, but floats are read "
            "on [0, 1]: give data_range, the value of white."
        )
        raise PictureError(message)
    return 0.0, 1.0
