"""Richardson-Lucy, stopped when the residual is as small as the noise."""

from __future__ import annotations

from dataclasses import dataclass

from proxlab.methods.base import EVERYTHING, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, finish, reporting, rms_residual, variance_of

BUDGET = 500
STRONG = (
    0.03  # above, in units of the log-likelihood, the one-step-late variation chatters instead of smoothing
)


@dataclass(frozen=True)
class RichardsonLucy:
    """Multiplicative maximum likelihood for counted light; lam adds total variation."""

    name: str = "richardson-lucy"
    summary: str = "non-negative maximum likelihood for counted light, stopped at the noise level"
    supports: Supports = EVERYTHING

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once, measured at 1024x1024 with an unknown border."""
        return bytes_of(shape, 18)

    def run(self, task: Task) -> Outcome:
        """Iterate until the discrepancy principle, the caller's num_iter or the budget says stop."""
        from algorithms.choose import noise_reached
        from algorithms.driver import Until, every, solve
        from algorithms.lucy import richardson_lucy
        from algorithms.variation import TotalVariation
        from imaging.operator import embed

        y, op = task.y.clamp_min(0), task.op
        tv = None if task.lam is None else TotalVariation(task.lam / float(y.mean().clamp_min(1e-6)))
        states = richardson_lucy(op, y, tv=tv, x0=embed(op, y))
        budget = task.num_iter or BUDGET
        rule = None
        if task.num_iter is None:
            rule = noise_reached(task.y, variance_of(task, y), valid=op.valid)
        tol = 0.0 if task.num_iter else 1e-5
        run = solve(every(states, 1, reporting(task, budget)), Until(tol=tol, max_iter=budget, rule=rule))
        status, reason = finish(run)
        if status == "max_iter" and task.num_iter:
            status, reason = "stopped", f"the given {task.num_iter} iterations were done"
        elif status == "stopped":
            reason = "the residual reached the noise level (discrepancy principle)"
        doubts: tuple[str, ...] = ()
        if tv is not None and tv.lam > STRONG:
            doubts = (
                f"lam={task.lam:g} is too strong for Richardson-Lucy's variation: method 'tv' takes it.",
            )
        if status == "max_iter":  # early stopping is what regularises here: not a failure, but worth a word
            status, reason = "stopped", f"the budget of {budget} iterations was spent"
            doubts += (f"the noise level was not reached in {budget} iterations: give num_iter for more.",)
        return Outcome(
            x=run.x,
            lam=task.lam,
            lam_rule=None if task.lam is None else "given",
            num_iter=run.n_iter,
            stop_reason=reason,
            status=status,
            residual=rms_residual(task, run.x),
            objective=(),
            certificate={
                "verdict": "stopped before convergence on purpose: the maximum likelihood itself is noise",
                "conditions": [],
            },
            warnings=doubts,
        )


METHOD = RichardsonLucy()
