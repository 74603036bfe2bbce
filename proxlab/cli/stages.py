"""Pictures on their way: one is read, one worked on and one written at the same time, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imaging.files.atomic import check_target
from proxlab.cli.stream import Stream, exif_of
from proxlab.engine import mapper_of, side_for
from proxlab.errors import ClusterError
from proxlab.pictures import Work, prepare_page, without_grey_alpha
from proxlab.progress import Bar
from proxlab.remote import Sender

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from imaging.files.picture import Picture
    from proxlab.cli.console import Console
    from proxlab.cli.outputs import Target
    from proxlab.cluster import Promise, Workers
    from proxlab.job import Job


@dataclass(frozen=True)
class Switches:
    """What is done with the results."""

    overwrite: bool
    strip_metadata: bool
    dry_run: bool
    strict: bool
    mask: Path | None
    resume: bool = False


class Solved(NamedTuple):
    """A picture with its result, not written yet."""

    picture: Picture
    pixels: NDArray[Any]
    jobs: list[Job]


class Streamed(NamedTuple):
    """A result that was written as it came, and the work that asks for the same tiles again."""

    work: Work
    jobs: list[Job]


Result = Callable[[], "Solved | Streamed | None"]


class Stages(NamedTuple):
    """read(target), in a thread; work(target, what was read), here, gives a function for the result;
    write(target, that function), in another thread.
    """

    read: Callable[[Target], Any]
    work: Callable[[Target, Callable[[], Any]], Callable[[], Any]]
    write: Callable[[Target, Callable[[], Any]], Any]


def flow(stages: Stages, targets: Iterable[Target], *, together: int) -> Iterator[Any]:
    """What `write` gives for each target, in order; so many may be between reading and the end of writing.

    0 together: one after the other, but for the next being read. What `read` and `work` raise is raised by
    the function that `write` gets.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="read")
    writer = ThreadPoolExecutor(1, thread_name_prefix="write")
    under_way: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
    try:
        for target, read in _ahead(reader, stages.read, targets):
            try:
                result = stages.work(target, read.result)
            except Exception as error:
                result = partial(_raise, error)
            under_way.append((writer.submit(stages.write, target, result), result))
            del read, result
            while len(under_way) > together or (under_way and under_way[0][0].done()):
                yield under_way[0][0].result()
                under_way.popleft()
        while under_way:
            yield under_way[0][0].result()
            under_way.popleft()
    finally:
        writer.shutdown(wait=False, cancel_futures=True)
        for _, result in under_way:  # after an interruption, what workers have begun
            getattr(result, "cancel", _nothing)()
        reader.shutdown(cancel_futures=True)
        writer.shutdown()


def _ahead(
    reader: ThreadPoolExecutor, read: Callable[[Target], Any], targets: Iterable[Target]
) -> Iterator[tuple[Target, Future[Any]]]:
    """Each target with the promise of what `read` gives for it, the next one begun when one is handed out."""
    waiting: tuple[Target, Future[Any]] | None = None
    for target in targets:
        following = (target, reader.submit(read, target))
        if waiting is not None:
            yield waiting
        waiting = following
    if waiting is not None:
        yield waiting


def _raise(error: Exception) -> Any:
    raise error


@dataclass(frozen=True)
class Desk:
    """Where pictures are worked on: here, or, begun here, by workers elsewhere."""

    what: Work
    console: Console
    switches: Switches
    workers: Workers | None
    _sender: list[Sender] = field(default_factory=list)  # made when the first picture goes elsewhere

    def work(self, target: Target, read: Callable[[], Picture | Stream | None]) -> Result:
        """A function for the result, which is there already unless workers have it."""
        found = read()
        if found is None:
            return _nothing
        if isinstance(found, Stream):
            streamed = self._stream(target, found)
            return lambda: streamed
        if self.workers is not None and not self._cut(found):
            return self._elsewhere(found)
        with Bar(target.source.name, shown=not self.console.quiet) as bar:
            done = [prepare_page(page, self.what, self.workers).run(bar) for page in found.frames()]
        solved = _solved(found, done)
        return lambda: solved

    def _cut(self, picture: Picture) -> bool:
        """Is it done in tiles, which are shared out one by one?"""
        if self.what.roi is not None:
            return False
        pages = [without_grey_alpha(page)[0] for page in picture.frames()]
        return any(side_for(self.what.request, page, self.what.psf) is not None for page in pages)

    def _elsewhere(self, picture: Picture) -> Elsewhere:
        assert self.workers is not None
        if not self._sender:
            self._sender.append(Sender(self.workers, self.what))
        (sender,) = self._sender
        return Elsewhere(sender, picture, sender.send(picture.frames()))

    def _stream(self, target: Target, stream: Stream) -> Streamed:
        """From file to file, row by row."""
        switches = self.switches
        check_target(target.receipt, overwrite=switches.overwrite)
        with Bar(target.source.name, shown=not self.console.quiet) as bar:
            job = stream.run(
                bar, overwrite=switches.overwrite, strict=switches.strict, mapper=mapper_of(self.workers)
            )
        if exif_of(target.source):
            self.console.say(f"{target.source}: its Exif is not in the result, which was written by rows.")
        return Streamed(replace(self.what, request=stream.request), [job])


class Elsewhere:
    """A result that a worker is making: called, it waits for it."""

    def __init__(self, sender: Sender, picture: Picture, promise: Promise) -> None:
        self._sender, self._picture, self._promise = sender, picture, promise
        self._given_up = False

    def __call__(self) -> Solved:
        """The same as if it had been made here."""
        try:
            done = self._promise.result()
        except ClusterError:
            if self._given_up:
                raise KeyboardInterrupt from None  # the reason, which somebody else tells
            raise
        return _solved(self._picture, self._sender.completed(done))

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._given_up = True
        self._promise.cancel()


def _solved(picture: Picture, done: list[tuple[NDArray[Any], Job]]) -> Solved:
    pixels = np.stack([page for page, _ in done]) if picture.pages else done[0][0]
    return Solved(picture, pixels, [job for _, job in done])


def _nothing() -> None:
    """What is left to do of a picture that was done before."""
