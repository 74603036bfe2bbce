"""Tikhonov: least squares with a penalty on the gradient, the weight by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxlab.methods.base import EVERYTHING, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, in_words, level, rms_residual

if TYPE_CHECKING:
    from torch import Tensor

QUADRATIC = replace(EVERYTHING, noises=frozenset({"gaussian"}), num_iter=False)

EDGE = "no weight fits the data, the search ended at its limit: check the psf and sigma, or give lam."

SOLVED = {"claim": "x solves the normal equations", "kind": "proven", "detail": "closed form"}
CHECKED = {
    "claim": "x solves the normal equations",
    "kind": "observed",
    "detail": "conjugate gradients whose true residual was checked",
}


@dataclass(frozen=True)
class Tikhonov:
    """argmin |Ax - y|^2 / 2 + lam |Dx|^2 / 2; lam by generalised cross-validation, which needs no sigma."""

    name: str = "tikhonov"
    summary: str = "linear, smooth, instant: a penalty on the squared gradient, weight by cross-validation"
    supports: Supports = QUADRATIC

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once, measured at 1024x1024 with an unknown border."""
        return bytes_of(shape, 19)

    def run(self, task: Task) -> Outcome:
        """Choose the weight, solve."""
        from algorithms.classical import tikhonov

        lam, rule = task.lam, "given"
        if lam is None:
            lam, rule = choose_weight(task)
        return linear_outcome(task, tikhonov(task.op, task.y, lam=lam), lam, rule)


def choose_weight(task: Task) -> tuple[float, str]:
    """Cross-validation, or the weight fitted to the noise level where the noise is not white.

    Noise without high frequencies leads cross-validation far too low; the two rules agree within a factor of
    1.5 on white noise, so a quarter of the fitted weight is a symptom too.
    """
    from algorithms.choose import gcv_weight
    from algorithms.sure import plain_blur

    lam, rule = fitted_weight(task)
    op = plain_blur(task.op, task.y)
    if not task.white or op is None:
        return lam, rule
    choice = gcv_weight(op, task.y, seed=task.seed)
    if choice.value > lam / 4:
        return choice.value, in_words(choice)
    return lam, f"{rule}; not by cross-validation, which the noise misleads"


def fitted_weight(task: Task) -> tuple[float, str]:
    """sigma^2 / c with c fitted to the data, and how: in frequency where the operator has one psf.

    Through grids and decimation by cross-validation with a random probe, or where the noise is not white by
    the differences of the data, which err to the smooth side.
    """
    from algorithms.choose import evidence_weight, gcv_weight, moment_weight
    from algorithms.sure import plain_blur

    sigma, op = level(task), plain_blur(task.op, task.y)
    choice = None if op is None else evidence_weight(op, task.y, sigma=sigma)
    if choice is None and task.white:
        probed = gcv_weight(task.op, task.y, seed=task.seed)
        return probed.value, in_words(probed)
    if choice is None:
        choice = moment_weight(task.y, sigma=sigma, valid=task.op.valid)
    return sigma**2 / choice.value, f"sigma^2 / c, c by {in_words(choice)}"


def linear_outcome(task: Task, x: Tensor, lam: float, rule: str) -> Outcome:
    """What a method that solves one linear system has to say."""
    from algorithms.splitting_variation import sees_everything

    verdict, condition = "the unique minimiser of a strictly convex quadratic", SOLVED
    if not sees_everything(task.op):
        verdict, condition = f"{verdict}, to the tolerance of a solver", CHECKED
    return Outcome(
        x=x,
        lam=lam,
        lam_rule=rule,
        num_iter=0,
        stop_reason="solved, nothing to iterate",
        status="exact",
        residual=rms_residual(task, x),
        objective=(),
        certificate={"verdict": verdict, "conditions": [condition]},
        warnings=() if "end of the range" not in rule else (EDGE,),
    )


METHOD = Tikhonov()
