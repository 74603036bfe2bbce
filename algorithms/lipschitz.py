"""Local Lipschitz constants of reconstructors, always from below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.attack import Effort, Evaluate, Threat, search, worst_case
from algorithms.linearise import Linearised, Reconstructor, result

Push = Callable[[Tensor], Tensor]


class Lipschitz(NamedTuple):
    """The largest quotient found, (B,), the perturbation behind it, and its rise at the end."""

    value: Tensor
    direction: Tensor
    rise: Tensor


def local_lipschitz(at: Linearised, y: Tensor, *, radius: Tensor, effort: Effort) -> Lipschitz:
    """max |R(y + e) - R(y)| / |e| over |e| = radius (B,), climbed to by pullbacks of R itself.

    A true quotient of R, hence a lower bound of its Lipschitz constant on that ball, whatever pullback `at`
    offers.
    """
    with torch.no_grad():
        steady = at(y)[0]
    found = worst_case(at, y, steady, Threat("l2", radius), effort)
    return _lipschitz(found.error, found.trace, found.perturbation, radius)


def black_box_lipschitz(evaluate: Evaluate, y: Tensor, *, radius: Tensor, effort: Effort) -> Lipschitz:
    """The same without gradients: a random search, so a weaker lower bound."""
    found = search(evaluate, y, evaluate(y), Threat("l2", radius), effort)
    return _lipschitz(found.error, found.trace, found.perturbation, radius)


def _lipschitz(error: Tensor, trace: Tensor, e: Tensor, radius: Tensor) -> Lipschitz:
    late = trace[-max(2, len(trace) // 10)]
    return Lipschitz(error / radius.double(), e, (error - late) / error.clamp_min(1e-300))


def jacobian_norm(at: Linearised, push: Push, y: Tensor, *, iterations: int, seed: int) -> Tensor:
    """The largest singular value of J = dR/dy at y, (B,), by power iteration on J^T J: from below.

    push: v -> J v, pullback from `at`; each sample iterates on its own, from a random direction.

    >>> from imaging.masks import Identity
    >>> from algorithms.linearise import by_autograd
    >>> op, y = Identity((1, 1, 2)), torch.ones(1, 1, 1, 2)
    >>> square = lambda op, y: y**2 * torch.tensor([0.5, 2.0])
    >>> push = push_by_autograd(square, op, y)
    >>> jacobian_norm(by_autograd(square, op), push, y, iterations=20, seed=0)
    tensor([4.])
    """
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
    best = y.new_zeros(len(y))
    for _ in range(iterations):
        v = v / _column(v.flatten(1).norm(dim=1).clamp_min(torch.finfo(v.dtype).tiny), v)
        image = push(v)
        best = torch.maximum(best, image.flatten(1).norm(dim=1))
        v = at(y)[1](image)
    return best


def push_by_autograd(reconstruct: Reconstructor, op: Any, y: Tensor) -> Push:
    """v -> J v at y, exactly, by differentiating the pullback (two reverse passes)."""

    def push(v: Tensor) -> Tensor:
        """J v."""
        with torch.enable_grad():
            data = y.detach().clone().requires_grad_()
            x = result(reconstruct, op, data)
            u = torch.zeros_like(x, requires_grad=True)
            (back,) = torch.autograd.grad(x, data, u, create_graph=True)
            (image,) = torch.autograd.grad(back, u, v)
        return image

    return push


def push_by_difference(reconstruct: Reconstructor, op: Any, y: Tensor) -> Push:
    """v -> (R(y + h v) - R(y - h v)) / 2h, for any reconstructor.

    |h v| is 1e-3 of |y| in float32 and 1e-5 in float64, where rounding and curvature are about balanced.
    """
    share = 1e-3 if y.dtype == torch.float32 else 1e-5

    @torch.no_grad()
    def push(v: Tensor) -> Tensor:
        """J v, up to the curvature over 2 h."""
        size = v.flatten(1).norm(dim=1).clamp_min(torch.finfo(v.dtype).tiny)
        h = _column(share * y.flatten(1).norm(dim=1) / size, v)
        ahead, behind = result(reconstruct, op, y + h * v), result(reconstruct, op, y - h * v)
        return (ahead - behind) / (2 * h)

    return push


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
