"""Plug-and-play: a denoiser in the place of a regulariser, half-quadratic splitting down a ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from proxlab.methods.base import EVERYTHING, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, finish, level, reporting, rms_residual, used_level

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.pnp import Schedule

START = 49 / 255  # the first level, where the denoiser keeps little but edges (Zhang et al. 2022)
STEPS = 8
# Chosen on photographs of BSDS500/val not in BSD68: weights of 0.15 to 0.3, last levels of 0.45 to 1.
WEIGHT = (
    0.23  # lam / sigma^2; at 0.2 told levels gain with some psfs and lose with others, at 0.15 it explodes
)
LAST = 0.6  # the last level in units of the noise: what is left by then is less
MARGIN, FLOOR = 1.01, 1 / 255  # of an estimated level: 1.05 lost 0.11 dB on those photographs
# Conjugate gradients of a data step without closed form, and the relative residual to reach. (12, 0.01) saved
# no time and left strips along unknown borders wrong: 0.5 dB lost on pictures of 128x128 at low noise.
FEW, ENOUGH = 30, 0.001
CLOSE = (60, 1e-4)  # the same, nearly to the end
DARK = 0.02  # share of white below which counted pixels weigh no more


@dataclass(frozen=True)
class PlugAndPlay:
    """x <- D(argmin gamma |Ax - y|^2 / 2 + |v - x|^2 / 2, sigma_k), sigma_k falling to the noise level."""

    name: str = "pnp"
    summary: str = "a learned denoiser between data steps: sharp and natural, nothing proven"
    supports: Supports = replace(EVERYTHING, prior=True, family="denoiser", needs_prior=True)  # noqa: RUF009

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once in a data step; the network is counted by the front door."""
        return bytes_of(shape, 19)

    def run(self, task: Task) -> Outcome:
        """Down the ladder once."""
        from algorithms.driver import Until, every, solve
        from algorithms.pnp import in_turn
        from algorithms.splitting import hqs
        from imaging.operator import embed
        from proxlab.networks import denoiser

        f = short_data_term(task)
        pairs = schedule(task)
        states = hqs(f, in_turn(denoiser(task), pairs), pairs, x0=embed(task.op, task.y))
        run = solve(every(states, 1, reporting(task, len(pairs))), Until(tol=0.0, max_iter=len(pairs)))
        status, reason = finish(run)
        if status == "max_iter":
            status, reason = "stopped", f"the schedule of {len(pairs)} levels was run to its end"
            if task.num_iter is not None:
                reason = f"the given {task.num_iter} iterations were done"
        used = used_level(task, margin=MARGIN, floor=FLOOR)
        lam = task.lam if task.lam is not None else WEIGHT * used**2
        return Outcome(
            x=run.x,
            lam=lam,
            lam_rule="given" if task.lam is not None else lam_rule(task),
            num_iter=run.n_iter,
            stop_reason=reason,
            status=status,
            residual=rms_residual(task, run.x),
            objective=(),
            certificate=certificate(task, run.history["residual"], f),
            details={
                "levels": [sigma for sigma, _ in pairs],
                "gammas": [gamma for _, gamma in pairs],
                "sigma_used": used,
            },
        )


def short_data_term(task: Task) -> Any:
    """The data term for steps between two denoisings, iterated nearly to the end where task.close asks."""
    from algorithms.pnp import data_term
    from algorithms.unseen import FILL

    steps, enough = CLOSE if task.close else (FEW, ENOUGH)
    return data_term(task.op, task.y, steps=steps, enough=enough, fill=FILL, weigh=weights(task))


def schedule(task: Task) -> Schedule:
    """The ladder down to the level used, the last step a little lower; a given lam is obeyed."""
    from algorithms.pnp import geometric

    sigma, n = used_level(task, margin=MARGIN, floor=FLOOR), task.num_iter or steps_for(task)
    weight = WEIGHT if task.lam is None else task.lam / sigma**2
    *ladder, (end, gamma) = geometric(sigma, start=START, n=n, weight=weight)
    return (*ladder, (LAST * end, gamma))


def lam_rule(task: Task) -> str:
    """How the weight follows from the level, and from which."""
    rule, used = f"{WEIGHT} sigma^2", used_level(task, margin=MARGIN, floor=FLOOR)
    return rule if used == level(task) else f"{rule}, sigma raised to {used:.4g}"


def steps_for(task: Task) -> int:
    """The length of the ladder: twice as long where most pixels of the result were never sampled."""
    rows, columns = task.op.data_size[-2:]
    x = task.op.window(task.op.embed(task.y))
    return STEPS * 2 if x.shape[-2] * x.shape[-1] > rows * columns else STEPS


def weights(task: Task) -> Callable[[Tensor], Tensor] | None:
    """Inverse variances for counted light, None for white noise."""
    if task.noise.kind == "gaussian":
        return None
    from algorithms.pnp import weights_of_counts

    assert task.noise.peak is not None
    return weights_of_counts(task.noise.peak, level(task), least=max(DARK, 1 / task.noise.peak))


def certificate(task: Task, residuals: list[float], f: Any) -> dict[str, Any]:
    """A denoiser is the prox of nothing known, so a run down a schedule proves nothing; what was seen."""
    from algorithms.certificate import OBSERVED, Condition, certify

    name = getattr(task.prior, "name", "the denoiser")
    detail = f"{name} is not known to be the prox of a function; {len(residuals)} steps"
    seen = [Condition("the last relative change of x", OBSERVED, detail, residuals[-1])]
    left = getattr(f, "left", [])
    if left:
        claim = "the largest relative residual that a data step left"
        detail = f"{sum(f.taken)} inner steps in all"
        seen.append(Condition(claim, OBSERVED, detail, max(left)))
    return certify(None, [], seen).as_dict()


METHOD = PlugAndPlay()
