"""Results say how they ended; relative_change against the formula by hand."""

import math

import pytest
import torch

from algorithms.state import NotConvergedError, Result, State, Status, relative_change


def result(status: Status) -> Result:
    return Result(State(torch.ones(1), 0.5), status, 7, 0.1, {"residual": [0.9, 0.5]})


def test_relative_change_is_relative_to_the_new_iterate():
    new, old = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 1.0])
    assert relative_change(new, old) == pytest.approx(3 / 5)
    assert relative_change(old, new) == pytest.approx(3 / math.sqrt(10))


def test_relative_change_of_nothing_is_nothing_and_from_zero_is_absolute():
    zero = torch.zeros(3)
    assert relative_change(zero, zero) == 0
    assert relative_change(zero, torch.tensor([0.0, 2.0, 0.0])) == 2


def test_relative_change_part_by_part_is_the_same(monkeypatch):
    new, old = torch.rand(2, 1, 9, 7).transpose(2, 3), torch.rand(2, 1, 7, 9)
    whole = relative_change(new, old)
    monkeypatch.setattr("algorithms.state.PART", 10)
    assert relative_change(new, old) == pytest.approx(whole, rel=1e-6)
    assert math.isnan(relative_change(new / 0, old))


def test_relative_change_carries_no_gradient():
    x = torch.ones(2, requires_grad=True)
    assert isinstance(relative_change(x, 2 * x), float)


@pytest.mark.parametrize("status", [Status.converged, Status.stopped])
def test_require_returns_a_run_that_ended_well(status):
    run = result(status)
    assert run.require() is run
    assert torch.equal(run.x, torch.ones(1))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (Status.max_iter, "raise max_iter, or loosen tol"),
        (Status.diverged, "shrink the step, or look for NaN"),
    ],
)
def test_require_raises_with_what_happened_and_what_to_try(status, advice):
    with pytest.raises(
        NotConvergedError, match=f"^stopped after 7 iterations at residual 5.0e-01: .*{advice}"
    ):
        result(status).require()


def test_results_are_frozen():
    with pytest.raises(AttributeError, match="n_iter"):
        result(Status.converged).n_iter = 3


def test_a_norm_that_overflows_is_no_convergence():
    huge = torch.full((2,), 1e200, dtype=torch.float64)
    assert math.isnan(relative_change(huge, torch.zeros_like(huge)))
