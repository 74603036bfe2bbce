"""Spectral gradient descent for strongly convex functions, with a certificate at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.state import State

Map = Callable[[Tensor], Tensor]
# Steps are held short once the gradient has not shrunk by GAIN in PATIENCE of them.
GAIN, PATIENCE = 0.9, 10


class Curvature(NamedTuple):
    """Proven bounds lower <= eigenvalues of the Hessian <= upper, each (1 or B, 1, 1, 1), lower > 0."""

    lower: Tensor
    upper: Tensor


def spectral(grad: Map, curvature: Curvature, *, x0: Tensor) -> Iterator[State]:
    """Minimise a smooth, strongly convex function of x (B, C, H, W) from its gradient alone.

    Barzilai and Borwein's two step lengths in turn ("Two-Point Step Size Gradient Methods", 1988), sample by
    sample: they follow the curvature that is met, where Nesterov's method pays for the proven bounds (half
    the iterations on learned regularisers). Away from quadratics they may go astray: whenever the gradient
    has not shrunk for a while, steps of 1 / upper, which converge from anywhere, are taken until it has.
    The residual of a State is a proven bound of its root mean square distance to the minimiser, in the worst
    sample: |x - x*| <= |grad(x)| / lower.

    >>> pull = lambda x: 4 * (x - 1)
    >>> four = torch.tensor(4.0)
    >>> states = spectral(pull, Curvature(four, four), x0=torch.zeros(1, 1, 1, 2))
    >>> next(states).residual, next(states).residual
    (1.0, 0.0)
    """
    short = 1 / curvature.upper
    x, slope, step = x0, grad(x0), short
    best, waited = _norm(slope), 0 * _norm(slope)
    n = 0
    while True:
        distance = _norm(slope) / curvature.lower / x0[0].numel() ** 0.5
        yield State(x, float(distance.max()), (slope, step, best, waited))
        old, before = x, slope
        x = x - torch.where(waited > PATIENCE, short, step) * slope
        slope, n = grad(x), n + 1
        step = _secant(x - old, slope - before, even=n % 2 == 0).clamp(short, 1 / curvature.lower)
        shrunk = _norm(slope) < GAIN * best
        best, waited = torch.where(shrunk, _norm(slope), best), torch.where(shrunk, 0, waited + 1)


def _secant(dx: Tensor, dg: Tensor, *, even: bool) -> Tensor:
    """<dx, dx> / <dx, dg> or <dx, dg> / <dg, dg>; 0 / 0, at the minimum, is 0."""
    product = (dx * dg).sum((1, 2, 3), keepdim=True)
    square = (dx if even else dg).square().sum((1, 2, 3), keepdim=True)
    return torch.nan_to_num(square / product if even else product / square)


def _norm(t: Tensor) -> Tensor:
    return t.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
