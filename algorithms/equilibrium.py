"""Equilibrium: the fixed point of a step, differentiated without unrolling the iterations that found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.driver import Until, solve
from algorithms.state import State, largest_change
from algorithms.unrolled import Denoise, StepRule, hqs_step

Map = Callable[[Tensor], Tensor]


def fixed_point(step: Map, x0: Tensor, *, tol: float, max_iter: int) -> Tensor:
    """x* = step(x*), found by iterating; its gradient by the implicit function theorem.

    With J the Jacobian of step at x* and v the gradient that arrives, u = v + J^T u is iterated too and
    handed to one application of step: dL/dtheta = u^T dstep/dtheta. The memory is that of two steps, however
    many iterations there were. Both iterations converge where J has a spectral radius below 1 and end when
    every sample changes by at most `tol` of itself; NotConvergedError if `max_iter` of them do not reach it.
    Once differentiable.
    Bai, Kolter and Koltun, "Deep Equilibrium Models" (2019); for imaging Gilton, Ongie and Willett (2021).

    >>> slope = torch.tensor([0.5], requires_grad=True)
    >>> fixed_point(lambda x: slope * x + 1, torch.zeros(1), tol=1e-6, max_iter=99).backward()
    >>> slope.grad  # of 1 / (1 - slope)
    tensor([4.0000])
    """
    with torch.no_grad():
        fixed = _iterate(step, x0, tol=tol, max_iter=max_iter)
    reached = step(fixed)
    if not reached.requires_grad:
        return reached
    point = fixed.detach().requires_grad_()
    with torch.enable_grad():
        image = step(point)

    def implicit(v: Tensor) -> Tensor:
        """u = v + J^T u."""

        def pull(u: Tensor) -> Tensor:
            return v + torch.autograd.grad(image, point, u, retain_graph=True)[0]

        with torch.enable_grad():
            return _iterate(pull, v, tol=tol, max_iter=max_iter).detach()

    reached.register_hook(implicit)
    return reached


def _iterate(step: Map, x0: Tensor, *, tol: float, max_iter: int) -> Tensor:
    def states() -> Iterator[State]:
        """The iterates, each cut off from its graph."""
        x = x0.detach()
        while True:
            x, old = step(x).detach(), x
            yield State(x, largest_change(x, old))

    return solve(states(), Until(tol=tol, max_iter=max_iter)).require().x


class Equilibrium(nn.Module):
    """A solver's step around a denoiser, repeated to its fixed point, one learned pair for all repetitions.

    `schedule(noise)` gives one pair (sigma, gamma); the fixed point exists and is unique where the step is a
    contraction: a denoiser that is one, or a data term that curves enough. See `fixed_point` for the
    exceptions.
    """

    def __init__(
        self,
        denoise: Denoise,
        schedule: nn.Module,
        *,
        step: StepRule = hqs_step,
        tol: float,
        max_iter: int,
    ):
        super().__init__()
        self.denoise, self.schedule, self.step = denoise, schedule, step
        self.tol, self.max_iter = tol, max_iter

    def forward(self, f: Any, noise: Tensor, x0: Tensor) -> Tensor:
        """The fixed point, reached from x0."""
        (pair,) = self.schedule(noise)
        return fixed_point(
            lambda x: self.step(f, self.denoise, pair, x).x, x0, tol=self.tol, max_iter=self.max_iter
        )
