"""What a solver yields, how a run ended, and what the driver hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from torch import Tensor

PART = 1 << 17  # values that are looked at together: few enough for the cache, and for sums in float32


class State(NamedTuple):
    """One iterate: x (B, C, H, W), how far it still moves, and whatever is needed to go on from here.

    residual is |x - previous x| / |x| unless the solver says otherwise. memory is the solver's own: hand the
    whole State back as x0 and the run continues as if it had never stopped.
    """

    x: Tensor
    residual: float
    memory: tuple[Tensor, ...] = ()


class Status(Enum):
    """How a run ended; the value is the advice that goes with it."""

    converged = "the measure reached tol"
    stopped = "a stopping rule said that further iterations would fit noise"
    max_iter = "the budget ran out: raise max_iter, or loosen tol"
    diverged = "the iterate is no longer finite: shrink the step, or look for NaN in the data"


class NotConvergedError(RuntimeError):
    """A run was required to converge and did not."""


@dataclass(frozen=True)
class Result:
    """The end of a run: the last finite state, why it ended, and the history as columns."""

    state: State
    status: Status
    n_iter: int
    seconds: float
    history: dict[str, list[float]]

    @property
    def x(self) -> Tensor:
        """The last finite iterate."""
        return self.state.x

    def require(self) -> Result:
        """This result if it converged or a rule stopped it; NotConvergedError with the advice otherwise."""
        if self.status in (Status.converged, Status.stopped):
            return self
        measure = self.history["residual"][-1]
        message = f"stopped after {self.n_iter} iterations at residual {measure:.1e}: {self.status.value}."
        raise NotConvergedError(message)


def relative_change(new: Tensor, old: Tensor) -> float:
    """|new - old| / |new| over the whole batch, outside any graph of gradients.

    0 when both are 0, NaN when |new| is not finite, even where every pixel still is.

    >>> import torch
    >>> relative_change(torch.tensor([2.0]), torch.tensor([1.0]))
    0.5
    """
    size, change = _size_and_change(new.detach(), old.detach())
    if not math.isfinite(size):
        return math.nan  # a finite change over an infinite size would look like convergence
    return change / size if size > 0 else change


def _size_and_change(new: Tensor, old: Tensor) -> tuple[float, float]:
    """|new| and |new - old|, part by part where they are large: all differences would be new memory, and
    norms are several times slower than inner products.
    """
    if new.numel() <= PART or new.shape != old.shape:
        return float(new.norm()), float((new - old).norm())
    size = change = 0.0
    for a, b in zip(new.flatten().split(PART), old.flatten().split(PART), strict=True):
        d = a - b
        size, change = size + float(a.dot(a)), change + float(d.dot(d))
    return math.sqrt(size), math.sqrt(change)


def largest_change(new: Tensor, old: Tensor) -> float:
    """The relative_change of the sample that changes most: quiet samples do not hide behind loud ones.

    >>> import torch
    >>> largest_change(torch.tensor([[1000.0], [2.0]]), torch.tensor([[1000.0], [1.0]]))
    0.5
    """
    return max((relative_change(a, b) for a, b in zip(new, old, strict=True)), default=0.0, key=_nan_last)


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
