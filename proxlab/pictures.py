"""Whole pictures: grey with alpha, several pages, a region pasted back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.files.scaling import join_alpha
from proxlab.blurs import Scene, read_blur
from proxlab.data import read_data
from proxlab.engine import TiledArray, estimated_seconds, make_ready
from proxlab.errors import UsageError
from proxlab.job import Job, digest
from proxlab.layout import layout_of
from proxlab.pipeline import Prepared, prepare
from proxlab.progress import Callback
from proxlab.request import Request
from proxlab.roi import Region, parse_roi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from proxlab.cluster import Workers

RECEPTIVE = (
    64  # pixels around a region to be denoised: what lies beyond changed a result by less than rounding
)
ALIGNED = 16  # networks halve the picture up to four times, counting from its corner


@dataclass(frozen=True)
class Work:
    """What is to be done to every page of a picture; roi is a text "R0:R1,C0:C1".

    verb is "deblur", or "denoise", which has a prior and no psf.
    """

    request: Request
    psf: Any
    mask: Any = None
    roi: str | None = None
    verb: str = "deblur"
    prior: Any = None

    def prepare(self, picture: NDArray[Any], workers: Workers | None = None) -> Prepared | TiledArray:
        """Make a whole picture without grey alpha ready; workers do its tiles, if it is cut."""
        if self.verb == "denoise":
            from proxlab.denoising import prepare_denoising

            return prepare_denoising(self.request, picture, self.prior, self.mask)
        return make_ready(self.request, picture, self.psf, self.mask, workers)

    def seconds(self, page: NDArray[Any]) -> float | None:
        """About how long a page (H, W[, C]) will take; None where nobody can tell."""
        if self.verb == "denoise" or self.roi is not None:
            return None
        picture, _ = without_grey_alpha(page)
        return estimated_seconds(self.request, layout_of(picture), picture.dtype, self.psf)


@dataclass(frozen=True)
class Page:
    """One page made ready: the part to be worked on, where it goes back, the alpha of a grey picture."""

    prepared: Prepared | TiledArray
    stored: NDArray[Any]
    outer: Region
    inner: Region

    @property
    def job(self) -> Job:
        """What will be done."""
        return self.prepared.job

    def lines(self) -> list[str]:
        """What would be done, in lines."""
        return self.prepared.lines()

    def run(self, callback: Callback | None) -> tuple[NDArray[Any], Job]:
        """Deblur the part and put it back; the hashes in the record are those of the whole page."""
        result, job = self.prepared.run(callback)
        colour, alpha = without_grey_alpha(self.stored)
        if self.inner != self.outer:
            cut = self.inner.inside(self.outer)
            part, result = result, colour.copy()
            result[self.inner.rows, self.inner.columns] = part[cut.rows, cut.columns]
        if alpha is not None:
            result = join_alpha(result[..., None], alpha)
        return result, replace(
            job, hashes={**job.hashes, "image": digest(self.stored), "result": digest(result)}
        )


def prepare_page(page: NDArray[Any], work: Work, workers: Workers | None = None) -> Page:
    """Make one page (H, W[, C]) ready; two channels are grey with alpha; workers do the tiles, if any."""
    colour, _ = without_grey_alpha(page)
    if work.roi is None:
        whole = Region(0, page.shape[0], 0, page.shape[1])
        return Page(work.prepare(colour, workers), page, whole, whole)
    inner = parse_roi(work.roi, (page.shape[0], page.shape[1]))
    prepared, outer = _prepare_region(colour, work, inner)
    return Page(prepared, page, outer, inner)


def without_grey_alpha(page: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """A page without the second of its two channels, and that channel."""
    if page.ndim == 3 and page.shape[2] == 2:
        return page[..., 0], page[..., 1:]
    return page, None


def _prepare_region(page: NDArray[Any], work: Work, inner: Region) -> tuple[Prepared | TiledArray, Region]:
    """The region with its context; where that ends inside the picture, only unknown borders are true."""
    size = page.shape[0], page.shape[1]
    if work.verb == "denoise":
        outer = inner.with_context((RECEPTIVE, RECEPTIVE), size).aligned(ALIGNED, size)
        return replace(work, mask=_part(work.mask, outer)).prepare(page[outer.rows, outer.columns]), outer
    request = work.request
    if request.boundary != "unknown" or request.scale != 1:
        message = "a roi needs boundary='unknown' and scale=1: leave them out, or deblur the whole picture."
        raise UsageError(message)
    data = read_data(page, work.mask, data_range=request.data_range, linear=request.linear)
    blur = read_blur(work.psf, Scene(data.planes, 1, request.seed), origin=request.origin)
    outer = inner.with_context(blur.size, size)
    return prepare(request, page[outer.rows, outer.columns], blur, _part(work.mask, outer)), outer


def _part(mask: Any, region: Region) -> Any:
    """The mask's part in the region, where it is a picture."""
    if mask is None or isinstance(mask, bool):
        return mask
    return np.asarray(mask)[region.rows, region.columns]
