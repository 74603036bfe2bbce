"""A ridge regulariser at one noise level: filters of norm at most 1, profiles, their calculus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from priors.mirroring import fold, mirror

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def composed(stages: Sequence[Tensor]) -> Tensor:
    """The filters (n, C, k, k) of a chain of correlations (m, C, k1, k1), (n, m, k2, k2), ..., of mean zero.

    The first stage loses its mean, so every filter of the chain answers a constant picture with zero.

    >>> composed([torch.rand(2, 1, 3, 3), torch.rand(5, 2, 3, 3)]).shape
    torch.Size([5, 1, 5, 5])
    """
    bank = stages[0] - stages[0].mean(dim=(-2, -1), keepdim=True)
    for stage in stages[1:]:
        bank = conv2d(bank.transpose(0, 1), stage.flip(-2, -1), padding=stage.shape[-1] - 1).transpose(0, 1)
    return bank


def with_flips(bank: Tensor) -> Tensor:
    """The filters and their mirror images, (4 n, C, k, k), divided by a proven bound of their norm.

    >>> gain = norm_bound_squared(with_flips(torch.rand(3, 2, 3, 3)))
    >>> round(float(gain), 5)
    1.0
    """
    bank = torch.cat([bank.flip(axes) if axes else bank for axes in FLIPS])
    return bank / norm_bound_squared(bank).sqrt().clamp_min(torch.finfo(bank.dtype).tiny)


def norm_bound_squared(bank: Tensor) -> Tensor:
    """A bound of |W|^2, W x the answers of filters (F, C, k, k) to a picture of any size: proven.

    |W|^2 on pictures without end is the maximum over frequencies of the largest eigenvalue of
    G(w) = sum_f h_f(w)^* h_f(w), a C x C matrix, where u^* G u is a trigonometric polynomial of degree
    d = k - 1 in each of the two frequencies, for every u. Such a polynomial, of maximum M at w*, is at least
    M cos(d |w - w*|) for |w - w*| <= pi / d (M. Riesz, 1914); so its maximum on N > 2 d equispaced points,
    none farther than pi / N from w*, is at least M cos(pi d / N), and once more for the second frequency.
    """
    side = bank.shape[-1]
    points = 10 * side
    spectrum = torch.fft.rfft2(bank, s=(points, points))  # of real filters: the other half is its conjugate
    if bank.shape[1] == 1:
        gain = spectrum.abs().square().sum(0).max()
    else:
        gram = torch.einsum("fchw,fdhw->hwcd", spectrum.conj(), spectrum)
        gain = torch.linalg.eigvalsh(gram).max()
    return gain / math.cos(math.pi * (side - 1) / points) ** 2


@dataclass(frozen=True)
class Energy:
    """R(x) = sum over filters and pixels of psi_f((W x)_f), x (B, C, H, W) continued by its mirror image.

    bank (F, C, k, k); width and weight (1 or B, F, K) of the profiles
    psi_f(t) = sum_j weight_fj width_fj (sqrt(t^2 + width_fj^2) - width_fj).

    The mirror repeats the pixel at the border (half-sample symmetry). Continued like this to 2H x 2W, x has
    four times its energy, and so have the answers of a bank that is closed under flips, four times those
    inside the picture; hence |W| on pictures with borders is at most the bound for pictures without.
    """

    bank: Tensor
    width: Tensor
    weight: Tensor

    @property
    def learning(self) -> bool:
        """Whether gradients in any of its parameters are wanted."""
        return any(t.requires_grad for t in (self.bank, self.width, self.weight))

    def detach(self) -> Energy:
        """The same function, without gradients."""
        return Energy(self.bank.detach(), self.width.detach(), self.weight.detach())

    def curvature(self) -> tuple[Tensor, Tensor]:
        """(a, b), (1 or B, 1, 1, 1), with -a <= eigenvalues of the Hessian <= b at every x: proven."""
        sums = (-self.weight).clamp(min=0).sum(2), self.weight.clamp(min=0).sum(2)
        low, high = (total.amax(1).view(-1, 1, 1, 1) for total in sums)
        return low, high

    def value(self, x: Tensor) -> Tensor:
        """R(x), (B,)."""
        t = self.answers(x)
        q, total = t.square(), torch.zeros_like(t)
        for v, c in self._terms():
            total = total + c * v * q / ((q + v * v).sqrt() + v)
        return total.flatten(1).sum(1)

    def grad(self, x: Tensor) -> Tensor:
        """The gradient of R at x."""
        t = self.answers(x)
        q, slope = t.square(), torch.zeros_like(t)
        for v, c in self._terms():
            slope = torch.addcmul(slope, (q + v * v).rsqrt_(), c * v)
        return self.adjoint(slope * t, x)

    def curve(self, x: Tensor, v: Tensor) -> Tensor:
        """The Hessian of R at x times v."""
        q = self.answers(x).square()
        bend = torch.zeros_like(q)
        for width, c in self._terms():
            bend = torch.addcmul(bend, (q + width * width).pow_(-1.5), c * width**3)
        return self.adjoint(bend * self.answers(v), x)

    def answers(self, x: Tensor) -> Tensor:
        """W x, (B, F, H, W)."""
        border = self.bank.shape[-1] // 2
        return conv2d(mirror(mirror(x, 2, border, border), 3, border, border), self.bank)

    def adjoint(self, t: Tensor, like: Tensor) -> Tensor:
        """W^T t, of the shape of `like`."""
        border = self.bank.shape[-1] // 2
        wide = conv_transpose2d(t, self.bank)
        return fold(fold(wide, 3, like.shape[3], border), 2, like.shape[2], border)

    def _terms(self) -> list[tuple[Tensor, Tensor]]:
        shape = (-1, self.width.shape[1], 1, 1)
        return [
            (v.view(shape), c.view(shape))
            for v, c in zip(self.width.unbind(2), self.weight.unbind(2), strict=True)
        ]
