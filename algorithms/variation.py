"""Total variation: forward differences, the norm, its dual ball, and the proof that a point is optimal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.certificate import precise


def differences(x: Tensor) -> Tensor:
    """Forward differences down and to the right, (B, C, H, W) -> (B, 2, C, H, W); none across the border.

    >>> differences(torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]])).flatten().tolist()
    [3.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """
    d = x.new_zeros(x.shape[0], 2, *x.shape[1:])
    d[:, 0, :, :-1] = x[..., 1:, :] - x[..., :-1, :]
    d[:, 1, ..., :-1] = x[..., 1:] - x[..., :-1]
    return d


def differences_adjoint(p: Tensor) -> Tensor:
    """The transpose of differences, minus the divergence: (B, 2, C, H, W) -> (B, C, H, W)."""
    x = torch.zeros_like(p[:, 0])
    x[..., 1:, :] += p[:, 0, :, :-1]
    x[..., :-1, :] -= p[:, 0, :, :-1]
    x[..., 1:] += p[:, 1, ..., :-1]
    x[..., :-1] -= p[:, 1, ..., :-1]
    return x


@dataclass(frozen=True)
class TotalVariation:
    """g(x) = lam sum over pixels |(D x)|, D the forward differences (Rudin, Osher, Fatemi 1992), lam >= 0.

    joint names the axes of (B, 2, C, H, W) that share one root: (1, 2) couples the channels, so that edges
    fall in the same place in all of them (Bresson and Chan 2008); (1,) treats each channel alone.

    >>> TotalVariation(0.5).value(torch.tensor([[[[0.0, 3.0], [4.0, 4.0]]]]))
    tensor([3.])
    """

    lam: float
    joint: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if not self.lam >= 0:
            message = f"lam is {self.lam}, wanted 0 or more: larger is smoother."
            raise ValueError(message)

    def value(self, x: Tensor) -> Tensor:
        """g(x) of each sample, (B,)."""
        return self.total(x).to(x.dtype)

    def total(self, x: Tensor) -> Tensor:
        """g(x) of each sample, (B,), summed and kept in float64."""
        return self.lam * self.magnitude(differences(x)).flatten(1).sum(1, dtype=torch.float64)

    def magnitude(self, d: Tensor) -> Tensor:
        """The norm of the difference at each pixel, axes of joint kept with length 1."""
        return d.square().sum(self.joint, keepdim=True).sqrt()

    def project(self, z: Tensor, radius: float) -> Tensor:
        """The nearest point whose norm is at most radius in each pixel, 0 on differences across the border.

        z - project(z, radius) is the prox of radius times the norm, differences across the border untouched.
        """
        inside = z.clone()
        inside[:, 0, :, -1] = 0
        inside[:, 1, ..., -1] = 0
        return inside.mul_(radius / self.magnitude(inside).clamp_min_(max(radius, 1e-30)))


class Optimality(NamedTuple):
    """How far x is from a minimiser of f + g, from a dual point p: |p| <= lam in each pixel; float64 sums.

    F(x) - min F <= gap + imbalance |x - minimiser| for convex f: gap = g(x) - <p, D x> is never negative, and
    imbalance = |grad f(x) + D^T p| is 0 at the minimiser.
    """

    objective: Tensor
    gap: Tensor
    imbalance: Tensor

    def relative(self, x: Tensor) -> float:
        """The largest (gap + imbalance |x| change) / objective, with 1 % of |x| as the distance left.

        Rounding does not count: 4 eps |x| of the imbalance and eps |x|^2 of the objective, without which a
        flat picture, fitted exactly, would never be good enough.
        """
        size, eps = x.flatten(1).norm(dim=1), torch.finfo(x.dtype).eps
        floor = (eps * size.square()).clamp_min(torch.finfo(x.dtype).tiny)
        imbalance = (self.imbalance - 4 * eps * size).clamp_min(0)
        return float(((self.gap + imbalance * 0.01 * size) / self.objective.maximum(floor)).max())


def tv_optimality(loss: Any, tv: TotalVariation, x: Tensor, p: Tensor) -> Optimality:
    """Objective, gap and imbalance of x with the dual point p (B, 2, C, H, W), one number a sample.

    For a loss with a gradient at A x; where A x may leave the loss's domain (counts of 0) there is none, and
    split_optimality is the one to ask.
    """
    height = tv.total(x)
    gap = height - (p * differences(x)).flatten(1).sum(1, dtype=torch.float64)
    force = loss.grad(x) + differences_adjoint(p)
    return Optimality(precise(loss, x) + height, gap.clamp_min(0), force.flatten(1).norm(dim=1))


def split_optimality(
    loss: Any, tv: TotalVariation, x: Tensor, duals: tuple[Tensor, Tensor], *, gamma: float
) -> Optimality:
    """tv_optimality of the pair (x, u), u near A x inside the loss's domain, from the dual points (p, w).

    u = prox of gamma loss at A x + gamma w, and w becomes the subgradient there, which exists where the
    gradient does not (a dark pixel without counts). Objective loss(u) + g(x); what A x lacks to u is paid for
    in the gap, |<w, u - A x>|. Any gamma > 0 proves, one near 1 / curvature of the loss proves most.
    """
    p, w = duals
    seen = loss.op.A(x)
    u = loss.prox_at(seen + gamma * w, gamma)
    w = w + (seen - u) / gamma
    height = tv.total(x)
    gap = height - (p * differences(x)).flatten(1).sum(1, dtype=torch.float64)
    lack = (w * (u - seen)).flatten(1).sum(1, dtype=torch.float64).abs()
    force = loss.op.A_adjoint(w) + differences_adjoint(p)
    return Optimality(
        loss.value_at(u.double()) + height, gap.clamp_min(0) + lack, force.flatten(1).norm(dim=1)
    )
