"""Auto: the unrolled network or plug-and-play, whichever does better on photographs, held against tv.

The figures are those of benchmarks/results/quality_bsd68_*.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from proxlab.methods.base import FAILED, Outcome, Supports, Task
from proxlab.methods.common import level
from proxlab.methods.pnp import METHOD as PNP
from proxlab.methods.tv import METHOD as TV
from proxlab.methods.unrolled import METHOD as UNROLLED

if TYPE_CHECKING:
    from proxlab.denoising import Prior
    from proxlab.methods.base import Method

ROOM = 1.3  # a residual so many times the noise level is worth a look at what the classical method leaves
QUIET = 2 / 255  # from here on the unrolled network is level with plug-and-play or better


@dataclass(frozen=True)
class Auto:
    """A learned method where its network is there, total variation otherwise and where that fits badly."""

    name: str = "auto"
    summary: str = "plug-and-play, unrolled in stronger noise, checked against the noise level; else tv"
    supports: Supports = replace(TV.supports, prior=True, family="denoiser")  # noqa: RUF009

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Enough for either."""
        return max(TV.memory(shape), PNP.memory(shape))

    def outlook(self, task: Task) -> str:
        """What will be tried first and why, for a plan."""
        method, network, why, passed = first(task)
        chosen = network or (task.prior if method is not TV else None)
        name = getattr(chosen, "name", None)
        return f"{method.name}{f' with {name}' if name else ''} first: {why}{passed}"

    def run(self, task: Task) -> Outcome:
        """Pick, run, check; details["auto"] says what was done and why."""
        method, network, why, passed = first(task)
        if method is TV:
            return _as(TV, task, TV.run(task), why)
        words = "plug-and-play" if network is None else "the unrolled network"
        learned = method.run(task if network is None else replace(task, prior=network))
        learned = replace(learned, prior=network)
        if learned.status not in FAILED and fits(task, learned):
            return _as(method, task, learned, f"{why}, and its residual is that of the noise{passed}")
        classical = TV.run(task)
        pair = f"residuals {learned.residual:.4g} and {classical.residual:.4g}, noise {task.sigma:.4g}"
        if learned.status in FAILED or misfit(task, classical) < misfit(task, learned) - 0.1:
            return _as(TV, task, classical, f"{words} explains the data worse ({pair}){passed}")
        return _as(method, task, learned, f"total variation explains the data no better ({pair}){passed}")


class First(NamedTuple):
    """The method to try first, its network where it is not the task's, why it, and why no other."""

    method: Method
    network: Prior | None
    why: str
    passed: str = ""


def first(task: Task) -> First:
    """What is tried before anything has run."""
    if task.prior is None:
        return First(TV, None, "no denoiser is at hand")
    if task.lam is not None:
        return First(TV, None, "a weight was given, and total variation's is the one that has units")
    network, passed = unrolled_for(task)
    return First(UNROLLED if network else PNP, network, "it does better than tv on photographs", passed)


def unrolled_for(task: Task) -> tuple[Prior | None, str]:
    """The shipped unrolled network where it was trained for the case and does better, else None and why not.

    White noise from QUIET to the strongest of its training, one psf, circular or unknown borders; not where
    the caller chose a denoiser or a number of steps. No reason where none ships or another denoiser is given.
    """
    from proxlab.denoising import choose_prior
    from proxlab.networks import place, shipped

    channels, own = task.y.shape[1], getattr(task.prior, "name", None)
    name = shipped("unrolled", channels)
    if name is None or own != shipped("denoiser", channels):
        return None, ""
    network = choose_prior(name, channels)
    if network.channels != channels:
        return None, ""
    why = _untrained_for(task, most=network.network.config.sigma[1])
    if why:
        return None, f"; {name} was not taken: {why}"
    place(network, task.y.device, task.y.dtype)
    return network, ""


def _untrained_for(task: Task, *, most: float) -> str:
    """In what the case is not one that the unrolled network was trained for, noise up to `most`, or ""."""
    from imaging.blur import CircularBlur, WindowedBlur
    from imaging.masks import Masked
    from imaging.sampling import Downsample

    if task.num_iter is not None:
        return "its number of steps is fixed, and one was given"
    if task.noise.kind != "gaussian":
        return "it was trained on white noise"
    # It was trained without masks too, but on average does better than plug-and-play behind them.
    op = task.op.op if isinstance(task.op, Masked) else task.op
    if isinstance(op, Downsample):
        return "it was trained without a scale"
    if type(op) not in (CircularBlur, WindowedBlur):
        return "it was trained for one psf at circular or unknown borders"
    if task.sigma < QUIET:
        return f"below a level of {QUIET:.2g} plug-and-play does no worse"
    return f"it was trained for levels up to {most:.2g}" if task.sigma > most else ""


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
