"""The blurred pictures of quality.py and variants.py: which they are, how they are blurred, how noisy."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from common import Pictures, digest, kernels, pictures, set_name
from scipy.ndimage import affine_transform
from scipy.signal import fftconvolve

LEVELS = (2.55, 7.65, 12.75)  # of 255
PEAKS = (255.0, 64.0)  # counts at white
SIDE = 256


@dataclass(frozen=True)
class Case:
    """One blurred picture (H, W) or (H, W, 3); `name` says which, `digest` changes with its pixels.

    level is the noise level of 255, or for counts the peak.
    """

    name: str
    truth: np.ndarray
    y: np.ndarray
    psf: np.ndarray
    level: float
    counted: bool
    digest: str


@dataclass(frozen=True)
class Study:
    """Which cases: every picture with every kernel, or each picture with one kernel in turn (rotating).

    like names a folder whose pictures are looked for, in colour, among those of images. counted: levels are
    peaks of Poisson noise.
    """

    images: Path | None
    kernels: Path | None
    limit: int
    levels: tuple[float, ...]
    border: str
    rotating: bool = False
    like: Path | None = None
    counted: bool = False

    @property
    def name(self) -> str:
        """The middle of the name of its files: set, colour, noise, border."""
        parts = [set_name(self.like or self.images), "color" * (self.like is not None)]
        return "_".join([*filter(None, [*parts, "poisson" * self.counted]), self.border])

    def pictures(self) -> Pictures:
        """Float64 pictures on [0, 1] by name."""
        if self.like is None or self.images is None:
            return pictures(self.images, self.limit)
        return _in_colour(self.images, self.like, self.limit)

    def cases(self) -> Iterator[Case]:
        """All cases, the noise of each seeded by its name alone."""
        found = self.pictures()
        for number, (kernel, psf) in enumerate(kernels(self.kernels).items()):
            for position, (name, picture) in enumerate(found.items()):
                if self.rotating and position % len(kernels(self.kernels)) != number:
                    continue
                truth, clean = blurred(picture, psf, self.border)
                for level in self.levels:
                    case = f"{name} {kernel} {'peak ' if self.counted else ''}{level:g}"
                    y = noisy(clean, level, case, counted=self.counted)
                    yield Case(case, truth, y, psf, level, self.counted, digest(y, psf))

    def title(self, count: int) -> str:
        """What the cases are, in words."""
        each = "each picture with one of them, in turn" if self.rotating else "each picture with all of them"
        noise = "Poisson peaks" if self.counted else "noise levels"
        colour = "colour pictures with the content of" if self.like else "pictures of"
        return (
            f"{self.border} borders: {len(self.pictures())} {colour} {set_name(self.like or self.images)}, "
            f"{len(kernels(self.kernels))} kernels, {each}, {len(self.levels)} {noise} ({count} cases)"
        )


@cache
def _in_colour(images: Path, like: Path, limit: int) -> Pictures:
    from denoising import chosen_pictures

    args = argparse.Namespace(images=images, like=like, limit=limit)
    names = pictures(like, limit)
    found = chosen_pictures(args, 3)
    return {name: np.moveaxis(p / 255.0, 0, 2) for name, p in zip(names, found, strict=True)}


def noisy(clean: np.ndarray, level: float, name: str, *, counted: bool) -> np.ndarray:
    """White noise of level / 255, or counts with this peak; neither clipped nor rounded, float32."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if counted:
        return (rng.poisson(np.maximum(clean, 0) * level) / level).astype(np.float32)
    return (clean + level / 255 * rng.standard_normal(clean.shape)).astype(np.float32)


def blurred(picture: np.ndarray, psf: np.ndarray, border: str) -> tuple[np.ndarray, np.ndarray]:
    """(truth, its blur): the centre SIDE x SIDE, or what fits when the border is unknown; by channel."""
    if picture.ndim == 3:
        pairs = [blurred(channel, psf, border) for channel in np.moveaxis(picture, 2, 0)]
        truth, clean = (np.stack(planes, axis=2) for planes in zip(*pairs, strict=True))
        return truth, clean
    size = [min(SIDE, n) for n in picture.shape]
    if border == "unknown":
        size = [min(s, n - k + 1) for s, n, k in zip(size, picture.shape, psf.shape, strict=True)]
    start = [(n - s) // 2 for n, s in zip(picture.shape, size, strict=True)]
    if border == "unknown":  # the field must not leave the picture
        start = [max(a, k - 1 - k // 2) for a, k in zip(start, psf.shape, strict=True)]
        start = [
            min(a, n - s - k // 2) for a, n, s, k in zip(start, picture.shape, size, psf.shape, strict=True)
        ]
    truth = picture[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))]
    if border == "circular":
        padded = np.zeros(truth.shape)
        padded[: psf.shape[0], : psf.shape[1]] = psf
        padded = np.roll(padded, [-(k // 2) for k in psf.shape], (0, 1))
        return truth, np.fft.irfft2(np.fft.rfft2(truth) * np.fft.rfft2(padded), truth.shape)
    first = [a - (k - 1 - k // 2) for a, k in zip(start, psf.shape, strict=True)]
    spans = [slice(f, f + s + k - 1) for f, s, k in zip(first, size, psf.shape, strict=True)]
    return truth, fftconvolve(picture[tuple(spans)], psf, "valid")


def widened(psf: np.ndarray, factor: float) -> np.ndarray:
    """The psf stretched about its centre n // 2, bilinear, sum 1: what a wrong calibration believes.

    >>> wide = widened(np.ones((1, 5)) / 5, 2.0)
    >>> wide.shape, round(float(wide.sum()), 9)
    ((1, 9), 1.0)
    """
    shape = [2 * int(np.ceil(factor * (n // 2))) + 1 for n in psf.shape]
    centre = np.array([n // 2 for n in psf.shape])
    offset = centre - np.array([n // 2 for n in shape]) / factor
    stretched = affine_transform(psf, np.full(2, 1 / factor), offset, shape, order=1)
    wide: np.ndarray = stretched / stretched.sum()
    return wide


def believed(case: Case, factor: float) -> Case:
    """The same data with a psf that is too wide or too narrow by this factor."""
    return case if factor == 1.0 else replace(case, psf=widened(case.psf, factor))
