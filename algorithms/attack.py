"""Worst-case perturbations of the data: the largest error that a budget can buy, without any step size.

All functions work on a batch of independent samples: y (B, C, h, w), one budget a sample. What they return is
a lower bound of the true worst case: a perturbation that was found, never a proof that there is no larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from algorithms.linearise import Linearised
from algorithms.subspace import Subspace

Norm = Literal["l2", "linf"]
Evaluate = Callable[[Tensor], Tensor]

LEAST_STRIDE = 1e-3  # a shorter stride towards the gradient's vertex changes nothing that matters


@dataclass(frozen=True)
class Threat:
    """All e with |e| <= budget: "l2" over the whole sample, or "linf", the largest value; budget (B,)."""

    norm: Norm
    budget: Tensor

    def __post_init__(self) -> None:
        if self.norm not in ("l2", "linf") or self.budget.ndim != 1 or not bool((self.budget > 0).all()):
            message = (
                f"a threat of norm {self.norm!r} with budget {self.budget!r}: "
                "wanted 'l2' or 'linf', and one positive number a sample."
            )
            raise ValueError(message)

    def size(self, e: Tensor) -> Tensor:
        """|e| of each sample, (B,)."""
        flat = e.flatten(1)
        return flat.norm(dim=1) if self.norm == "l2" else flat.abs().amax(1)

    def fill(self, e: Tensor) -> Tensor:
        """e brought to the budget: scaled to the sphere, or clipped to the box."""
        limit = _tall(self.budget, e)
        if self.norm == "linf":
            return torch.maximum(torch.minimum(e, limit), -limit)
        return e * (limit / _tall(self.size(e), e).clamp_min(torch.finfo(e.dtype).tiny))

    def vertex(self, g: Tensor) -> Tensor:
        """The e of the budget with the largest <g, e>."""
        return self.fill(g) if self.norm == "l2" else _tall(self.budget, g) * g.sign()


@dataclass(frozen=True)
class Effort:
    """How hard to try; draws > 1 averages over calls of a reconstructor that answers at random."""

    iterations: int
    restarts: int
    seed: int
    draws: int = 1


@dataclass(frozen=True)
class Found:
    """The worst perturbation found: e, |R(y + e) - target| (B,), and how the search went.

    trace (iterations + 1, B) is the best error so far in the best restart, the clean error first; gradient
    (B,) is the size of the first gradient; tried counts evaluations of the reconstructor.
    """

    perturbation: Tensor
    error: Tensor
    trace: Tensor
    gradient: Tensor
    tried: int
    how: str = field(default="gradient")

    def better(self, other: Found) -> Found:
        """Sample by sample the larger error of the two."""
        wins = other.error > self.error
        return Found(
            torch.where(_tall(wins, self.perturbation), other.perturbation, self.perturbation),
            torch.maximum(self.error, other.error),
            self.trace if not bool(wins.all()) else other.trace,
            self.gradient,
            self.tried + other.tried,
            other.how if bool(wins.all()) else self.how,
        )


def worst_case(
    at: Linearised, y: Tensor, target: Tensor, threat: Threat, effort: Effort, *, start: Tensor | None = None
) -> Found:
    """Maximise |R(y + e) - target| over the threat, by power steps e <- vertex of the gradient.

    The vertex step needs no step size and never loses for a linear R (a convex function is maximised; in l2
    this is power iteration). In l2 it starts from the best point of the span of the earlier steps, where the
    second order is known from the gradients already computed (algorithms.subspace: Lanczos' speed at the
    price of a power iteration). Where R is not linear and a step loses, the span is forgotten and the stride
    halved. The first restart begins at `start` (a perturbation of a larger budget, say), else at the
    gradient; the others at random.

    at: y -> (R(y) as compared with target, u -> J^T u), see algorithms.linearise. Loss, reported: the l2
    error of the whole sample.

    >>> from imaging.masks import Identity
    >>> from algorithms.linearise import by_autograd
    >>> double = by_autograd(lambda op, y: y * torch.tensor([1.0, 3.0]), Identity((1, 1, 2)))
    >>> y = torch.zeros(1, 1, 1, 2)
    >>> found = worst_case(double, y, y, Threat("l2", torch.ones(1)), Effort(20, 1, seed=0))
    >>> round(found.error.item(), 4)
    3.0
    """
    generator = torch.Generator().manual_seed(effort.seed)
    climb = _Climb(at, y, target, threat, effort)
    best = climb.run(None if start is None else threat.fill(start), generator)
    for _ in range(effort.restarts - 1):
        best = best.better(climb.run(threat.vertex(_noise(y, generator)), generator))
    return best


def descending(
    at: Linearised, y: Tensor, target: Tensor, threats: list[Threat], effort: Effort
) -> list[Found]:
    """worst_case for several budgets, each started from the solution of the next larger one.

    Sorted as given; the budgets may come in any order.
    """
    order = sorted(range(len(threats)), key=lambda i: -float(threats[i].budget.sum()))
    found: dict[int, Found] = {}
    start = None
    for i in order:
        found[i] = worst_case(at, y, target, threats[i], effort, start=start)
        start = found[i].perturbation
    return [found[i] for i in range(len(threats))]


class _Climb:
    """One problem, any number of starts."""

    def __init__(self, at: Linearised, y: Tensor, target: Tensor, threat: Threat, effort: Effort) -> None:
        self.at, self.y, self.target, self.threat, self.effort = at, y, target, threat, effort
        self.clean, self.slope = self.measure(torch.zeros_like(y))

    def measure(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """|R(y + e) - target| (B,) and the gradient of half its square, averaged over draws."""
        square, slope = torch.zeros(len(e), dtype=torch.float64, device=e.device), torch.zeros_like(e)
        for _ in range(self.effort.draws):
            x, pull = self.at(self.y + e)
            rest = x - self.target
            square += rest.double().flatten(1).square().sum(1) / self.effort.draws
            slope += pull(rest) / self.effort.draws
        return square.sqrt().nan_to_num(nan=0.0), slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def run(self, start: Tensor | None, generator: torch.Generator) -> Found:
        """Climb from one start."""
        flat = _length(self.slope) <= 1e-12 * _length(self.y).clamp_min(1e-30)
        first = self.threat.vertex(torch.where(_tall(flat, self.y), _noise(self.y, generator), self.slope))
        e = first if start is None else start
        span = Subspace(self.slope, self.threat.budget) if self.threat.norm == "l2" else None
        best, top = torch.zeros_like(e), self.clean.clone()
        slope, stride = self.slope, torch.ones_like(self.clean)
        trace, rush = [top.clone()], torch.zeros_like(e)
        for _ in range(self.effort.iterations):
            error, g = self.measure(e)
            won = error > top
            stride = torch.where(won, (2 * stride).clamp_max(1), stride / 2).clamp_min(LEAST_STRIDE)
            best, slope = torch.where(_tall(won, e), e, best), torch.where(_tall(won, g), g, slope)
            top = torch.maximum(top, error)
            trace.append(top.clone())
            if span is not None:
                span.forget(~won)
                span.add(e, g)
                e = self._stride(best, span.gradient(slope, won), stride)
            else:
                rush = torch.where(_tall(won, rush), 0.75 * rush + slope / _tall(_length(slope), slope), 0)
                ahead = torch.where(_tall(won, rush), rush, slope)
                e = self._stride(best, ahead, stride)
        first_size = _length(self.slope if start is None else g)
        return Found(best, top, torch.stack(trace), first_size, self.effort.iterations * self.effort.draws)

    def _stride(self, best: Tensor, slope: Tensor, stride: Tensor) -> Tensor:
        share = _tall(stride, best)
        return self.threat.fill((1 - share) * best + share * self.threat.vertex(slope))


@torch.no_grad()
def search(
    evaluate: Evaluate,
    y: Tensor,
    target: Tensor,
    threat: Threat,
    effort: Effort,
    *,
    start: Tensor | None = None,
) -> Found:
    """Maximise |R(y + e) - target| without gradients: keep a random change whenever it makes things worse.

    Changes are white noise, noise of one frequency band, or a square of one sign (Andriushchenko et al. 2020)
    in turn; their size follows the success. Honest but weak: thousands of pixels, as many calls as effort
    says (iterations times restarts).
    """
    generator = torch.Generator().manual_seed(effort.seed)

    def error_of(e: Tensor) -> Tensor:
        return (evaluate(y + e) - target).double().flatten(1).norm(dim=1).nan_to_num(nan=0.0)

    top = clean = error_of(torch.zeros_like(y))
    best = threat.vertex(_noise(y, generator)) if start is None else threat.fill(start)
    top = error_of(best)
    stride, trace = torch.full_like(top, 0.5), [clean, torch.maximum(clean, top)]
    for n in range(effort.iterations * effort.restarts - 1):
        change = _change(y, n, generator)
        e = threat.fill(best + _tall(stride, best) * threat.vertex(change))
        error = error_of(e)
        won = error > top
        best, top = torch.where(_tall(won, e), e, best), torch.maximum(top, error)
        stride = torch.where(won, stride * 1.5, stride * 0.9).clamp(0.02, 2)
        trace.append(torch.maximum(clean, top))
    zero = torch.zeros_like(top)
    return Found(best, top, torch.stack(trace), zero, effort.iterations * effort.restarts, "search")


def _change(y: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """A random direction of the n-th kind."""
    white = _noise(y, generator)
    height, width = y.shape[-2:]
    if n % 3 == 0:
        return white
    draw = torch.rand(3, generator=generator).tolist()
    if n % 3 == 1:
        rows = torch.fft.fftfreq(height, device=y.device)[:, None]
        radius = (rows.square() + torch.fft.rfftfreq(width, device=y.device).square()).sqrt()
        band = torch.exp(-((radius - 0.5 * draw[0]) ** 2) / (2 * 0.03**2)).to(y.dtype)
        return torch.fft.irfft2(torch.fft.rfft2(white) * band, s=(height, width))
    side = max(1, int(min(height, width) * (0.05 + 0.3 * draw[0])))
    top, left = int(draw[1] * (height - side + 1)), int(draw[2] * (width - side + 1))
    patch = torch.zeros_like(y)
    patch[..., top : top + side, left : left + side] = white[..., :1, :1].sign()
    return patch


def _noise(y: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)


def _tall(values: Tensor, like: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), of like's dtype unless boolean."""
    values = values if values.dtype == torch.bool else values.to(like.dtype)
    return values.view(-1, *[1] * (like.ndim - 1))


def _length(e: Tensor) -> Tensor:
    return e.flatten(1).norm(dim=1)
