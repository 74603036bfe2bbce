"""Tikhonov: least squares with a penalty on the gradient, the weight by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxlab.methods.base import EVERYTHING, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, in_words, level, rms_residual

if TYPE_CHECKING:
    from torch import Tensor

QUADRATIC = replace(EVERYTHING, noises=frozenset({"gaussian"}), num_iter=False)


@dataclass(frozen=True)
class Tikhonov:
    """argmin |Ax - y|^2 / 2 + lam |Dx|^2 / 2; lam by generalised cross-validation, which needs no sigma."""

    name: str = "tikhonov"
    summary: str = "linear, smooth, instant: a penalty on the squared gradient, weight by cross-validation"
    supports: Supports = QUADRATIC

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once, measured at 1024x1024 with an unknown border."""
        return bytes_of(shape, 27)

    def run(self, task: Task) -> Outcome:
        """Choose the weight, solve."""
        from algorithms.classical import tikhonov

        lam, rule = task.lam, "given"
        if lam is None:
            lam, rule = choose_weight(task)
        return linear_outcome(task, tikhonov(task.op, task.y, lam=lam), lam, rule)


def choose_weight(task: Task) -> tuple[float, str]:
    """Cross-validation, or the evidence at the noise level where the noise is not white.

    Noise without high frequencies leads cross-validation far too low; the two rules agree within a factor of
    1.5 on white noise, so a quarter of the evidence's weight is a symptom too.
    """
    from algorithms.choose import evidence_weight, gcv_weight

    sigma = level(task)
    choice = gcv_weight(task.op, task.y, seed=task.seed) if task.white else None
    if choice is not None and choice.rule != "gcv":  # no spectra, so no evidence to hold against it
        return choice.value, in_words(choice)
    evidence = evidence_weight(task.op, task.y, sigma=sigma)
    lam = sigma**2 / evidence.value
    if choice is not None and choice.value > lam / 4:
        return choice.value, in_words(choice)
    return lam, f"{in_words(evidence)}; not by cross-validation, which the noise misleads"


def linear_outcome(task: Task, x: Tensor, lam: float, rule: str) -> Outcome:
    """What a method that solves one linear system has to say."""
    condition = {
        "claim": "x solves the normal equations",
        "kind": "proven",
        "detail": "closed form, or conjugate gradients whose true residual was checked",
    }
    return Outcome(
        x=x,
        lam=lam,
        lam_rule=rule,
        num_iter=0,
        stop_reason="solved, nothing to iterate",
        status="exact",
        residual=rms_residual(task, x),
        objective=(),
        certificate={
            "verdict": "the unique minimiser of a strictly convex quadratic",
            "conditions": [condition],
        },
    )


METHOD = Tikhonov()
