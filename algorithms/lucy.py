"""Richardson-Lucy: expectation maximisation for counted light, with unseen borders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algorithms.state import State, relative_change
from algorithms.variation import TotalVariation, differences, differences_adjoint

SEEN = 1e-2  # a field pixel that sends less than this share of its light to the sensor keeps its start value


def richardson_lucy(op: Any, y: Tensor, *, tv: TotalVariation | None, x0: Tensor | State) -> Iterator[State]:
    """x <- x / (A^T 1) A^T(y / A x): maximum likelihood of Poisson data (Richardson 1972, Lucy 1974).

    A^T 1, the share of each pixel's light that the sensor sees, is what keeps unknown borders right (Bertero
    and Boccacci 2005). With tv the denominator gains -div(D x / |D x|) lam (Dey et al. 2006), lam in units of
    the log-likelihood at peak 1. Negative data count as 0, divisions are guarded, x stays non-negative. The
    memory of a State is A x, which a stopping rule can read for free.

    Args:
        op: operator with non-negative entries. y: (B, C, h, w) on [0, 1].
        tv: total variation, or None. x0: start (B, C, H, W), raised to be positive, or a State.
    """
    y = y.clamp_min(0)
    if op.valid is not None:
        y = y.masked_fill(~op.valid, 0)  # a product would keep NaN
    return _iterate(op, y, tv, x0)


def _iterate(op: Any, y: Tensor, tv: TotalVariation | None, x0: Tensor | State) -> Iterator[State]:
    tiny = 1e-6 if y.dtype == torch.float32 else 1e-12
    share = op.A_adjoint(_ones(op, y))
    dark = share < SEEN
    unseen = bool(dark.any())  # without any, a pass over the picture is saved in each iteration
    inverse = torch.where(dark, 0, 1 / share.clamp_min(SEEN))
    if isinstance(x0, State):
        x, blurred = x0.x, x0.memory[0]
    else:
        x = x0.clamp_min(1e-3)
        blurred = op.A(x)
    while True:
        fresh = not torch.is_grad_enabled()  # what is computed here is then written over
        ratio = blurred.clamp_min(tiny)
        ratio = torch.div(y, ratio, out=ratio) if fresh else y / ratio
        update = op.A_adjoint(ratio).mul_(inverse)
        del ratio
        if tv is not None:
            update /= (1 + inverse * _curvature(x, tv)).clamp_min(0.1)
        if unseen:
            update.masked_fill_(dark, 1)
        update.clamp_min_(0)
        x, old = update.mul_(x) if fresh else x * update, x
        blurred = op.A(x)
        yield State(x, relative_change(x, old), (blurred,))


def _ones(op: Any, y: Tensor) -> Tensor:
    ones = torch.ones_like(y)
    return ones if op.valid is None else ones * op.valid


def _curvature(x: Tensor, tv: TotalVariation) -> Tensor:
    """lam D^T(D x / |D x|), with the root rounded at 1e-3 so that flat places have a gradient."""
    d = differences(x)
    return tv.lam * differences_adjoint(d / (tv.magnitude(d) ** 2 + 1e-6).sqrt())
