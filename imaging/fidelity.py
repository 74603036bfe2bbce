"""Data terms: frozen functions of x with operator and data bound in.

Each is the sum over the data of a scalar loss l(u; y) at u = A x. So each offers two views: value, grad and
prox in x, and value_at, grad_at and prox_at in u, which is what splitting solvers need that give A x a
variable of its own. Pixels that the operator masks do not count, whatever the data hold there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from imaging.masks import Identity, Inpainting
from imaging.operator import LinearOperator, column, norm_bound

POINTWISE = (Identity, Inpainting)  # pixel by pixel: prox_at, which leaves masked pixels alone, is the prox


def _bind(term: Any) -> None:
    """Check the data against the operator, and blank masked data so that NaN in them cannot spread."""
    op, y = term.op, term.y
    if not isinstance(op, LinearOperator):
        return  # an operator of deepinv's own does not say what its data look like
    op._expect(y, op.data_size, "y")
    if op.valid is not None:
        object.__setattr__(term, "y", y.masked_fill(~op.valid, 0))


def _sum(loss: Tensor, op: Any) -> Tensor:
    """Sum of the observed samples, one number a sample of the batch: (B,)."""
    valid = op.valid if isinstance(op, LinearOperator) else None
    return (loss if valid is None else loss.masked_fill(~valid, 0)).flatten(1).sum(1)


def _keep(new: Tensor, otherwise: Tensor | float, op: Any) -> Tensor:
    """new where data were observed, otherwise where not."""
    valid = op.valid if isinstance(op, LinearOperator) else None
    return new if valid is None else torch.where(valid, new, otherwise)


def _no_prox(term: Any) -> NoReturn:
    name = type(term).__name__
    message = (
        f"{name} has no closed-form prox through {type(term.op).__name__}: use a solver that splits A x off "
        f"({name}.prox_at), or wrap it in algorithms.CheckedProx, which solves for it to a tolerance."
    )
    raise NotImplementedError(message)


def _positive(name: str, number: float) -> None:
    if not (number > 0 and math.isfinite(number)):
        message = f"{name} is {number}, wanted a positive finite number."
        raise ValueError(message)


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """f(x) = |A x - y|^2 / 2, the negative log-likelihood of Gaussian noise times its variance.

    >>> f = LeastSquares(Identity((1, 1, 2)), torch.tensor([[[[1.0, 2.0]]]]))
    >>> f.value(torch.zeros(1, 1, 1, 2)), f.prox(torch.zeros(1, 1, 1, 2), gamma=1.0)
    (tensor([2.5000]), tensor([[[[0.5000, 1.0000]]]]))
    """

    op: Any  # ours or deepinv's
    y: Tensor
    is_convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _bind(self)

    def value(self, x: Tensor) -> Tensor:
        """f(x) of each sample, (B,)."""
        return self.value_at(self.op.A(x))

    def grad(self, x: Tensor) -> Tensor:
        """A^T (A x - y)."""
        return self.op.A_adjoint(self.op.A(x) - self.y)

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """argmin of gamma f(x) + |x - z|^2 / 2: the operator's prox_l2."""
        return self.op.prox_l2(z, self.y, gamma)

    def value_at(self, u: Tensor) -> Tensor:
        """|u - y|^2 / 2 of each sample, (B,)."""
        return _sum((u - self.y).square(), self.op) / 2

    def grad_at(self, u: Tensor) -> Tensor:
        """u - y."""
        return _keep(u - self.y, 0.0, self.op)

    def prox_at(self, z: Tensor, gamma: Tensor | float) -> Tensor:
        """(z + gamma y) / (1 + gamma)."""
        gamma = column(gamma, z)
        return _keep((z + gamma * self.y) / (1 + gamma), z, self.op)

    def lipschitz(self) -> float:
        """A proven Lipschitz constant of grad: the squared norm bound of the operator."""
        return norm_bound(self.op) ** 2


