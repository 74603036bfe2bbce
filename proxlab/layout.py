"""The layout of the caller's array, remembered so that the result comes back in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imaging.files.light import linear_to_srgb, srgb_to_linear
from imaging.files.scaling import Scale, from_float
from proxlab.errors import InputError, UsageError

COLOUR_AND_ALPHA = 4


@dataclass(frozen=True)
class Layout:
    """Where the channels are: `channel_axis` is None for (H, W); with `alpha` the fourth channel passes
    through.
    """

    shape: tuple[int, ...]
    channel_axis: int | None
    alpha: bool

    @property
    def planes(self) -> tuple[int, int, int]:
        """(C, H, W) of what is deblurred: alpha does not count."""
        shape = list(self.shape)
        channels = 1 if self.channel_axis is None else shape.pop(self.channel_axis)
        return channels - self.alpha, shape[0], shape[1]

    def split(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The picture as planes (C, H, W) and its alpha (H, W), values untouched."""
        stack = image[None] if self.channel_axis is None else np.moveaxis(image, self.channel_axis, 0)
        return (stack[:-1], stack[-1]) if self.alpha else (stack, None)

    def join(self, planes: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        """Planes (C, s H, s W) and alpha (H, W) in the caller's layout; a finer picture repeats the alpha
        values.
        """
        if alpha is not None:
            finer = alpha.repeat(planes.shape[1] // alpha.shape[0], 0).repeat(
                planes.shape[2] // alpha.shape[1], 1
            )
            planes = np.concatenate([planes, finer[None]])
        array = planes[0] if self.channel_axis is None else np.moveaxis(planes, 0, self.channel_axis)
        return np.ascontiguousarray(array)


@dataclass(frozen=True)
class Values:
    """What the stored numbers mean: their scale, and whether they are sRGB to be handled in linear light."""

    scale: Scale
    linear: bool

    @property
    def step(self) -> float:
        """The distance of two neighbouring values on [0, 1]; 0 for floats."""
        return 1 / (self.scale.high - self.scale.low) if self.scale.clip else 0.0

    def light(self, unit: np.ndarray) -> np.ndarray:
        """Values on [0, 1] as stored turned into those that are worked on."""
        return srgb_to_linear(unit) if self.linear else unit

    def store(self, light: np.ndarray) -> np.ndarray:
        """The way back to the caller's type and range: integers rounded and clipped, floats never."""
        return from_float(linear_to_srgb(light) if self.linear else light, self.scale)


def layout_of(image: np.ndarray, channel_axis: int | None = None) -> Layout:
    """Read the layout of a picture; raises InputError for what is not one.

    >>> layout_of(np.zeros((4, 5, 3), np.uint8)).planes
    (3, 4, 5)
    """
    if image.size == 0:
        message = f"the picture is empty: its shape is {image.shape}, at least one pixel was wanted."
        raise InputError(message)
    axis = _channel_axis(image, channel_axis)
    return Layout(image.shape, axis, axis is not None and image.shape[axis] == COLOUR_AND_ALPHA)


def _channel_axis(image: Any, channel_axis: int | None) -> int | None:
    if channel_axis is not None:
        if image.ndim != 3 or not -3 <= channel_axis <= 2:
            message = f"channel_axis={channel_axis} with a picture of shape {image.shape}: give three axes."
            raise UsageError(message)
        return channel_axis % 3
    if image.ndim == 2:
        return None
    if image.ndim == 3 and image.shape[2] in (1, 3, COLOUR_AND_ALPHA):
        return 2
    message = (
        f"the picture has shape {image.shape}, wanted (H, W) or (H, W, C) with C = 1, 3 or 4: name "
        "channel_axis if the channels are on another axis; a volume goes in slice by slice."
    )
    raise InputError(message)
