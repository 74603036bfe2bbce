"""An examiner of alternating directions, of which the objective may rise but another quantity may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algorithms.certificate import (
    OBSERVED,
    Certificate,
    Condition,
    Theorem,
    at_most,
    certify,
    never_rises,
    precise,
)
from algorithms.examination import STRICTLY, Exam, solved_condition, square
from algorithms.probes import prior_conditions, stated_convex, word
from algorithms.state import State, relative_change


class AugmentedLagrangianExam(Exam):
    """Examines admm(first, last, gamma=gamma): first and last alternate, rho = 1 / gamma.

    The objective may rise at any iterate and nothing is claimed of it. Both convex: for every gamma the run
    converges, and |x+ - x|^2 + |u+ - u|^2 never rises (He and Yuan 2015). Otherwise, with `last` convex and
    its gradient L-Lipschitz: for rho > L the augmented Lagrangian
    G = first(v) + last(x) + rho (|v - x + u|^2 - |u|^2) / 2 never rises from the first iterate on. For then
    rho u = grad last(x); v lowers G as it minimises it; and with d = x+ - x and the difference e of the
    gradients of last there, v+ - x+ = e / rho, so the steps in x and u lower G by at least
    |e|^2 / (2 L) - |e|^2 / rho + rho |d|^2 / 2, which, as |e| <= L |d|, is at least rho |d|^2 / 2 for
    rho >= 2 L, and (rho + 2 L) (rho - L) |d|^2 / (2 rho) > 0 below.
    """

    def __init__(self, first: Any, last: Any, *, gamma: float):
        super().__init__()
        self.first, self.second, self.gamma = first, last, float(gamma)
        self.moves: list[Tensor] = []

    def watch(self, states: Iterator[State], x0: Tensor | State) -> Iterator[State]:
        """The same states, each looked at first."""
        x = x0.x if isinstance(x0, State) else x0
        u = x0.memory[1] if isinstance(x0, State) else torch.zeros_like(x)
        for state in states:
            v, after = state.memory
            slack = (square(v - state.x + after) - square(after)) / (2 * self.gamma)
            values = _value(self.first, x - u, v) + _value(self.second, v + u, state.x)
            self.add(state, values + slack)
            self.moves.append(square(state.x - x) + square(after - u))
            x, u = state.x, after
            yield state

    def certificate(self) -> Certificate:
        """What the run can claim."""
        state, eps = self.last(), self.eps()
        apart = relative_change(state.x, state.memory[0])
        residual = Condition("how far the two copies are apart", OBSERVED, "|x - v| / |x|", apart)
        inexact = solved_condition(self.first, self.second)
        both = [stated_convex(self.first), stated_convex(self.second)]
        if None not in both:
            theorem = Theorem(
                "the run converges to a minimiser, if there is one, whatever gamma is, and its steps never "
                "grow (the objective may rise at single iterates)",
                "Eckstein and Bertsekas 1992; He and Yuan 2015",
            )
            shrink = never_rises("the steps never grow", self.moves[1:], eps=eps)
            hypotheses = [c for c in both if c is not None]
            return certify(theorem, [*hypotheses, *inexact], [shrink, residual])
        falls = never_rises("the augmented Lagrangian never rises", self.heights, eps=eps)
        learned = prior_conditions(self.first, state.x)
        if both[1] is None or not learned or not hasattr(self.second, "lipschitz"):
            claim = "the augmented Lagrangian" + (" never rose" if falls.kind == OBSERVED else " rose")
            return certify(None, [], [Condition(claim, OBSERVED, falls.detail, falls.value), residual])
        bound = self.second.lipschitz()
        large = at_most(
            "rho = 1 / gamma is above L",
            bound * self.gamma,
            STRICTLY,
            detail="L / rho",
            kind=word(self.second),
        )
        theorem = Theorem(
            "the augmented Lagrangian never rises (the objective may, at single iterates); as long as the "
            "iterates stay bounded, the two copies come together and every limit is a critical point",
            "Wang, Yin and Zeng 2019, with rho > L as in Fang, Buchanan and Sulam 2024",
        )
        return certify(theorem, [both[1], large, *learned, *inexact], [falls, self.bounded(), residual])


def _value(g: Any, point: Tensor, x: Tensor) -> Tensor:
    """g(x) at x = prox of g at the point."""
    read = getattr(g, "value_at_output", None)
    value: Tensor = precise(g, x) if read is None else read(point, x)
    return value
