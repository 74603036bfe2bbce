"""Where the work is done: in one piece where it fits, in tiles where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.errors import MemoryLimitError, UsageError
from proxlab.layout import Layout, layout_of
from proxlab.memory import in_words, parse_bytes, resident, there_is
from proxlab.model import choose_device
from proxlab.plan import Extent, extent_of, later, measured_speed, seconds, tiled_memory, whole_memory

if TYPE_CHECKING:
    import torch

    from imaging.files.rows import RowReader
    from proxlab.cluster import Workers
    from proxlab.job import Job
    from proxlab.pipeline import Prepared
    from proxlab.progress import Callback
    from proxlab.remote import OnWorker
    from proxlab.request import Request
    from proxlab.tiles.run import Mapper, Plan

SIDES = range(2048, 127, -64)  # of tiles: larger ones gain little, smaller ones are mostly overlap
SHARE = 0.8  # of the machine's memory that is used where nothing is said
SURE = 0.92  # of a limit that estimates may reach, since they are estimates
SMALL = 1 << 20  # pixels below which nothing is cut unasked
GUESS = 40  # pixels of overlap taken before any was measured
ANY_PSF = (61, 61)  # size taken for a psf that is yet to be estimated


@dataclass(frozen=True)
class TiledArray:
    """A picture in memory, planned in tiles; like a `Prepared`, it has a job and runs."""

    plan: Plan
    source: RowReader
    mask: Any
    axis: int | None  # where the caller has the channels
    workers: Workers | None = None

    @property
    def job(self) -> Job:
        """What will be done."""
        return self.plan.job()

    def lines(self) -> list[str]:
        """What would be done, in lines."""
        return self.job.plan()

    def run(self, callback: Callback | None) -> tuple[Any, Job]:
        """The result in the caller's layout, and the record."""
        from proxlab.tiles.run import TiledRun

        mapper = mapper_of(self.workers)
        work = TiledRun(self.plan, self.source, self.mask, callback=callback, mapper=mapper)
        out, row = np.empty(self.source.shape, self.source.dtype), 0
        for band in work.bands():
            out[row : row + len(band)] = band
            row += len(band)
        back = out if self.axis is None else np.ascontiguousarray(np.moveaxis(out, -1, self.axis))
        job = work.job()
        return back, job


def make_ready(
    request: Request, image: Any, psf: Any, mask: Any, workers: Workers | None = None
) -> Prepared | TiledArray:
    """Check and choose everything for a picture in memory, in one piece or in tiles as it must be.

    workers do the tiles, if there are both. Raises UsageError, InputError, MemoryLimitError.
    """
    from proxlab.pipeline import prepare

    return in_tiles(request, image, psf, mask, workers) or prepare(request, image, psf, mask)


def ready_there(
    workers: Workers | None, request: Request, image: Any, psf: Any, mask: Any
) -> Prepared | TiledArray | OnWorker:
    """The same with workers, if there are any: tiles are shared out, one piece is done by one of them."""
    if workers is None:
        return make_ready(request, image, psf, mask)
    from proxlab.remote import OnWorker

    tiled = in_tiles(request, image, psf, mask, workers)
    return tiled or OnWorker(workers, request, image, psf, mask)


def in_tiles(
    request: Request, image: Any, psf: Any, mask: Any, workers: Workers | None = None
) -> TiledArray | None:
    """The picture planned in tiles, where they were asked for or are needed."""
    if isinstance(image, str | Path):
        return None  # refused later
    image = np.asarray(image)
    side = side_for(request, image, psf)
    if side is None:
        return None
    from imaging.files.rows import ArrayRows
    from proxlab.tiles.run import plan_tiles

    axis = layout_of(image, request.channel_axis).channel_axis
    source = ArrayRows(image if axis is None else np.moveaxis(image, axis, -1))
    plan = plan_tiles(replace(request, tile=side), source, psf, mask, side=side)
    return TiledArray(plan, source, mask, axis, workers)


def side_for(request: Request, image: np.ndarray, psf: Any) -> int | None:
    """`tile_side` of a picture in memory; a small one is not cut unasked."""
    if request.tile is None and image.size < SMALL:
        return None
    layout = layout_of(image, request.channel_axis)
    return tile_side(request, layout, image.dtype, psf, written=image.nbytes)


