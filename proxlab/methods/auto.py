"""Auto: the method that did best for the case, checked against the noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxlab.methods.base import Outcome, Supports, Task
from proxlab.methods.tv import METHOD as TV


@dataclass(frozen=True)
class Auto:
    """Total variation for every case, held against the noise level afterwards."""

    name: str = "auto"
    summary: str = "the method that did best on photographs for the case, checked against the noise level"
    supports: Supports = TV.supports

    def memory(self, shape: tuple[int, int, int]) -> int:
        """As the method it picks."""
        return TV.memory(shape)

    def run(self, task: Task) -> Outcome:
        """Run it, and say when the residual does not look like the noise."""
        outcome = TV.run(task)
        return replace(outcome, method=TV.name, warnings=outcome.warnings + doubts(task, outcome))


def doubts(task: Task, outcome: Outcome) -> tuple[str, ...]:
    """A residual far above the noise means a wrong psf, a wrong border or a wrong level."""
    if outcome.residual is None or outcome.residual <= 2 * max(task.sigma, 1 / 255):
        return ()
    return (
        f"the residual is {outcome.residual:.4g}, {outcome.residual / max(task.sigma, 1e-6):.1f} times the "
        f"noise level: the psf may be wrong, or the noise is not white.",
    )


METHOD = Auto()
