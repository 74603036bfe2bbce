"""Test data without inverse crime: a larger picture blurred in float64 by another code, its inside kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.errors import InputError
from proxlab.job import digest
from proxlab.refusals import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from imaging.operator import LinearOperator

GREY = np.array([0.299, 0.587, 0.114])  # ITU-R 601
ROOM = 1.25  # psfs a fifth wider and shifted must still fit the margin
LEAST = 32  # pixels a side below which a picture tells nothing


@dataclass(frozen=True)
class Scene:
    """One picture: truth (h, w), the wider field it was cut from, and the psf that is believed; float64."""

    name: str
    wide: NDArray[np.float64]
    psf: NDArray[np.float64]
    margin: int

    @property
    def truth(self) -> NDArray[np.float64]:
        """The picture that is to be found."""
        m = self.margin
        return self.wide[m:-m, m:-m]

    @property
    def digest(self) -> str:
        """What the numbers depend on."""
        return digest(self.wide) + digest(self.psf)

    def data(
        self, psf: NDArray[np.float64] | None = None, wide: NDArray[np.float64] | None = None
    ) -> NDArray:
        """What a sensor behind this psf (the believed one when None) sees, without noise, (h, w).

        True convolution by scipy of the wide field; only samples that see no border are kept.
        """
        from scipy.signal import fftconvolve

        return fftconvolve(self.wide if wide is None else wide, self._canvas(psf), mode="valid")

    def _canvas(self, psf: NDArray[np.float64] | None) -> NDArray[np.float64]:
        psf, m = self.psf if psf is None else psf, self.margin
        canvas = np.zeros((2 * m + 1, 2 * m + 1))
        top, left = m - psf.shape[0] // 2, m - psf.shape[1] // 2
        if top < 0 or left < 0:
            message = f"a psf of {psf.shape[0]}x{psf.shape[1]} does not fit the margin of {m} pixels."
            raise InputError(message)
        canvas[top : top + psf.shape[0], left : left + psf.shape[1]] = psf
        return canvas

    def operator(self, boundary: str = "unknown") -> LinearOperator:
        """The operator the methods believe in, in float32."""
        import torch

        from imaging.blur import CircularBlur, WindowedBlur

        kernel = torch.from_numpy(self.psf)[None, None]
        h, w = self.truth.shape
        blur = CircularBlur if boundary == "circular" else WindowedBlur
        return blur(kernel, (1, h, w)).to(torch.float32)

    def crop(self, side: int) -> Scene:
        """The middle of the scene, for cheap trials."""
        h, w = self.truth.shape
        rows, columns = max(0, (h - side) // 2), max(0, (w - side) // 2)
        wide = self.wide[rows : self.wide.shape[0] - rows, columns : self.wide.shape[1] - columns]
        return Scene(self.name, np.ascontiguousarray(wide), self.psf, self.margin)


def tensor(picture: NDArray[Any], device: str) -> Tensor:
    """(h, w) as a float32 tensor (1, 1, h, w)."""
    import torch

    return torch.from_numpy(np.asarray(picture, np.float32))[None, None].to(device)


def margin_of(psf: NDArray[np.float64]) -> int:
    """Pixels of surroundings that a scene needs."""
    return int(np.ceil(ROOM * max(psf.shape) / 2)) + 2


def read_scenes(
    images: Any, psf: NDArray[np.float64], *, count: int, side: int
) -> tuple[list[Scene], list[Scene]]:
    """The first `count` pictures as scenes of at most `side` pixels, and the last two to tune on.

    images: a folder, files, or arrays (H, W[, C]). The pictures to tune on are never tested, and are the same
    however many are tested; of fewer than four pictures none is for tuning. Raises InputError for pictures
    too small for the psf.
    """
    tests, rest = _named(images, count)
    return [_scene(*pair, psf, side) for pair in tests], [_scene(*pair, psf, side) for pair in rest]


def _split(items: Sequence[Any], count: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """At most `count` to test, and what is kept for tuning."""
    kept = 2 if len(items) >= 4 else 0
    return items[: min(count, len(items) - kept)], items[len(items) - kept :]


@as_input()
def _named(images: Any, count: int) -> list[list[tuple[str, NDArray[Any]]]]:
    from pathlib import Path

    if isinstance(images, str | Path):
        images = [images]
    if all(isinstance(item, str | Path) for item in images):
        from imaging.files.inputs import expand_inputs
        from imaging.files.picture import read_picture

        paths: Sequence[Path] = expand_inputs(images)
        return [
            [(path.name, next(iter(read_picture(path).frames()))) for path in part]
            for part in _split(paths, count)
        ]
    pairs = [(f"picture {n + 1}", np.asarray(item)) for n, item in enumerate(images)]
    return [list(part) for part in _split(pairs, count)]


def _scene(name: str, image: NDArray[Any], psf: NDArray[np.float64], side: int) -> Scene:
    from proxlab.data import read_data

    data = read_data(image, False, channel_axis=None, data_range=None, linear=False)
    planes = np.asarray(data.planes, np.float64)
    grey = planes[0] if len(planes) == 1 else np.tensordot(GREY, planes[:3], 1)
    margin = margin_of(psf)
    height, width = (min(side, n - 2 * margin) for n in grey.shape)
    if min(height, width) < LEAST:
        message = (
            f"{name} has {grey.shape[0]}x{grey.shape[1]} pixels, but a psf of {psf.shape[0]}x{psf.shape[1]} "
            f"needs at least {LEAST + 2 * margin} a side, so that the data see no border: take larger ones."
        )
        raise InputError(message)
    top, left = (grey.shape[0] - height) // 2 - margin, (grey.shape[1] - width) // 2 - margin
    wide = grey[top : top + height + 2 * margin, left : left + width + 2 * margin]
    return Scene(name, np.ascontiguousarray(wide), psf, margin)
