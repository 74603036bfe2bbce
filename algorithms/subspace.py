"""The best point in the span of earlier steps: what makes a power iteration as fast as Lanczos."""

from __future__ import annotations

import torch
from torch import Tensor

KEPT = 8  # earlier steps; more made no difference to the worst case of linear filters


class Subspace:
    """Second-order model of F(e) on the span of visited points, from their gradients alone.

    F is half the squared error. For a linear reconstructor its gradient is g0 + H e, so that each visited
    pair (e_i, g_i) tells H e_i = g_i - g0, and the maximiser of <g0, e> + <e, H e> / 2 on the sphere of the
    budget inside the span is a small eigenvalue problem (Rayleigh and Ritz; locally optimal methods, Knyazev
    2001). One model a sample; g0 (B, ...), budget (B,).
    """

    def __init__(self, g0: Tensor, budget: Tensor) -> None:
        self.g0 = g0.flatten(1).double()
        self.budget = budget.double()
        self.shape, self.dtype = g0.shape, g0.dtype
        self.points: list[Tensor] = []
        self.images: list[Tensor] = []

    def forget(self, lost: Tensor) -> None:
        """Empty the model of the samples where it (lost, boolean (B,)) led to a smaller error."""
        keep = (~lost).double()[:, None]
        self.points = [p * keep for p in self.points]
        self.images = [i * keep for i in self.images]

    def add(self, e: Tensor, g: Tensor) -> None:
        """A visited point and its gradient."""
        self.points = [*self.points, e.flatten(1).double()][-KEPT:]
        self.images = [*self.images, g.flatten(1).double() - self.g0][-KEPT:]

    def gradient(self, slope: Tensor, trusted: Tensor) -> Tensor:
        """The model's gradient at its maximiser; where it is not trusted (boolean (B,)), slope instead."""
        points, images = torch.stack(self.points, 1), torch.stack(self.images, 1)
        gram = points @ points.mT
        values, vectors = torch.linalg.eigh(gram)
        floor = 1e-10 if self.dtype == torch.float64 else 1e-6
        usable = values > floor * values[:, -1:].clamp_min(1e-300)
        whiten = vectors * torch.where(usable, values.clamp_min(1e-300).rsqrt(), 0)[:, None, :]
        curvature = points @ images.mT
        inside = whiten.mT @ ((curvature + curvature.mT) / 2) @ whiten
        linear = (whiten.mT @ (points @ self.g0[:, :, None]))[..., 0]
        c = whiten @ on_sphere(inside, linear, self.budget)[:, :, None]
        g = self.g0 + (images.mT @ c)[..., 0]
        found = g.view(self.shape).to(self.dtype)
        keep = trusted & (g.norm(dim=1) > 0) & torch.isfinite(g).all(1)
        return torch.where(keep.view(-1, *[1] * (slope.ndim - 1)), found, slope)


def on_sphere(matrix: Tensor, linear: Tensor, radius: Tensor) -> Tensor:
    """argmax of <linear, z> + <z, matrix z> / 2 over |z| = radius, for symmetric matrices (B, m, m).

    z = (mu - matrix)^-1 linear with mu above the largest eigenvalue (More and Sorensen 1983), mu by
    bisection; where linear has nothing along the top eigenvector, what is missing is added along it.

    >>> on_sphere(torch.diag(torch.tensor([1.0, 2.0]))[None], torch.zeros(1, 2), torch.ones(1)).abs()
    tensor([[0., 1.]])
    """
    values, vectors = torch.linalg.eigh(matrix)
    beta = (vectors.mT @ linear[:, :, None])[..., 0]
    top, r = values[:, -1], radius.clamp_min(1e-300)
    low, high = top + beta[:, -1].abs() / r, top + beta.norm(dim=1) / r
    tiny = 1e-14 * (values.abs().amax(1) + beta.norm(dim=1) / r).clamp_min(1e-300)
    for _ in range(60):
        mu = (low + high) / 2
        long = (beta / (mu[:, None] - values).clamp_min(tiny[:, None])).norm(dim=1) > radius
        low, high = torch.where(long, mu, low), torch.where(long, high, mu)
    z = beta / (high[:, None] - values).clamp_min(tiny[:, None])
    missing = (radius.square() - z.square().sum(1)).clamp_min(0).sqrt()
    sign = torch.where(z[:, -1] < 0, -1.0, 1.0)
    z = torch.cat([z[:, :-1], (z[:, -1] + sign * missing)[:, None]], 1)
    z = z * (radius / z.norm(dim=1).clamp_min(1e-300))[:, None]
    return (vectors @ z[:, :, None])[..., 0]
