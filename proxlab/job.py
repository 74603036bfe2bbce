"""The one record of a run: what was asked, what was chosen, what came out."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.memory import in_words
from proxlab.methods.base import FAILED, Noise, Outcome
from proxlab.request import Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DISTRIBUTIONS = ("proxlab", "torch", "deepinv", "numpy", "scipy", "scikit-image")


@dataclass(frozen=True)
class Job:
    """Frozen; `finished` makes the record of the completed run.

    `memory` is the estimate in bytes made before the start, `masked` the number of samples left out of the
    data, `notes` what was done without being alarming, `warnings` what the user should look at.
    """

    request: Request
    method: str
    operator: str
    psf: str
    noise: Noise
    sigma: float
    sigma_rule: str
    device: str
    memory: int
    masked: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    hashes: Mapping[str, str]
    prior: str | None = None
    outcome: Outcome | None = None
    seconds: float | None = None
    peak_memory: int | None = None

    def finished(
        self, outcome: Outcome, result: NDArray[Any], *, seconds: float, peak_memory: int | None
    ) -> Job:
        """The same job with what came out of it."""
        warnings, other = self.warnings + tuple(outcome.warnings), outcome.prior
        if outcome.status in FAILED:
            warnings += (f"{outcome.status.replace('_', ' ')}: {outcome.stop_reason}.",)
        return replace(
            self,
            method=outcome.method or self.method,
            prior=other.name if other else self.prior,
            outcome=replace(outcome, warnings=()),
            warnings=warnings,
            hashes={
                **self.hashes,
                **({"prior": other.digest} if other and other.digest else {}),
                "result": digest(result),
            },
            seconds=seconds,
            peak_memory=peak_memory,
        )

    @property
    def converged(self) -> bool:
        """Whether the outcome is one that the command line calls a success."""
        return self.outcome is not None and self.outcome.status not in FAILED

    def info(self) -> dict[str, Any]:
        """Everything worth knowing, in types that JSON has."""
        out = self.outcome
        record: dict[str, Any] = {
            "method": self.method,
            "sigma": self.sigma,
            "sigma_rule": self.sigma_rule,
            "lam": out and out.lam,
            "lam_rule": out and out.lam_rule,
            "num_iter": out and out.num_iter,
            "stop_reason": out and out.stop_reason,
            "status": out and out.status,
            "residual": out and out.residual,
            "objective": list(out.objective) if out else [],
            "certificate": dict(out.certificate) if out else {},
            "details": dict(out.details) if out else {},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "operator": self.operator,
            "psf": self.psf,
            "noise": noise_text(self.noise),
            "masked": self.masked,
            "seconds": self.seconds,
            "memory_estimate": self.memory,
            "peak_memory": self.peak_memory,
            "prior": self.prior,
            "seed": self.request.seed,
            "device": self.device,
            "versions": versions(),
            "hashes": dict(self.hashes),
        }
        plain: dict[str, Any] = plain_json(record)
        return plain

    def plan(self) -> list[str]:
        """What would be done, in lines."""
        noise = f"{self.sigma:.4g} of the range ({self.sigma_rule})"
        lines = [
            f"method    {self.method}",
            f"operator  {self.operator}",
            f"psf       {self.psf}",
            f"noise     {noise_text(self.noise)}, {noise}",
            f"device    {self.device}",
            f"memory    about {in_words(self.memory)}",
        ]
        if self.prior is not None:
            lines.insert(1, f"prior     {self.prior}")
        if self._picked is not None:
            lines.insert(1, f"auto      {self._picked}")
        return lines + [f"note      {text}" for text in self.notes + self.warnings]

    @property
    def _picked(self) -> Any:
        """What the method "auto" took and why, None for any other."""
        return None if self.outcome is None else self.outcome.details.get("auto")

    def summary(self) -> str:
        """One line on a finished run."""
        out = self.outcome
        if out is None:
            return self.method
        name = self.method if self._picked is None else f"{self.method} (by auto)"
        parts = [name, f"sigma {self.sigma:.4g} ({self.sigma_rule})"]
        if out.lam is not None:
            parts.append(f"lam {out.lam:.4g} ({out.lam_rule})")
        if out.num_iter:
            parts.append(f"{out.num_iter} iterations")
        parts.append(out.status)
        return ", ".join([*parts, f"{self.seconds or 0:.1f} s"])


def noise_text(noise: Noise) -> str:
    """The noise as it would be written in an option.

    >>> noise_text(Noise("poisson", 500.0))
    'poisson:500'
    """
    return noise.kind if noise.peak is None else f"{noise.kind}:{noise.peak:.10g}"


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and values.

    >>> digest(np.zeros(2)) == digest(np.zeros(3)[:2])
    True
    """
    sha = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a distribution"
    return found


def plain_json(value: Any) -> Any:
    """Anything a record holds, in types JSON has: tuples become lists, NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_json(item) for item in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    if hasattr(value, "tolist"):
        return plain_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
