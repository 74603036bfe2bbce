"""Watching a run: what a callback is given, and the bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from proxlab.methods.base import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATIENCE = 2.0  # seconds of work before a bar appears


@dataclass(frozen=True)
class Update:
    """What `callback` is called with after an iteration.

    cost and residual are None where the method has none; total is None where the number of iterations is
    open.
    """

    iteration: int
    total: int | None
    cost: float | None
    residual: float | None
    render: Callable[[], NDArray[Any]]

    @property
    def image(self) -> NDArray[Any]:
        """The picture so far, in the caller's layout, type and range; made when asked for."""
        return self.render()


Callback = Callable[[Update], object]


class _Meter(Protocol):
    """What is used of a tqdm bar."""

    n: float
    total: float | None

    def update(self, n: float = 1) -> bool | None: ...

    def close(self) -> None: ...


def reporter(callback: Callback | None, render: Callable[[Any], NDArray[Any]]) -> Callable[[Progress], None]:
    """The function a method reports to: nothing, or the user's callback fed with updates."""
    if callback is None:
        return _ignore

    def report(step: Progress) -> None:
        update = Update(step.iteration, step.total, step.cost, step.residual, lambda: render(step.x))
        callback(update)

    return report


def _ignore(step: Progress) -> None:
    """Nobody watches."""


class Bar:
    """A callback that draws a bar on stderr, when that is a terminal and the work exceeds two seconds."""

    def __init__(self, title: str, *, shown: bool) -> None:
        self._title, self._shown = title, shown
        self._meter: _Meter | None = None

    def __call__(self, update: Update) -> None:
        if self._meter is None:
            return
        self._meter.total = update.total
        self._meter.update(update.iteration - self._meter.n)

    def __enter__(self) -> Bar:
        if self._shown:
            from tqdm import tqdm

            # opened at once, so that the choice of a weight counts; disable=None: only on a terminal
            self._meter = tqdm(desc=self._title, delay=PATIENCE, disable=None, leave=False, unit="it")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._meter is not None:
            self._meter.close()
