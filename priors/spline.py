"""Odd, non-decreasing, piecewise linear functions, one a channel, and their integrals."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Interpolate(torch.autograd.Function):
    """S(|t|) sign(t), S(0) = 0, slopes (B, C, K), knots at 0, step, 2 step, ...; the last slope goes on.

    Written out because the derivative by the slopes is then a sum in a fixed order, on every device, and
    because only t is kept for it.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, slopes: Tensor, step: float) -> Tensor:
        ctx.save_for_backward(t, slopes)
        ctx.step = step
        u, place = _place(t, slopes.shape[2], step)
        start = step * (slopes.cumsum(2) - slopes)
        size = _look_up(slopes, place).mul_(u.sub_(place, alpha=step)).add_(_look_up(start, place))
        return torch.copysign(size, t)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        t, slopes = ctx.saved_tensors
        (g,), step, count = grads, ctx.step, slopes.shape[2]
        u, place = _place(t, count, step)
        by_t = g * _look_up(slopes, place) if ctx.needs_input_grad[0] else None
        by_slopes = None
        if ctx.needs_input_grad[1]:
            signed = torch.where(t < 0, -g, g)
            total, inside = _by_interval(torch.stack([signed, signed * (u - step * place)]), place, count)
            above = total.flip(2).cumsum(2).flip(2) - total  # an interval fully passed has added its width
            by_slopes = (inside + step * above).sum_to_size(slopes.shape)
        return by_t, by_slopes, None


def _by_interval(values: Tensor, place: Tensor, count: int) -> Tensor:
    """Sums (2, B, C, count) of values (2, B, C, H, W) over the pixels of each interval."""
    flat, where = values.flatten(3), place.flatten(2).long()
    if flat.device.type == "cpu":
        sums = flat.new_zeros(*flat.shape[:3], count)
        return sums.scatter_add_(3, where.expand(2, *where.shape), flat)
    return torch.stack([(flat * (where == k)).sum(3) for k in range(count)], 3)  # no race of atomic additions


def _place(t: Tensor, count: int, step: float) -> tuple[Tensor, Tensor]:
    """|t|, and the number of the interval it lies in."""
    size = t.abs()
    return size, (size / step).clamp_(max=count - 1).floor_()


def _look_up(table: Tensor, place: Tensor) -> Tensor:
    """table (B or 1, C, K) at the intervals (B, C, H, W)."""
    batch, channels, height, width = place.shape
    where = place.view(batch, channels, height * width).long()
    return table.expand(batch, -1, -1).gather(2, where).view(batch, channels, height, width)


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
    size, place = _place(t, slopes.shape[2], step)
    start = step * (slopes.cumsum(2) - slopes)
    area = step * (start + slopes * step / 2)
    before = area.cumsum(2) - area
    rest = size - step * place
    return _look_up(before, place) + rest * (_look_up(start, place) + rest / 2 * _look_up(slopes, place))


def inverse_softplus(x: Tensor) -> Tensor:
    """The number whose softplus is x > 0.

    >>> torch.nn.functional.softplus(inverse_softplus(torch.tensor([0.1, 2.0])))
    tensor([0.1000, 2.0000])
    """
    return x + torch.log(-torch.expm1(-x))
