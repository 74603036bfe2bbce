"""Reasons not to believe an attack, after AutoAttack's checks (Croce and Hein 2020).

A worst case that was not found because the search was blind makes a fragile method look strong. Each check
returns a Flag or None; "error" makes the worst-case numbers unreliable, "note" says what a reader must know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from algorithms.attack import Evaluate, Found, Threat
from algorithms.linearise import Linearised

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Flag:
    """One finding: a stable name, how bad, and a sentence."""

    name: str
    level: Level
    text: str


def check_repeats(evaluate: Evaluate, y: Tensor) -> Flag | None:
    """Two identical calls must give the same picture, up to rounding."""
    with torch.no_grad():
        first, second = evaluate(y), evaluate(y)
    change = float((first - second).norm() / first.norm().clamp_min(1e-30))
    if change <= 1e-5:
        return None
    text = (
        f"two identical calls differ by {change:.1e} of the result: the method answers at random, "
        "gradients and errors were averaged over draws."
    )
    return Flag("random", "warning", text)


def check_gradient(at: Linearised, y: Tensor, target: Tensor) -> Flag | None:
    """The gradient must be finite and not zero where there is an error."""
    x, pull = at(y)
    rest = x - target
    g = pull(rest)
    if not bool(torch.isfinite(g).all()):
        return Flag("gradient_nan", "error", "the gradient is not finite: the gradient attack is blind.")
    if bool((rest.norm() > 0) & (g.norm() <= 1e-9 * rest.norm())):
        text = "the gradient is zero where the error is not: gradients are masked, the attack is blind."
        return Flag("gradient_zero", "error", text)
    return None


def check_derivative(at: Linearised, evaluate: Evaluate, y: Tensor, target: Tensor) -> Flag | None:
    """Along its own direction the gradient must agree with a difference quotient of the full method.

    A tolerance of 10 % (30 % in float32): kinks are honest, a masked or detached path is wrong by far more.
    """
    x, pull = at(y)
    g = pull(x - target)
    size = g.flatten(1).norm(dim=1)
    if not bool((size > 0).all() & torch.isfinite(size).all()):
        return None  # another check's finding
    unit = g / size.view(-1, *[1] * (g.ndim - 1))
    single = y.dtype == torch.float32
    step = (3e-3 if single else 1e-5) * float(y.flatten(1).norm(dim=1).mean())
    with torch.no_grad():
        loss = [
            (evaluate(y + s * step * unit) - target).double().flatten(1).square().sum(1) / 2 for s in (1, -1)
        ]
    quotient = (loss[0] - loss[1]) / (2 * step)
    error = float(((quotient - size) / size).abs().max())
    if error <= (0.3 if single else 0.1):
        return None
    text = f"the gradient is off by {error:.0%} from a difference quotient along its own direction."
    return Flag("derivative", "warning", text)


def check_rivals(found: Found, rivals: dict[str, Tensor]) -> list[Flag]:
    """No other way to spend the budget (random directions, search, transfer) may beat the gradient attack.

    rivals: name -> errors (B,) at the same budget.
    """
    excess = {name: float((e / found.error.clamp_min(1e-300)).max()) for name, e in rivals.items()}
    return [flag for name, value in excess.items() if (flag := _beaten(name, value))]


def check_transfer(error: float, others: Mapping[str, float]) -> Flag | None:
    """A perturbation made for another method, of the same budget, must not do more than the method's own.

    error: of the method's own attack; others: whose perturbation -> error under it.
    """
    if not others or error <= 0:
        return None
    name = max(others, key=others.__getitem__)
    return _beaten(f"the perturbation made for {name}", others[name] / error)


def _beaten(rival: str, excess: float) -> Flag | None:
    if excess <= 1.005:
        return None
    fails = excess > 1.05
    end = "which fails here" if fails else "the larger one counts"
    text = f"{rival} found an error {excess:.2f} times that of the gradient attack, {end}."
    return Flag("beaten", "error" if fails else "warning", text)


def note_surrogate(gradient: str) -> Flag | None:
    """What a reader must know: the attack's directions were not the method's own gradients."""
    if "surrogate" not in gradient:
        return None
    text = (
        f"attacked along {gradient}, since automatic differentiation finds less or nothing: "
        "its true worst case may be larger than that of a method attacked along its own gradients."
    )
    return Flag("surrogate", "note", text)


def check_trace(found: Found) -> Flag | None:
    """The error must have stopped rising over the last tenth of the iterations."""
    late = found.trace[-max(2, len(found.trace) // 10)]
    rise = float(((found.trace[-1] - late) / found.trace[-1].clamp_min(1e-300)).max())
    if rise <= 0.01:
        return None
    text = f"the error still rose by {rise:.1%} over the last tenth of the iterations: give more of them."
    return Flag("rising", "warning", text)


def check_budget(found: Found, threat: Threat) -> Flag | None:
    """A worst case inside the budget means that the search did not use what it had."""
    used = float((threat.size(found.perturbation) / threat.budget).min())
    if used >= 0.99:
        return None
    return Flag("unsaturated", "warning", f"only {used:.0%} of the budget was used by the worst found.")


def check_growth(budgets: Sequence[float], errors: Sequence[float]) -> Flag | None:
    """More budget must not find a smaller error: the smaller perturbation was allowed too."""
    pairs = sorted(zip(budgets, errors, strict=True))
    for (small, low), (large, high) in pairwise(pairs):
        if high < 0.995 * low:
            text = f"a budget of {large:.3g} found {high:.3g}, less than {low:.3g} at {small:.3g}."
            return Flag("not_growing", "warning", text)
    return None
