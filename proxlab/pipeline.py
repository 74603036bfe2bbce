"""The way from a request and arrays to a result: prepare everything, run the method, finish the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.blurs import Blur, Scene, read_blur
from proxlab.data import Data, read_data
from proxlab.errors import ConvergenceError, MemoryLimitError, UsageError
from proxlab.job import Job, digest
from proxlab.level import find_level
from proxlab.memory import check_limit, in_words, peak
from proxlab.methods.base import Method, Progress, Supports, Task
from proxlab.methods.common import rings_text
from proxlab.model import build_operator, choose_device, device_text, operator_text
from proxlab.networks import find_prior, place
from proxlab.plan import extent_of, whole_memory
from proxlab.progress import Callback, reporter
from proxlab.request import Request

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from imaging.operator import LinearOperator
    from proxlab.denoising import Prior


# On the pictures of data/ right psfs left at most 0.01 % of the values beyond, wrong ones 10 to 93 %.
BEYOND, RINGING = 0.1, 0.02


@dataclass(frozen=True)
class Prepared:
    """Everything but the work itself; `job` says in words what will be done."""

    job: Job
    method: Method
    data: Data
    op: LinearOperator
    y: torch.Tensor
    white: bool
    started: float
    prior: Prior | None = None

    def run(self, callback: Callback | None) -> tuple[NDArray[Any], Job]:
        """Do the work; see `run`."""
        return run(self, callback)

    def task(self, report: Callable[[Progress], None]) -> Task:
        """What the method receives."""
        job = self.job
        return Task(
            op=self.op,
            y=self.y,
            sigma=job.sigma,
            sigma_rule=job.sigma_rule,
            noise=job.noise,
            lam=job.request.lam,
            num_iter=job.request.num_iter,
            prior=self.prior,
            seed=job.request.seed,
            white=self.white,
            report=report,
        )

    def lines(self) -> list[str]:
        """What would be done, in lines, with what a method that picks another one would try first."""
        outlook = getattr(self.method, "outlook", None)
        if outlook is None:
            return self.job.plan()
        lines = replace(self.job, prior=None).plan()  # which one, the method says
        lines.insert(1, f"auto      {outlook(self.task(lambda progress: None))}")
        return lines


def prepare(request: Request, image: Any, psf: Any, mask: Any) -> Prepared:
    """Check and choose everything; nothing here takes longer than a few FFTs."""
    import torch

    import imaging.operator  # noqa: F401 (seconds of importing are not work)

    started = perf_counter()
    if isinstance(image, str | Path):
        message = f"the picture is the text {str(image)!r}, wanted an array: read the file first."
        raise UsageError(message)
    image = np.asarray(image)
    data = read_data(
        image,
        mask,
        channel_axis=request.channel_axis,
        data_range=request.data_range,
        linear=request.linear,
    )
    hashes = {"image": digest(image)}
    if mask is not None and not isinstance(mask, bool):
        hashes["mask"] = digest(np.asarray(mask))
    blur = read_blur(psf, Scene(data.planes, request.scale, request.seed), origin=request.origin)
    method, data = _choose(request, data.anchored(blur.size), blur, given="mask" in hashes)
    device = choose_device(request.device)
    prior = find_prior(request.prior, method, data.planes.shape[0])
    extent = extent_of(request, blur, data.layout.planes, image.itemsize, data.planes.itemsize)
    needed = whole_memory(method, prior, extent, device=device.type)
    check_limit(needed, request.max_memory, device)
    y = torch.from_numpy(data.planes)[None]
    place(prior, device, y.dtype)
    op = build_operator(request, blur, data, device, y.dtype)
    level = find_level(request, data, blur)
    job = Job(
        request=request,
        method=method.name,
        operator=operator_text(request, blur, data),
        psf=blur.text,
        noise=level.noise,
        sigma=level.sigma,
        sigma_rule=level.rule,
        device=device_text(device),
        memory=needed,
        masked=data.masked,
        notes=data.notes + blur.notes,
        warnings=data.warnings + blur.warnings + level.warnings,
        hashes={**hashes, "psf": blur.digest, **({"prior": prior.digest} if prior and prior.digest else {})},
        prior=prior.name if prior else None,
    )
    return Prepared(job, method, data, op, y.to(device), level.white, started, prior)


def run(prepared: Prepared, callback: Callback | None) -> tuple[NDArray[Any], Job]:
    """Do the work; raises ConvergenceError when not even the last good iterate is finite."""
    import torch

    from imaging.operator import window

    job = prepared.job

    def render(x: torch.Tensor) -> NDArray[Any]:
        return prepared.data.store(window(prepared.op, x)[0].detach().cpu().numpy())

    task = prepared.task(reporter(callback, render))
    with torch.no_grad(), _failures(job):
        outcome = prepared.method.run(task)
        if not bool(torch.isfinite(outcome.x).all()):
            message = f"{job.method} ended in NaN after {outcome.num_iter} iterations: {outcome.stop_reason}."
            raise ConvergenceError(message)
        rings = _ringing(window(prepared.op, outcome.x), prepared.y, prepared.method.supports)
        outcome = replace(outcome, warnings=outcome.warnings + rings)
        result = render(outcome.x)
    seconds = perf_counter() - prepared.started
    return result, job.finished(outcome, result, seconds=seconds, peak_memory=_peak(prepared.y.device))


def _ringing(x: torch.Tensor, y: torch.Tensor, supports: Supports) -> tuple[str, ...]:
    """A warning when much of the result lies far outside the data's range: what a wrong psf does."""
    low, high = float(y.min()) - BEYOND, float(y.max()) + BEYOND
    share = float(((x < low) | (x > high)).float().mean())
    return (rings_text(share, supports),) if share > RINGING else ()


def _choose(request: Request, data: Data, blur: Blur, *, given: bool) -> tuple[Method, Data]:
    """The method; an automatic mask gives way to a method that cannot use one, a given mask does not."""
    if data.valid is not None and not given:
        method = request.choose_method(varying=blur.varying)
        if not method.supports.mask:
            note = f"clipped pixels are used as they are: method {method.name!r} cannot leave pixels out."
            return method, replace(data, valid=None, warnings=(note,))
    return request.choose_method(mask=data.valid is not None, varying=blur.varying), data


def _peak(device: torch.device) -> int | None:
    if device.type != "cuda":
        return peak()
    import torch

    return int(torch.cuda.max_memory_allocated(device))


@contextmanager
def _failures(job: Job) -> Iterator[None]:
    """Running out of memory in one way, however it shows; what did not converge in the user's words."""
    from algorithms.state import NotConvergedError
    from imaging.linsolve import SolveError

    estimate = job.memory
    try:
        yield
    except SolveError as cause:
        message = (
            f"method {job.method!r} could not solve its equations to the tolerance: "
            "give a larger lam, or use method 'tv'."
        )
        raise ConvergenceError(message) from cause
    except (NotConvergedError, FloatingPointError) as cause:
        message = f"method {job.method!r} gave no usable picture: {cause}"
        raise ConvergenceError(message) from cause
    except (MemoryError, RuntimeError) as cause:
        text = str(cause).lower()
        if not isinstance(cause, MemoryError) and "memory" not in text:
            raise
        message = f"not enough memory, about {in_words(estimate)} are needed: work on a part of the picture."
        raise MemoryLimitError(message) from cause
