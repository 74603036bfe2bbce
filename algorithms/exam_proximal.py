"""An examiner of proximal gradient runs: it watches the states, recomputes what they claim, certifies them.

    exam = ProximalGradientExam(f, g, step=step)
    run = solve(exam.watch(pgd(f, g, step=step, x0=x0), x0), until)
    exam.certificate().verdict

Objectives are computed anew from x with sums in float64; nothing is taken over from the solver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algorithms.certificate import (
    PROVEN,
    Certificate,
    Condition,
    Theorem,
    at_most,
    certify,
    never_rises,
    precise,
)
from algorithms.examination import (
    NEVER,
    Course,
    balance,
    cancelling,
    convex_part,
    fixed_point,
    product,
    square,
    step_condition,
)
from algorithms.probes import is_bound, prior_conditions, stated_convex
from algorithms.state import State

CONVEX = Theorem(
    "the objective never rises and tends to its minimum, above which it is at most "
    "|x0 - x*|^2 / (2 step n) after n steps",
    "Beck and Teboulle 2009, theorem 3.1",
)
NONCONVEX = Theorem(
    "the objective, data term + R / step, never rises, the fixed-point residual tends to 0, and every limit "
    "of the iterates is a critical point",
    "Attouch, Bolte and Svaiter 2013, section 5; for learned proximal networks Fang, Buchanan and Sulam 2024",
)


class ProximalGradientExam:
    """Examines pgd(f, g, step=step): f a smooth data term, g convex or a learned proximal network (`Fixed`).

    Each iterate must be the proximal step from the one before: R of a learned network is read in closed form
    at that point, and x must minimise R + |. - z|^2 / (2 step) at least against its two neighbours.
    """

    def __init__(self, f: Any, g: Any, *, step: float):
        self.f, self.g, self.step = f, g, float(step)
        self.course = Course()
        self._before: tuple[Tensor, Tensor, Tensor] | None = None  # point, x, value of g there
        self.too_high, self.expansion = 0.0, -float("inf")

    @property
    def objective(self) -> tuple[float, ...]:
        """The objective at each iterate, summed over the batch."""
        return tuple(float(h.sum()) for h in self.course.heights)

    def watch(self, states: Iterator[State], x0: Tensor | State) -> Iterator[State]:
        """The same states, each looked at first."""
        old = x0.x if isinstance(x0, State) else x0
        for state in states:
            self._see(old, state)
            old = state.x
            yield state

    def _see(self, old: Tensor, state: State) -> None:
        point, x = old - self.step * self.f.grad(old), state.x
        read = getattr(self.g, "value_at_output", None)
        value = precise(self.g, x) if read is None else read(point, x)
        height = precise(self.f, x) + value
        self.course.add(state, height)
        if self._before is not None:
            self._compare((point, x, value), self._before, height)
        self._before = (point, x, value)

    def _compare(self, new: Any, old: Any, height: Tensor) -> None:
        for (z, x, value), (_, other, value_there) in ((new, old), (old, new)):
            closer = (square(x - z) - square(other - z)) / (2 * self.step)
            terms = cancelling(self.g, x) * (torch.finfo(torch.float64).eps / torch.finfo(x.dtype).eps)
            size = (height.abs() + terms).clamp_min(1e-300)
            self.too_high = max(self.too_high, float(((value - value_there + closer) / size).max()))
        moved, turned = new[0] - old[0], new[1] - old[1]
        far = square(moved) > 1e-6 * square(new[0])  # nearer ones differ by little more than rounding
        excess = (square(turned) - product(turned, moved)) / square(moved).clamp_min(1e-300)
        if bool(far.any()):
            self.expansion = max(self.expansion, float(excess[far].max()))

    def certificate(self) -> Certificate:
        """What the run can claim."""
        convex = stated_convex(self.g)
        bound = is_bound(self.g)
        hypotheses = [convex_part(self.f), step_condition(self.f, self.step, strictly=bound)]
        measured = self._measured()
        if bound:
            hypotheses += [*prior_conditions(self.g, self.course.last().x), self._consistent()]
            return certify(NONCONVEX, hypotheses, measured)
        if convex is None:
            return certify(None, [], [*hypotheses, *measured])
        hypotheses += [convex, self._consistent(), self._nonexpansive()]
        return certify(CONVEX, hypotheses, measured)

    def _consistent(self) -> Condition:
        limit = 64 * self.course.eps()
        claim = "each iterate is the lowest of its neighbours for its own proximal step"
        return at_most(claim, self.too_high, limit, detail="relative to the objective", kind=PROVEN)

    def _nonexpansive(self) -> Condition:
        claim = "the prox is firmly nonexpansive along the run, as that of a convex function"
        return at_most(claim, max(self.expansion, 0.0), 1e-3, detail="excess, relative", kind=PROVEN)

    def _measured(self) -> list[Condition]:
        x = self.course.last().x
        slope = self.f.grad(x)
        moved = self.g.prox(x - self.step * slope, gamma=self.step)
        there = self.f.grad(moved)
        force = (x - moved) / self.step + there - slope  # a subgradient of the objective at `moved`
        return [
            never_rises(NEVER, self.course.heights, eps=self.course.eps(), terms=cancelling(self.g, x)),
            fixed_point(moved, x),
            balance(force, there),
        ]
