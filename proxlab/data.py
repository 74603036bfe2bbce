"""The data: planes on [0, 1] and what of them may be used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.files.scaling import to_float
from proxlab.clipping import far_inside, find_clipped
from proxlab.errors import InputError
from proxlab.layout import Layout, Values, layout_of
from proxlab.refusals import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Data:
    """A picture taken apart.

    planes (C, H, W) are what is worked on, on [0, 1]; valid (1|C, H, W) says which may be used, None is all
    of them; alpha is as stored; warnings and notes say what was found clipped, and clipped (C, H, W) where,
    of what the caller's mask leaves.
    """

    layout: Layout
    values: Values
    planes: NDArray[Any]
    alpha: NDArray[Any] | None
    valid: NDArray[np.bool_] | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    clipped: NDArray[np.bool_] | None = None

    @property
    def masked(self) -> int:
        """How many samples are left out."""
        if self.valid is None:
            return 0
        return int(self.planes.size - np.broadcast_to(self.valid, self.planes.shape).sum())

    def anchored(self, size: tuple[int, int]) -> Data:
        """With the clipped pixels in use that see only such through a psf of this size; see `far_inside`."""
        if self.clipped is None or self.valid is None:
            return self
        inside = far_inside(self.clipped, size)
        if not inside.any():
            return self
        count, valid = int(inside.sum()), self.valid | inside
        note = f"{count} of the clipped pixels see no others through the psf: they are taken as they are."
        return replace(self, valid=None if valid.all() else valid, notes=(*self.notes, note))

    def store(self, light: NDArray[Any]) -> NDArray[Any]:
        """A result (C, s H, s W) in the layout, type and range of the picture."""
        return self.layout.join(self.values.store(light), self.alpha)


@as_input()
def read_data(
    image: NDArray[Any],
    mask: Any = None,
    *,
    channel_axis: int | None = None,
    data_range: float | None = None,
    linear: bool = False,
) -> Data:
    """Take a picture apart; masked pixels may hold anything and get the mean of the others.

    Clipped areas of integer pictures are found and masked too; mask=False uses every pixel. Raises
    InputError for what is not a picture.
    """
    layout = layout_of(image, channel_axis)
    stored, alpha = layout.split(image)
    given = given_mask(mask, layout)
    whole = stored
    if given is not None:
        stored = np.where(given, stored, stored[np.broadcast_to(given, stored.shape)].flat[0])
    unit, scale = to_float(stored, data_range=data_range)
    valid = given
    clipped = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if mask is not False and scale.clip:
        found, warnings, notes = find_clipped(whole, scale.low, scale.high)
        if found is not None:
            clipped = ~found if given is None else given & ~found
            valid = found if given is None else given & found
    values = Values(scale, linear)
    planes = values.light(unit)
    if given is not None and valid is not None:
        used, kept = (np.broadcast_to(which, planes.shape) for which in (valid, given))
        planes = np.where(kept, planes, planes.mean(where=used, dtype=np.float64).astype(planes.dtype))
    return Data(layout, values, np.ascontiguousarray(planes), alpha, valid, warnings, notes, clipped)


def given_mask(mask: Any, layout: Layout) -> NDArray[np.bool_] | None:
    """The caller's mask as (1|C, H, W), True where valid, or None when there is none."""
    if mask is None or isinstance(mask, bool):
        return None
    array = np.asarray(mask)
    channels, height, width = layout.planes
    if array.shape == (height, width):
        valid = array[None] != 0
    elif array.shape in ((height, width, 1), (height, width, channels)):
        valid = np.moveaxis(array, -1, 0) != 0
    else:
        message = (
            f"the mask has shape {array.shape} but the picture is {height}x{width}: give one value a pixel."
        )
        raise InputError(message)
    if not valid.any():
        message = "the mask marks every pixel as invalid: True means that a pixel can be used."
        raise InputError(message)
    return np.ascontiguousarray(valid)
