"""The first look at a large picture: every row once, for what belongs to the whole of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imaging.files.scaling import Scale, to_float
from proxlab.clipping import Tally, tally_of
from proxlab.errors import InputError
from proxlab.layout import Layout, Values
from proxlab.refusals import as_input

if TYPE_CHECKING:
    from imaging.files.rows import RowReader

BAND = 16_000_000  # bytes looked at in one go


@dataclass(frozen=True)
class Survey:
    """digest is that of the whole array; tally counts what is clipped, None where nothing can be."""

    digest: str
    values: Values
    tally: Tally | None
    low: float
    high: float


class RunningDigest:
    """`proxlab.job.digest` of an array that comes row by row."""

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self._sha = hashlib.sha256(f"{dtype.str}{tuple(shape)}".encode())

    def add(self, rows: np.ndarray) -> None:
        """The next rows."""
        self._sha.update(np.ascontiguousarray(rows).data)

    def text(self) -> str:
        """What it is so far."""
        return self._sha.hexdigest()


@as_input()
def look_over(
    source: RowReader, layout: Layout, *, data_range: float | None, linear: bool, clipping: bool
) -> Survey:
    """Look at every row once; raises InputError for what is not a picture."""
    digest = RunningDigest(source.dtype, source.shape)
    low, high, tallies = np.inf, -np.inf, []
    for first, last in bands(source):
        above = min(first, 1)
        rows = source.rows(first - above, min(last + 1, source.shape[0]))
        own = slice(above, above + last - first)
        digest.add(rows[own])
        planes, _ = layout.split(rows)
        part = planes[:, own]
        if source.dtype.kind == "f" and not np.isfinite(part).all():
            message = (
                f"the picture has NaN or infinite pixels in rows {first} to {last}: replace them and mark "
                "them in a mask."
            )
            raise InputError(message)
        low, high = min(low, float(part.min())), max(high, float(part.max()))
        if clipping and source.dtype.kind in "iu":
            tallies.append(tally_of(planes, *_ends(source.dtype, data_range), rows=own))
    extremes = np.array([low, high]).astype(source.dtype)
    scale: Scale = to_float(extremes, data_range=data_range)[1]
    tally = None
    if tallies:
        counts = [np.sum([getattr(t, name) for t in tallies], axis=0) for name in ("at_end", "solid")]
        tally = Tally(source.shape[0] * source.shape[1], *counts)
    return Survey(digest.text(), Values(scale, linear), tally, low, high)


def bands(source: RowReader) -> Iterator[tuple[int, int]]:
    """Row numbers that share out a picture in parts of about BAND bytes."""
    row = int(np.prod(source.shape[1:])) * source.dtype.itemsize
    step = max(1, BAND // max(row, 1))
    for first in range(0, source.shape[0], step):
        yield first, min(first + step, source.shape[0])


def _ends(dtype: np.dtype, data_range: float | None) -> tuple[float, float]:
    """What black and white are for integers of this type."""
    scale = to_float(np.zeros(1, dtype), data_range=data_range)[1]
    return scale.low, scale.high
