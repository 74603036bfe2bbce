"""A picture that does not fit: its rows are read, deblurred in tiles and written as they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.files.errors import PictureError
from proxlab.errors import ConvergenceError, UsageError
from proxlab.layout import Layout, layout_of
from proxlab.plan import in_time

if TYPE_CHECKING:
    from imaging.files.rows import RowReader
    from proxlab.cli.outputs import Target
    from proxlab.job import Job
    from proxlab.pictures import Work
    from proxlab.progress import Callback
    from proxlab.request import Request
    from proxlab.tiles.run import Mapper


@dataclass(frozen=True)
class Stream:
    """One picture to be done from file to file, in tiles of `side`."""

    target: Target
    request: Request
    psf: Any
    mask: Any
    side: int

    @classmethod
    def of(cls, target: Target, work: Work) -> Stream | None:
        """The stream where tiles are wanted or needed and both files can be had by rows, else None.

        What is or becomes zarr is always read and written by rows, in as large tiles as there are. Raises
        UsageError where that cannot be done.
        """
        from imaging.files.rows import can_stream, open_rows
        from proxlab.engine import SIDES, SMALL, tile_side

        request = work.request
        plain = work.verb == "deblur" and work.roi is None
        only_rows = ".zarr" in (target.source.suffix.lower(), target.result.suffix.lower())
        if not (plain and can_stream(target.source) and can_stream(target.result)):
            if not only_rows:
                return None
            message = (
                f"{target.source} to {target.result}: zarr is read and written by rows, which only "
                "deblurring without a roi does, from zarr, npy or TIFF to zarr, npy or TIFF."
            )
            raise UsageError(message)
        try:
            with open_rows(target.source) as rows:
                layout = _layout(rows, request)
                if request.tile is None and int(np.prod(rows.shape)) < SMALL and not only_rows:
                    return None
                side = tile_side(request, layout, rows.dtype, work.psf, written=0)
                side = SIDES[0] if side is None and only_rows else side
        except PictureError:
            if only_rows:
                raise
            return None  # the way of whole pictures knows more kinds of files, and says what is wrong
        if side is None:
            return None
        return cls(target, replace(request, tile=side), work.psf, work.mask, side)

    def plan(self) -> tuple[list[str], dict[str, Any]]:
        """What would be done and what it takes, from the header alone: lines, and a record."""
        from imaging.files.rows import open_rows
        from proxlab.engine import estimated_seconds, tiled_estimate

        with open_rows(self.target.source) as rows:
            layout = _layout(rows, self.request)
            method, count, memory = tiled_estimate(self.request, layout, rows.dtype, self.psf)
            seconds = estimated_seconds(self.request, layout, rows.dtype, self.psf)
            record = {
                "method": method,
                "shape": list(rows.shape),
                "tile": self.side,
                "tiles": count,
                "memory_estimate": memory,
                "seconds_estimate": seconds,
            }
        from proxlab.memory import in_words

        height, width = rows.shape[:2]
        lines = [
            f"method    {method}",
            f"picture   {height}x{width}, {rows.dtype}, read and written by rows",
            f"psf       {self.psf}",
            f"tiles     about {count}, of {self.side}x{self.side} pixels",
            f"memory    about {in_words(memory)}",
        ]
        return lines + ([f"time      {in_time(seconds)}"] if seconds else []), record

    def run(
        self, callback: Callback | None, *, overwrite: bool, strict: bool, mapper: Mapper | None = None
    ) -> Job:
        """Deblur from file to file; the record. Nothing is written when --strict and a tile did not converge.

        Raises ConvergenceError, and what reading and writing raise.
        """
        from imaging.files.bands import Form, check_free, write_bands
        from imaging.files.rows import open_rows
        from proxlab.tiles.run import TiledRun, one_by_one, plan_tiles

        target = self.target
        target.result.parent.mkdir(parents=True, exist_ok=True)
        check_free(target.result, overwrite=overwrite)
        with open_rows(target.source) as rows:
            plan = plan_tiles(self.request, rows, self.psf, self.mask, side=self.side)
            work = TiledRun(plan, rows, self.mask, callback=callback, mapper=mapper or one_by_one)

            def bands() -> Any:
                """The rows as they are done; ConvergenceError at their end where --strict wants it."""
                yield from work.bands()
                if strict and not work.job().converged:
                    message = f"did not converge, nothing is written (--strict): {work.job().warnings[-1]}"
                    raise ConvergenceError(message)

            form = Form(rows.shape, rows.dtype)
            write_bands(target.result, bands(), form, like=target.source, overwrite=overwrite)
            return work.job()


def _layout(rows: RowReader, request: Request) -> Layout:
    return layout_of(np.broadcast_to(np.zeros(1, rows.dtype), rows.shape), request.channel_axis)


def exif_of(path: Path) -> bool:
    """Whether a TIFF has Exif, which writing by rows leaves out."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    import tifffile

    with tifffile.TiffFile(path) as tif:
        return 34665 in tif.pages.first.tags
