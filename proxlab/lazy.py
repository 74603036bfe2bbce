"""Pictures as dask arrays: what is chosen once is chosen at the start, the tiles are tasks of a graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.files.rows import ArrayRows
from imaging.files.scaling import to_float
from proxlab.clipping import Tally
from proxlab.data import given_mask
from proxlab.engine import tile_side
from proxlab.errors import UsageError
from proxlab.layout import Layout, Values, layout_of
from proxlab.refusals import as_input
from proxlab.tiles.piece import Piece, Setting, solve_piece
from proxlab.tiles.run import Plan, core_of, mask_there, plan_tiles
from proxlab.tiles.sample import check_can_tile, windows_of
from proxlab.tiles.survey import Survey, look_over

if TYPE_CHECKING:
    from proxlab.job import Job
    from proxlab.progress import Callback
    from proxlab.request import Request
    from proxlab.tiles.geometry import Span

SIDE = 1024  # pixels of a tile where nothing else is said


def is_lazy(image: Any) -> bool:
    """Is it a dask array? Answered without importing dask.

    >>> is_lazy(np.zeros(3))
    False
    """
    return type(image).__module__.partition(".")[0] == "dask"


class LazyRows:
    """Rows of a dask array, themselves lazy: what is cut out of them is all that is computed."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape, self.dtype = tuple(array.shape), array.dtype

    def rows(self, first: int, last: int) -> Any:
        """A lazy part."""
        return self.array[first:last]


@dataclass(frozen=True)
class Place:
    """One tile: how its pixels come out of the block that was read, and what `Piece` holds beside them."""

    rows: np.ndarray
    columns: np.ndarray
    valid: np.ndarray | None
    there: np.ndarray | None
    place: tuple[tuple[int, int], tuple[int, int]]
    core: tuple[slice, slice]


def deblur_lazily(
    request: Request, image: Any, psf: Any, mask: Any, callback: Callback | None
) -> tuple[Any, Job]:
    """The result as a dask array, and the record of what will be done; see `proxlab.deblur`.

    Raises UsageError for what cannot be done in tiles, and what reading up to nine windows raises.
    """
    import dask.array as da

    for name, value in (("cluster", request.cluster), ("callback", callback)):
        if value is not None:
            message = f"{name} with a dask array, which is computed where its own client says: leave it out."
            raise UsageError(message)
    check_can_tile(request, request.choose_method().name)
    layout = layout_of(np.broadcast_to(np.zeros(1, image.dtype), image.shape), request.channel_axis)
    axis = layout.channel_axis
    source = LazyRows(image if axis is None else da.moveaxis(image, axis, -1))
    mask = mask if mask is None or isinstance(mask, bool) else np.asarray(mask)
    side = request.tile or min(SIDE, tile_side(request, layout, image.dtype, psf, written=0) or SIDE)
    seen = _survey(request, source, layout, clipping=mask is not False)
    plan = plan_tiles(replace(request, tile=side), source, psf, mask, side=side, seen=seen)
    result = _graph(plan, source.array, given_mask(mask, plan.layout))
    job = plan.job()
    hashes = {name: text for name, text in job.hashes.items() if name != "image"}
    return result if axis is None else da.moveaxis(result, -1, axis), replace(job, hashes=hashes)


@as_input()
def _survey(request: Request, source: LazyRows, layout: Layout, *, clipping: bool) -> Survey:
    """What `look_over` says of the whole, of windows only."""
    axis = None if layout.channel_axis is None else 2
    parts = []
    for rows, columns in windows_of(layout.planes[1:]):
        window = ArrayRows(np.asarray(source.rows(rows.start, rows.stop)[:, columns]))
        within = layout_of(window.array, axis)
        parts.append(
            look_over(window, within, data_range=request.data_range, linear=request.linear, clipping=clipping)
        )
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    scale = to_float(np.array([low, high]).astype(source.dtype), data_range=request.data_range)[1]
    tallies = [part.tally for part in parts if part.tally is not None]
    tally = None
    if tallies:
        counts = [np.sum([getattr(t, name) for t in tallies], axis=0) for name in ("at_end", "solid")]
        tally = Tally(sum(t.size for t in tallies), *counts)
    return Survey("", Values(scale, request.linear), tally, low, high)


def _graph(plan: Plan, image: Any, given: np.ndarray | None) -> Any:
    """One task a tile, which reads the chunks it touches."""
    import dask
    import dask.array as da

    setting = dask.delayed(plan.sample.setting, traverse=False)
    layout = dask.delayed(plan.layout, traverse=False)
    solve = dask.delayed(_solve_block, traverse=False)
    meta = np.empty((0,) * image.ndim, image.dtype)
    bands = []
    for down in plan.spans[0]:
        band = []
        for across in plan.spans[1]:
            block, place = _place(plan, image, given, (down, across))
            shape = (down.last - down.first, across.last - across.first, *image.shape[2:])
            done = solve(setting, layout, block, place)
            band.append(da.from_delayed(done, shape, meta=meta))
        bands.append(da.concatenate(band, axis=1))
    return da.concatenate(bands, axis=0)


def _place(plan: Plan, image: Any, given: np.ndarray | None, spans: tuple[Span, Span]) -> tuple[Any, Place]:
    """The pixels a tile needs, as one delayed block, and the way from them to its `Piece`."""
    numbers, starts, takes, block = [], [], [], image
    for n, (span, axis) in enumerate(zip(spans, plan.axes, strict=True)):
        seen, start = span.rows(axis)
        needed, take = np.unique(span.stand_ins(axis), return_inverse=True)
        numbers.append(seen)
        starts.append(start)
        takes.append(take)
        block = _runs(block, needed, n)
    rows, columns = numbers
    there = (rows >= 0)[:, None] & (columns >= 0)
    place = Place(
        rows=takes[0],
        columns=takes[1],
        valid=mask_there(given, rows, columns),
        there=None if there.all() else there,
        place=((spans[0].size, spans[1].size), (starts[0], starts[1])),
        core=(core_of(rows, spans[0]), core_of(columns, spans[1])),
    )
    return block.rechunk(block.shape).to_delayed().item(), place


def _runs(array: Any, numbers: np.ndarray, axis: int) -> Any:
    """These rows or columns, as slices."""
    import dask.array as da

    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    cuts = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
    found = [array[cut] if axis == 0 else array[:, cut] for cut in cuts]
    return found[0] if len(found) == 1 else da.concatenate(found, axis=axis)


def _solve_block(setting: Setting, layout: Layout, block: np.ndarray, place: Place) -> np.ndarray:
    """The tile's core in the layout of the picture, its channels last."""
    planes, alpha = layout.split(np.asarray(block)[place.rows][:, place.columns])
    piece = Piece(np.ascontiguousarray(planes), place.valid, place.there, place.place, place.core)
    core = solve_piece(setting, piece).core
    return layout.join(core, None if alpha is None else alpha[place.core])
