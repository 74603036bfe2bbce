"""Muon: momentum made orthogonal for the weights of hidden convolutions, Adam for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor

RATIO = 10.0  # rate of the orthogonal steps over Adam's
DECAY = 0.1  # pull towards zero, in units of the rate: without it weights grew fivefold and PSNR fell again
MOMENTUM = 0.95
LEAST = 8  # channels on either side from which a convolution counts as a matrix


class Muon(torch.optim.Optimizer):
    """One optimizer for two kinds of weights.

    A convolution's weight (out, in, k, k) between at least 8 channels on both sides is read as the matrix
    (out, in k k), and steps by r (max(1, out / (in k k))^(1/2) U V^T + DECAY W), with r = RATIO * rate and
    U S V^T its Nesterov momentum, so that all directions of the matrix learn at one speed. First and last
    layers, biases and all others step by Adam.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). torch's own handles
    matrices only, not convolutions.

    >>> net = torch.nn.Conv2d(8, 8, 3)
    >>> optimizer = Muon(net.parameters(), lr=1e-3)
    >>> net(torch.ones(1, 8, 4, 4)).sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[net.weight]), sorted(optimizer.state[net.bias])
    (['exp_avg'], ['exp_avg', 'exp_avg_sq', 'step'])
    """

    def __init__(self, parameters: Any, lr: float):
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step from the gradients as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rule = self._orthogonal if is_matrix(parameter) else self._adam
                    rule(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def _orthogonal(self, weight: Tensor, grad: Tensor, state: dict[str, Tensor], group: Any) -> None:
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
        momentum = state["exp_avg"].mul_(MOMENTUM).add_(grad)
        matrix = (grad + MOMENTUM * momentum).flatten(1)
        scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        rate = group["lr"] * RATIO
        weight.mul_(1 - rate * DECAY).add_(orthogonalised(matrix).view_as(weight), alpha=-rate * scale)

    def _adam(self, weight: Tensor, grad: Tensor, state: dict[str, Tensor], group: Any) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        a, b = group["betas"]
        state["step"] += 1
        count = float(state["step"])
        first = state["exp_avg"].lerp_(grad, 1 - a)
        second = state["exp_avg_sq"].mul_(b).addcmul_(grad, grad, value=1 - b)
        spread = (second / (1 - b**count)).sqrt_().add_(group["eps"])
        weight.addcdiv_(first, spread, value=-group["lr"] / (1 - a**count))


def is_matrix(weight: Tensor) -> bool:
    """Is this the weight of a convolution between hidden layers?

    >>> is_matrix(torch.zeros(32, 16, 3, 3)), is_matrix(torch.zeros(32, 1, 3, 3)), is_matrix(torch.zeros(32))
    (True, False, False)
    """
    return weight.ndim == 4 and min(weight.shape[:2]) >= LEAST


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U V^T for the matrix U S V^T: singular values between 0.7 and 1.2, by five Newton-Schulz steps.

    >>> torch.manual_seed(0) and None
    >>> values = torch.linalg.svdvals(orthogonalised(torch.randn(8, 20)))
    >>> bool(values.min() > 0.6), bool(values.max() < 1.25)
    (True, True)
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-30)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
