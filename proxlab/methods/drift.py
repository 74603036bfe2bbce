"""Drift: ends a run whose objective falls for ever, along directions in which the data say little.

Nothing bounds the regulariser of a learned proximal network from below. Where the blur and the border hide
enough from the data, the iterates may leave every picture behind while the objective falls, as it must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxlab.methods.base import Task

if TYPE_CHECKING:
    from algorithms.state import State

FAR = 1.0  # beyond the range of the data; rings of a strong blur reach 0.3
GROWTH = 1.5  # of the relative change above its least so far; momentum alone makes it vary by less


class Drift:
    """A rule for a driver: asked of each state, it is true once the iterates are on their way to nowhere.

    growing looks at the relative changes as well, which tend to 0 where the objective has a lower bound.
    """

    def __init__(self, task: Task, *, growing: bool):
        self.low, self.high = float(task.y.min()) - FAR, float(task.y.max()) + FAR
        self.growing, self.least, self.far = growing, float("inf"), False

    def __call__(self, state: State) -> bool:
        self.far = float(state.x.min()) < self.low or float(state.x.max()) > self.high
        self.least = min(self.least, state.residual)
        return self.far or (self.growing and state.residual > GROWTH * self.least)

    def ending(self) -> tuple[str, str]:
        """status and stop_reason of the run that it ended."""
        if self.far:
            return "diverged", "the iterates ran away, for the objective has no lower bound here"
        return "stopped", "the steps began to grow: the objective may have no lower bound here"
