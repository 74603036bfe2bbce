"""An examiner of proximal_descent: backtracking or theorem, an explicit prior or a learned prox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from algorithms.certificate import (
    OBSERVED,
    PROVEN,
    Certificate,
    Condition,
    Theorem,
    at_most,
    certify,
    never_rises,
    precise,
)
from algorithms.exam_proximal import NONCONVEX
from algorithms.examination import (
    NEVER,
    Course,
    balance,
    cancelling,
    convex_part,
    curvature_condition,
    fixed_point,
    step_condition,
)
from algorithms.probes import is_bound, prior_conditions
from algorithms.state import State, relative_change

BOUNDED = Theorem(
    "the objective never rises, the fixed-point residual tends to 0, and every limit of the iterates is a "
    "critical point",
    "Hurault, Leclaire and Papadakis 2022, theorem 1; Beck 2017, theorem 10.15",
)
SMOOTH = Theorem(
    "the objective never rises, its gradient tends to 0, and every limit of the iterates is a critical point",
    "Beck 2017, theorem 10.15, with a proven bound of the curvature",
)


class DescentExam:
    """Examines proximal_descent(smooth, simple, step=step, rule=rule), whose State.memory it reads.

    The solver's own objectives are compared with one computed anew at the end.
    """

    def __init__(self, smooth: Any, simple: Any | None, *, step: float, backtracking: bool):
        self.smooth, self.simple, self.step, self.backtracking = smooth, simple, step, backtracking
        self.course = Course()

    @property
    def objective(self) -> tuple[float, ...]:
        """The objective at each iterate, summed over the batch."""
        return tuple(float(h.sum()) for h in self.course.heights)

    def watch(self, states: Iterator[State]) -> Iterator[State]:
        """The same states, each looked at first."""
        for state in states:
            self.course.add(state, state.memory[0])
            yield state

    def certificate(self) -> Certificate:
        """What the run can claim."""
        x = self.course.last().x
        if is_bound(self.simple):
            learned = prior_conditions(self.simple, x)
            short = step_condition(self.smooth, self.step, strictly=True)
            hypotheses = [convex_part(self.smooth), short, *learned, self._audit()]
            return certify(NONCONVEX, hypotheses, self._measured())
        hypotheses = [] if self.simple is None else [convex_part(self.simple)]
        if self.backtracking:
            explicit = prior_conditions(self.smooth, x)
            bound = curvature_condition(self.smooth)
            hypotheses += [*explicit, self._audit(), bound or self.course.bounded()]
            theorem = (BOUNDED if bound is None else SMOOTH) if explicit else None
            return certify(theorem, hypotheses, self._measured())
        hypotheses += [step_condition(self.smooth, self.step), self._audit()]
        return certify(SMOOTH, hypotheses, self._measured())

    def _audit(self) -> Condition:
        state = self.course.last()
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
        return at_most(claim, gap, 64 * self.course.eps(), detail=detail, kind=PROVEN)

    def _measured(self) -> list[Condition]:
        state = self.course.last()
        x, step = state.x, float(state.memory[1])
        slope = self.smooth.grad(x)
        point = x - step * slope
        moved = point if self.simple is None else self.simple.prox(point, gamma=step)
        there = self.smooth.grad(moved)
        force = (point - moved) / step + there
        length = [Condition("the last step", OBSERVED, value=step)] if self.backtracking else []
        measured = [
            never_rises(NEVER, self.course.heights, eps=self.course.eps(), terms=cancelling(self.simple, x)),
            fixed_point(moved, x),
            balance(force, there),
        ]
        return measured + length
