"""Continuation of a picture by mirroring, its exact transpose, and the weights that count nothing twice."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Margin(NamedTuple):
    """How one axis is continued for windows of a given side: samples before and after, a weight a window."""

    before: int
    after: int
    weights: Tensor


def margin(size: int, side: int, like: Tensor) -> Margin:
    """Windows of `side` samples that touch an axis of `size` samples, continued by half-sample mirroring.

    In the mirrored, periodic continuation a window across the border is its own mirror image's twin; each of
    the two has weight 1/2, windows inside have 1. The weighted sum over the windows of any window function
    is then half its sum over one period (2 size windows), averaged over mirroring: no pixel counts more for
    lying at the border. An axis shorter than a window takes all windows of a period, with weight 1/2 each.

    >>> margin(4, 3, torch.zeros(1)).weights
    tensor([0.5000, 0.5000, 1.0000, 1.0000, 0.5000, 0.5000])
    """
    reach = side - 1
    if size < reach:
        return Margin(0, size + reach, like.new_full((2 * size,), 0.5))
    weights = like.new_ones(size + reach)
    weights[:reach] = 0.5
    weights[size:] = 0.5
    return Margin(reach, reach, weights)


def _blocks(size: int, before: int, after: int) -> list[tuple[bool, int, int]]:
    """(mirrored?, first, last) of the pieces of the axis that make up the continued axis, in order."""
    pieces = []
    start, last = -before, size + after
    while start < last:
        block = start // size
        end = min(last, (block + 1) * size)
        low, high = start - block * size, end - block * size
        pieces.append((True, size - high, size - low) if block % 2 else (False, low, high))
        start = end
    return pieces


def mirror(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """x continued along `dim` by half-sample mirroring, repeated as often as needed.

    >>> mirror(torch.tensor([1, 2, 3]), 0, 1, 4)
    tensor([1, 1, 2, 3, 3, 2, 1, 1])
    """
    parts = []
    for flipped, low, high in _blocks(x.shape[dim], before, after):
        part = x.narrow(dim, low, high - low)
        parts.append(part.flip(dim) if flipped else part)
    return torch.cat(parts, dim)


def fold(z: Tensor, dim: int, size: int, before: int) -> Tensor:
    """The transpose of `mirror`: adds every sample of z to the one of `size` samples that it is a copy of.

    >>> fold(torch.ones(8), 0, 3, 1)
    tensor([4., 2., 2.])
    """
    shape = list(z.shape)
    shape[dim] = size
    x, start = z.new_zeros(shape), 0
    for flipped, low, high in _blocks(size, before, z.shape[dim] - size - before):
        part = z.narrow(dim, start, high - low)
        x.narrow(dim, low, high - low).add_(part.flip(dim) if flipped else part)
        start += high - low
    return x
