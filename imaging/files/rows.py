"""Reading a picture a few rows at a time, without mapping the file: npy, TIFF (BigTIFF), zarr."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from imaging.files.errors import PictureError

if TYPE_CHECKING:
    import tifffile

WAYS = "npy, TIFF or zarr"


class RowReader(Protocol):
    """A picture (H, W) or (H, W, C), upright, of which rows can be had."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def rows(self, first: int, last: int) -> np.ndarray:
        """Rows [first, last) as stored, native byte order."""


class ArrayRows:
    """Rows of an array that is in memory already."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape, self.dtype = tuple(array.shape), array.dtype

    def rows(self, first: int, last: int) -> np.ndarray:
        """A view."""
        return self.array[first:last]


class NpyRows:
    """Rows of a .npy file in C order, read from the file where they lie."""

    def __init__(self, file: BinaryIO) -> None:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        self.shape, fortran, self._stored = read(file)
        self.dtype = self._stored.newbyteorder("=")
        if fortran or self._stored.kind not in "biuf" or len(self.shape) not in (2, 3):
            message = (
                f"the array is {self._stored} of shape {self.shape}: only numbers (H, W) or (H, W, C) in C "
                "order can be read row by row; save it again with np.ascontiguousarray."
            )
            raise PictureError(message)
        self._file, self._start = file, file.tell()
        self._row = int(np.prod(self.shape[1:])) * self._stored.itemsize

    def rows(self, first: int, last: int) -> np.ndarray:
        """Read them."""
        self._file.seek(self._start + first * self._row)
        values = np.fromfile(self._file, self._stored, (last - first) * self._row // self._stored.itemsize)
        if values.size * self._stored.itemsize != (last - first) * self._row:
            message = "the file ends before its last row: copy or download it again."
            raise PictureError(message)
        return values.reshape(last - first, *self.shape[1:]).astype(self.dtype, copy=False)


class TiffRows:
    """Rows of a TIFF with one page, grey or with interleaved colours, in strips or tiles."""

    def __init__(self, tif: tifffile.TiffFile) -> None:
        page: Any = tif.pages.first
        others: Any = tif.pages[1:]
        if not all(int(p.subfiletype) & 1 for p in others):  # smaller copies of the first are no pages
            message = "the TIFF has several pages: only one can be read row by row."
            raise PictureError(message)
        plain = (
            page.photometric in (1, 2) and page.planarconfig == 1 and page.bitspersample in (8, 16, 32, 64)
        )
        if not plain or page.samplesperpixel > 4 or int(page.tags.valueof(274, default=1)) != 1:
            message = (
                "the TIFF is turned, has a palette, or keeps its colours in planes: only upright grey or RGB "
                "with interleaved colours can be read row by row."
            )
            raise PictureError(message)
        colours = (page.samplesperpixel,) if page.samplesperpixel > 1 else ()
        self.shape: tuple[int, ...] = (page.imagelength, page.imagewidth, *colours)
        self.dtype = page.dtype.newbyteorder("=")
        self._page, self._file = page, tif.filehandle
        tall = page.tilelength if page.is_tiled else page.rowsperstrip
        self._tall = min(tall, page.imagelength)
        self._across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1

    def rows(self, first: int, last: int) -> np.ndarray:
        """Decode the strips or tiles they lie in."""
        out = np.zeros((last - first, *self.shape[1:]), self.dtype)
        begin, end = first // self._tall * self._across, -(-last // self._tall) * self._across
        for index in range(begin, end):
            self._put(out, first, index)
        return out

    def _put(self, out: np.ndarray, first: int, index: int) -> None:
        count = self._page.databytecounts[index]
        if count == 0:
            return  # a hole: zeros
        self._file.seek(self._page.dataoffsets[index])
        part, place, shape = self._page.decode(self._file.read(count), index)
        if part is None:
            return
        part = np.asarray(part)[0, : shape[1], : shape[2]]
        top, left = place[-3], place[-2]
        low, high = max(top, first), min(top + part.shape[0], first + len(out))
        if high <= low:
            return
        piece = part[low - top : high - top, : out.shape[1] - left]
        out[low - first : high - first, left : left + piece.shape[1]] = (
            piece if out.ndim == 3 else piece[..., 0]
        )


class ZarrRows:
    """Rows of a zarr array (H, W) or (H, W, C)."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, tuple(array.shape), np.dtype(array.dtype)

    def rows(self, first: int, last: int) -> np.ndarray:
        """Read the chunks they lie in."""
        return np.asarray(self.array[first:last])


def can_stream(path: str | os.PathLike[str]) -> bool:
    """Whether `open_rows` knows this kind of file, going by its name.

    >>> can_stream("scan.TIF"), can_stream("photo.jpg")
    (True, False)
    """
    return Path(path).suffix.lower() in (".npy", ".tif", ".tiff", ".zarr")


@contextmanager
def open_rows(path: str | os.PathLike[str]) -> Iterator[RowReader]:
    """Open a picture for reading by rows; only its header is read here.

    Raises:
        PictureError: another kind of file, or one whose rows cannot be had by themselves.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".npy":
            with open(path, "rb") as file:
                yield NpyRows(file)
        elif suffix in (".tif", ".tiff"):
            import tifffile

            with tifffile.TiffFile(path) as tif:
                yield TiffRows(tif)
        elif suffix == ".zarr":
            yield ZarrRows(open_zarr(path))
        else:
            message = f"{suffix or 'this kind of file'} cannot be read row by row: use {WAYS}."
            raise PictureError(message)
    except PictureError as error:
        message = f"{path}: {error}"
        raise PictureError(message) from error
    except FileNotFoundError as error:
        message = f"{path} does not exist: check the name and the folder it should be in."
        raise PictureError(message) from error


def open_zarr(path: str | os.PathLike[str]) -> Any:
    """The array in a zarr folder; PictureError where the extra is not installed or the folder is a group."""
    try:
        import zarr
    except ImportError as error:
        message = "zarr is not installed: pip install 'proxlab[zarr]'."
        raise PictureError(message) from error
    array = zarr.open(os.fspath(path), mode="r")
    if not hasattr(array, "dtype"):
        message = "the zarr is a group, but an array was wanted: name the array in it."
        raise PictureError(message)
    return array
