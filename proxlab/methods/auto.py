"""Auto: plug-and-play, which does better than total variation on photographs, held against the noise and it.

The figures are those of benchmarks/results/quality_bsd68_*.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from proxlab.methods.base import FAILED, Outcome, Supports, Task
from proxlab.methods.common import level
from proxlab.methods.pnp import METHOD as PNP
from proxlab.methods.tv import METHOD as TV

ROOM = 1.3  # a residual so many times the noise level is worth a look at what the classical method leaves


@dataclass(frozen=True)
class Auto:
    """Plug-and-play where there is a denoiser, total variation otherwise and where the first fits badly."""

    name: str = "auto"
    summary: str = "plug-and-play where there is a denoiser, checked against the noise level; else tv"
    supports: Supports = replace(TV.supports, prior=True, family="denoiser")  # noqa: RUF009

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Enough for either."""
        return max(TV.memory(shape), PNP.memory(shape))

    def run(self, task: Task) -> Outcome:
        """Pick, run, check; details["auto"] says what was done and why."""
        if task.prior is None:
            return _as(TV, task, TV.run(task), "no denoiser is at hand")
        if task.lam is not None:
            return _as(
                TV, task, TV.run(task), "a weight was given, and total variation's is the one that has units"
            )
        learned = PNP.run(task)
        if learned.status not in FAILED and fits(task, learned):
            why = "it does better than tv on photographs, and its residual is that of the noise"
            return _as(PNP, task, learned, why)
        classical = TV.run(task)
        pair = f"residuals {learned.residual:.4g} and {classical.residual:.4g}, noise {task.sigma:.4g}"
        if learned.status in FAILED or misfit(task, classical) < misfit(task, learned) - 0.1:
            return _as(TV, task, classical, f"plug-and-play explains the data worse ({pair})")
        return _as(PNP, task, learned, f"total variation explains the data no better ({pair})")


def fits(task: Task, outcome: Outcome) -> bool:
    """Whether the residual is no larger than ROOM times the noise, rounding to 8 bits counted in."""
    return misfit(task, outcome) <= ROOM


def misfit(task: Task, outcome: Outcome) -> float:
    """The residual in units of the noise, rounding to 8 bits counted in."""
    noise = (level(task) ** 2 + (1 / 255) ** 2 / 12) ** 0.5
    return float("inf") if outcome.residual is None else outcome.residual / noise


def _as(method: Any, task: Task, outcome: Outcome, why: str) -> Outcome:
    details = {**outcome.details, "auto": f"{method.name}: {why}"}
    return replace(
        outcome, method=method.name, details=details, warnings=outcome.warnings + doubts(task, outcome)
    )


def doubts(task: Task, outcome: Outcome) -> tuple[str, ...]:
    """A residual far above the noise means a wrong psf, a wrong border or a wrong level."""
    if outcome.residual is None or outcome.residual <= 2 * max(task.sigma, 1 / 255):
        return ()
    return (
        f"the residual is {outcome.residual:.4g}, {outcome.residual / max(task.sigma, 1e-6):.1f} times the "
        f"noise level: the psf may be wrong, or the noise is not white.",
    )


METHOD = Auto()
