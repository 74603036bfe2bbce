"""Writing a picture that comes from the top, some rows at a time: complete or not there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imaging.files.atomic import atomic_write, check_target
from imaging.files.errors import OutputExistsError, PictureError
from imaging.files.rows import WAYS

TILE = 256  # side of the tiles of a TIFF, chunk rows of a zarr
BIG = 1 << 31  # bytes of pixels from which a TIFF is a BigTIFF, compressed or not: it could come out larger


class Form(NamedTuple):
    """What is to be written: (H, W) or (H, W, C), and its type."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Of all pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def write_bands(
    path: str | os.PathLike[str],
    bands: Iterable[np.ndarray],
    form: Form,
    *,
    like: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write rows as they come as .npy, .tif (in tiles, BigTIFF where needed) or .zarr; returns the path.

    A TIFF takes compression, resolution, colour profile and the other descriptions from `like` where that is
    one, Exif excepted. If the rows fail to come, nothing is left of the file, and an old one stays.

    Raises:
        PictureError: another extension, or rows that do not add up to the form.
        OutputExistsError: `path` exists and `overwrite` is False.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".zarr":
        return _zarr(Path(path), bands, form, overwrite)
    if suffix not in (".npy", ".tif", ".tiff"):
        message = f"{path}: {suffix or 'no extension'} cannot be written row by row: use {WAYS}."
        raise PictureError(message)
    with atomic_write(path, overwrite=overwrite) as stream:
        if suffix == ".npy":
            header = {"descr": form.dtype.str, "fortran_order": False, "shape": form.shape}
            np.lib.format.write_array_header_2_0(stream, header)
            for band in _checked(bands, form):
                stream.write(np.ascontiguousarray(band).data)
        else:
            _tiff(stream, bands, form, _source_metadata(like))
    return Path(path)


def _tiff(stream: Any, bands: Iterable[np.ndarray], form: Form, metadata: Any) -> None:
    import tifffile

    from imaging.files.metadata import Metadata
    from imaging.files.tiff import options_of

    channels = form.shape[2] if len(form.shape) == 3 else 1
    options = options_of(metadata or Metadata(), channels, form.dtype)
    order = options.pop("byteorder")
    handle = tifffile.FileHandle(stream, name="picture.tif")  # the temporary file's own name is a number
    with tifffile.TiffWriter(handle, bigtiff=form.bytes >= BIG, byteorder=order) as tif:
        tiles = _squares(_checked(bands, form), form, order)
        shape = form.shape[:2] if channels == 1 else form.shape
        tif.write(tiles, shape=shape, dtype=form.dtype.newbyteorder(order), tile=(TILE, TILE), **options)


def _squares(bands: Iterator[np.ndarray], form: Form, order: Any) -> Iterator[np.ndarray]:
    """The tiles of a TIFF, filled up at its right and lower ends, from bands of any height."""
    for rows in _of_height(bands, TILE):
        for left in range(0, form.shape[1], TILE):
            part = rows[:, left : left + TILE]
            room = [(0, TILE - part.shape[0]), (0, TILE - part.shape[1]), (0, 0)][: part.ndim]
            square = np.pad(part, room, mode="edge") if any(b for _, b in room) else part
            square = square[..., 0] if square.ndim == 3 and square.shape[2] == 1 else square
            yield np.ascontiguousarray(square, square.dtype.newbyteorder(order))


def _of_height(bands: Iterator[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """The same rows in bands of that height, the last of what is left."""
    held: list[np.ndarray] = []
    for band in bands:
        held.append(band)
        while sum(len(b) for b in held) >= height:
            whole = held[0] if len(held) == 1 else np.concatenate(held)
            yield whole[:height]
            held = [whole[height:]]
    rest = np.concatenate(held) if held else np.empty(0)
    if len(rest):
        yield rest


def _zarr(path: Path, bands: Iterable[np.ndarray], form: Form, overwrite: bool) -> Path:
    """Into a folder beside the target, which takes its place when complete."""
    try:
        import zarr
    except ImportError as error:
        message = f"{path}: zarr is not installed: pip install 'proxlab[zarr]'."
        raise PictureError(message) from error
    if path.exists() and not overwrite:
        message = (
            f"{path} exists already: choose another output, or overwrite it (overwrite=True, --overwrite)."
        )
        raise OutputExistsError(message)
    part = path.parent / f".{path.name[:40]}-{secrets.token_hex(6)}.part"
    try:
        chunks = (TILE, min(1024, form.shape[1]), *form.shape[2:])
        array: Any = zarr.open(os.fspath(part), mode="w", shape=form.shape, dtype=form.dtype, chunks=chunks)
        first = 0
        for rows in _of_height(_checked(bands, form), TILE):
            array[first : first + len(rows)] = rows
            first += len(rows)
        if path.exists():
            shutil.rmtree(path)
        os.replace(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return path


def _checked(bands: Iterable[np.ndarray], form: Form) -> Iterator[np.ndarray]:
    """The bands, once they are what the form says."""
    count = 0
    for band in bands:
        if band.shape[1:] != form.shape[1:] or band.dtype != form.dtype:
            message = (
                f"rows of {band.dtype} and shape {band.shape} for a picture of {form.dtype} and {form.shape}."
            )
            raise PictureError(message)
        count += len(band)
        yield band
    if count != form.shape[0]:
        message = f"{count} rows came, the picture has {form.shape[0]}."
        raise PictureError(message)


def _source_metadata(like: str | os.PathLike[str] | None) -> Any:
    if like is None or Path(like).suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    from imaging.files.tiff import described

    with tifffile.TiffFile(like) as tif:
        return described(tif)


def check_free(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """What `write_bands` would refuse before it begins, without its rows."""
    if Path(path).suffix.lower() != ".zarr":
        check_target(path, overwrite=overwrite)
