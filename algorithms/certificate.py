"""What a run can claim, in words: what is proven, what was only observed, what was violated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

PROVEN, OBSERVED, VIOLATED = KINDS = ("proven", "observed", "violated")
ROUNDING = 64.0  # units of rounding that two sums of the same objective may differ by, relative to its size


@dataclass(frozen=True)
class Condition:
    """One statement about a run.

    kind is "proven" (holds by a theorem or a proven bound, whose numbers were checked), "observed" (was true
    in this run, or is somebody's word that was not refuted) or "violated". value is what was measured, limit
    what it may be.

    >>> print(Condition("the step is below 1 / L", "proven", "norm bound of the operator", 0.5, 1.0))
    proven    the step is below 1 / L: 0.5, limit 1 (norm bound of the operator)
    """

    claim: str
    kind: str
    detail: str = ""
    value: float | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            message = f"a condition is {', '.join(KINDS)}, not {self.kind!r}."
            raise ValueError(message)

    def __str__(self) -> str:
        limit = "" if self.limit is None else f", limit {self.limit:.4g}"
        number = "" if self.value is None else f": {self.value:.4g}{limit}"
        return f"{self.kind:<10}{self.claim}{number}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Theorem:
    """What follows when all hypotheses hold, and who proved it."""

    conclusion: str
    source: str


@dataclass(frozen=True)
class Certificate:
    """A verdict in words and the conditions it rests on."""

    verdict: str
    conditions: tuple[Condition, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was violated."""
        return not any(c.kind == VIOLATED for c in self.conditions)

    @property
    def proven(self) -> bool:
        """Whether `certify` left a theorem standing, be it with an "if"; clean says less."""
        return self.clean and self.verdict.startswith(PROVEN)

    def as_dict(self) -> dict[str, Any]:
        """The form that records and receipts keep: {"verdict": str, "conditions": [dict, ...]}."""
        conditions = [{k: v for k, v in asdict(c).items() if v is not None} for c in self.conditions]
        return {"verdict": self.verdict, "conditions": conditions}


def certify(
    theorem: Theorem | None, hypotheses: Sequence[Condition], measured: Sequence[Condition]
) -> Certificate:
    """The certificate of a run: a theorem with its hypotheses, and what was measured along the way.

    A violated condition of either sort takes the theorem away. A hypothesis that was only observed leaves it
    as a statement with an "if". Without a theorem nothing is proven.

    >>> step = Condition("the step is below 1 / L", "violated", value=2.5, limit=1.0)
    >>> certify(Theorem("the objective never rises", "Beck 2009"), [step], []).verdict
    'no guarantee: it is not true that the step is below 1 / L (2.5, limit 1).'
    """
    conditions = (*hypotheses, *measured)
    broken = [c for c in conditions if c.kind == VIOLATED]
    seen = "; ".join(_with_number(c) for c in measured if c.kind == OBSERVED)
    observed = f" Observed: {seen}." if seen else ""
    if broken:
        list_ = ", nor that ".join(_with_number(c) for c in broken)
        return Certificate(f"no guarantee: it is not true that {list_}.{observed}", conditions)
    if theorem is None:
        return Certificate(f"nothing is proven.{observed}", conditions)
    open_ = [c.claim for c in hypotheses if c.kind == OBSERVED]
    promise = f" as long as {' and '.join(open_)}" if open_ else ""
    verdict = f"proven ({theorem.source}){promise}: {theorem.conclusion}.{observed}"
    return Certificate(verdict, conditions)


def exact(verdict: str, claim: str, detail: str) -> Certificate:
    """The certificate of a closed form, or of a linear solve whose residual was checked."""
    return Certificate(verdict, (Condition(claim, PROVEN, detail),))


def at_most(claim: str, value: float, limit: float, *, detail: str, kind: str) -> Condition:
    """The condition value <= limit: of the given kind, or violated (as it is when value is NaN).

    >>> at_most("the step is below 1 / L", 2.5, 1.0, detail="", kind="proven").kind
    'violated'
    """
    return Condition(claim, kind if value <= limit else VIOLATED, detail, value, limit)


def never_rises(
    claim: str, values: Sequence[Tensor], *, eps: float, terms: Tensor | float = 0.0
) -> Condition:
    """The condition that no value, (B,) in float64 each, exceeds the one before it by more than rounding.

    eps is that of the arithmetic the values were computed in. value is the largest rise of a sample, relative
    to its largest value, and 0 when there is none; violated too where a value is not finite. terms (B,) is
    the size of summands, in float64, that nearly cancel in a value: their rounding is allowed for too.
    """
    limit = ROUNDING * eps
    if len(values) < 2:
        return Condition(claim, OBSERVED, f"{len(values)} value, nothing to compare", 0.0, limit)
    table = torch.stack([v.double().flatten().cpu() for v in values])
    size = table.abs().amax(0) + torch.as_tensor(terms).cpu() * (torch.finfo(torch.float64).eps / eps)
    size = size.clamp_min(torch.finfo(torch.float64).tiny)
    rise = float((table.diff(dim=0) / size).max())
    rise = max(rise, 0.0) if bool(torch.isfinite(table).all()) else math.nan
    first, last = (float(table[n].sum()) for n in (0, -1))
    detail = f"from {first:.8g} to {last:.8g} in {len(values) - 1} steps, the largest rise, relative"
    return at_most(claim, rise, limit, detail=detail, kind=OBSERVED)


def precise(function: Any, x: Tensor) -> Tensor:
    """function.value(x), (B,), its sums in float64 whatever the dtype of x.

    A data term is evaluated at A x in float64; another function is trusted to sum in float64 where it
    matters.
    """
    if hasattr(function, "value_at") and hasattr(function, "op"):
        value: Tensor = function.value_at(function.op.A(x).double())
        return value.double()
    value = function.value(x)
    return value.double()


def _with_number(c: Condition) -> str:
    if c.value is None:
        return c.claim
    limit = "" if c.limit is None or c.kind != VIOLATED else f", limit {c.limit:.4g}"
    return f"{c.claim} ({c.value:.4g}{limit})"


def lines(certificate: Any) -> Iterable[str]:
    """The lines in which a certificate (its dict, as in a record) is printed: verdict, then conditions.

    >>> list(lines({"verdict": "nothing is proven.", "conditions": []}))
    ['nothing is proven.']
    """
    yield str(certificate.get("verdict", "none"))
    names = Condition.__dataclass_fields__
    for found in certificate.get("conditions", ()):
        known = isinstance(found, dict) and found.get("kind") in KINDS and set(found) <= set(names)
        yield str(Condition(**found)) if known else str(found)
