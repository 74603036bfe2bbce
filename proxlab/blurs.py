"""The psf as the caller gave it (array, channels, grid, text, file) becomes kernels that operators take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxlab.errors import InputError
from proxlab.job import digest
from proxlab.receipt import psf_file
from proxlab.refusals import as_input
from proxlab.reuse import Recent

Origin = tuple[int, int]
_BLURS = Recent(8)


@dataclass(frozen=True)
class Blur:
    """Kernels (rows, columns, 1|C, h, w), float64, with a common origin; one row and column mean no grid."""

    kernels: np.ndarray
    origin: Origin
    text: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    digest: str

    @property
    def varying(self) -> bool:
        """Whether it changes over the picture."""
        return self.kernels.shape[0] * self.kernels.shape[1] > 1

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the kernels."""
        return self.kernels.shape[3], self.kernels.shape[4]


@dataclass(frozen=True)
class Scene:
    """What reading a psf may need of the picture: planes (C, H, W) on [0, 1], scale and seed."""

    planes: np.ndarray
    scale: int
    seed: int

    @property
    def fine(self) -> tuple[int, int]:
        """(H, W) of the picture to be found."""
        return self.planes.shape[1] * self.scale, self.planes.shape[2] * self.scale


@as_input()
def read_blur(psf: Any, scene: Scene, *, origin: Origin | None) -> Blur:
    """Read a psf text, an array (h, w) or (h, w, C), or a nested list rows by columns of such arrays.

    Every array goes through the doctor. Raises InputError for what cannot be a psf of this picture.
    """
    if isinstance(psf, Blur):
        return psf
    if not isinstance(psf, str) or not _same_everywhere(psf):
        return _read(psf, scene, origin)
    key = (psf, _stamp(psf), scene.planes.shape, scene.scale, scene.seed, origin)
    return _BLURS.get(key, lambda: _read(psf, scene, origin))


def _read(psf: Any, scene: Scene, origin: Origin | None) -> Blur:
    if isinstance(psf, str):
        array, text, notes = _from_text(psf, scene)
        rows = [[array]]
    else:
        rows, notes = _rows(psf), ()
        text = ""
    channels = scene.planes.shape[0]
    checked = [[_checked(np.asarray(cell), channels, scene.fine, origin) for cell in row] for row in rows]
    kernels, centre = _on_one_canvas(checked)
    findings = [finding for row in checked for item in row for finding in item.findings]
    return Blur(
        kernels=kernels,
        origin=centre,
        text=text or _describe(rows),
        notes=notes + _distinct(f"psf: {f.text}" for f in findings if f.level != "warning"),
        warnings=_distinct(f"psf: {f.text}" for f in findings if f.level == "warning"),
        digest=digest(kernels),
    )


def _same_everywhere(text: str) -> bool:
    """Does a text mean the same for every picture of a size? An estimate does not."""
    return not text.partition(":")[2].strip().lower().startswith("auto")


def _stamp(text: str) -> tuple[int, int] | None:
    """What changes with the file that a psf text names."""
    path = psf_file(text)
    return None if path is None else (path.stat().st_mtime_ns, path.stat().st_size)


@as_input()
def psf_from_text(text: str, seed: int) -> Any:
    """imaging's parse_psf, with a sentence of its own for a folder."""
    from imaging.psf.text import parse_psf

    if os.path.isdir(text):
        message = f"psf {text} is a folder, but a psf file was wanted: name a file in it."
        raise InputError(message)
    return parse_psf(text, seed=seed)


def _from_text(text: str, scene: Scene) -> tuple[np.ndarray, str, tuple[str, ...]]:
    from imaging.psf.text import Auto

    found = psf_from_text(text, scene.seed)
    if not isinstance(found, Auto):
        return found, text, ()
    if scene.scale != 1:
        message = f"psf {text!r} with scale={scene.scale}: an estimate needs scale=1, give the psf itself."
        raise InputError(message)
    from imaging.psf.estimate import estimate_psf

    estimate = estimate_psf(np.moveaxis(scene.planes, 0, -1), found.kind)
    note = f"psf estimated from the picture: {estimate.text}, confidence {estimate.confidence:.2f}."
    return estimate.psf, f"{text} = {estimate.text}", (note,)


def _rows(psf: Any) -> list[list[Any]]:
    """The grid of cells; a single array is a grid of one."""
    if not (isinstance(psf, Sequence) and psf and isinstance(psf[0], Sequence) and len(psf[0])):
        return [[psf]]
    if np.ndim(psf[0][0]) < 2:
        return [[psf]]
    if len({len(row) for row in psf}) > 1:
        message = f"the grid of psfs has rows of {[len(row) for row in psf]} psfs: give rows of equal length."
        raise InputError(message)
    return [list(row) for row in psf]


def _checked(psf: np.ndarray, channels: int, fine: tuple[int, int], origin: Origin | None) -> Any:
    """The doctor's diagnosis of one psf, after the checks that need no doctor."""
    from imaging.psf.doctor import diagnose

    if psf.dtype == object or psf.dtype.kind not in "fiub":
        message = f"the psf has values of type {psf.dtype}: give real numbers."
        raise InputError(message)
    if psf.ndim not in (2, 3) or (psf.ndim == 3 and psf.shape[2] not in (1, channels)) or psf.size == 0:
        message = (
            f"the psf has shape {psf.shape}: wanted (h, w)"
            + (f" or (h, w, {channels})" if channels > 1 else "")
            + ", or a nested list of those for a grid."
        )
        raise InputError(message)
    return diagnose(psf.astype(np.float64), (*fine, channels), origin=origin)


def _on_one_canvas(checked: list[list[Any]]) -> tuple[np.ndarray, Origin]:
    """All kernels padded with zeros about their origins to one size."""
    flat = [(item.psf, _origin(item)) for row in checked for item in row]
    top, left = max(o[0] for _, o in flat), max(o[1] for _, o in flat)
    bottom = max(p.shape[0] - o[0] for p, o in flat)
    right = max(p.shape[1] - o[1] for p, o in flat)
    depth = max(1 if p.ndim == 2 else p.shape[2] for p, _ in flat)
    canvas = np.zeros((len(flat), depth, top + bottom, left + right))
    for place, (kernel, (row, column)) in zip(canvas, flat, strict=True):
        planes = kernel[None] if kernel.ndim == 2 else np.moveaxis(kernel, -1, 0)
        r, c = top - row, left - column
        place[:, r : r + kernel.shape[0], c : c + kernel.shape[1]] = planes
    return canvas.reshape(len(checked), len(checked[0]), *canvas.shape[1:]), (top, left)


def _origin(item: Any) -> Origin:
    if item.origin is not None:
        return int(item.origin[0]), int(item.origin[1])
    return item.psf.shape[0] // 2, item.psf.shape[1] // 2


def _describe(rows: list[list[Any]]) -> str:
    shape = "x".join(map(str, np.shape(rows[0][0])))
    single = len(rows) * len(rows[0]) == 1
    return f"array {shape}" if single else f"grid {len(rows)}x{len(rows[0])} of {shape}"


def _distinct(texts: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
