"""One scale of a convex potential: splines over a frame's responses, gradient in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from priors.mirroring import fold, margin, mirror
from priors.spline import inverse_softplus, monotone, monotone_integral
from priors.windows import analysis, synthesis

if TYPE_CHECKING:
    from priors.lpn import LPNConfig

STRIP = 2**20  # entries of a field held at one time: several of them fit into a processor's cache


class Shape(NamedTuple):
    """The parameters of one term at the noise levels of a batch, non-negative where convexity needs it."""

    filters: Tensor  # (K, C, side, side)
    slopes: Tensor  # (B or 1, K, knots), >= 0

    def of(self, samples: slice) -> Shape:
        """The parameters of some samples of the batch."""
        return Shape(self.filters, self.slopes[samples] if len(self.slopes) > 1 else self.slopes)


class Shrinkage(nn.Module):
    """One scale of the potential, in units of the noise: a convex function of windows of a picture.

    t = W z (all windows of the mirrored picture, filters of norm 1 at first), m the weights of the windows
    over side^2: Phi(z) = sum m phi(t) is convex, for phi is the integral of a non-decreasing spline s. Its
    gradient, W^T [m s(t)], shrinks each response.
    """

    STEP: ClassVar[float] = 0.5

    def __init__(self, config: LPNConfig, share: float):
        super().__init__()
        self.unit = 2.0
        frame = cosine_frame(config.channels, config.side)
        self.raw_filters = nn.Parameter(self.unit * frame)
        flat = frame.flatten(1).sum(1).abs() > 0.5  # means pass
        middle = self.STEP * (torch.arange(config.knots) + 0.5)
        slopes = garrote_slope(middle).expand(len(frame), -1).where(~flat[:, None], torch.ones(()))
        self.raw_slopes = nn.Parameter(inverse_softplus(share * slopes).repeat(len(config.levels), 1, 1))

    def shape(self, parts: Tensor) -> Shape:
        """Parameters at the levels whose shares of the anchors are parts (B or 1, L)."""
        slopes = torch.einsum("bl,lck->bck", parts, functional.softplus(self.raw_slopes))
        return Shape(self.raw_filters / self.unit, slopes)

    def strips(self, z: Tensor, *, whole: bool) -> Iterator[tuple[int, int, Tensor]]:
        """(first row, last row, window weights) of pieces of the mirrored picture; the potential is the sum
        over them.
        """
        side = self.raw_filters.shape[2]
        rows, columns = (margin(n, side, z).weights for n in z.shape[2:])
        count = len(rows)
        height = count if whole else max(16, _room(z) // (len(self.raw_filters) * len(columns) * len(z)))
        for start in range(0, count, height):
            end = min(count, start + height)
            yield start, end + side - 1, rows[start:end, None] * columns / side**2

    def groups(self, z: Tensor) -> list[slice]:
        """Samples whose responses fit into the cache together."""
        side = self.raw_filters.shape[2]
        entries = len(self.raw_filters) * math.prod(n + side - 1 for n in z.shape[2:])
        size = max(1, _room(z) // entries)
        return [slice(start, start + size) for start in range(0, len(z), size)]

    def gradient(self, z: Tensor, shape: Shape) -> Tensor:
        """grad Phi at z (B, C, H, W)."""
        return torch.cat([self._gradient(z[samples], shape.of(samples)) for samples in self.groups(z)])

    def _gradient(self, z: Tensor, shape: Shape) -> Tensor:
        whole = torch.is_grad_enabled()
        extended, margins = _extend(z, self.raw_filters.shape[2])
        pieces = [
            (low, self._pull(extended[:, :, low:high], shape, weights))
            for low, high, weights in self.strips(z, whole=whole)
        ]
        total = pieces[0][1]
        if len(pieces) > 1:
            total = torch.zeros_like(extended)
            for low, piece in pieces:
                total[:, :, low : low + piece.shape[2]] += piece
        for dim in (3, 2):
            total = fold(total, dim, z.shape[dim], margins[dim - 2])
        return total

    def _pull(self, piece: Tensor, shape: Shape, weights: Tensor) -> Tensor:
        t = analysis(piece, shape.filters)
        shrunk = monotone(t, shape.slopes, self.STEP)
        shrunk = shrunk * weights if torch.is_grad_enabled() else shrunk.mul_(weights)
        return synthesis(shrunk, shape.filters)

    def potential(self, z: Tensor, shape: Shape) -> Tensor:
        """Phi at z, shape (B,), zero at z = 0; summed in float64."""
        return torch.cat([self._potential(z[samples], shape.of(samples)) for samples in self.groups(z)])

    def _potential(self, z: Tensor, shape: Shape) -> Tensor:
        extended, _ = _extend(z, self.raw_filters.shape[2])
        total = torch.zeros(len(z), dtype=torch.float64, device=z.device)
        for low, high, weights in self.strips(z, whole=torch.is_grad_enabled()):
            t = analysis(extended[:, :, low:high], shape.filters)
            total = total + (weights * monotone_integral(t, shape.slopes, self.STEP)).double().sum((1, 2, 3))
        return total


def _room(z: Tensor) -> int:
    return STRIP if z.device.type == "cpu" else 64 * STRIP  # no cache to respect, but memory


def _extend(z: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    vertical, horizontal = (margin(n, side, z) for n in z.shape[2:])
    tall = mirror(z, 2, vertical.before, vertical.after)
    return mirror(tall, 3, horizontal.before, horizontal.after), (vertical.before, horizontal.before)


def cosine_frame(channels: int, side: int) -> Tensor:
    """(K, C, side, side): the orthonormal cosine basis over colours and window.

    All windows of a picture together then form a tight frame: W^T W = side^2.

    >>> frame = cosine_frame(1, 3).flatten(1)
    >>> torch.allclose(frame @ frame.T, torch.eye(9), atol=1e-6)
    True
    """

    def basis(n: int) -> Tensor:
        """The orthonormal cosines of n samples, a row each."""
        k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
        rows = torch.cos(math.pi * k * (i + 0.5) / n) * math.sqrt(2 / n)
        rows[0] /= math.sqrt(2)
        return rows

    c, d = basis(channels), basis(side)
    frame = torch.einsum("ax,by,cz->abcxyz", c, d, d).reshape(-1, channels, side, side)
    return frame.float()


def garrote_slope(t: Tensor) -> Tensor:
    """Slope of t^3 / (t^2 + 2.5^2), a shrinkage that leaves large responses alone; at least 0.002."""
    square, scale = t.square(), 2.5**2
    return (square * (square + 3 * scale) / (square + scale) ** 2).clamp(min=0.002)
