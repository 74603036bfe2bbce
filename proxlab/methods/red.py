"""Regularisation by denoising: a balance of the data's slope and of what a denoiser would still take away."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxlab.methods.base import EVERYTHING, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, finish, level, reporting, rms_residual
from proxlab.methods.pnp import WEIGHT, certificate, short_data_term

STRENGTH = 1.0  # the denoiser's level in units of the noise, but not below LEAST
LEAST = 4 / 255
BUDGET, TOL = 60, 1e-3


@dataclass(frozen=True)
class Red:
    """x with grad f(x) + lam (x - D(x)) = 0, by fixed-point steps: proxes of the data term at D(x)."""

    name: str = "red"
    summary: str = "regularisation by denoising: a fixed point, reached from a coarser one"
    supports: Supports = replace(EVERYTHING, prior=True, family="denoiser", needs_prior=True)  # noqa: RUF009

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once in a data step; the network is counted by the front door."""
        return bytes_of(shape, 19)

    def run(self, task: Task) -> Outcome:
        """Fixed-point steps until x moves no more."""
        from algorithms.driver import Until, every, solve
        from algorithms.red import red_fixed_point
        from imaging.operator import embed
        from proxlab.networks import denoiser

        noise = level(task)
        strength = max(STRENGTH * noise, LEAST)
        lam = task.lam if task.lam is not None else WEIGHT * noise**2 / strength**2
        denoise = denoiser(task)
        f = short_data_term(task)
        states = red_fixed_point(f, lambda x: denoise(x, strength), weight=lam, x0=embed(task.op, task.y))
        budget = task.num_iter or BUDGET
        tol = 0.0 if task.num_iter else TOL
        run = solve(every(states, 1, reporting(task, budget)), Until(tol=tol, max_iter=budget))
        status, reason = finish(run)
        if status == "max_iter":
            status, reason = "stopped", f"the given {budget} iterations were done"
            if task.num_iter is None:
                reason = f"the budget of {budget} iterations was spent, the picture still moves a little"
        elif status == "converged":
            reason = f"x changed by less than {TOL:g} of itself"
        return Outcome(
            x=run.x,
            lam=lam,
            lam_rule="given" if task.lam is not None else f"{WEIGHT} sigma^2 / strength^2",
            num_iter=run.n_iter,
            stop_reason=reason,
            status=status,
            residual=rms_residual(task, run.x),
            objective=(),
            certificate=certificate(task, run.history["residual"], f),
            details={"strength": strength},
        )


METHOD = Red()
