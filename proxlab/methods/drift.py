"""Drift: ends a run that leaves every picture behind, along directions in which the data say little.

Nothing bounds the regulariser of a learned proximal network from below. Where the blur and the border hide
enough from the data, its iterates may run for ever while the objective falls, as it must. Explicit
regularisers are bounded, and yet their theorems hold only as long as the iterates are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxlab.methods.base import Task

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.state import State

FAR = 1.0  # beyond the range of the data; rings of a strong blur reach 0.3
GROWTH = 1.5  # of the relative change above its least so far; momentum alone makes it vary by less


class Drift:
    """A rule for a driver: asked of each state, it is true once the iterates are on their way to nowhere.

    bounded says that the objective has a lower bound. What began far away, at a border that is not the
    picture's, is then no sign of anything; without one it is, and so are relative changes that grow.
    """

    def __init__(self, task: Task, start: Tensor, *, bounded: bool):
        held = (task.y, start) if bounded else (task.y,)
        self.low, self.high = min(float(v.min()) for v in held) - FAR, max(float(v.max()) for v in held) + FAR
        self.growing, self.least, self.far = not bounded, float("inf"), False

    def __call__(self, state: State) -> bool:
        self.far = float(state.x.min()) < self.low or float(state.x.max()) > self.high
        self.least = min(self.least, state.residual)
        return self.far or (self.growing and state.residual > GROWTH * self.least)

    def ending(self) -> tuple[str, str]:
        """status and stop_reason of the run that it ended."""
        if self.far and self.growing:
            return "diverged", "the iterates ran away, for the objective has no lower bound here"
        if self.far:
            return "diverged", "the iterates ran away: is this the psf, the border and the noise level?"
        return "stopped", "the steps began to grow: the objective may have no lower bound here"