@dataclass(frozen=True, eq=False)
class PoissonKL:
    """f(x) = peak sum(u - y + y log(y / u)) at u = A x: Poisson counts peak y with mean peak u.

    The negative log-likelihood up to a constant, so 0 at u = y. peak > 0 is the count at value 1, y >= 0
    (raise negative data to 0 first, or use LeastSquares). Outside u >= 0 the value is inf and the gradient
    NaN.

    >>> f = PoissonKL(Identity((1, 1, 2)), torch.tensor([[[[1.0, 0.0]]]]), peak=2.0)
    >>> f.value(torch.ones(1, 1, 1, 2)), f.grad(torch.ones(1, 1, 1, 2))
    (tensor([2.]), tensor([[[[0., 2.]]]]))
    """

    op: Any
    y: Tensor
    peak: float
    is_convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _bind(self)
        _positive("peak", self.peak)
        if bool((self.y < 0).any()):
            lowest = float(self.y.min())
            message = f"PoissonKL got data down to {lowest:.3g}: counts are not negative, clip them at 0."
            raise ValueError(message)

    def value(self, x: Tensor) -> Tensor:
        """f(x) of each sample, (B,)."""
        return self.value_at(self.op.A(x))

    def grad(self, x: Tensor) -> Tensor:
        """A^T peak (1 - y / A x)."""
        return self.op.A_adjoint(self.grad_at(self.op.A(x)))

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """prox_at without a blur; NotImplementedError through one, where no closed form exists."""
        return self.prox_at(z, gamma) if isinstance(self.op, POINTWISE) else _no_prox(self)

    def value_at(self, u: Tensor) -> Tensor:
        """peak sum(u - y + y log(y / u)), inf where u < 0, or u = 0 < y."""
        loss = u - self.y + torch.xlogy(self.y, self.y / u)
        loss = torch.where(self.y == 0, u, loss)
        return self.peak * _sum(torch.where(u < 0, torch.inf, loss), self.op)

    def grad_at(self, u: Tensor) -> Tensor:
        """peak (1 - y / u), NaN where u < 0."""
        slope = self.peak * (1 - torch.where(self.y == 0, 0, self.y / u))
        return _keep(torch.where(u < 0, torch.nan, slope), 0.0, self.op)

    def prox_at(self, z: Tensor, gamma: Tensor | float) -> Tensor:
        """The positive root of u^2 - (z - g) u - g y with g = gamma peak, without cancellation."""
        g = column(gamma, z) * self.peak
        half = (z - g) / 2
        root = (half.square() + g * self.y).sqrt()
        small = g * self.y / (root - half).clamp_min(torch.finfo(z.dtype).tiny)
        return _keep(torch.where(half > 0, half + root, small), z, self.op)


@dataclass(frozen=True, eq=False)
class LeastAbsolute:
    """f(x) = |A x - y|_1, the negative log-likelihood of Laplacian noise times its scale.

    It ignores impulses. No gradient: it has a kink wherever a pixel is fitted, and there are many of those.

    >>> f = LeastAbsolute(Identity((1, 1, 2)), torch.tensor([[[[1.0, 0.2]]]]))
    >>> f.value(torch.zeros(1, 1, 1, 2)), f.prox(torch.zeros(1, 1, 1, 2), gamma=0.5)
    (tensor([1.2000]), tensor([[[[0.5000, 0.2000]]]]))
    """

    op: Any
    y: Tensor
    is_convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _bind(self)

    def value(self, x: Tensor) -> Tensor:
        """f(x) of each sample, (B,)."""
        return self.value_at(self.op.A(x))

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """prox_at without a blur; NotImplementedError through one, where no closed form exists."""
        return self.prox_at(z, gamma) if isinstance(self.op, POINTWISE) else _no_prox(self)

    def value_at(self, u: Tensor) -> Tensor:
        """|u - y|_1 of each sample, (B,)."""
        return _sum((u - self.y).abs(), self.op)

    def prox_at(self, z: Tensor, gamma: Tensor | float) -> Tensor:
        """z moved towards y by gamma, and not beyond it."""
        gamma = column(gamma, z)
        far = z - self.y
        return _keep(self.y + far.sign() * (far.abs() - gamma).clamp_min(0), z, self.op)


@dataclass(frozen=True, eq=False)
class Huber:
    """f(x) = sum h(A x - y), h(r) = r^2 / 2 for |r| <= delta, else delta |r| - delta^2 / 2.

    Least squares that forgives: delta > 0 is the residual, on the data's scale, from which a pixel pulls no
    harder (impulses, clipped pixels).

    >>> f = Huber(Identity((1, 1, 2)), torch.zeros(1, 1, 1, 2), delta=1.0)
    >>> f.grad(torch.tensor([[[[0.5, 3.0]]]])), f.value(torch.tensor([[[[0.5, 3.0]]]]))
    (tensor([[[[0.5000, 1.0000]]]]), tensor([2.6250]))
    """

    op: Any
    y: Tensor
    delta: float
    is_convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _bind(self)
        _positive("delta", self.delta)

    def value(self, x: Tensor) -> Tensor:
        """f(x) of each sample, (B,)."""
        return self.value_at(self.op.A(x))

    def grad(self, x: Tensor) -> Tensor:
        """A^T clip(A x - y, -delta, delta)."""
        return self.op.A_adjoint(self.grad_at(self.op.A(x)))

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """prox_at without a blur; NotImplementedError through one, where no closed form exists."""
        return self.prox_at(z, gamma) if isinstance(self.op, POINTWISE) else _no_prox(self)

    def value_at(self, u: Tensor) -> Tensor:
        """sum h(u - y) of each sample, (B,)."""
        size = (u - self.y).abs()
        core = size.clamp_max(self.delta)
        return _sum(core * (size - core / 2), self.op)

    def grad_at(self, u: Tensor) -> Tensor:
        """clip(u - y, -delta, delta)."""
        return _keep((u - self.y).clamp(-self.delta, self.delta), 0.0, self.op)

    def prox_at(self, z: Tensor, gamma: Tensor | float) -> Tensor:
        """z - gamma clip((z - y) / (1 + gamma), -delta, delta)."""
        gamma = column(gamma, z)
        return _keep(z - gamma * ((z - self.y) / (1 + gamma)).clamp(-self.delta, self.delta), z, self.op)

    def lipschitz(self) -> float:
        """A proven Lipschitz constant of grad: the squared norm bound of the operator."""
        return norm_bound(self.op) ** 2
