"""The driver against sequences whose every value is known."""

from itertools import islice

import pytest
import torch

from algorithms.driver import Until, every, last, solve
from algorithms.state import State, Status


def halves(bad: int | None = None, hidden: bool = False):
    """State n (from 1) has x = residual = 2^-n; number `bad` has NaN in x (hidden) or as residual."""
    n = 0
    while True:
        n += 1
        x, residual = torch.full((2,), 0.5**n, dtype=torch.float64), 0.5**n
        if n == bad:
            x, residual = (torch.tensor([1.0, torch.nan]), residual) if hidden else (x, float("inf"))
        yield State(x, residual)


def test_converges_at_the_first_state_at_or_below_tol():
    run = solve(halves(), Until(tol=0.125, max_iter=50))
    assert (run.status, run.n_iter) == (Status.converged, 3)
    assert run.history == {"residual": [0.5, 0.25, 0.125]}
    assert run.x.tolist() == [0.125, 0.125]
    assert run.seconds >= 0


def test_budget_ends_the_run_with_its_last_state():
    run = solve(halves(), Until(tol=0.0, max_iter=4))
    assert (run.status, run.n_iter, run.state.residual) == (Status.max_iter, 4, 0.5**4)


def test_no_more_states_are_asked_for_than_the_budget_allows():
    drawn = []
    solve(every(halves(), 1, lambda n, s: drawn.append(n)), Until(tol=0.0, max_iter=4))
    assert drawn == [1, 2, 3, 4]


@pytest.mark.parametrize("hidden", [False, True], ids=["residual", "one pixel"])
def test_a_state_that_is_not_finite_is_dropped(hidden):
    run = solve(halves(bad=4, hidden=hidden), Until(tol=0.0, max_iter=50))
    assert (run.status, run.n_iter) == (Status.diverged, 4)
    assert run.x.tolist() == [0.125, 0.125]


def test_nothing_finite_at_all_is_an_error():
    with pytest.raises(FloatingPointError, match="no finite state in 1 iterations: look for NaN"):
        solve(halves(bad=1), Until(tol=0.1, max_iter=5))


def test_a_budget_of_nothing_is_an_error():
    with pytest.raises(FloatingPointError, match="no finite state in 0 iterations"):
        solve(halves(), Until(tol=0.1, max_iter=0))


def test_a_rule_stops_before_the_tolerance_does_and_is_asked_every_time():
    asked = []

    def rule(state: State) -> bool:
        asked.append(state.residual)
        return state.residual < 0.2

    run = solve(halves(), Until(tol=0.15, max_iter=50, rule=rule, period=10))
    assert (run.status, run.n_iter) == (Status.stopped, 3)
    assert asked == [0.5, 0.25, 0.125]


def test_the_measure_replaces_the_residual_and_is_taken_every_period():
    taken = []

    def measure(state: State) -> float:
        taken.append(state.residual)
        return 100 * state.residual

    run = solve(halves(), Until(tol=1.0, max_iter=50, measure=measure, period=3))
    assert taken == [0.5**3, 0.5**6, 0.5**9]
    assert (run.status, run.n_iter) == (Status.converged, 9)
    assert run.history["residual"] == [100 * value for value in taken]


def test_the_measure_is_taken_at_the_end_of_the_budget_too():
    run = solve(halves(), Until(tol=0.0, max_iter=5, measure=lambda s: 7.0, period=3))
    assert run.history["residual"] == [7.0, 7.0]
    run = solve(halves(), Until(tol=8.0, max_iter=2, measure=lambda s: 7.0, period=3))
    assert run.status is Status.converged


def test_the_history_has_one_unit_whatever_ended_the_run():
    until = Until(tol=0.0, max_iter=9, measure=lambda s: 7.0, period=3, rule=lambda s: s.residual < 0.1)
    assert solve(halves(), until).history["residual"] == [7.0, 7.0]


def test_watched_functions_become_columns():
    until = Until(tol=0.0, max_iter=3, period=2, watch={"sum": lambda x: float(x.sum()), "one": lambda x: 1})
    run = solve(halves(), until)
    assert run.history["sum"] == [1.0, 0.5, 0.25]
    assert run.history["one"] == [1.0, 1.0, 1.0]


def test_last_is_the_nth_state():
    assert last(halves(), 3).residual == list(islice(halves(), 3))[-1].residual == 0.125
    with pytest.raises(ValueError, match="wanted 0 iterations, at least one is needed"):
        last(halves(), 0)


def test_every_reports_multiples_of_the_period_and_changes_nothing():
    seen = []
    states = list(islice(every(halves(), 3, lambda n, s: seen.append((n, s.residual))), 7))
    assert seen == [(3, 0.5**3), (6, 0.5**6)]
    assert [s.residual for s in states] == [s.residual for s in islice(halves(), 7)]
