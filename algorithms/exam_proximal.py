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

from algorithms.certificate import OBSERVED, Certificate, Condition, Theorem, at_most, certify, precise
from algorithms.examination import (
    LEARNED,
    Exam,
    cancelling,
    convex_part,
    product,
    solved_condition,
    square,
    step_condition,
)
from algorithms.probes import is_bound, prior_conditions, stated_convex
from algorithms.state import State

CONVEX = Theorem(
    "the objective never rises and is, after n steps, at most |x0 - x*|^2 / (2 step n) above its value at "
    "any x*",
    "Beck and Teboulle 2009, theorem 3.1",
)


class ProximalGradientExam(Exam):
    """Examines pgd(f, g, step=step): f a smooth data term, g convex or a learned proximal network (`Fixed`).

    Each iterate must be the proximal step from the one before: R of a learned network is read in closed form
    at that point, and x must minimise R + |. - z|^2 / (2 step) at least against its two neighbours. That, and
    firm nonexpansiveness between neighbours, can refute a claim of g, and prove none.
    """

    def __init__(self, f: Any, g: Any, *, step: float):
        super().__init__()
        self.f, self.g, self.step = f, g, float(step)
        self._before: tuple[Tensor, Tensor, Tensor] | None = None  # point, x, value of g there
        self.too_high, self.expansion = 0.0, -float("inf")

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
        self.add(state, height)
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
        convex, bound = stated_convex(self.g), is_bound(self.g)
        short = step_condition(self.f, self.step, strictly=bound)
        measured = [*self.descent(self.f, self.g, self.step), self._consistent()]
        if bound:
            return certify(LEARNED, [short, *prior_conditions(self.g, self.last().x)], measured)
        if convex is None:
            return certify(None, [], [convex_part(self.f), short, *measured])
        hypotheses = [convex_part(self.f), short, convex, *solved_condition(self.g)]
        return certify(CONVEX, hypotheses, [*measured, self._nonexpansive()])

    def _consistent(self) -> Condition:
        claim = "each iterate is the lowest of its neighbours for its own proximal step"
        detail = "how much lower one was, relative to the objective"
        return at_most(claim, self.too_high, 64 * self.eps(), detail=detail, kind=OBSERVED)

    def _nonexpansive(self) -> Condition:
        claim = "the prox is firmly nonexpansive between neighbours, as that of a convex function"
        return at_most(claim, max(self.expansion, 0.0), 1e-3, detail="excess, relative", kind=OBSERVED)
