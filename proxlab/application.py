"""How a denoiser is applied: to counted light with a stabilised variance, around pixels not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxlab.methods.base import Progress, Task
from proxlab.methods.common import finish

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.state import State

    Denoise = Callable[[Tensor, float | Tensor], Tensor]

TOL = 1e-4  # relative change of the whole picture from one application to the next
BUDGET = 200


@dataclass(frozen=True)
class Applied:
    """The clean picture and how it came about."""

    x: Tensor
    num_iter: int
    status: str
    stop_reason: str


def apply_denoiser(denoise: Denoise, task: Task) -> Applied:
    """x from task.y, denoise called with pictures on [0, 1] and the level of the white noise in them.

    Poisson noise: the picture goes through Anscombe's transform, scaled so that 0 and 1 stay 0 and 1, and
    comes back by the exact unbiased inverse; what is denoised in between has white noise of one level.
    """
    if task.noise.kind == "gaussian":
        return _masked(denoise, task, task.y, task.sigma)
    from dataclasses import replace

    from imaging.variance import ZERO, anscombe, inverse_anscombe

    assert task.noise.peak is not None
    peak = task.noise.peak
    span = 2 * (peak + 0.375) ** 0.5 - ZERO
    done = _masked(denoise, task, (anscombe(task.y, peak) - ZERO) / span, 1 / span)
    return replace(done, x=inverse_anscombe(done.x * span + ZERO, peak))


def _masked(denoise: Denoise, task: Task, y: Tensor, sigma: float) -> Applied:
    """One application; with masked pixels as many as it takes, each with the last result in their place.

    That is proximal gradient of step 1 for |M (x - y)|^2 / 2 + R, M the valid pixels, where denoise is the
    prox of R, and plug-and-play otherwise.
    """
    if task.op.valid is None:
        return Applied(denoise(y, sigma), 0, "exact", "one application of the prior")
    from algorithms.driver import Until, every, solve
    from algorithms.proximal import pgd
    from imaging.fidelity import LeastSquares
    from priors.base import DenoiserPrior

    def report(n: int, state: State) -> None:
        task.report(Progress(n, None, state.x, residual=state.residual))

    prior = DenoiserPrior(denoise, sigma=sigma)
    states = pgd(LeastSquares(task.op, y), prior, step=1.0, x0=task.op.embed(y))
    run = solve(every(states, 1, report), Until(tol=TOL, max_iter=BUDGET))
    status, reason = finish(run)
    if status == "converged":
        reason = f"what stands in the masked pixels changed by less than {TOL:g} of the picture"
    elif status == "max_iter":
        reason = f"the masked pixels still changed after {run.n_iter} applications of the prior"
    return Applied(run.x, run.n_iter, status, reason)
