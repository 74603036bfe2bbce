"""Data steps where some data are unseen: those are made up from the estimate, a fixed number of times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from imaging.fft import irfft2, power_of, rfft2
from imaging.frame import Between
from imaging.linsolve import inner
from imaging.operator import Factored, column, factored

Apply = Callable[[Tensor], Tensor]
Solved = Callable[[Apply, Tensor], Tensor]  # the misfit of unseen data, and where they begin
FILL = 12  # steps between two denoisings: as good at borders as conjugate gradients to 1e-3 of the residual
MISS = 3e-4  # of the largest unseen value may be left out where two bands cross; mostly it is 1e-5
ENOUGH = 0.1  # of the error: the next denoising and data step begin with what is left


@dataclass(frozen=True, eq=False)
class FilledLeastSquares:
    """f(x) = |A x - y|^2 / 2 for A = S K (`Factored`) whose prox makes up the data outside S as K x has them.

    With all data d = S^T y + (1 - S^T S) K x the prox at gamma is (I + gamma K^T K)^-1 (z + gamma K^T d), and
    the unseen u = (1 - S^T S) d solve (I - T) u = c, where the spectrum of T = (1 - S^T S) gamma K (I + gamma
    K^T K)^-1 K^T lies between 0 and gamma |K|^2 / (1 + gamma |K|^2). They begin as K z has them and take
    `steps` Chebyshev steps (Golub and Varga 1961; Saad 2003, algorithm 12.1), at two FFTs each, for the part
    of the spectrum of I - T in which so many steps shrink the error to `enough` of itself; fewer where gamma
    needs fewer. What lies below that part, unseen data that the seen ones hardly decide, stays nearer to
    where it began. The FFTs are of the frame where nothing else is unseen (`Frame`), else of the field.

    The coefficients depend on gamma and K alone. So the prox is the same map everywhere, which conjugate
    gradients are not: a part of a picture gives what the whole gives there, converged or not, and a batch
    what its samples give. Differentiable. gamma > 0 is a number, or a tensor of one a sample. To `left` is
    appended the misfit of the unseen data before the last step, relative to that of the seen data before the
    first; to `taken` the number of steps.

    >>> from imaging.blur import WindowedBlur
    >>> op, y = WindowedBlur(torch.ones(1, 1, 3, 3) / 9, (1, 14, 14)), torch.rand(1, 1, 14, 14)
    >>> f = FilledLeastSquares(op, y, steps=40, enough=1e-4)
    >>> z = op.embed(y)
    >>> torch.allclose(f.prox(z, gamma=9.0), op.prox_l2(z, y, 9.0), atol=1e-4)
    True
    """

    op: Any
    y: Tensor
    steps: int
    enough: float = ENOUGH
    left: list[float] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "y", observed(self.op, self.y, steps=self.steps))

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """About argmin of gamma f(x) + |x - z|^2 / 2."""
        structure = factored(self.op)
        if structure is None:
            message = (
                f"{type(self.op).__name__} is no selection after a circular blur: use ShortLeastSquares."
            )
            raise TypeError(message)
        otf, size = structure.otf, (z.shape[-2], z.shape[-1])
        gamma, start = column(gamma, z), rfft2(z)
        power = power_of(otf)
        inverse = 1 / (1 + gamma * power)
        before = irfft2(start * otf, size)  # K z
        misfit = self.y - structure.select(before)
        scale = inner(misfit, misfit).clamp_min(torch.finfo(z.dtype).tiny)
        exact = 1 / (1 + gamma * power.amax((-3, -2, -1), keepdim=True))
        start, through = start * inverse, gamma * power * inverse
        solved = partial(self._solved, exact=exact, scale=scale)
        between = None if structure.frame is None else structure.frame.between(through, miss=MISS)
        if between is None:
            data = self._on_field(structure, before, irfft2(start * otf, size), through, solved)
        else:
            given = (self._seen * through).add_(start * otf)
            data = self._in_frame(structure, between, before, given, solved)
        return irfft2(rfft2(data).mul_(otf.conj() * (gamma * inverse)).add_(start), size)

    def _on_field(
        self, structure: Factored, before: Tensor, fixed: Tensor, through: Tensor, solved: Solved
    ) -> Tensor:
        """All data d = S^T y + (1 - S^T S) (fixed + T d), begun at `before`; T has the spectrum `through`."""
        seen, size = structure.scatter(self.y), (before.shape[-2], before.shape[-1])

        def misfit(u: Tensor) -> Tensor:
            blurred = irfft2(rfft2(seen + u).mul_(through), size).add_(fixed)
            return _unseen(blurred, structure).sub_(u)

        return seen + solved(misfit, _unseen(before, structure))

    def _in_frame(
        self, structure: Factored, between: Between, before: Tensor, given: Tensor, solved: Solved
    ) -> Tensor:
        """The same where only a frame is unseen: what it does to itself is filtered there alone.

        between is T on the frame, given the half spectrum of what comes from elsewhere.
        """
        frame = between.frame
        fixed = frame.take(irfft2(given, frame.field))
        u = solved(lambda u: between(u).add_(fixed).sub_(u), frame.take(before))
        return frame.put(u, structure.scatter(self.y))

    @cached_property
    def _seen(self) -> Tensor:
        """The data and nothing else, in frequency."""
        return rfft2(factored(self.op).scatter(self.y))  # type: ignore[union-attr]

    def _solved(self, misfit: Apply, u: Tensor, *, exact: Tensor, scale: Tensor) -> Tensor:
        """u after the Chebyshev steps for the spectrum from exact, or from where they reach, to 1."""
        counts = [self._count(least) for least in exact.flatten().tolist()]
        count = torch.tensor(counts, device=u.device).view_as(exact)
        reach = torch.tensor([self._reach(n) for n in counts], dtype=u.dtype, device=u.device)
        least = torch.maximum(exact, reach.view_as(exact)).clamp_max(1 - 1e-6)
        middle, half = (1 + least) / 2, (1 - least) / 2
        rho = half / middle
        r = misfit(u)
        step = r / middle
        for n in range(1, max(counts)):
            u = u + step if torch.is_grad_enabled() else u.add_(step)
            r = misfit(u)
            rho, old = 1 / (2 * middle / half - rho), rho
            step = _combined(step, rho * old, r, 2 * rho / half)
            if n >= min(counts):  # a sample that has taken its steps stands still
                step = torch.where(n < count, step, 0)
        self.left.append(float((inner(r, r) / scale).detach().max().sqrt()))
        self.taken.append(max(counts))
        return u + step

    def _count(self, least: float) -> int:
        """Steps that do enough for the spectrum from least to 1, as far as there are so many."""
        return next((n for n in range(1, self.steps) if self._reach(n) <= least), self.steps)

    def _reach(self, steps: int) -> float:
        """The lower end of the spectrum, of which 1 is the upper, where so many steps do enough."""
        ratio = math.cosh(math.acosh(1 / self.enough) / steps)
        return (ratio - 1) / (ratio + 1)


def observed(op: Any, y: Tensor, *, steps: int) -> Tensor:
    """y with 0 where op has it masked: NaN there would spread. ValueError for less than one inner step.

    >>> from imaging.masks import Inpainting
    >>> op = Inpainting(torch.tensor([[[[True, False]]]]), (1, 1, 2))
    >>> observed(op, torch.tensor([[[[1.0, torch.nan]]]]), steps=1)
    tensor([[[[1., 0.]]]])
    """
    if steps < 1:
        message = f"steps is {steps}, wanted at least 1 inner step of a data step."
        raise ValueError(message)
    valid = getattr(op, "valid", None)
    return y if valid is None else y.masked_fill(~valid, 0)


def _combined(step: Tensor, kept: Tensor, r: Tensor, gain: Tensor) -> Tensor:
    """kept step + gain r, written over step where no gradients are wanted; the same bits."""
    return kept * step + gain * r if torch.is_grad_enabled() else step.mul_(kept).add_(gain * r)


def _unseen(data: Tensor, structure: Factored) -> Tensor:
    seen = structure.scatter(structure.select(data))
    return data - seen if torch.is_grad_enabled() or seen is data else torch.sub(data, seen, out=seen)
