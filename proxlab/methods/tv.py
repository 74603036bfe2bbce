"""Total variation, converged to a checked optimality, the weight by Stein's risk estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxlab.methods.base import EVERYTHING, Outcome, Progress, Supports, Task
from proxlab.methods.common import (
    bytes_of,
    finish,
    in_words,
    level,
    reporting,
    rms_residual,
    variance_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.choose import Choice
    from algorithms.state import State
    from algorithms.variation import Optimality

TOL = 5e-4  # of the optimality bound, which on photographs was 3 to 5 times the true distance in objective
BUDGET = 2000
PLAUSIBLE = 10.0  # the best weights on training photographs were within 2.5 times the first guess
FIRST_GUESS = 0.8  # lam = 0.8 sigma^1.5: the median of the best weights on training photographs


@dataclass(frozen=True)
class TotalVariationMethod:
    """argmin f(x) + lam TV(x), f least squares or the Poisson likelihood, channels sharing their edges."""

    name: str = "tv"
    summary: str = "sharp edges, flat regions: total variation solved to a checked optimality"
    supports: Supports = EVERYTHING

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once, measured at 1024x1024 with an unknown border."""
        return bytes_of(shape, 36)

    def run(self, task: Task) -> Outcome:
        """Choose the weight on typical windows, then solve."""
        from algorithms.driver import Until, every, solve
        from algorithms.variation import TotalVariation
        from imaging.operator import embed

        lam, rule = task.lam, "given"
        if lam is None:
            choice = choose_weight(task)
            lam, rule = choice.value, in_words(choice)
        loss, weight = data_term(task, task.op, task.y), lam / scale_of(task)
        tv = TotalVariation(weight)
        states = iterate(loss, tv, task, embed(task.op, task.y))

        def optimality(state: State) -> float:
            found = optimality_of(task, loss, tv, state)
            trace.append(float(found.objective.sum()) * scale_of(task))
            return found.relative(state.x)

        trace: list[float] = []
        budget = task.num_iter or BUDGET
        tol = 0.0 if task.num_iter else TOL
        run = solve(
            every(states, 1, reporting(task, budget)),
            Until(tol=tol, max_iter=budget, measure=optimality, period=10),
        )
        status, reason = finish(run)
        if status == "max_iter" and task.num_iter:
            status, reason = "stopped", f"the given {task.num_iter} iterations were done"
        elif status == "converged":
            reason = "the optimality bound reached its tolerance"
        return Outcome(
            x=run.x,
            lam=lam,
            lam_rule=rule,
            num_iter=run.n_iter,
            stop_reason=reason,
            status=status,
            residual=rms_residual(task, run.x),
            objective=tuple(trace),
            certificate=certificate(status, run.history["residual"][-1]),
        )


def data_term(task: Task, op: Any, y: Tensor) -> Any:
    """Least squares, or the Poisson likelihood in counts."""
    from imaging.fidelity import LeastSquares, PoissonKL

    if task.noise.kind == "gaussian":
        return LeastSquares(op, y)
    assert task.noise.peak is not None
    return PoissonKL(op, y.clamp_min(0), task.noise.peak)


def scale_of(task: Task) -> float:
    """What brings the data term to the scale of |Ax - y|^2 / 2, so that lam means the same everywhere."""
    return 1.0 if task.noise.kind == "gaussian" else level(task) ** 2


def iterate(loss: Any, tv: Any, task: Task, x0: Any) -> Any:
    """The fastest solver that the operator's structure allows; penalties found on training photographs.

    Counts bend the likelihood more where it is dark: a stiffer data penalty converged 10 times faster there.
    """
    from algorithms.primal_dual import primal_dual_variation
    from algorithms.splitting_variation import Penalties, split_variation
    from imaging.operator import factored

    if factored(loss.op) is not None:
        stiffness = 0.05 if task.noise.kind == "gaussian" else 2.0
        penalties = Penalties(stiffness / scale_of(task), 40 * tv.lam)
        return split_variation(loss, tv, penalties=penalties, x0=x0)
    return primal_dual_variation(loss, tv, penalties=Penalties(0.5 / scale_of(task), 10 * tv.lam), x0=x0)


def optimality_of(task: Task, loss: Any, tv: Any, state: State) -> Optimality:
    """The proof that fits the data term: counts of 0 put A x on the border of the likelihood's domain."""
    from algorithms.variation import split_optimality, tv_optimality

    if task.noise.kind == "gaussian":
        return tv_optimality(loss, tv, state.x, state.memory[0])
    p, w = state.memory[:2]
    return split_optimality(loss, tv, state.x, (p, w), gamma=scale_of(task))


def choose_weight(task: Task) -> Choice:
    """lam by Stein's estimate of the risk of Ax, on a few typical windows of a large picture.

    Noise that is not white would pass for signal there, so that case keeps the first guess.
    """
    from algorithms.choose import Choice
    from algorithms.driver import last
    from algorithms.sure import sure_weight, typical_windows
    from algorithms.variation import TotalVariation
    from imaging.operator import embed

    start = FIRST_GUESS * level(task) ** 1.5
    if not task.white:
        return Choice(start, "0.8 sigma^1.5, the noise is not white", (0.0, 0.0))
    op, y = typical_windows(task.op, task.y, side=192, count=4)

    start_picture = embed(task.op, task.y)

    def solver(data: Tensor, lam: float, warm: State | None) -> State:
        task.report(Progress(0, None, start_picture))  # iteration 0: the weight is being chosen
        loss, tv = data_term(task, op, data), TotalVariation(lam / scale_of(task))
        return last(iterate(loss, tv, task, warm or embed(op, data)), 18 if warm else 32)

    choice = sure_weight(op, y, solver, variance=variance_of(task, y), start=start, seed=task.seed)
    if start / PLAUSIBLE <= choice.value <= start * PLAUSIBLE:
        return choice
    return Choice(
        start, f"0.8 sigma^1.5, since {choice.rule} led far away, to {choice.value:.2g}", (0.0, 0.0)
    )


def certificate(status: str, bound: float) -> dict[str, object]:
    """What the run can claim: the distance to the minimum of a convex objective, if it was measured."""
    if not math.isfinite(bound):
        return {"verdict": "nothing is claimed: the run ended before a bound was measured", "conditions": []}
    weigh = {
        "claim": "the objective is at most gap + imbalance |x - minimiser| above its minimum",
        "kind": "proven",
        "detail": "convexity, with a dual point in its ball and the force balance",
    }
    claim = {
        "claim": "that bound, relative to the objective",
        "kind": "observed",
        "detail": "with 1 % of |x| as the distance left",
        "value": bound,
    }
    reached = "a minimiser of a convex objective, to the stated bound"
    short = "on the way to the minimiser of a convex objective, no nearer than the stated bound is claimed"
    return {"verdict": reached if status == "converged" else short, "conditions": [weigh, claim]}


METHOD = TotalVariationMethod()
