"""A ridge regulariser at one noise level: filters of norm at most 1, profiles, their calculus."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import conv2d

from priors.mirroring import fold, mirror

PIECE = 2**18  # answers worked on at one time: in the cache the profiles are eight times as fast
Terms = list[tuple[Tensor, Tensor]]
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


class Piece(NamedTuple):
    """Rows [top, top + height) of one sample of the continued picture."""

    sample: int
    top: int
    height: int

    def of(self, wide: Tensor) -> Tensor:
        """That part, a view of (1, C, height, W)."""
        return wide[self.sample : self.sample + 1, :, self.top : self.top + self.height]


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
        """R(x), (B,), summed in float64."""
        totals = [[x.new_zeros(()).double()] for _ in x]
        for piece, t in self._pieces(x):
            q, total = t.square(), torch.zeros_like(t)
            for v, c in self._terms(piece.sample):
                total = total + c * v * q / ((q + v * v).sqrt() + v)
            totals[piece.sample].append(total.sum(dtype=torch.float64))
        return torch.stack([torch.stack(parts).sum() for parts in totals])

    def grad(self, x: Tensor) -> Tensor:
        """The gradient of R at x."""
        return self._pulled_back(x, ((p, self._slope(t, p.sample)) for p, t in self._pieces(x)))

    def curve(self, x: Tensor, v: Tensor) -> Tensor:
        """The Hessian of R at x times v."""
        return self.curved(x)(v)

    def curved(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The Hessian of R at x as a function of v; it keeps F planes of the size of the picture."""
        bends = [self._bend(t, piece.sample) for piece, t in self._pieces(x)]

        def apply(v: Tensor) -> Tensor:
            pieces = zip(bends, self._pieces(v), strict=True)
            return self._pulled_back(v, ((piece, bend * t) for bend, (piece, t) in pieces))

        return apply

    def answers(self, x: Tensor) -> Tensor:
        """W x, (B, F, H, W)."""
        return conv2d(self._widened(x), self.bank)

    def adjoint(self, t: Tensor, like: Tensor) -> Tensor:
        """W^T t, of the shape of `like`."""
        return self._folded(self._spread(t), like)

    def _slope(self, t: Tensor, sample: int) -> Tensor:
        q, slope = t.square(), torch.zeros_like(t)
        for v, c in self._terms(sample):
            slope.addcmul_((q + v * v).rsqrt_(), c * v)
        return slope * t

    def _bend(self, t: Tensor, sample: int) -> Tensor:
        q, bend = t.square(), torch.zeros_like(t)
        for v, c in self._terms(sample):
            root = (q + v * v).rsqrt_()
            bend.addcmul_(root * root * root, c * v**3)
        return bend

    def _terms(self, sample: int) -> Terms:
        """(v, c) of the bumps for one sample, each (F, 1, 1)."""
        width, weight = (p[sample if len(p) > 1 else 0] for p in (self.width, self.weight))
        return [(v[:, None, None], c[:, None, None]) for v, c in zip(width.T, weight.T, strict=True)]

    def _pieces(self, x: Tensor) -> Iterator[tuple[Piece, Tensor]]:
        """W x in strips of rows of one sample, each small enough for the cache."""
        wide, (batch, _, height, width) = self._widened(x), x.shape
        rows = max(1, PIECE // (len(self.bank) * width))
        for sample in range(batch):
            for top in range(0, height, rows):
                piece = Piece(sample, top, min(rows, height - top) + self.bank.shape[-1] - 1)
                yield piece, conv2d(piece.of(wide), self.bank)

    def _pulled_back(self, like: Tensor, pieces: Iterator[tuple[Piece, Tensor]]) -> Tensor:
        border = self.bank.shape[-1] - 1
        wide = like.new_zeros(*like.shape[:2], like.shape[2] + border, like.shape[3] + border)
        for piece, t in pieces:
            piece.of(wide).add_(self._spread(t))
        return self._folded(wide, like)

    def _spread(self, t: Tensor) -> Tensor:
        """The transpose of the convolution: torch's own takes twice as long where one channel comes out."""
        side, (height, width) = self.bank.shape[-1], t.shape[2:]
        size = height + side - 1, width + side - 1
        return functional.fold(self.bank.flatten(1).T @ t.flatten(2), size, side)

    def _widened(self, x: Tensor) -> Tensor:
        border = self.bank.shape[-1] // 2
        return mirror(mirror(x, 2, border, border), 3, border, border)

    def _folded(self, wide: Tensor, like: Tensor) -> Tensor:
        border = self.bank.shape[-1] // 2
        return fold(fold(wide, 3, like.shape[3], border), 2, like.shape[2], border)
