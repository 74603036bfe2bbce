"""The most likely psf of each kind for one picture: a coarse grid, then zooms."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from imaging.psf.generators import disk, gaussian, motion
from imaging.psf.spectrum import Fits, Spectrum, gain_of, whittle

_MAKE: dict[str, Callable[..., np.ndarray]] = {"motion": motion, "gaussian": gaussian, "disk": disk}
KINDS = tuple(_MAKE)
NAMES = {"motion": ("length", "angle"), "gaussian": ("sigma",), "disk": ("radius",)}
# Grid of the size: first, last for tiles of 128 pixels, how many, in constant ratio; angles every 5 degrees.
_SIZES = {"motion": (4.0, 40.0, 24), "gaussian": (0.35, 6.0, 24), "disk": (0.8, 14.0, 48)}
_ANGLES = np.arange(0, 180, 5.0)
_ZOOMS = 4  # each looks at 5 values a number, in a span 0.4 times the last


class Candidate(NamedTuple):
    """The best psf of one kind: its numbers, log likelihood, noise deviation, misfit of the spectrum (0:
    none).
    """

    kind: str
    numbers: tuple[float, ...]
    score: float
    noise: float
    misfit: float

    def psf(self) -> np.ndarray:
        """The psf itself."""
        return _MAKE[self.kind](*self.numbers)


def unblurred(spectrum: Spectrum) -> Candidate:
    """The picture as it is, without a blur."""
    fit = whittle(spectrum, np.ones((1, len(spectrum.power))))
    return _candidate("none", (), spectrum, fit)


def most_likely(spectrum: Spectrum, kind: str) -> Candidate:
    """The psf of this kind with the largest likelihood."""
    thin, half = spectrum.thinned(8), spectrum.thinned(2)
    grid = _grid(kind, spectrum.tile)
    best = grid[whittle(thin, _grid_gains(kind, thin.tile, thin.use.tobytes()), steps=7).score.argmax()]
    ratio = (grid[-1, 0] / grid[0, 0]) ** (0.5 / _SIZES[kind][2])
    span = np.array([np.log(ratio), 2.5])
    for _ in range(_ZOOMS):
        around = _around(best, 2 * span)
        best = around[whittle(half, _gains(kind, around, half), steps=12).score.argmax()]
        span = span * 0.4
    fit = whittle(spectrum, _gains(kind, best[None], spectrum))
    return _candidate(kind, tuple(float(v) for v in best), spectrum, fit)


def _candidate(kind: str, numbers: tuple[float, ...], spectrum: Spectrum, fit: Fits) -> Candidate:
    score = float(fit.score[0])
    perfect = -float((np.log(spectrum.power) + 1).sum())  # every m equal to its P
    misfit = (perfect - score / spectrum.looks) / len(spectrum.power)
    return Candidate(kind, numbers, score, float(np.sqrt(fit.noise[0])), misfit)


def _around(best: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Sizes (and angles) about the best, 5 values each."""
    t = np.linspace(-1, 1, 5)
    sizes = best[0] * np.exp(span[0] * t)
    if len(best) == 1:
        return sizes[:, None]
    angles = (best[1] + span[1] * t) % 180
    return np.stack(np.meshgrid(sizes, angles, indexing="ij"), axis=-1).reshape(-1, 2)


def _grid(kind: str, tile: int) -> np.ndarray:
    first, last, count = _SIZES[kind]
    last *= tile / 128
    count = round(count * np.log(last / first) / np.log(_SIZES[kind][1] / first))
    sizes = np.geomspace(first, last, count)
    if kind != "motion":
        return sizes[:, None]
    return np.stack(np.meshgrid(sizes, _ANGLES, indexing="ij"), axis=-1).reshape(-1, 2)


def _gains(kind: str, numbers: np.ndarray, spectrum: Spectrum) -> np.ndarray:
    return np.stack([gain_of(_MAKE[kind](*row), spectrum.tile, spectrum.use) for row in numbers]).astype(
        spectrum.power.dtype
    )


@lru_cache(maxsize=6)
def _grid_gains(kind: str, tile: int, use: bytes) -> np.ndarray:
    """The same for every picture, and a second of work: kept."""
    chosen = np.frombuffer(use, dtype=bool).reshape(tile, tile // 2 + 1)
    gains = np.stack([gain_of(_MAKE[kind](*row), tile, chosen) for row in _grid(kind, tile)])
    return gains.astype(np.float32)
