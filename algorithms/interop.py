"""deepinv at the door: what of ours it needs a class for, and what of its own needs its level bound in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import deepinv
from torch import Tensor, nn


class AsReconstructor(deepinv.models.Reconstructor):
    """A reconstruction (op, y) -> x as deepinv's Reconstructor, which is called as (y, physics).

    learned are the modules that the reconstruction uses, so that deepinv's Trainer finds their parameters. If
    reconstruct is a module itself, it need not be named.

    >>> import torch
    >>> model = AsReconstructor(lambda op, y: op.A_adjoint(y))
    >>> model(torch.ones(1, 1, 2, 2), deepinv.physics.Denoising()).sum()
    tensor(4.)
    """

    def __init__(self, reconstruct: Callable[[Any, Tensor], Tensor], *learned: nn.Module):
        super().__init__()
        self.reconstruct, self.learned = reconstruct, nn.ModuleList(learned)

    def forward(self, y: Tensor, physics: Any, **_: object) -> Tensor:
        """reconstruct(physics, y)."""
        return self.reconstruct(physics, y)


class AsPrior(nn.Module):
    """A function g of ours, value and prox with its weight bound in, as a prior for deepinv's algorithms.

    They call prox(x, sigma, gamma=), grad(x, sigma) and the prior itself; sigma is not looked at. A g without
    value says explicit_prior = False, and deepinv then keeps no objective. Priors of ours that are modules
    (DenoiserPrior, Fixed) need no such dress.

    >>> from priors import L1
    >>> import torch
    >>> AsPrior(L1(0.5)).prox(torch.ones(1, 1, 1, 1), None, gamma=1.0).item()
    0.5
    """

    def __init__(self, g: Any):
        super().__init__()
        self.g = g
        self.explicit_prior = hasattr(g, "value")

    def prox(self, x: Tensor, sigma: float | Tensor | None = None, *, gamma: float | Tensor) -> Tensor:
        """g.prox(x, gamma=gamma)."""
        return self.g.prox(x, gamma=gamma)

    def grad(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """g.grad(x)."""
        return self.g.grad(x)

    def forward(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """g.value(x), (B,)."""
        return self.g.value(x)


class AtLevel:
    """A prior that takes its level as an argument, such as deepinv's PnP and RED, as one bound to a level.

    prox(x, gamma=) is prior.prox(x, sigma, gamma=gamma), grad(x) is prior.grad(x, sigma), value(x) is
    prior(x, sigma), each where the prior has it.

    >>> import torch
    >>> halve = deepinv.optim.PnP(lambda x, sigma: x / (1 + sigma))
    >>> AtLevel(halve, 1.0).prox(torch.ones(1), gamma=3.0)
    tensor([0.5000])
    """

    def __init__(self, prior: Any, sigma: float | Tensor):
        self.prior, self.sigma = prior, sigma

    def prox(self, x: Tensor, *, gamma: float | Tensor) -> Tensor:
        """prior.prox at the level."""
        return self.prior.prox(x, self.sigma, gamma=gamma)

    def grad(self, x: Tensor) -> Tensor:
        """prior.grad at the level."""
        return self.prior.grad(x, self.sigma)

    def value(self, x: Tensor) -> Tensor:
        """prior(x, sigma), (B,)."""
        return self.prior(x, self.sigma)
