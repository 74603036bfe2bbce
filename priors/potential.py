"""Reading the regulariser of a learned proximal network: closed form at f(y), inversion elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from algorithms.driver import Until, solve
from algorithms.state import State

Level = float | Tensor


class Potential(Protocol):
    """What is needed of a network: f(y, sigma), its potential psi, and the claims of psi's convexity."""

    def __call__(self, y: Tensor, sigma: Level) -> Tensor: ...

    def potential(self, y: Tensor, sigma: Level) -> Tensor: ...

    @property
    def claims(self) -> Any: ...


@dataclass(frozen=True)
class Reading:
    """R(x) with its certificate: value <= R(x) <= value + error, up to rounding.

    `y` (B, C, H, W) is the point found with f(y) near x, `residual` (B,) = |f(y) - x| / |x|, `n_iter` the
    number of steps.
    """

    value: Tensor
    error: Tensor
    residual: Tensor
    y: Tensor
    n_iter: int


@torch.no_grad()
def value_at_output(prior: Potential, y: Tensor, sigma: Level) -> Tensor:
    """R(f(y)) = <y, f(y)> - |f(y)|^2 / 2 - psi(y), shape (B,), for y (B, C, H, W): no inversion needed.

    Fang, Buchanan and Sulam (2024), section 3; from Fenchel's equality for psi = (R + |.|^2 / 2)*.

    >>> from priors.lpn import LPN, LPNConfig
    >>> value_at_output(LPN(LPNConfig(side=3)), torch.zeros(2, 1, 5, 5), 0.1)
    tensor([0., 0.], dtype=torch.float64)
    """
    x = prior(y, sigma)
    return _inner(y, x) - _inner(x, x) / 2 - prior.potential(y, sigma)


def read_value(prior: Potential, x: Tensor, sigma: Level, *, rtol: float, max_iter: int) -> Reading:
    """R(x) for x (B, C, H, W): the y with f(y) = x is sought until |f(y) - x| <= rtol |x|, in every sample.

    With psi* the conjugate of psi, R = psi* - |.|^2 / 2. psi is convex with constant a, hence psi* has a
    gradient with Lipschitz constant 1 / a, and it is y at f(y). With r = x - f(y), whatever its size,
    psi*(f(y)) + <y, r> <= psi*(x) <= psi*(f(y)) + <y, r> + |r|^2 / (2 a), and so
    R(x) = <x, y> - psi(y) - |x|^2 / 2 + error, 0 <= error <= |r|^2 / (2 a).
    Raises algorithms' NotConvergedError when max_iter steps do not suffice, TypeError for a network that has
    no convex potential. float64 makes the most of it.

    >>> from priors.lpn import LPN, LPNConfig
    >>> net, x = LPN(LPNConfig(side=3)).double(), torch.rand(1, 1, 6, 6, dtype=torch.float64)
    >>> reading = read_value(net, net(x, 0.1).detach(), 0.1, rtol=1e-8, max_iter=500)
    >>> bool((reading.value - value_at_output(net, x, 0.1)).abs() < 1e-9), bool(reading.error < 1e-9)
    (True, True)
    """
    convexity = getattr(getattr(prior, "claims", None), "convexity", None)
    if not convexity or not hasattr(prior, "potential"):
        message = f"{type(prior).__name__} has no convex potential to read: use a learned proximal network."
        raise TypeError(message)
    states = inversion(prior, x, sigma, convexity=convexity)
    run = solve(states, Until(tol=rtol, max_iter=max_iter)).require()
    y = run.x
    with torch.no_grad():
        r = x - prior(y, sigma)
        value = _inner(x, y) - prior.potential(y, sigma) - _inner(x, x) / 2
    error = _inner(r, r) / (2 * convexity)
    return Reading(value, error, _relative(r, x), y, run.n_iter)


@torch.no_grad()
def inversion(prior: Potential, x: Tensor, sigma: Level, *, convexity: float) -> Iterator[State]:
    """Points y with f(y) -> x: Nesterov's accelerated gradient method for psi(y) - <x, y>, sample by sample.

    The residual is the largest |f(y) - x| / |x| of the batch. The step 1 / L adapts: L is raised where two
    points show a larger one, and momentum is dropped where it points uphill. Nesterov (2004), scheme 2.2.11.
    """
    bound = x.new_full((len(x), 1, 1, 1), 1.0)
    y = last = x
    slope = prior(y, sigma) - x
    while True:
        yield State(y, float(_relative(slope, x).max()))
        trial, bound, slope_there = _descend(prior, (x, y, slope), sigma, bound)
        ratio = (convexity / bound).sqrt()
        momentum = torch.where(_uphill(slope_there, trial - last), 0.0, (1 - ratio) / (1 + ratio))
        y, last = trial + momentum * (trial - last), trial
        slope = prior(y, sigma) - x


def _descend(
    prior: Potential, at: tuple[Tensor, Tensor, Tensor], sigma: Level, bound: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A step of length 1 / L from y with an L that fits, the L, and the slope there."""
    x, y, slope = at
    while True:
        trial = y - slope / bound
        there = prior(trial, sigma) - x
        step = trial - y
        moved = (step.square().sum((1, 2, 3), keepdim=True)).sqrt()
        turned = ((there - slope).square().sum((1, 2, 3), keepdim=True)).sqrt()
        short = turned > bound * moved * (1 + 1e-3) + 1e3 * torch.finfo(x.dtype).eps * _norm(slope)
        if not bool(short.any()):
            return trial, bound, there
        bound = torch.where(short, 1.5 * bound, bound)


def _uphill(slope: Tensor, step: Tensor) -> Tensor:
    return (slope * step).sum((1, 2, 3), keepdim=True) > 0


def _norm(v: Tensor) -> Tensor:
    return v.square().sum((1, 2, 3), keepdim=True).sqrt()


def _inner(u: Tensor, v: Tensor) -> Tensor:
    return (u.double() * v.double()).sum((1, 2, 3))


def _relative(r: Tensor, x: Tensor) -> Tensor:
    size = _inner(x, x).sqrt()
    return _inner(r, r).sqrt() / torch.where(size > 0, size, torch.ones_like(size))
