"""The only loop driver: budget, tolerance, stopping rules, watching and the clock live here."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from algorithms.state import Result, State, Status

Measure = Callable[[State], float]


@dataclass(frozen=True)
class Until:
    """When to end: measure(state) <= tol, looked at every `period` iterations, or rule(state) is true.

    measure None is the state's own residual. A rule is a statement about the data (the noise level is
    reached), not about convergence, and is asked at every iteration.
    """

    tol: float
    max_iter: int
    measure: Measure | None = None
    period: int = 1
    rule: Callable[[State], bool] | None = None
    watch: Mapping[str, Callable[[Tensor], float]] = field(default_factory=dict)


def solve(states: Iterator[State], until: Until) -> Result:
    """Run a generator of states until it converges, a rule stops it, the budget ends, or it diverges.

    The history has the column "residual" (the measure, whenever it was taken) and one for each function of x
    in until.watch. A state that is not finite is dropped: the result is the one before it.

    >>> from algorithms.state import State
    >>> halves = (State(torch.full((1,), 0.5**n), 0.5**n) for n in range(99))
    >>> run = solve(halves, Until(tol=0.1, max_iter=50))
    >>> run.status.name, run.n_iter
    ('converged', 5)
    """
    start, status, count, good = time.perf_counter(), Status.max_iter, 0, None
    history: dict[str, list[float]] = {"residual": [], **{name: [] for name in until.watch}}
    for count, state in enumerate(islice(states, until.max_iter), 1):
        if not math.isfinite(state.residual) or not bool(torch.isfinite(state.x.sum())):
            status = Status.diverged
            history["residual"].append(math.nan)  # of a state that is not kept, whatever it was
            break
        good = state
        for name, watched in until.watch.items():
            history[name].append(float(watched(state.x)))
        ruled = until.rule is not None and until.rule(state)
        if ruled or count % until.period == 0 or count == until.max_iter:
            value = state.residual if until.measure is None else until.measure(state)
            history["residual"].append(value)
            if ruled or value <= until.tol:
                status = Status.stopped if ruled else Status.converged
                break
    if good is None:
        message = f"the solver gave no finite state in {count} iterations: look for NaN or inf in the data."
        raise FloatingPointError(message)
    return Result(good, status, count, time.perf_counter() - start, history)


def last(states: Iterable[State], n: int) -> State:
    """The n-th state: a fixed number of iterations, nothing measured."""
    if n < 1:
        message = f"wanted {n} iterations, at least one is needed."
        raise ValueError(message)
    return deque(islice(states, n), maxlen=1).pop()


def every(states: Iterable[State], period: int, report: Callable[[int, State], object]) -> Iterator[State]:
    """The same states, with report(iteration, state) called at each multiple of period, from 1 on."""
    for n, state in enumerate(states, 1):
        if n % period == 0:
            report(n, state)
        yield state
