"""Blurred and noisy patches for training: random psfs, levels and borders, drawn from (seed, step) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imaging.blur import CircularBlur, WindowedBlur
from imaging.operator import LinearOperator
from imaging.psf.generators import disk, gaussian, motion, shake
from priors.data import NoisyPatches, Pictures

UNKNOWN = 0.5  # share of the batches with unknown borders; the others are circular


def random_psf(rng: np.random.Generator, reach: int) -> np.ndarray:
    """Camera shake (five of eight draws, half of them with a lens of 0.3 to 0.8 pixels), motion, Gaussian or
    defocus.

    float64, odd sides of at most `reach` (9 or more), sum 1, the centre at n // 2.

    >>> h = random_psf(np.random.default_rng(0), 25)
    >>> max(h.shape) <= 25, h.shape[0] % 2, round(float(h.sum()), 9)
    (True, 1, 1.0)
    """
    kind = int(rng.integers(8))
    if kind == 0:
        psf = motion(rng.uniform(2, reach - 3), rng.uniform(0, 180))
    elif kind == 1:
        wide = np.exp(rng.uniform(np.log(0.4), np.log((reach - 1) / 8)))
        psf = gaussian(wide, wide * rng.uniform(0.4, 1), rng.uniform(0, 180))
    elif kind == 2:
        psf = disk(rng.uniform(0.7, (reach - 1) / 3))
    else:
        size = 5 + 2 * int(rng.integers((reach - 7) // 2))
        psf = shake(int(rng.integers(2**31)), size)
        if rng.uniform() < 0.5:  # measured psfs are often sharper
            lens = gaussian(rng.uniform(0.3, 0.8))
            psf = _through(psf, lens[_middle(lens, 3)])
    psf = psf[_middle(psf, reach)]
    return psf / psf.sum()


def _middle(psf: np.ndarray, side: int) -> tuple[slice, ...]:
    return tuple(slice(max(0, n // 2 - side // 2), n // 2 + side // 2 + 1) for n in psf.shape)


def _through(psf: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """The full convolution of two small psfs."""
    (h, w), (a, b) = psf.shape, lens.shape
    out = np.zeros((h + a - 1, w + b - 1))
    for row, column in np.ndindex(a, b):
        out[row : row + h, column : column + w] += lens[row, column] * psf
    return out


def stacked(psfs: list[np.ndarray]) -> Tensor:
    """(B, 1, n, n) float32, each psf in the middle of the least common odd square."""
    side = max(max(p.shape) for p in psfs)
    frame = np.zeros((len(psfs), 1, side, side), dtype=np.float32)
    for place, psf in zip(frame, psfs, strict=True):
        top, left = ((side - n) // 2 for n in psf.shape)
        place[0, top : top + psf.shape[0], left : left + psf.shape[1]] = psf
    return torch.from_numpy(frame)


def operator_of(psf: Tensor, y: Tensor, circular: Tensor | bool) -> LinearOperator:
    """The operator behind data y (B, C, h, w): psf (1|B, 1, n, n), borders circular or unknown."""
    kind = CircularBlur if bool(circular) else WindowedBlur
    return kind(psf, (y.shape[1], y.shape[2], y.shape[3]))


def seen(sharp: Tensor, psf: Tensor, *, circular: bool) -> tuple[Tensor, Tensor]:
    """(blurred, truth) of sharp patches: with circular borders, or only where no pixel outside had a part."""
    blurred = CircularBlur(psf, (sharp.shape[1], sharp.shape[2], sharp.shape[3])).A(sharp)
    rim = 0 if circular else psf.shape[-1] // 2
    inside = (..., slice(rim, sharp.shape[-2] - rim), slice(rim, sharp.shape[-1] - rim))
    return blurred[inside], sharp[inside]


@dataclass(frozen=True)
class BlurryPatches:
    """step -> (y, truth, psf, sigma, circular), a function of (seed, step, rank) and of nothing else.

    y = blur of truth + sigma N(0, I), not clipped, psf (B, 1, n, n) and sigma (B,) one a patch. A batch has
    circular borders, y as large as the patch, or unknown ones, y smaller by n - 1, so that its field is of
    the patch's size again; `circular` (a boolean tensor without axes) says which.
    """

    pictures: Pictures
    patch: int
    batch: int
    sigma: tuple[float, float]
    reach: int
    seed: int
    rank: int = 0

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([self.seed, step, self.rank, 1])
        cut = NoisyPatches(self.pictures, self.patch, self.batch, self.sigma, self.seed, self.rank)
        _, sharp, sigma = cut(step)
        circular = bool(rng.uniform() >= UNKNOWN)
        psf = stacked([random_psf(rng, self.reach) for _ in range(self.batch)])
        blurred, truth = seen(sharp, psf, circular=circular)
        noise = torch.from_numpy(rng.standard_normal(blurred.shape, dtype=np.float32))
        return blurred + sigma.view(-1, 1, 1, 1) * noise, truth, psf, sigma, torch.tensor(circular)
