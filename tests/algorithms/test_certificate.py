"""Conditions, verdicts and the words they are put in."""

import math

import pytest
import torch

from algorithms.certificate import (
    Certificate,
    Condition,
    Theorem,
    at_most,
    certify,
    lines,
    never_rises,
    precise,
)
from imaging.fidelity import LeastSquares
from imaging.masks import Identity

FACT = Condition("f is convex", "proven")
WORD = Condition("the iterates stay bounded", "observed")
SEEN = Condition("fixed-point residual", "observed", "", 1e-4)
THEOREM = Theorem("the objective falls", "Somebody 1970")


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="a condition is proven, observed, violated, not 'sure'"):
        Condition("x", "sure")


def test_all_hypotheses_proven_gives_the_theorem():
    found = certify(THEOREM, [FACT], [SEEN])
    assert found.verdict == (
        "proven (Somebody 1970): the objective falls. Observed: fixed-point residual (0.0001)."
    )
    assert found.clean


def test_a_hypothesis_only_observed_stays_an_if():
    assert certify(THEOREM, [FACT, WORD], []).verdict == (
        "proven (Somebody 1970) as long as the iterates stay bounded: the objective falls."
    )


def test_a_violation_takes_the_theorem_away():
    broken = at_most("the step is at most 1 / L", 2.5, 1.0, detail="", kind="proven")
    found = certify(THEOREM, [FACT, broken], [SEEN])
    assert found.verdict.startswith(
        "no guarantee: it is not true that the step is at most 1 / L (2.5, limit 1)."
    )
    assert "proven" not in found.verdict and not found.clean


def test_without_a_theorem_nothing_is_proven():
    assert certify(None, [], [SEEN]).verdict.startswith("nothing is proven. Observed: fixed-point")


@pytest.mark.parametrize(("value", "kind"), [(1.0, "proven"), (1.0001, "violated"), (math.nan, "violated")])
def test_a_limit_is_a_limit(value, kind):
    assert at_most("a", value, 1.0, detail="", kind="proven").kind == kind


def heights(*rows):
    return [torch.tensor(row, dtype=torch.float64) for row in rows]


def test_rises_are_found_in_any_sample():
    eps = torch.finfo(torch.float64).eps
    assert never_rises("falls", heights([3.0, 5.0], [2.0, 5.0], [1.0, 4.0]), eps=eps).kind == "observed"
    rising = never_rises("falls", heights([3.0, 5.0], [2.0, 5.1], [1.0, 4.0]), eps=eps)
    assert rising.kind == "violated" and rising.value == pytest.approx(0.1 / 5.1)
    within = never_rises("falls", heights([1.0], [1.0 + 4 * eps]), eps=eps)
    assert within.kind == "observed" and within.value > 0
    assert never_rises("falls", heights([1.0], [math.nan]), eps=eps).kind == "violated"
    assert never_rises("falls", heights([math.inf], [1.0]), eps=eps).kind == "violated"
    assert "nothing to compare" in never_rises("falls", heights([1.0]), eps=eps).detail


def test_sums_are_in_float64():
    y = torch.zeros(1, 1, 300, 300)
    x = torch.full_like(y, 0.1)
    f = LeastSquares(Identity((1, 300, 300)), y)
    exact = 90000 * float(x[0, 0, 0, 0].double()) ** 2 / 2
    assert precise(f, x).dtype == torch.float64
    assert float(precise(f, x)) == pytest.approx(exact, rel=1e-14)
    assert float(f.value(x)) != pytest.approx(exact, rel=1e-14)


def test_the_dict_is_plain_and_prints():
    broken = at_most("the step is at most 1 / L", 2.5, 1.0, detail="norm bound", kind="proven")
    record = Certificate("no guarantee", (FACT, broken)).as_dict()
    assert record["conditions"][0] == {"claim": "f is convex", "kind": "proven", "detail": ""}
    assert list(lines(record)) == [
        "no guarantee",
        "proven    f is convex",
        "violated  the step is at most 1 / L: 2.5, limit 1 (norm bound)",
    ]
    assert list(lines({"verdict": "v", "conditions": ["a text", {"kind": "strange"}]})) == [
        "v",
        "a text",
        "{'kind': 'strange'}",
    ]
