"""Wiener: the best linear estimate for a signal of spectrum c / |f|^2 under white noise of known level."""

from __future__ import annotations

from dataclasses import dataclass

from proxlab.methods.base import Outcome, Supports, Task
from proxlab.methods.common import bytes_of, level
from proxlab.methods.tikhonov import QUADRATIC, fitted_weight, linear_outcome


@dataclass(frozen=True)
class Wiener:
    """The posterior mean for noise sigma and signal spectrum c / |f|^2, c fitted; lam = sigma^2 / c."""

    name: str = "wiener"
    summary: str = "linear, instant: signal spectrum c / |f|^2 with c fitted to the data at the noise level"
    supports: Supports = QUADRATIC

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once, measured at 1024x1024 with an unknown border."""
        return bytes_of(shape, 19)

    def run(self, task: Task) -> Outcome:
        """Fit c, filter."""
        from algorithms.classical import wiener

        sigma = level(task)
        lam, rule = (task.lam, "given") if task.lam is not None else fitted_weight(task)
        return linear_outcome(task, wiener(task.op, task.y, sigma=sigma, c=sigma**2 / lam), lam, rule)


METHOD = Wiener()
