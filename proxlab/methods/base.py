"""What a method is: an object that says what it can do, what memory it needs, and does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from imaging.operator import LinearOperator
    from proxlab.denoising import Prior

BOUNDARIES = ("unknown", "circular", "reflect", "edge", "zero")
NOISES = ("gaussian", "poisson")


@dataclass(frozen=True)
class Noise:
    """The noise model; `peak` is the number of counts at value 1 and belongs to "poisson"."""

    kind: str
    peak: float | None = None


@dataclass(frozen=True)
class Progress:
    """One step of a running method; x is in the operator's domain, shape (1, C, H, W)."""

    iteration: int
    total: int | None
    x: Tensor
    cost: float | None = None
    residual: float | None = None


@dataclass(frozen=True)
class Task:
    """Everything a method receives, checked and in torch.

    y has shape (1, C, h, w), float32 or float64, on [0, 1]. sigma is always a number; for Poisson noise it is
    the standard deviation at the mean brightness. lam and num_iter are None where the method is to choose.
    prior is a `proxlab.denoising.Prior`, or None where the method has none.
    white is False where the noise has lost its high frequencies (JPEG, resizing): cross-validation, which
    needs no level because it trusts whiteness, must not be used then. close asks that what is iterated inside
    a step be iterated to its end: two answers are to be compared, and should differ by their data alone.
    """

    op: LinearOperator
    y: Tensor
    sigma: float
    sigma_rule: str
    noise: Noise
    lam: float | None
    num_iter: int | None
    prior: object | None
    seed: int
    report: Callable[[Progress], None]
    white: bool = True
    close: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a method hands back; x is in the operator's domain and finite.

    status is "converged", "exact" (closed form), "stopped" (a rule or the caller's num_iter ended it on
    purpose), "max_iter" (the budget ended it) or "diverged" (x is the last good iterate). `method` names the
    method that ran where another one chose it, `prior` is its network where that is not the task's. `details`
    holds what else is worth keeping, such as how flat a criterion was.
    """

    x: Tensor
    lam: float | None
    lam_rule: str | None
    num_iter: int
    stop_reason: str
    status: str
    residual: float | None
    objective: tuple[float, ...]
    certificate: Mapping[str, object]
    warnings: tuple[str, ...] = ()
    method: str | None = None
    prior: Prior | None = None
    details: Mapping[str, object] = field(default_factory=dict)


FAILED = ("max_iter", "diverged")  # what makes the command line return 5


@dataclass(frozen=True)
class Supports:
    """What a method can do; a request outside it is refused by name, never approximated.

    family names the shipped networks it takes when no prior is given: "denoiser" is denoiser-gray or
    denoiser-color. needs_prior says that it cannot run without one, together that a grey one takes all
    channels of a picture at a time instead of one after the other.
    """

    boundaries: frozenset[str]
    noises: frozenset[str]
    scale: bool
    mask: bool
    varying: bool
    lam: bool
    num_iter: bool
    prior: bool
    family: str | None = None
    needs_prior: bool = False
    together: bool = False


EVERYTHING = Supports(
    boundaries=frozenset(BOUNDARIES),
    noises=frozenset(NOISES),
    scale=True,
    mask=True,
    varying=True,
    lam=True,
    num_iter=True,
    prior=False,
)  # what the methods here differ from


@dataclass(frozen=True)
class Need:
    """What one request asks of a method."""

    boundary: str
    noise: str
    scale: int
    mask: bool
    varying: bool
    lam: bool
    num_iter: bool
    prior: bool = False

    def missing(self, supports: Supports) -> list[str]:
        """What `supports` lacks, as it was asked for: ["noise='poisson'", "scale=2"]."""
        asked = {
            f"boundary={self.boundary!r}": self.boundary not in supports.boundaries,
            f"noise={self.noise!r}": self.noise not in supports.noises,
            f"scale={self.scale}": self.scale != 1 and not supports.scale,
            "a mask": self.mask and not supports.mask,
            "a grid of psfs": self.varying and not supports.varying,
            f"a grid of psfs, boundary={self.boundary!r}": self.varying and self.boundary != "unknown",
            "a given lam": self.lam and not supports.lam,
            "a given num_iter": self.num_iter and not supports.num_iter,
            "a prior": self.prior and not supports.prior,
        }
        return [text for text, lacking in asked.items() if lacking]

    def without_mask(self) -> Need:
        """The same need, with every pixel used."""
        return replace(self, mask=False)


class Method(Protocol):
    """One method: frozen, without state, cheap to import (torch only inside its functions)."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def supports(self) -> Supports: ...

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Bytes of working memory for a field of shape (C, H, W), the interpreter excluded."""

    def run(self, task: Task) -> Outcome:
        """Do the work."""
