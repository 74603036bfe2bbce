"""Psf files: png, tif, npy and mat, in and out."""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from imaging.psf.errors import PsfError

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".mat")


def read_psf(path: str | os.PathLike, key: str | None = None) -> np.ndarray:
    """The psf stored in a png, tif, npy or mat file, as float64 (h, w) or, per channel, (h, w, 3); not
    normalised.

    Integers are divided by the range of their type. A colour file whose channels are equal is grey; otherwise
    it holds one psf a channel. Alpha must be opaque everywhere and is dropped. In a mat file `key` names the
    variable; without it the file must hold exactly one two- or three-dimensional one. PsfError for anything
    else.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        message = (
            f"psf file {path} has the ending {suffix!r}, wanted one of {', '.join(SUFFIXES)}: convert it."
        )
        raise PsfError(message)
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        message = f"psf file {path} {what}, wanted a {suffix} file with a psf: check the name."
        raise PsfError(message)
    try:
        stored = _READERS[suffix](path, key)
    except PsfError:
        raise
    except Exception as error:  # every library has its own way to say that a file is broken
        message = f"cannot read psf file {path} ({error}), wanted a whole {suffix} file: write it again."
        raise PsfError(message) from error
    return _as_float(_without_alpha(np.asarray(stored), path), path)


def write_psf(path: str | os.PathLike, psf: np.ndarray, *, overwrite: bool = False) -> None:
    """Write psf (h, w) or (h, w, 3) to a png, tif, npy or mat file, in one move; PictureError
    (OutputExistsError) when it cannot or may not.

    npy, mat (variable "psf") and tif keep float64; png holds 16 bits with the largest value at 65535, so its
    sum is found again by normalising. PsfError for another ending, or negative values in a png.
    """
    path, psf = Path(path), np.asarray(psf, dtype=np.float64)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        message = f"cannot write a psf to {path}, wanted one of the endings {', '.join(SUFFIXES)}: rename it."
        raise PsfError(message)
    if suffix == ".png" and (psf.min() < 0 or not psf.max() > 0):
        message = (
            f"a psf from {psf.min():.3g} to {psf.max():.3g} does not fit a png, "
            "wanted values from 0 up: write .npy."
        )
        raise PsfError(message)
    from imaging.files.atomic import atomic_write

    with atomic_write(path, overwrite=overwrite) as stream:
        _WRITERS[suffix](stream, psf)


def _read_png(path: Path, key: str | None) -> np.ndarray:
    content = path.read_bytes()
    if len(content) > 24 and content[24] == 16:  # colour of 16 bits, which the usual reader cuts to 8
        import imagecodecs

        return imagecodecs.png_decode(content)
    import imageio.v3 as iio

    return iio.imread(content, extension=".png")


def _read_tif(path: Path, key: str | None) -> np.ndarray:
    import tifffile

    return tifffile.imread(path).squeeze()


def _read_npy(path: Path, key: str | None) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_mat(path: Path, key: str | None) -> np.ndarray:
    import scipy.io

    found = {
        name: value
        for name, value in scipy.io.loadmat(path).items()
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
    }
    if key is None:
        pictures = [name for name, value in found.items() if value.ndim in (2, 3) and value.size > 1]
        if len(pictures) != 1:
            message = (
                f"psf file {path} holds {len(pictures)} arrays ({', '.join(pictures)}), "
                f"wanted one: name it as {path}:NAME or key=NAME."
            )
            raise PsfError(message)
        key = pictures[0]
    if key not in found:
        message = (
            f"psf file {path} has no array {key!r}, "
            f"wanted one of {', '.join(found) or 'none'}: check the name."
        )
        raise PsfError(message)
    return found[key]


def _without_alpha(stored: np.ndarray, path: Path) -> np.ndarray:
    if stored.ndim != 3 or stored.shape[2] not in (2, 4) or stored.dtype.kind not in "ui":
        return stored
    alpha = stored[..., -1]
    if (alpha != np.iinfo(stored.dtype).max).any():
        message = f"psf file {path} is transparent in places, wanted an opaque psf: save it without alpha."
        raise PsfError(message)
    return stored[..., :-1]


def _as_float(stored: np.ndarray, path: Path) -> np.ndarray:
    if stored.ndim == 3 and stored.shape[2] in (1, 3) and (stored == stored[..., :1]).all():
        stored = stored[..., 0]
    if stored.ndim not in (2, 3) or (stored.ndim == 3 and stored.shape[2] > 4) or not stored.size:
        message = (
            f"psf file {path} holds an array of shape {stored.shape}, "
            "wanted (h, w) or (h, w, channels): cut one out."
        )
        raise PsfError(message)
    if stored.dtype.kind in "ui":
        return stored / float(np.iinfo(stored.dtype).max)
    return stored.astype(complex if stored.dtype.kind == "c" else np.float64)


def _write_png(stream: BinaryIO, psf: np.ndarray) -> None:
    import imagecodecs

    stream.write(imagecodecs.png_encode(np.round(psf / psf.max() * 65535).astype(np.uint16)))


def _write_tif(stream: BinaryIO, psf: np.ndarray) -> None:
    import tifffile

    memory = io.BytesIO()  # tifffile wants a stream with a name, or memory
    tifffile.imwrite(memory, psf, photometric="rgb" if psf.ndim == 3 and psf.shape[2] == 3 else "minisblack")
    stream.write(memory.getvalue())


def _write_mat(stream: BinaryIO, psf: np.ndarray) -> None:
    import scipy.io

    scipy.io.savemat(stream, {"psf": psf})


_READERS: dict[str, Any] = dict(
    zip(SUFFIXES, (_read_png, _read_tif, _read_tif, _read_npy, _read_mat), strict=True)
)
_WRITERS: dict[str, Any] = dict(
    zip(SUFFIXES, (_write_png, _write_tif, _write_tif, np.save, _write_mat), strict=True)
)
