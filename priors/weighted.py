"""An explicit prior bound to its level and weight: the smooth function a descent method takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Weighted:
    """g(x) = weight R(x, sigma), with its gradient, R the `value` of a prior that has one and a `grad`.

    prior is a `GradientStep` or a `Ridge` (whose proven `curvature` gives `lipschitz`), or anything with
    value(x, sigma), (B,), and grad(x, sigma). weight is in units of the data term |Ax - y|^2 / 2. Raises
    TypeError for a prior without the two.

    >>> import torch
    >>> from priors.ridge import Ridge, RidgeConfig
    >>> net = Ridge(RidgeConfig(filters=2, widths=(), kernels=(3,))).requires_grad_(False)
    >>> g = Weighted(net, 0.1, weight=0.5)
    >>> x = torch.rand(1, 1, 9, 7)
    >>> bool(g.value(x) == 0.5 * net.value(x, 0.1)), g.lipschitz() > 0
    (True, True)
    """

    def __init__(self, prior: Any, sigma: float, *, weight: float):
        if not (hasattr(prior, "value") and hasattr(prior, "grad")):
            message = (
                f"{type(prior).__name__} has no value and grad: a gradient-step or a ridge prior has, "
                "a learned proximal network is bound with Fixed instead."
            )
            raise TypeError(message)
        if not weight > 0:
            message = f"weight is {weight}: give a positive number, larger is smoother."
            raise ValueError(message)
        self.prior, self.sigma, self.weight = prior, sigma, weight

    def value(self, x: Tensor) -> Tensor:
        """g(x), (B,)."""
        value: Tensor = self.prior.value(x, self.sigma)
        return self.weight * value

    def grad(self, x: Tensor) -> Tensor:
        """The gradient at x."""
        slope: Tensor = self.prior.grad(x, self.sigma)
        return self.weight * slope

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both, in one evaluation where the prior can share it."""
        if not hasattr(self.prior, "value_and_grad"):
            return self.value(x), self.grad(x)
        value, slope = self.prior.value_and_grad(x, self.sigma)
        return self.weight * value, self.weight * slope

    def lipschitz(self) -> float:
        """A proven Lipschitz constant of the gradient; NotImplementedError where none is known."""
        if not hasattr(self.prior, "curvature"):
            message = f"no bound is known for the gradient of {type(self.prior).__name__}: use backtracking."
            raise NotImplementedError(message)
        low, high = self.prior.curvature(self.sigma)
        return self.weight * float(max(low, high))

    @property
    def is_convex(self) -> bool:
        """Whether g is proven to be convex."""
        return hasattr(self.prior, "curvature") and self.prior.curvature(self.sigma)[0] <= 0


class PerChannel:
    """A prior for grey pictures on pictures of any number of channels: R(x) = sum over channels of R(x_c).

    Values and gradients are those of the channels as a batch, calls are made one by one; whatever the prior
    proves of itself (its claims and curvature) holds for the sum too, the channels being independent.
    """

    def __init__(self, prior: Any):
        self.prior = prior
        for name in ("value", "grad", "potential", "value_and_grad"):
            if hasattr(prior, name):
                setattr(self, name, getattr(self, f"_{name}"))
        for name in ("claims", "curvature", "config"):
            if hasattr(prior, name):
                setattr(self, name, getattr(prior, name))

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """The denoised channels."""
        return each_channel(self.prior, x, sigma)

    def double(self) -> PerChannel:
        """Itself with the prior turned to float64, as modules have it."""
        self.prior.double()
        return self

    def _value(self, x: Tensor, sigma: float) -> Tensor:
        return _summed(self.prior.value(_apart(x), sigma), x)

    def _potential(self, x: Tensor, sigma: float) -> Tensor:
        return _summed(self.prior.potential(_apart(x), sigma), x)

    def _grad(self, x: Tensor, sigma: float) -> Tensor:
        slope: Tensor = self.prior.grad(_apart(x), sigma)
        return slope.view_as(x)

    def _value_and_grad(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        value, slope = self.prior.value_and_grad(_apart(x), sigma)
        return _summed(value, x), slope.view_as(x)


def each_channel(network: Callable[..., Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
    """A network for grey pictures on each channel of x (B, C, H, W) alone: the memory of one, at any level.

    >>> each_channel(lambda x, sigma: sigma * x, torch.ones(2, 3, 1, 1), 0.5).sum()
    tensor(3.)
    """
    return torch.cat([network(channel, sigma) for channel in x.split(1, 1)], 1)


def _apart(x: Tensor) -> Tensor:
    return x.reshape(-1, 1, *x.shape[2:])


def _summed(values: Tensor, x: Tensor) -> Tensor:
    return values.view(x.shape[0], x.shape[1]).sum(1)
