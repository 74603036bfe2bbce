"""Odd, non-decreasing, piecewise linear functions, one a channel, and their integrals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Interpolate(torch.autograd.Function):
    """S(|t|) sign(t), S(0) = 0, slopes (B, C, K), knots at 0, step, 2 step, ...; the last slope goes on.

    On each of 2 K intervals of t, K of them negative, it is offset + slope t. Written out because few passes
    over t then suffice, because the derivative by the slopes is a sum in a fixed order on every device, and
    because only t is kept for it.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, slopes: Tensor, step: float) -> Tensor:
        """S(t), offset + slope t on the interval of t."""
        ctx.save_for_backward(t, slopes)
        ctx.step = step
        place = _signed_place(t, slopes.shape[2], step)
        knots = step * torch.arange(slopes.shape[2], dtype=t.dtype, device=t.device)
        offsets = step * (slopes.cumsum(2) - slopes) - knots * slopes
        offset = _look_up(torch.cat([-offsets.flip(2), offsets], 2), place)
        slope = _look_up(torch.cat([slopes.flip(2), slopes], 2), place)
        return torch.addcmul(offset, slope, t.flatten(2), out=offset).view(t.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The slope at t, and the sums by the slopes."""
        t, slopes = ctx.saved_tensors
        (g,), step, count = grads, ctx.step, slopes.shape[2]
        place = _signed_place(t, count, step)
        by_t = by_slopes = None
        if ctx.needs_input_grad[0]:
            by_t = _look_up(torch.cat([slopes.flip(2), slopes], 2), place).view(t.shape).mul_(g)
        if ctx.needs_input_grad[1]:
            by_slopes = _by_slopes(g.flatten(2), t.flatten(2), place, count, step).sum_to_size(slopes.shape)
        return by_t, by_slopes, None


def _by_slopes(g: Tensor, t: Tensor, place: Tensor, count: int, step: float) -> Tensor:
    """The derivatives (B, C, count) of sum(g S(t)) by the slopes, sums over the pixels (B, C, N)."""
    if t.device.type != "cpu":  # no race of atomic additions: S = sum of slopes times differences of clamps
        inner = [(g * t.clamp(-step * k, step * k)).sum(2) for k in range(count)]
        return torch.stack([*inner, (g * t).sum(2)], 2).diff(dim=2)
    both = torch.complex(g, g * t)  # one walk for two sums
    sums = torch.view_as_real(both.new_zeros(*t.shape[:2], 2 * count).scatter_add_(2, place, both))
    plain, moment = sums.unbind(3)
    total = plain[..., count:] - plain[..., :count].flip(2)
    inside = moment[..., count:] + moment[..., :count].flip(2)
    above = total.flip(2).cumsum(2).flip(2) - total  # an interval fully passed has added its width
    return inside + step * (above - torch.arange(count, dtype=t.dtype) * total)


def _signed_place(t: Tensor, count: int, step: float) -> Tensor:
    """The number of the interval, 0 for the lowest, of each entry of t (B, C, H, W), shape (B, C, H W)."""
    shifted = torch.add(t.new_tensor(count), t, alpha=1 / step).clamp_(0, 2 * count - 1)
    return shifted.flatten(2).int().long()  # two conversions that have vector instructions


def _look_up(table: Tensor, place: Tensor) -> Tensor:
    """table (B or 1, C, K) at the intervals (B, C, N)."""
    return table.expand(len(place), -1, -1).gather(2, place)


def monotone(t: Tensor, slopes: Tensor, step: float) -> Tensor:
    """The odd function with slopes (B or 1, C, K) on intervals of length `step` of |t|; t (B, C, H, W).

    It is non-decreasing where the slopes are not negative; beyond the last knot the last slope goes on.

    >>> t = torch.tensor([-3.0, -0.5, 0.0, 1.5]).view(1, 1, 2, 2)
    >>> monotone(t, torch.tensor([[[0.0, 2.0]]]), 1.0).flatten()
    tensor([-4., -0.,  0.,  1.])
    """
    result: Tensor = _Interpolate.apply(t, slopes, step)
    return result


def monotone_integral(t: Tensor, slopes: Tensor, step: float) -> Tensor:
    """The integral of `monotone` from 0 to t, convex in t: its potential.

    >>> t = torch.tensor([-3.0, -0.5, 0.0, 1.5]).view(1, 1, 2, 2)
    >>> monotone_integral(t, torch.tensor([[[0.0, 2.0]]]), 1.0).flatten()
    tensor([4.0000, 0.0000, 0.0000, 0.2500])
    """
    size = t.abs()
    place = (size / step).clamp_(max=slopes.shape[2] - 1).floor_()
    start = step * (slopes.cumsum(2) - slopes)
    area = step * (start + slopes * step / 2)
    before = area.cumsum(2) - area
    rest, where = size - step * place, place.flatten(2).long()
    parts = (_look_up(table, where).view(t.shape) for table in (before, start, slopes))
    low, rise, slope = parts
    return low + rest * (rise + rest / 2 * slope)


def inverse_softplus(x: Tensor) -> Tensor:
    """The number whose softplus is x > 0.

    >>> torch.nn.functional.softplus(inverse_softplus(torch.tensor([0.1, 2.0])))
    tensor([0.1000, 2.0000])
    """
    return x + torch.log(-torch.expm1(-x))
