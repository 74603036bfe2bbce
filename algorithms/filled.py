"""The data term of a blur seen in part, with a prox of fixed small cost: what was not seen is filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from imaging.fft import half_weights, irfft2, power_of, rfft2
from imaging.fidelity import LeastSquares
from imaging.operator import column, factored


@dataclass(frozen=True, eq=False)
class Filled:
    """f(x) = |A x - y|^2 / 2 for A = S K (`Factored`), its prox approximated in two steps without a solver.

    First the prox of a function above it, |K x - d|^2 / 2 with d = S^T y + (1 - S^T S) K z, equal to f at
    x = z: data that nobody saw are what z would have given (the majoriser of expectation maximisation), which
    is a division in frequency. From there `rounds` conjugate gradient steps with that division as the
    preconditioner, two FFTs each; with many of them the prox is exact, and where all was seen (S = I) it is
    so at once. Differentiable in z, gamma and y.

    Raises TypeError for an operator without this structure.

    >>> from imaging.blur import CircularBlur
    >>> op, y = CircularBlur(torch.ones(1, 1, 1, 3) / 3, (1, 4, 6)), torch.rand(1, 1, 4, 6)
    >>> exact = LeastSquares(op, y).prox(y, gamma=2.0)
    >>> torch.allclose(Filled(op, y, rounds=0).prox(y, gamma=2.0), exact, atol=1e-6)
    True
    """

    op: Any
    y: Tensor
    rounds: int

    def __post_init__(self) -> None:
        if factored(self.op) is None:
            message = f"{type(self.op).__name__} is no selection after a circular blur: use LeastSquares."
            raise TypeError(message)

    @cached_property
    def exact(self) -> LeastSquares:
        """The function itself, masked data blanked."""
        return LeastSquares(self.op, self.y)

    def value(self, x: Tensor) -> Tensor:
        """f(x) of each sample, (B,)."""
        return self.exact.value(x)

    def grad(self, x: Tensor) -> Tensor:
        """A^T (A x - y)."""
        return self.exact.grad(x)

    def lipschitz(self) -> float:
        """A proven Lipschitz constant of grad."""
        return self.exact.lipschitz()

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """About argmin of gamma f(x) + |x - z|^2 / 2."""
        structure = factored(self.op)
        assert structure is not None
        otf, gamma = structure.otf, column(gamma, z)
        size = (z.shape[-2], z.shape[-1])
        back, inverse = gamma * otf.conj(), 1 / (1 + gamma * power_of(otf))
        known, start = structure.scatter(self.exact.y), rfft2(z)

        def seen(spectrum: Tensor) -> Tensor:
            return structure.scatter(structure.select(irfft2(spectrum * otf, size)))

        blurred = irfft2(start * otf, size)
        data = known + (blurred - structure.scatter(structure.select(blurred)))
        spectrum = (start + back * rfft2(data)) * inverse
        if self.rounds:
            missing = start - spectrum + back * rfft2(known - seen(spectrum))
            spectrum = _conjugate_gradient(
                lambda v: v + back * rfft2(seen(v)),
                spectrum,
                missing,
                (inverse, half_weights(size[1], z)),
                self.rounds,
            )
        return irfft2(spectrum, size)


def _conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    x: Tensor,
    r: Tensor,
    scale: tuple[Tensor, Tensor],
    rounds: int,
) -> Tensor:
    """A fixed number of preconditioned steps on half spectra, differentiable; r is the residual."""
    inverse, weights = scale
    least = torch.finfo(weights.dtype).tiny

    def dot(u: Tensor, v: Tensor) -> Tensor:
        products = (torch.view_as_real(u) * torch.view_as_real(v)).sum(-1) * weights
        return products.sum((1, 2, 3), keepdim=True)

    p = q = r * inverse
    size = dot(r, q)
    for _ in range(rounds):
        image = apply(p)
        length = size / dot(p, image).clamp_min(least)
        x, r = x + length * p, r - length * image
        q = r * inverse
        size, old = dot(r, q), size
        p = q + size / old.clamp_min(least) * p
    return x


def cheap_data_term(op: Any, y: Tensor, *, rounds: int) -> LeastSquares | Filled:
    """Least squares where its prox is exact in closed form, Filled where the operator has the structure, and
    least squares by an inner solver elsewhere.
    """
    if getattr(op, "exact_prox", False) or factored(op) is None:
        return LeastSquares(op, y)
    return Filled(op, y, rounds)
