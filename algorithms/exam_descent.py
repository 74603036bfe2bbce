"""An examiner of proximal_descent: backtracking or theorem, an explicit prior or a learned prox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from algorithms.certificate import OBSERVED, Certificate, Condition, Theorem, at_most, certify, precise
from algorithms.examination import (
    LEARNED,
    LIMITS,
    Exam,
    convex_part,
    curvature_condition,
    solved_condition,
    step_condition,
)
from algorithms.probes import is_bound, prior_conditions
from algorithms.state import State, relative_change

BOUNDED = Theorem(
    f"the objective never rises; {LIMITS}",
    "Hurault, Leclaire and Papadakis 2022, theorem 1; Beck 2017, theorem 10.15",
)
SMOOTH = Theorem(
    f"the objective never rises; {LIMITS}",
    "Beck 2017, theorem 10.15, with a proven bound of the curvature",
)


class DescentExam(Exam):
    """Examines proximal_descent(smooth, simple, step=step, rule=rule), whose State.memory it reads.

    The solver's own last objective is compared with one computed anew. With momentum the theorems are those
    of the monotone scheme (Li and Lin 2015), which takes a step only where the objective falls enough.
    """

    def __init__(self, smooth: Any, simple: Any | None, *, step: float, backtracking: bool):
        super().__init__()
        self.smooth, self.simple, self.step, self.backtracking = smooth, simple, step, backtracking

    def watch(self, states: Iterator[State]) -> Iterator[State]:
        """The same states, each looked at first."""
        for state in states:
            self.add(state, state.memory[0])
            yield state

    def certificate(self) -> Certificate:
        """What the run can claim."""
        state = self.last()
        step = float(state.memory[1])
        measured = [*self.descent(self.smooth, self.simple, step), self._audit()]
        if is_bound(self.simple):
            short = step_condition(self.smooth, self.step, strictly=True)
            return certify(LEARNED, [short, *prior_conditions(self.simple, state.x)], measured)
        hypotheses = [] if self.simple is None else [convex_part(self.simple), *solved_condition(self.simple)]
        if not self.backtracking:
            return certify(SMOOTH, [*hypotheses, step_condition(self.smooth, self.step)], measured)
        measured.append(Condition("the last step", OBSERVED, value=step))
        explicit = prior_conditions(self.smooth, state.x)
        if not explicit:
            return certify(None, [], [*hypotheses, *measured])
        bound = curvature_condition(self.smooth)
        if bound is None:
            return certify(BOUNDED, [*hypotheses, *explicit], measured)
        return certify(SMOOTH, [*hypotheses, *explicit, bound], measured)

    def _audit(self) -> Condition:
        state = self.last()
        value = precise(self.smooth, state.x)
        if self.simple is not None:
            read = getattr(self.simple, "value_at_output", None)
            point = state.memory[2]
            value = value + (precise(self.simple, state.x) if read is None else read(point, state.x))
        gap = float(((value - state.memory[0]).abs() / value.abs().clamp_min(1e-300)).max())
        claim = "the solver's last objective is the one computed anew"
        detail = "relative difference"
        if is_bound(self.simple):  # the reading is valid at outputs of the network only
            assert self.simple is not None
            gap = max(gap, relative_change(self.simple.prox(state.memory[2], gamma=self.step), state.x))
            detail = "relative difference of the objective, or of x and the network's output"
        return at_most(claim, gap, 64 * self.eps(), detail=detail, kind=OBSERVED)