def mapper_of(workers: Workers | None) -> Mapper:
    """How tiles are done: by workers, or in a plain loop."""
    from proxlab.tiles.run import one_by_one

    return one_by_one if workers is None else workers.tiles


def tile_side(request: Request, layout: Layout, dtype: np.dtype, psf: Any, *, written: int) -> int | None:
    """The side of the tiles, or None where the picture is to be done in one piece.

    Tiles where they were asked for, and where one piece would exceed max_memory, or most of the machine's
    memory. written: bytes of the result that stay in memory. Raises UsageError for tiles that were asked for
    and cannot be had, MemoryLimitError where not even the smallest fit.
    """
    from proxlab.networks import find_prior
    from proxlab.tiles.sample import check_can_tile

    method = request.choose_method()
    if request.tile is not None:
        check_can_tile(request, method.name)
        return request.tile
    extent = _extent(request, layout, dtype, psf)
    device = choose_device(request.device)
    limit = _limit(request, device)
    prior = find_prior(request.prior, method, layout.planes[0])
    if whole_memory(method, prior, extent, device=device.type) <= limit:
        return None
    try:
        check_can_tile(request, method.name)
        if extent.varying:
            return None
    except UsageError:
        return None  # one piece, which says itself that it does not fit
    held = resident() + written + later() if device.type == "cpu" else 0
    for side in SIDES:
        if held + tiled_memory(method, prior, extent, side) <= SURE * limit:
            return side
    message = (
        f"not even tiles of {SIDES[-1]} pixels fit: about "
        f"{in_words(held + tiled_memory(method, prior, extent, SIDES[-1]))} are needed and "
        f"{in_words(int(limit))} allowed: allow more, or choose a method that needs less."
    )
    raise MemoryLimitError(message)


def tiled_estimate(request: Request, layout: Layout, dtype: np.dtype, psf: Any) -> tuple[str, int, int]:
    """Method, about how many tiles, and peak bytes, for a request with tiles, from sizes alone."""
    from proxlab.networks import find_prior

    method = request.choose_method()
    extent = _extent(request, layout, dtype, psf)
    prior = find_prior(request.prior, method, layout.planes[0])
    side = request.tile or SIDES[0]
    core = max(side - 2 * GUESS, 32)
    count = int(np.prod([1 if n <= side else -(-n // core) for n in extent.planes[1:]]))
    return method.name, count, resident() + later() + tiled_memory(method, prior, extent, side)


def estimated_seconds(request: Request, layout: Layout, dtype: np.dtype, psf: Any) -> float | None:
    """About how long the run will take, from two short trials on this machine."""
    from proxlab.networks import find_prior

    method = request.choose_method()
    extent = _extent(request, layout, dtype, psf)
    prior = find_prior(request.prior, method, layout.planes[0])
    channels, rows, columns = extent.field
    pixels = float(rows * columns)
    if request.tile is not None:
        side = request.tile
        pixels *= (side / max(side - 2 * GUESS, 32)) ** 2
    speed = measured_speed(prior, channels)
    search = request.lam is None and request.tile is None  # tiles have it from a sample
    return seconds(method.name, request.num_iter, pixels, channels, speed, search=search)


def _extent(request: Request, layout: Layout, dtype: np.dtype, psf: Any) -> Extent:
    """The sizes, the psf read without looking at the picture."""
    from imaging.psf.text import Auto
    from proxlab.blurs import Blur, Scene, psf_from_text, read_blur

    working = 8 if dtype == np.float64 else 4
    if isinstance(psf, str) and isinstance(psf_from_text(psf, request.seed), Auto):
        blur = Blur(np.zeros((1, 1, 1, *ANY_PSF)), (0, 0), "", (), (), "")
    else:
        nothing = np.broadcast_to(np.float32(0), layout.planes)
        blur = read_blur(psf, Scene(nothing, request.scale, request.seed), origin=request.origin)
    return extent_of(request, blur, layout.planes, dtype.itemsize, working)


def _limit(request: Request, device: torch.device) -> float:
    """Bytes that may be held: max_memory, or most of the machine's; on a GPU never more than is free there.

    Written for GPUs, and tried with a stand-in only: no estimate was ever held against a peak on a card.
    """
    given = None if request.max_memory is None else parse_bytes(request.max_memory)
    if given is None or device.type == "cuda":
        there = SHARE * there_is(device)
        return there if given is None else min(given, there)
    return given
