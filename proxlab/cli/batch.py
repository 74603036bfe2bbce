"""Many pictures in one process: each read, deblurred and written on its own, failures counted."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imaging.files.atomic import check_target
from imaging.files.formats import check_holds, format_of
from imaging.files.picture import Picture, read_picture, write_picture
from imaging.heap import kept_heap
from proxlab.blurs import psf_from_text
from proxlab.cli.console import Console
from proxlab.cli.deblur import given_options
from proxlab.cli.many import Summary, done_before, summary_of
from proxlab.cli.outputs import Target
from proxlab.cli.stages import Desk, Stages, Streamed, Switches, flow
from proxlab.cli.stream import Stream
from proxlab.cluster import connected
from proxlab.denoising import prior_file
from proxlab.errors import ConvergenceError, InputError
from proxlab.front import request_of
from proxlab.job import Job, digest
from proxlab.methods import load_method
from proxlab.networks import find_prior
from proxlab.pictures import Work, prepare_page
from proxlab.plan import in_time
from proxlab.receipt import beside, file_digest, psf_file, read_receipt, write_receipt
from proxlab.request import same_treatment

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_CONVERGED, SOME_FAILED = 5, 6
NOWHERE = Summary(None)  # a plan is no result
Ended = tuple[int, "dict[str, Any] | None"]  # exit code, and the record where something was done


class End(NamedTuple):
    """How one picture ended: its exit code, and whether what was asked lies on the disk."""

    code: int
    done: bool


@dataclass(frozen=True)
class Batch:
    """One piece of work for many pictures."""

    work: Work
    switches: Switches
    console: Console

    @classmethod
    def of(cls, args: argparse.Namespace, console: Console) -> Batch:
        """Read and check everything that does not depend on a picture."""
        options = given_options(args)
        if args.same_as:
            options = {**_without_stale(_as_before(Path(args.same_as)), options), **options}
        request = request_of(options)
        method = request.choose_method()
        find_prior(request.prior, method, channels=1)  # a mistake in it is said once, not for each picture
        psf_from_text(args.psf, request.seed)
        path = Path(args.mask) if args.mask and args.mask != "off" else None
        work = Work(request, args.psf, read_mask(path) if path else (False if args.mask else None), args.roi)
        switches = Switches(
            overwrite=bool(args.overwrite),
            strip_metadata=bool(args.strip_metadata),
            dry_run=bool(args.dry_run),
            strict=bool(args.strict),
            mask=path,
            resume=bool(args.resume),
        )
        return cls(work, switches, console)

    def run(self, targets: list[Target], output: str | None = None) -> int:
        """Do them all: one is read and one written while one is worked on, or many elsewhere.

        Several pictures into a folder, `output`, leave one summary there. Returns the exit code of the whole.
        """
        if self.switches.dry_run:
            ends = [self._guarded(target, partial(self._plan, target), NOWHERE) for target in targets]
        else:
            ends = self._run(targets, summary_of(targets, output))
        failed = [end.code for end in ends if not end.done]
        if not failed:
            return max(end.code for end in ends)
        if len(failed) < len(ends):
            self.console.say(f"{len(failed)} of {len(ends)} pictures failed.")
        return worst([end.code if not end.done else 0 for end in ends])

    def _run(self, targets: list[Target], summary: Summary) -> list[End]:
        request = self.work.request
        with kept_heap(), connected(request.cluster) as workers:
            desk = Desk(self.work, self.console, self.switches, workers)
            stages = Stages(
                read=self._begin,
                work=desk.work,
                write=lambda target, done: self._guarded(target, partial(self._end, target, done), summary),
            )
            together = workers.ahead if workers else int(request.max_memory is None)
            ends = list(flow(stages, targets, together=together))
        summary.write()
        return ends

    def _guarded(self, target: Target, work: Callable[[], Ended], summary: Summary) -> End:
        """One picture, whose failure is told and does not stop the others."""
        try:
            code, info = work()
        except Exception as error:
            code = self.console.fail(error, str(target.source))
            summary.add(target, code, said=str(error))
            return End(code, done=False)
        summary.add(target, code, said="done before" if info is None else "done", info=info)
        return End(code, done=True)

    def _begin(self, target: Target) -> Picture | Stream | None:
        """The picture, the stream where its rows are read as they are needed, None where it was done."""
        if self.switches.resume and done_before(target, self.work):
            return None
        stream = Stream.of(target, self.work)
        return self._read(target) if stream is None else stream

    def _plan(self, target: Target) -> Ended:
        stream = Stream.of(target, self.work)
        if stream is not None:
            plan, found = stream.plan()
            lines = [f"{target.source} -> {target.result}", *plan]
            record = {"source": str(target.source), "result": str(target.result), "plan": found}
            self.console.data("\n  ".join(lines), record)
            return 0, None
        picture = self._read(target)
        page = prepare_page(picture.frames()[0], self.work)
        pages = f", {len(picture.frames())} pages" if picture.pages else ""
        lines = [f"{target.source}{pages} -> {target.result}", *page.lines()]
        seconds = self.work.seconds(picture.frames()[0])
        if seconds is not None:
            lines.append(f"time      {in_time(seconds * len(picture.frames()))}")
        found = {**page.job.info(), "seconds_estimate": seconds}
        record = {"source": str(target.source), "result": str(target.result), "plan": found}
        self.console.data("\n  ".join(lines), record)
        return 0, None

    def _end(self, target: Target, result: Callable[[], Any]) -> Ended:
        """Write what came out, nothing where it was done before; raises what went wrong until then."""
        done = result()
        if done is None:
            self.console.say(f"{target.source} was done before: {target.result}")
            return 0, None
        jobs = done.jobs
        bad = [job for job in jobs if not job.converged]
        if isinstance(done, Streamed):
            record = receipt_of(target, done.work, self.switches, jobs)
            write_receipt(
                target.receipt,
                {**record, "result": jobs[0].hashes["result"]},
                overwrite=self.switches.overwrite,
            )
        else:
            if bad and self.switches.strict:
                message = f"did not converge, nothing is written (--strict): {bad[0].warnings[-1]}"
                raise ConvergenceError(message)
            self._write(target, done.picture, done.pixels, jobs)
        self._tell(target, jobs)
        return (NOT_CONVERGED if bad else 0), jobs[0].info()

    def _read(self, target: Target) -> Picture:
        """The picture, once it is certain that its result can be written."""
        picture = read_picture(target.source)
        for path in (target.result, target.receipt):
            if (
                path.parent.exists()
            ):  # a folder that is not there yet is made when there is something to put in
                check_target(path, overwrite=self.switches.overwrite)
        kind = format_of(target.result)
        check_holds(target.result, kind, str(picture.dtype), picture.channels, picture.pages)
        return picture

    def _write(self, target: Target, picture: Picture, pixels: NDArray[Any], jobs: list[Job]) -> None:
        """Both files or none."""
        switches = self.switches
        fresh = not target.result.exists()
        target.result.parent.mkdir(parents=True, exist_ok=True)
        write_picture(
            target.result,
            pixels,
            picture,
            strip_metadata=switches.strip_metadata,
            overwrite=switches.overwrite,
        )
        try:
            record = receipt_of(target, self.work, switches, jobs)
            write_receipt(target.receipt, {**record, "result": digest(pixels)}, overwrite=switches.overwrite)
        except BaseException:
            if fresh:
                target.result.unlink(missing_ok=True)
            raise

    def _tell(self, target: Target, jobs: list[Job]) -> None:
        console = self.console
        pages = f" ({len(jobs)} pages)" if len(jobs) > 1 else ""
        console.say(f"{target.source} -> {target.result}{pages}: {jobs[0].summary()}")
        for text in dict.fromkeys(text for job in jobs for text in job.warnings):
            console.say(f"  warning: {text}")
        for line in (*jobs[0].plan(), f"receipt   {target.receipt}"):
            console.detail(f"  {line}")
        for line in certificate_lines(jobs[0].info()["certificate"]):
            console.detail(f"  {line}")
        record = {"source": str(target.source), "result": str(target.result), **jobs[0].info()}
        console.data(str(target.result), record)


def receipt_of(target: Target, work: Work, switches: Switches, jobs: list[Job]) -> dict[str, Any]:
    """What is written beside the result; `proxlab replay` reads it."""
    psf = psf_file(work.psf) if work.psf else None
    where = work.psf
    if psf is not None:
        where = beside(psf, target.receipt) + work.psf[len(str(psf)) :]
    files = {"source": file_digest(target.source), "output": file_digest(target.result)}
    if psf is not None:
        files["psf"] = file_digest(psf)
    if switches.mask is not None:
        files["mask"] = file_digest(switches.mask)
    named = work.prior if work.verb == "denoise" else work.request.prior
    prior = prior_file(named)
    if prior is not None:
        files["prior"] = file_digest(prior)
    return {
        "verb": work.verb,
        "source": beside(target.source, target.receipt),
        "output": beside(target.result, target.receipt),
        "psf": where,
        "prior": beside(prior, target.receipt) if prior is not None else named,
        "mask": beside(switches.mask, target.receipt)
        if switches.mask
        else ("off" if work.mask is False else None),
        "roi": work.roi,
        "options": {k: v for k, v in work.request.as_dict().items() if k != "prior"},
        "files": files,
        "info": jobs[0].info(),
        "pages": [job.info() for job in jobs] if len(jobs) > 1 else [],
    }


def _as_before(receipt: Path) -> dict[str, Any]:
    """The options that treat another picture like the one of a receipt, its prior wherever that lies now."""
    record = read_receipt(receipt)
    options, prior = same_treatment(record["info"]), record.get("prior")
    if prior is None or record["verb"] == "denoise" or not load_method(str(options["method"])).supports.prior:
        return options  # "auto" may have taken a method that has none
    return {**options, "prior": str(receipt.parent / prior) if "prior" in record["files"] else prior}


def _without_stale(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What of an earlier treatment still means something beside the options given now.

    Weight, iterations and prior are the method's own, and a weight was made for its noise level.

    >>> _without_stale({"method": "pnp", "sigma": 0.1, "lam": 1e-3, "num_iter": 8}, {"method": "tv"})
    {'method': 'pnp', 'sigma': 0.1}
    """
    stale = {"lam"} if "sigma" in now else set()
    if now.get("method", before.get("method")) != before.get("method"):
        stale |= {"lam", "num_iter", "prior"}
    return {name: value for name, value in before.items() if name not in stale}


