"""Proximal and gradient descent that lowers the objective at every step, by backtracking or by theorem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.certificate import ROUNDING, precise
from algorithms.state import NotConvergedError, State, relative_change

SUFFICIENT = 0.1  # share of |x+ - x|^2 / step by which a step must lower the objective; below 1/2
RESTARTED = (1 + 5**0.5) / 2  # Nesterov's sequence 1, 1.6, 2.2, ... after its first step
ATTEMPTS = 30  # a step 1e-9 of the one before that still raises the objective belongs to another function


class Rule(NamedTuple):
    """How steps are chosen: shrink in (0, 1) multiplies a step that lowers too little, None never changes it.

    momentum tries extrapolated points first and keeps them only where they lower the objective enough (the
    monotone scheme of Li and Lin, "Accelerated Proximal Gradient Methods for Nonconvex Programming", 2015).
    """

    shrink: float | None
    momentum: bool


def proximal_descent(
    smooth: Any, simple: Any | None, *, step: float, x0: Tensor | State, rule: Rule
) -> Iterator[State]:
    """Minimise F = smooth + simple by x+ = prox of step simple at x - step grad smooth(x), so that F falls.

    smooth has value and grad, simple has value and prox; None is 0, and then this is gradient descent. With
    rule.shrink the step is shortened until F(x) - F(x+) >= 0.1 |x+ - x|^2 / step, up to rounding: it ends
    whatever grad smooth is like, as long as it is Lipschitz near x (Hurault, Leclaire and Papadakis 2022,
    section 4; Beck, "First-Order Methods in Optimization", 2017, section 10.3). Without, step <= 1 / L with a
    Lipschitz constant L of grad smooth has the same effect. x0 (B, C, H, W) or a State; one step for the
    whole batch. State.memory is (F (B,) in float64, step, point the prox was taken at, previous x, momentum).

    Raises ValueError for a `simple` that is bound to one step, as a learned proximal network is, with
    rule.shrink: its prox at another step minimises another function. NotConvergedError where no step lowers F
    (value and grad do not belong together).

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> f = LeastSquares(Identity((1, 1, 2)), torch.tensor([[[[1.0, 2.0]]]]))
    >>> steps = proximal_descent(f, None, step=8.0, x0=torch.zeros(1, 1, 1, 2), rule=Rule(0.5, False))
    >>> next(steps).x
    tensor([[[[1., 2.]]]])
    """
    if rule.shrink is not None:
        if getattr(simple, "fixed_gamma", None) is not None:
            message = (
                f"{type(simple).__name__} is the prox of one step only: at another step it would minimise "
                "another objective, so it allows no backtracking. Give a step below 1 / L and shrink=None."
            )
            raise ValueError(message)
        if not 0 < rule.shrink < 1:
            message = f"shrink is {rule.shrink}: give a factor between 0 and 1, or None for a fixed step."
            raise ValueError(message)
    if not step > 0:
        message = f"step is {step}: give a positive number, such as 1 / f.lipschitz()."
        raise ValueError(message)
    if isinstance(x0, State) and len(x0.memory) != 5:
        message = f"the State to resume from has {len(x0.memory)} parts, this solver's have 5."
        raise ValueError(message)
    return _iterate(_Objective(smooth, simple, keep=not rule.momentum), step, x0, rule)


def _iterate(objective: _Objective, step: float, x0: Tensor | State, rule: Rule) -> Iterator[State]:
    if isinstance(x0, State):
        x, (height, length, _, old, t) = x0.x, x0.memory
        step = float(length)
    else:
        x = old = x0
        height, t = objective.start(x), torch.ones((), dtype=torch.float64)
    while True:
        taken = None
        later = (1 + (1 + 4 * float(t) ** 2) ** 0.5) / 2
        if rule.momentum and float(t) > 1:
            ahead = x + (float(t) - 1) / later * (x - old)
            taken = objective.trial(ahead, step)
            if not _lower(taken, x, height, step):
                taken = None
        if taken is None:
            taken = objective.trial(x, step)
            attempts = 1
            while rule.shrink is not None and not _lower(taken, x, height, step):
                if attempts == ATTEMPTS:
                    raise NotConvergedError(_stuck(step))
                step, attempts = rule.shrink * step, attempts + 1
                taken = objective.trial(x, step)
            later = RESTARTED
        x, old = taken.x, x
        height, t = taken.height, torch.tensor(later, dtype=torch.float64)
        memory = (height, torch.tensor(step, dtype=torch.float64), taken.point, old, t)
        yield State(x, relative_change(x, old), memory)


def _stuck(step: float) -> str:
    return (
        f"no step lowers the objective, down to {step:.1e}: its value and its gradient do not belong "
        "together, or the start is not finite."
    )


class _Trial(NamedTuple):
    x: Tensor
    height: Tensor
    point: Tensor


def _lower(trial: _Trial, x: Tensor, height: Tensor, step: float) -> bool:
    """Sufficient decrease in every sample, up to rounding; an unknown height (inf) lets anything pass."""
    if not bool(torch.isfinite(trial.height).all()):
        return False
    moved = (trial.x - x).double().square().flatten(1).sum(1)
    room = ROUNDING / 8 * torch.finfo(x.dtype).eps * trial.height.abs()
    return bool((height - trial.height + room >= SUFFICIENT / step * moved).all())


class _Objective:
    """smooth + simple, with the slope at the last point kept where the next step will start from it."""

    def __init__(self, smooth: Any, simple: Any | None, *, keep: bool):
        self.smooth, self.simple = smooth, simple
        self.shared = keep and hasattr(smooth, "value_and_grad")
        self.known: tuple[Tensor, Tensor] | None = None

    def start(self, x: Tensor) -> Tensor:
        """The objective at x, infinite where the simple part can only be read at outputs of its prox."""
        if hasattr(self.simple, "value_at_output"):
            return x.new_full((len(x),), torch.inf, dtype=torch.float64)
        return self._smooth(x) + (0.0 if self.simple is None else precise(self.simple, x))

    def trial(self, x: Tensor, step: float) -> _Trial:
        """A step from x and the objective where it leads."""
        point = x - step * self._slope(x)
        if self.simple is None:
            return _Trial(point, self._smooth(point), point)
        new = self.simple.prox(point, gamma=step)
        if hasattr(self.simple, "value_at_output"):
            return _Trial(new, self._smooth(new) + self.simple.value_at_output(point, new), point)
        return _Trial(new, self._smooth(new) + precise(self.simple, new), point)

    def _smooth(self, x: Tensor) -> Tensor:
        if not self.shared:
            return precise(self.smooth, x)
        value, slope = self.smooth.value_and_grad(x)
        self.known = (x, slope)
        return value.double()

    def _slope(self, x: Tensor) -> Tensor:
        if self.known is not None and self.known[0] is x:
            return self.known[1]
        slope: Tensor = self.smooth.grad(x)
        return slope
