"""What the examiners of runs share: the course of a run, and conditions that any of them measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from algorithms.certificate import OBSERVED, PROVEN, VIOLATED, Certificate, Condition, at_most, certify
from algorithms.probes import is_bound, stated_convex, word
from algorithms.state import State, relative_change

NEVER = "the objective never rises"
STRICTLY = 1 - 1e-6  # what is proven below 1 only, and not at it, is not left to rounding


class Course:
    """What every examiner keeps: the last finite state, the objectives, the range of the pixels."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.heights: list[Tensor] = []
        self.range = (float("inf"), -float("inf"))
        self.finite = True

    def add(self, state: State, height: Tensor) -> None:
        """A new state with its objective (B,); one that is not finite ends the course."""
        self.heights.append(height)
        low, high = float(state.x.min()), float(state.x.max())
        self.finite = bool(torch.isfinite(height).all()) and low > -float("inf") and high < float("inf")
        if self.finite:
            self.state = state
            self.range = (min(self.range[0], low), max(self.range[1], high))

    def last(self) -> State:
        """The last finite state; ValueError when nothing was watched."""
        if self.state is None:
            message = "there is nothing to certify: watch(states) saw no finite state; let a solver use it."
            raise ValueError(message)
        return self.state

    def eps(self) -> float:
        """The rounding unit of the run's arithmetic."""
        return float(torch.finfo(self.last().x.dtype).eps)

    def bounded(self) -> Condition:
        """That the iterates stay bounded: a statement on all of them, of which only some were seen."""
        low, high = self.range
        claim = f"the iterates stay bounded (they were within {low:.3g} and {high:.3g})"
        return Condition(claim, OBSERVED if self.finite else VIOLATED)


def plain_certificate(residuals: Sequence[float], *, denoiser: str) -> Certificate:
    """The certificate of plug-and-play with a denoiser of which nothing is known: residuals, no more.

    >>> plain_certificate([0.5, 0.01], denoiser="MedianFilter").verdict
    'nothing is proven. Observed: the last relative change of x (0.01).'
    """
    last = residuals[-1] if residuals else float("nan")
    detail = f"{denoiser} is not known to be the prox or the gradient of a function; {len(residuals)} steps"
    return certify(None, [], [Condition("the last relative change of x", OBSERVED, detail, last)])


def step_condition(f: Any, step: float, *, strictly: bool = False) -> Condition:
    """step <= 1 / L (strictly: <) with the proven Lipschitz constant of grad f, or that none is known.

    At 1 / L itself a prox of a function that is not convex need not lower the objective, so that steps need
    not tend to 0.
    """
    claim = "the step is below 1 / L" if strictly else "the step is at most 1 / L"
    try:
        bound = f.lipschitz()
    except (AttributeError, TypeError, NotImplementedError):
        return Condition(claim, OBSERVED, f"{type(f).__name__} has no proven bound of L", step)
    limit = STRICTLY if strictly else 1.0
    kind = word(f)
    whose = "the proven norm bound" if kind == PROVEN else "a bound that is not ours to prove"
    return at_most(claim, step * bound, limit, detail=f"step L, L from {whose}", kind=kind)


def curvature_condition(smooth: Any) -> Condition | None:
    """That the gradient of an explicit prior is Lipschitz everywhere, so that backtracking ends; or None."""
    try:
        bound = smooth.lipschitz()
    except (AttributeError, TypeError, NotImplementedError):
        return None
    return Condition(
        "the prior's gradient is Lipschitz", word(smooth), "its constant, at every picture", bound
    )


def fixed_point(moved: Tensor, x: Tensor) -> Condition:
    """|T(x) - x| / |x| for a step T, computed anew from the result."""
    return Condition("fixed-point residual", OBSERVED, "|T(x) - x| / |x|", relative_change(moved, x))


def balance(force: Tensor, part: Tensor) -> Condition:
    """The size of a (sub)gradient of the objective near the result, against one of the forces it balances."""
    size = max(float(part.norm()), torch.finfo(part.dtype).tiny)
    detail = "|gradient of the objective| / |gradient of its smooth part|"
    return Condition("optimality residual", OBSERVED, detail, float(force.norm()) / size)


def cancelling(g: Any, x: Tensor) -> Tensor:
    """The size (B,) of the terms that nearly cancel where a learned R is read in closed form, else 0."""
    if not is_bound(g):
        return x.new_zeros(len(x), dtype=torch.float64)
    return square(x) / g.fixed_gamma


def convex_part(f: Any) -> Condition:
    """That f is convex, on whose word."""
    found = stated_convex(f)
    return found or Condition(f"{type(f).__name__} is convex", OBSERVED, "nobody says so")


def square(v: Tensor) -> Tensor:
    """|v|^2 of each sample in float64, (B,)."""
    return v.double().square().flatten(1).sum(1)


def product(u: Tensor, v: Tensor) -> Tensor:
    """<u, v> of each sample in float64, (B,)."""
    return (u.double() * v.double()).flatten(1).sum(1)
