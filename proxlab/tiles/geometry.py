"""Where the tiles lie: cores that share out the picture, regions of one size around them on its field."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from proxlab.errors import UsageError

LEAST_CORE = 32  # pixels a tile should add, or nearly everything is computed many times
ROUND = 16  # tiles that are asked for are named in multiples of this
STRIP = 64  # pixels without data, at most, that are crossed: over longer ones next to nothing comes


@dataclass(frozen=True)
class Axis:
    """One direction of a picture behind a psf with unknown borders.

    The window of `length` pixels begins at `start` on the field; a data pixel sees `before` field pixels
    before it and `after` behind it (n - 1 - o and o of a psf of n pixels with centre o).
    """

    length: int
    field: int
    start: int
    before: int
    after: int


class Span(NamedTuple):
    """One tile in one direction: its core [first, last) on the picture, its region on the field.

    The region begins at `origin` (taken modulo the field, which is periodic) and has `size` pixels.
    """

    first: int
    last: int
    origin: int
    size: int

    def rows(self, axis: Axis) -> tuple[np.ndarray, int]:
        """The data pixels the region sees completely, -1 where there is none, and where they begin on it.

        >>> axis = Axis(length=10, field=14, start=2, before=2, after=2)
        >>> Span(0, 5, 0, 9).rows(axis)
        (array([0, 1, 2, 3, 4]), 2)
        """
        pixel, place = self._pixels(axis)
        pixel = np.where((pixel >= 0) & (pixel < axis.length), pixel, -1)
        return pixel, place

    def stand_ins(self, axis: Axis) -> np.ndarray:
        """The same pixels, the nearest one of the picture where there is none: what a picture's field begins
        with around it.
        """
        return self._pixels(axis)[0].clip(0, axis.length - 1)

    def _pixels(self, axis: Axis) -> tuple[np.ndarray, int]:
        place = np.arange(axis.before, self.size - axis.after)
        pixel = (self.origin + place) % axis.field - axis.start
        seen = np.flatnonzero((pixel >= 0) & (pixel < axis.length))
        kept = slice(int(seen[0]), int(seen[-1]) + 1)
        return pixel[kept], int(place[kept][0])


class Cut(NamedTuple):
    """How one direction is cut.

    size: pixels of a region. overlap: data pixels beyond a core that its tile sees at least. stride: regions
    begin on multiples of it, and end like the field does. wraps: regions go round the field, as they must
    where a penalty couples its ends; otherwise the outermost ones end with it.
    """

    size: int
    overlap: int
    stride: int
    wraps: bool

    def spans(self, axis: Axis) -> tuple[Span, ...]:
        """The tiles in one direction; one, the whole field, where that is no larger than a region.

        Raises UsageError where the overlap leaves nothing of a region.
        """
        if self.size >= axis.field:
            return (Span(0, axis.length, 0, axis.field),)
        around = axis.before + axis.after + 2 * self.overlap
        step = self.size - around
        if self.wraps:  # the picture's ends are seen across the strip between them, where there are no data
            around += 2 * min(axis.field - axis.length, STRIP)
            step = self.size - around
        else:
            step = step // self.stride * self.stride - self.stride  # what rounding to the stride may take
        if step < LEAST_CORE:
            enough = -(-(around + LEAST_CORE + 2 * self.stride) // ROUND) * ROUND
            message = (
                f"tiles of {self.size} pixels are too small: the method's answer reaches {self.overlap} "
                f"pixels and the psf {axis.before + axis.after} more on both sides. Take tiles of at least "
                f"{enough} pixels, or memory for them, or leave the size to proxlab."
            )
            raise UsageError(message)
        return self._around(axis, step) if self.wraps else self._inside(axis, step)

    def _around(self, axis: Axis, step: int) -> tuple[Span, ...]:
        count = -(-axis.length // step)
        ends = [k * axis.length // count for k in range(count + 1)]
        spans = []
        for first, last in pairwise(ends):
            spare = self.size - axis.before - axis.after - (last - first)
            spans.append(Span(first, last, axis.start + first - axis.before - spare // 2, self.size))
        return tuple(spans)

    def _inside(self, axis: Axis, step: int) -> tuple[Span, ...]:
        way = axis.field - self.size  # a multiple of the stride
        count = -(-way // step)
        origins = [round(k * way / count / self.stride) * self.stride for k in range(count + 1)]
        ends = [0]
        for one, next_one in pairwise(origins):
            middle = (next_one + axis.before + one + self.size - axis.after) // 2
            ends.append(min(max(middle - axis.start, 0), axis.length))
        ends.append(axis.length)
        found = zip(ends, ends[1:], origins, strict=False)
        return tuple(Span(a, b, origin, self.size) for a, b, origin in found if b > a)


def region_size(axis: Axis, wanted: int, stride: int) -> int:
    """The largest quick FFT size up to `wanted` (the least one above where there is none below) that ends on
    the stride like the field; the field itself if that is no larger.

    >>> region_size(Axis(1000, 1008, 4, 2, 2), 500, 8)
    480
    """
    from imaging.fft import good_size

    if wanted >= axis.field:
        return axis.field
    fitting = [n for n in range(2, axis.field) if n % stride == axis.field % stride and good_size(n) == n]
    below = [n for n in fitting if n <= wanted]
    if below:
        return below[-1]
    return fitting[0] if fitting else axis.field
