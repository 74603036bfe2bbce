"""What the methods share: the residual, the noise as a variance, how a run is put in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxlab.methods.base import Progress, Supports, Task

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.choose import Choice
    from algorithms.state import Result, State

LEAST_SIGMA = 3e-4  # rounding to 10 bits: below it no rule that trusts the noise level means anything


def level(task: Task) -> float:
    """The noise level that rules may divide by."""
    return max(task.sigma, LEAST_SIGMA)


def used_level(task: Task, *, margin: float, floor: float) -> float:
    """A given level is obeyed, an estimated one raised by the margin and kept above the floor."""
    sigma = level(task)
    return max(margin * sigma, floor) if "estimated" in task.sigma_rule else sigma


def rms_residual(task: Task, x: Tensor) -> float:
    """Root mean square of A x - y over the observed samples, on the scale of sigma."""
    import torch

    misfit = (task.op.A(x) - task.y).detach().square()
    valid = getattr(task.op, "valid", None)
    if valid is None:
        return float(misfit.mean()) ** 0.5
    seen = valid.expand(misfit.shape)
    return float(torch.where(seen, misfit, 0).sum() / seen.sum()) ** 0.5


def variance_of(task: Task, y: Tensor) -> Tensor | float:
    """The noise variance at each sample of y: a number, or for counts the smoothed brightness / peak."""
    if task.noise.kind == "gaussian":
        return level(task) ** 2
    from torch.nn.functional import avg_pool2d, pad

    assert task.noise.peak is not None
    smooth = avg_pool2d(pad(y, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
    return smooth.clamp_min(1 / task.noise.peak) / task.noise.peak


def reporting(task: Task, total: int | None) -> Callable[[int, State], None]:
    """A function for algorithms.driver.every that hands each state to the caller's report."""

    def report(n: int, state: State) -> None:
        task.report(Progress(n, total, state.x, residual=state.residual))

    return report


def in_words(choice: Choice) -> str:
    """The rule of a choice and how flat its criterion is."""
    half, twice = choice.rise
    if half == twice == 0:
        return choice.rule
    return f"{choice.rule} (criterion rises {half:+.1%} at half, {twice:+.1%} at twice the value)"


def finish(result: Result) -> tuple[str, str]:
    """status and stop_reason of a run, in words that fit the front door."""
    reasons = {
        "max_iter": f"the budget of {result.n_iter} iterations was spent: give a larger lam, or num_iter",
        "diverged": "the iterate is no longer finite, the one before it is returned",
    }
    return result.status.name, reasons.get(result.status.name, result.status.value)


def bytes_of(shape: tuple[int, int, int], pictures: float) -> int:
    """Memory of that many float32 pictures of this shape."""
    channels, height, width = shape
    return int(4 * channels * height * width * pictures)


def rings_text(share: float, supports: Supports) -> str:
    """What to say when so much of a result lies far outside the data's range: what a wrong psf does.

    >>> rings_text(0.3, Supports(frozenset(), frozenset(), *[False] * 6))[-22:]
    'or use another method.'
    """
    advice = "give a larger lam" if supports.lam else "use another method"
    return (
        f"{share:.0%} of the result lies far outside the range of the picture, as rings of a wrong psf do: "
        f"check its size, its angle and its kind, or {advice}."
    )