def certificate_lines(record: dict[str, Any]) -> list[str]:
    """What a run can claim, for --verbose: the verdict, then each condition under it.

    >>> certificate_lines({"verdict": "nothing is proven.", "conditions": []})
    ['certified nothing is proven.']
    """
    from algorithms.certificate import lines

    verdict, *conditions = lines(record)
    return [f"certified {verdict}", *(f"  {text}" for text in conditions)]


def worst(codes: list[int]) -> int:
    """The exit code of a batch from those of its parts, 0 where the part was done.

    >>> worst([0, 0]), worst([0, 3]), worst([3, 3]), worst([3, 4])
    (0, 6, 3, 1)
    """
    failed = [code for code in codes if code]
    if failed and len(failed) < len(codes):
        return SOME_FAILED
    return failed[0] if len(set(failed)) == 1 else int(bool(failed))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask (H, W) from a picture: True where it is brighter than half of its range, grey from the mean of
    colours.
    """
    from imaging.files.scaling import split_alpha, to_float

    picture = read_picture(path)
    if picture.pages:
        message = f"{path} has several pages, but a mask has one: give a picture with one page."
        raise InputError(message)
    colour, _ = split_alpha(picture.pixels)
    unit, _ = to_float(colour)
    valid: NDArray[np.bool_] = (unit if unit.ndim == 2 else unit.mean(axis=2)) > 0.5
    return valid
