"""Whole pictures elsewhere: what a worker needs is made portable here, and its records are completed here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.heap import kept_heap
from proxlab.blurs import Scene, read_blur
from proxlab.denoising import choose_prior, prior_file
from proxlab.job import Job
from proxlab.layout import layout_of
from proxlab.pictures import Work, prepare_page, without_grey_alpha
from proxlab.pipeline import prepare
from proxlab.receipt import psf_file
from proxlab.request import Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from proxlab.cluster import Promise, Workers
    from proxlab.progress import Callback


@dataclass(frozen=True)
class OnWorker:
    """A picture in memory that a worker does in one piece; like a `Prepared` it runs."""

    workers: Workers
    request: Request
    image: Any
    psf: Any
    mask: Any

    def run(self, callback: Callback | None) -> tuple[Any, Job]:
        """The result and the record; the callback is not called, iterations happen elsewhere."""
        image = np.asarray(self.image)
        psf = portable_psf(self.psf, image, self.request, self.request.channel_axis)
        promise = self.workers.submit(_solve, portable(self.request), image, psf, self.mask)
        result, job = promise.result()
        return result, replace(job, request=self.request)


class Sender:
    """Sends the pictures of one piece of work; what they share goes to each worker once."""

    def __init__(self, workers: Workers, work: Work) -> None:
        self._workers, self._work = workers, work
        self._shared = workers.share(replace(work, request=portable(work.request)))
        self._psfs: dict[tuple[Any, ...], Any] = {}

    def send(self, frames: list[NDArray[Any]]) -> Promise:
        """Begin on the pages of a picture; `completed` makes its result what this process would have made."""
        return self._workers.submit(_solve_pages, self._shared, self._psf(frames[0]), frames)

    def completed(self, done: list[tuple[NDArray[Any], Job]]) -> list[tuple[NDArray[Any], Job]]:
        """The records with what was asked here."""
        return [(pixels, replace(job, request=self._work.request)) for pixels, job in done]

    def _psf(self, page: NDArray[Any]) -> Any:
        """The psf as it has to travel: once for all pictures that it is the same for."""
        picture, _ = without_grey_alpha(page)
        psf = portable_psf(self._work.psf, picture, self._work.request, None)
        if psf is self._work.psf:
            return None
        key = (psf.digest, psf.origin, psf.notes, psf.warnings)
        if key not in self._psfs:
            self._psfs[key] = self._workers.share(psf)
        return self._psfs[key]


def portable(request: Request) -> Request:
    """The request for a process that shares no files with this one."""
    prior = request.prior
    if isinstance(prior, str) and prior_file(prior) is not None:
        prior = choose_prior(prior, channels=1)
    return replace(request, cluster=None, prior=prior)


def portable_psf(psf: Any, picture: NDArray[Any], request: Request, axis: int | None) -> Any:
    """The psf itself, or where its text names a file what that holds for a picture of this size."""
    if not isinstance(psf, str) or psf_file(psf) is None:
        return psf
    nothing = np.broadcast_to(np.float32(0), layout_of(picture, axis).planes)
    return read_blur(psf, Scene(nothing, request.scale, request.seed), origin=request.origin)


def _solve(request: Request, image: NDArray[Any], psf: Any, mask: Any) -> tuple[NDArray[Any], Job]:
    with kept_heap():
        result, job = prepare(request, image, psf, mask).run(None)
    return result, _light(job)


def _solve_pages(work: Work, psf: Any, frames: list[NDArray[Any]]) -> list[tuple[NDArray[Any], Job]]:
    if psf is not None:
        work = replace(work, psf=psf)
    with kept_heap():
        done = [prepare_page(page, work).run(None) for page in frames]
    return [(pixels, _light(job)) for pixels, job in done]


def _light(job: Job) -> Job:
    """The record without the tensor, and without a network in its request."""
    import torch

    assert job.outcome is not None
    return replace(
        job, outcome=replace(job.outcome, x=torch.empty(0)), request=replace(job.request, prior=None)
    )
