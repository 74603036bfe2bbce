"""What the examiners of runs share: what they keep of a run, and conditions that any of them measures.

A condition is "proven" where it holds by construction or by a bound that was computed; what was only looked
at along a run, however often, is "observed".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from algorithms.certificate import (
    OBSERVED,
    PROVEN,
    VIOLATED,
    Certificate,
    Condition,
    Theorem,
    at_most,
    certify,
    never_rises,
)
from algorithms.probes import is_bound, stated_convex, word
from algorithms.state import State, relative_change
from imaging.fidelity import POINTWISE

NEVER = "the objective never rises"
LIMITS = (  # an objective that falls for ever along iterates that run away is no contradiction
    "as long as the iterates stay bounded, the fixed-point residual tends to 0 and every limit of theirs "
    "is a critical point"
)
LEARNED = Theorem(
    f"the objective, data term + R / step, never rises; {LIMITS}",
    "Attouch, Bolte and Svaiter 2013, section 5; for learned proximal networks Fang, Buchanan and Sulam 2024",
)
STRICTLY = 1 - 1e-6  # what is proven below 1 only, and not at it, is not left to rounding


class Exam:
    """What every examiner keeps: the last finite state, the objectives, the range of the pixels."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.heights: list[Tensor] = []
        self.range = (float("inf"), -float("inf"))
        self.finite = True

    @property
    def objective(self) -> tuple[float, ...]:
        """The objective at each iterate, summed over the batch."""
        return tuple(float(h.sum()) for h in self.heights)

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
        """That the iterates stayed within a range, which says nothing of those that never were."""
        low, high = self.range
        claim = f"the iterates were within {low:.3g} and {high:.3g}"
        return Condition(claim, OBSERVED if self.finite else VIOLATED)

    def descent(self, smooth: Any, simple: Any | None, step: float) -> list[Condition]:
        """What is measured of any descent on smooth + simple: that it fell, and how far the end is from rest.

        simple None is 0, and the step one along the gradient.
        """
        x = self.last().x
        slope = smooth.grad(x)
        point = x - step * slope
        moved = point if simple is None else simple.prox(point, gamma=step)
        there = smooth.grad(moved)
        force = (point - moved) / step + there  # a subgradient of the objective at `moved`
        return [
            never_rises(NEVER, self.heights, eps=self.eps(), terms=cancelling(simple, x)),
            self.bounded(),
            fixed_point(moved, x),
            balance(force, there),
        ]


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


def solved_condition(*functions: Any) -> list[Condition]:
    """That their proxes are exact, where one of them is only solved for: theorems speak of exact ones."""
    for f in functions:
        op = getattr(f, "op", None)
        closed = op is None or isinstance(op, POINTWISE) or getattr(op, "exact_prox", False)
        if not closed or hasattr(f, "tol"):
            detail = f"{type(f).__name__}: solved for, each time to a tolerance that is checked"
            return [Condition("the proxes are exact", OBSERVED, detail)]
    return []


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
