"""A picture in tiles, from rows that are read to rows that are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.data import given_mask
from proxlab.layout import Layout, layout_of
from proxlab.memory import resident
from proxlab.plan import Extent, later, tiled_memory
from proxlab.progress import Callback, Update
from proxlab.tiles.geometry import Axis, Cut, Span, region_size
from proxlab.tiles.piece import Piece, Setting, Solved, solve_piece
from proxlab.tiles.record import Totals, planned_job, record_of
from proxlab.tiles.sample import Sample, sample_of
from proxlab.tiles.survey import RunningDigest, Survey, look_over
from proxlab.tiles.tail import Tail, axes_of, measure_tail

if TYPE_CHECKING:
    from imaging.files.rows import RowReader
    from proxlab.job import Job
    from proxlab.request import Request

COUPLED = ("tikhonov", "wiener")  # their penalty is periodic: it joins the ends of the field

Mapper = Callable[[Setting, Iterable[Piece]], Iterator[Solved]]


def one_by_one(setting: Setting, pieces: Iterable[Piece]) -> Iterator[Solved]:
    """The plain loop."""
    for piece in pieces:
        yield solve_piece(setting, piece)


@dataclass(frozen=True)
class Plan:
    """Everything about a picture in tiles that was decided before the first of them."""

    layout: Layout
    survey: Survey
    sample: Sample
    tail: Tail
    axes: tuple[Axis, Axis]
    spans: tuple[tuple[Span, ...], tuple[Span, ...]]
    request: Request
    memory: int
    started: float

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.spans[0]) * len(self.spans[1])

    def job(self) -> Job:
        """What will be done."""
        return planned_job(self)

    def text(self) -> str:
        """The operator and the tiles in words."""
        channels, height, width = self.layout.planes
        rows, columns = self.sample.blur.size
        colours = f"x{channels}" if channels > 1 else ""
        size = f"{self.spans[0][0].size}x{self.spans[1][0].size}"
        return (
            f"blur by {rows}x{columns}, unknown borders, data {height}x{width}{colours}, {self.count} tiles "
            f"of {size} that overlap by {self.tail.overlap}"
        )


def plan_tiles(
    request: Request, source: RowReader, psf: Any, mask: Any, *, side: int, seen: Survey | None = None
) -> Plan:
    """Look at the picture, unless it was `seen`; choose what is chosen once, measure the overlap, cut."""
    started = perf_counter()
    axis = None if request.channel_axis is None else 2
    layout = layout_of(np.broadcast_to(np.zeros(1, source.dtype), source.shape), axis)
    seen = seen or look_over(
        source, layout, data_range=request.data_range, linear=request.linear, clipping=mask is not False
    )
    sample = sample_of(request, source, (layout, seen), psf, mask)
    wraps = sample.setting.method in COUPLED
    stride = 1 if wraps else stride_of(sample.setting.prior)
    tail = measure_tail(sample.setting, sample.data.planes, sample.data.valid, stride=stride)
    axes = axes_of(sample.setting, layout.planes)
    spans = tuple(
        Cut(region_size(axis, side, stride), tail.overlap, stride, wraps).spans(axis) for axis in axes
    )
    field = (layout.planes[0], axes[0].field, axes[1].field)
    working = 8 if sample.setting.double else 4
    extent = Extent(layout.planes, field, source.dtype.itemsize, working, False)
    prepared = sample.prepared
    memory = resident() + later() + tiled_memory(prepared.method, prepared.prior, extent, side)
    return Plan(layout, seen, sample, tail, axes, (spans[0], spans[1]), request, memory, started)


def stride_of(prior: Any) -> int:
    """Pixels a picture must be shifted by for a network to do the same; 16 where it does not say."""
    if prior is None:
        return 1
    network = getattr(prior.network, "network", prior.network)
    widths = getattr(getattr(network, "config", None), "widths", None)
    return 2 ** len(widths) if widths else 16


class TiledRun:
    """The work itself: `bands` gives the result's rows from the top, then `job` is the record of the whole.

    callback is called after each tile, its picture being that tile. mapper does the tiles: here, one by one,
    or elsewhere, in their order.
    """

    def __init__(
        self,
        plan: Plan,
        source: RowReader,
        mask: Any,
        *,
        callback: Callback | None = None,
        mapper: Mapper = one_by_one,
    ) -> None:
        self.plan, self._source, self._mask = plan, source, mask
        self._callback, self._mapper = callback, mapper
        self._totals = Totals()
        self._digest = RunningDigest(source.dtype, source.shape)

    def bands(self) -> Iterator[np.ndarray]:
        """Rows (n, W) or (n, W, C) of the result, as many at a time as a row of tiles gives.

        Raises ConvergenceError when a tile is not finite.
        """
        plan, dtype = self.plan, self._source.dtype
        solved = self._mapper(plan.sample.setting, _pieces(plan, self._source, self._mask))
        for down in plan.spans[0]:
            height = down.last - down.first
            band = np.empty((plan.layout.planes[0], height, plan.axes[1].length), dtype)
            for across in plan.spans[1]:
                done = next(solved)
                band[:, :, across.first : across.last] = done.core
                self._totals.add(done)
                self._tell(done.core)
            alpha = None
            if plan.layout.alpha:
                _, alpha = plan.layout.split(self._source.rows(down.first, down.last))
            rows = plan.layout.join(band, alpha)
            self._digest.add(rows)
            yield rows

    def job(self) -> Job:
        """The record, once all bands were taken."""
        return record_of(self.plan, self._totals, self._digest.text())

    def _tell(self, core: np.ndarray) -> None:
        if self._callback is None:
            return
        picture = np.moveaxis(core, 0, -1) if self.plan.layout.channel_axis is not None else core[0]
        self._callback(Update(self._totals.count, self.plan.count, None, None, lambda: picture))


def _pieces(plan: Plan, source: RowReader, mask: Any) -> Iterator[Piece]:
    """The tiles from the top left, row by row; the rows of a row of tiles are read once."""
    given = given_mask(mask, plan.layout)
    for down in plan.spans[0]:
        rows, top = down.rows(plan.axes[0])
        block = _gathered(source, down.stand_ins(plan.axes[0]))
        for across in plan.spans[1]:
            columns, left = across.rows(plan.axes[1])
            planes, _ = plan.layout.split(block[:, across.stand_ins(plan.axes[1])])
            there = (rows >= 0)[:, None] & (columns >= 0)
            valid = mask_there(given, rows, columns)
            place = ((down.size, across.size), (top, left))
            core = (core_of(rows, down), core_of(columns, across))
            yield Piece(np.ascontiguousarray(planes), valid, None if there.all() else there, place, core)


def _gathered(source: RowReader, rows: np.ndarray) -> np.ndarray:
    """The rows of these numbers, read in runs."""
    block = np.empty((len(rows), *source.shape[1:]), source.dtype)
    for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
        block[run] = source.rows(int(rows[run[0]]), int(rows[run[-1]]) + 1)
    return block


def mask_there(given: np.ndarray | None, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
    """The caller's mask there; where there is no picture it does not matter."""
    return None if given is None else given[:, np.maximum(rows, 0)][:, :, np.maximum(columns, 0)]


def core_of(numbers: np.ndarray, span: Span) -> slice:
    """Where a tile's core lies among the data pixels of these numbers."""
    first = int(np.flatnonzero(numbers == span.first)[0])
    return slice(first, first + span.last - span.first)
