"""Training data: patches from folders of pictures, drawn from (seed, step) alone: resuming sees the same."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imaging.files.picture import read_picture
from priors.losses import Batch

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601


class NoPicturesError(ValueError):
    """Folders without a single usable picture."""


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures: `pixels[i]` is uint8 (C, H, W); `skipped` holds (file name, reason) of unusable
    files.
    """

    pixels: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def channels(self) -> int:
        return self.pixels[0].shape[0]

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on every pixel and on the order: the data's name in a
        checkpoint.
        """
        digest = hashlib.sha256()
        for picture in self.pixels:
            digest.update(str(picture.shape).encode())
            digest.update(picture.tobytes())
        return digest.hexdigest()[:12]

    def at_least(self, side: int) -> tuple[Pictures, int]:
        """These pictures with those smaller than `side` continued by reflection, and how many needed it."""
        small = sum(min(p.shape[1:]) < side for p in self.pixels)
        if not small:
            return self, 0
        return Pictures(tuple(reflect_to(p, side) for p in self.pixels), self.names, self.skipped), small


def picture_files(folders: Sequence[str | Path]) -> list[Path]:
    """Every picture file below the folders (or named directly), sorted; raises FileNotFoundError for a
    missing one.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.exists():
            message = (
                f"there is no folder or file {str(folder)!r}: give a folder of PNG, JPEG or TIFF pictures."
            )
            raise FileNotFoundError(message)
        candidates = [folder] if folder.is_file() else sorted(folder.rglob("*"))
        found += [f for f in candidates if f.suffix.lower() in SUFFIXES and f.is_file()]
    return found


def load_pictures(folders: Sequence[str | Path], *, color: bool) -> Pictures:
    """Decode all pictures of the folders once, as uint8 (C, H, W) with C = 3 if `color` else 1.

    Every page of a TIFF is a picture. 16-bit files are rounded to 8 bits, grey becomes colour by repetition,
    colour becomes grey by ITU-R 601, alpha is dropped. A file that cannot be read is skipped and listed in
    `skipped`. Raises ValueError if nothing is usable.
    """
    pixels: list[np.ndarray] = []
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    files = picture_files(folders)
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # decoders warn about odd metadata; the pixels decide
                pages = [as_training_pixels(page, color=color) for page in read_picture(file).frames()]
        except ValueError as error:  # PictureError is one
            skipped.append((str(file), str(error)))
            continue
        pixels += pages
        names += [str(file)] * len(pages)
    if not pixels:
        where = ", ".join(repr(str(f)) for f in folders)
        tried = (
            f"all {len(files)} picture files failed, first: {skipped[0]}"
            if skipped
            else "it has no picture file"
        )
        message = f"no usable picture in {where} ({tried}): give a folder with PNG, JPEG or TIFF pictures."
        raise NoPicturesError(message)
    return Pictures(tuple(pixels), tuple(names), tuple(skipped))


def as_training_pixels(stored: np.ndarray, *, color: bool) -> np.ndarray:
    """uint8 (C, H, W) from stored pixels (H, W) or (H, W, 1..4) of uint8, uint16 or floats on [0, 1].

    Floats a little outside are clipped; ValueError below -1, above 2, and for any other type or shape.

    >>> as_training_pixels(np.full((2, 3), 65535, np.uint16), color=True).shape
    (3, 2, 3)
    >>> int(as_training_pixels(np.full((2, 3), 65535, np.uint16), color=False).max())
    255
    """
    if stored.ndim == 2:
        stored = stored[..., None]
    if stored.ndim != 3 or stored.shape[2] > 4 or min(stored.shape) < 1:
        message = (
            f"pixels have shape {stored.shape}: a training picture is (H, W) or (H, W, C) with C up to 4."
        )
        raise ValueError(message)
    if stored.shape[2] in (2, 4):
        stored = stored[..., :-1]
    top = {"u1": 255.0, "u2": 65535.0, "f4": 1.0, "f8": 1.0}.get(stored.dtype.str[1:])
    if stored.dtype == bool:
        top = 1.0
    if top is None:
        message = f"pixels are {stored.dtype}: training pictures are uint8, uint16 or floats on [0, 1]."
        raise ValueError(message)
    if top == 255.0 and stored.shape[2] == (3 if color else 1):
        return np.ascontiguousarray(np.moveaxis(stored, 2, 0))
    scaled = stored.astype(np.float32) * np.float32(255.0 / top)
    if not np.isfinite(scaled).all():
        message = "some pixels are not finite."
        raise ValueError(message)
    if stored.dtype.kind == "f" and not -1 <= stored.min() <= stored.max() <= 2:
        message = (
            f"pixels run from {stored.min():g} to {stored.max():g}: floats are read on [0, 1], rescale them."
        )
        raise ValueError(message)
    if color:
        scaled = np.broadcast_to(scaled, (*scaled.shape[:2], 3))
    elif scaled.shape[2] == 3:
        scaled = (scaled @ LUMA)[..., None]
    return np.ascontiguousarray(np.moveaxis(scaled, 2, 0).round().clip(0, 255).astype(np.uint8))


def reflect_to(picture: np.ndarray, side: int) -> np.ndarray:
    """Continue (C, H, W) by whole-sample reflection until neither height nor width is below `side`."""
    rows, cols = (max(0, side - n) for n in picture.shape[1:])
    widths = ((0, 0), (0, rows), (0, cols))
    if min(picture.shape[1:]) == 1:  # a single row has nothing to reflect
        return np.pad(picture, widths, mode="edge")
    return np.pad(picture, widths, mode="reflect")


def split(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """(held out, kept): every twentieth file, at least one, with all its pages; a single file is both."""
    held_out = set(sorted(set(pictures.names))[::20])
    kept = set(pictures.names) - held_out or held_out
    return _of(pictures, held_out), _of(pictures, kept)


def _of(pictures: Pictures, names: set[str]) -> Pictures:
    chosen = [(p, n) for p, n in zip(pictures.pixels, pictures.names, strict=True) if n in names]
    return Pictures(tuple(p for p, _ in chosen), tuple(n for _, n in chosen))


@dataclass(frozen=True)
class NoisyPatches:
    """Pairs for denoising: step -> (noisy, clean, sigma), a function of (seed, step, rank) and of nothing
    else.

    clean (B, C, patch, patch) float32 on [0, 1] in one of eight orientations; sigma (B,) uniform on `sigma`;
    noisy = clean + sigma * N(0, I), not clipped. Pictures are drawn in proportion to their area.
    """

    pictures: Pictures
    patch: int
    batch: int
    sigma: tuple[float, float]
    seed: int
    rank: int = 0

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, step, self.rank])
        area = np.cumsum([p.shape[1] * p.shape[2] for p in self.pictures.pixels])
        which = np.searchsorted(area, rng.integers(area[-1], size=self.batch), side="right")
        stack = np.stack([self._cut(self.pictures.pixels[i], rng) for i in which])
        clean = torch.from_numpy(stack).to(torch.float32).div_(255)
        sigma = torch.from_numpy(rng.uniform(*self.sigma, size=self.batch).astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
        return clean + sigma.view(-1, 1, 1, 1) * noise, clean, sigma

    def _cut(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        row, col = (int(rng.integers(n - self.patch + 1)) for n in picture.shape[1:])
        piece = picture[:, row : row + self.patch, col : col + self.patch]
        turns, mirror = divmod(int(rng.integers(8)), 2)
        piece = np.rot90(piece, turns, axes=(1, 2))
        return piece[:, :, ::-1] if mirror else piece


class Ahead:
    """The same batches, prepared by threads before they are asked for: for a device faster than one core."""

    def __init__(self, batches: Callable[[int], Batch], threads: int):
        self.batches, self.threads = batches, threads
        self.pool = ThreadPoolExecutor(threads)
        self.coming: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        for number in range(step, step + self.threads + 1):
            if number not in self.coming:
                self.coming[number] = self.pool.submit(self.batches, number)
        return self.coming.pop(step).result()


def validation_set(pictures: Pictures, *, crop: int, limit: int) -> list[Tensor]:
    """At most `limit` clean pictures (1, C, h, w) float32 on [0, 1]: centre crops of at most `crop`."""
    spread = np.linspace(0, len(pictures.pixels) - 1, min(limit, len(pictures.pixels))).round().astype(int)
    chosen = []
    for picture in (pictures.pixels[i] for i in spread):
        top, left = (max(0, (n - crop) // 2) for n in picture.shape[1:])
        piece = picture[:, top : top + crop, left : left + crop].copy()
        chosen.append(torch.from_numpy(piece).to(torch.float32).div_(255)[None])
    return chosen


def validation_psnr(
    denoise: Callable[[Tensor, float], Tensor], pictures: Sequence[Tensor], sigma: float, seed: int
) -> float:
    """Mean PSNR (dB, range 1, result clipped to [0, 1]) at noise level `sigma`, on the same noise at every
    call.
    """
    values = []
    for index, clean in enumerate(pictures):
        noise = np.random.default_rng([seed, index]).standard_normal(clean.shape, dtype=np.float32)
        noisy = clean + sigma * torch.from_numpy(noise).to(clean)
        error = (denoise(noisy, sigma).clamp(0, 1) - clean).double().square().mean()
        values.append(-10 * float(torch.log10(error)))
    return float(np.mean(values))
