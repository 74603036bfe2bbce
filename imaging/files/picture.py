"""Reading and writing pictures: what came in goes out in the same depth, with the same alpha and metadata."""

import os
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from imaging.files.atomic import atomic_write, check_target
from imaging.files.errors import PictureError, PictureNotFoundError
from imaging.files.exif import orientation_of, upright_exif
from imaging.files.formats import EXTENSIONS, NAMES, check_holds, format_of, sniff
from imaging.files.metadata import Metadata, upright_xmp


@dataclass(frozen=True)
class Picture:
    """Pixels as stored but upright, (H, W) or (H, W, C), with several pages (N, H, W) or (N, H, W, C).

    `alpha` says that the last channel is alpha, `pages` that the first axis counts pages.
    """

    pixels: np.ndarray
    format: str
    alpha: bool = False
    pages: bool = False
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def dtype(self) -> np.dtype:
        return self.pixels.dtype

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.pixels.shape[1:3] if self.pages else self.pixels.shape[:2]
        return height, width

    @property
    def channels(self) -> int:
        """Number of channels, alpha included."""
        return 1 if self.pixels.ndim == 2 + self.pages else self.pixels.shape[-1]

    def frames(self) -> list[np.ndarray]:
        """Return the pages, (H, W) or (H, W, C) each; one for a picture without pages."""
        return list(self.pixels) if self.pages else [self.pixels]


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read PNG, JPEG, TIFF, BMP, WebP or npy; the content decides which, not the name.

    Depth, alpha and metadata are kept. The Exif orientation is applied, so the pixels are upright, and the
    tag becomes 1. Palettes and fewer than 8 bits are expanded.

    Raises:
        PictureNotFoundError: there is no such file.
        PictureError: a folder, an empty, truncated or damaged file, no picture, a kind of picture that cannot
            be worked on (CMYK, animation, volume, complex numbers); the message says which and what to do.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "grey.png"
    >>> _ = write_picture(path, np.array([[0, 4464]], dtype=np.uint16))
    >>> read_picture(path).pixels
    array([[   0, 4464]], dtype=uint16)
    """
    data = _contents(path)
    kind = sniff(data[:16])
    if kind is None:
        raise PictureError(_not_a_picture(path, data))
    codec = _codec(kind)
    try:
        decoded = codec.decode(data)
    except (MemoryError, ImportError):
        raise
    except PictureError as error:
        message = f"{path}: {error}"
        raise PictureError(message) from error
    except Exception as error:  # a damaged file can raise anything in four libraries
        message = (
            f"{path} is a damaged or unknown kind of {NAMES[kind]} ({error}): copy it again or convert it."
        )
        raise PictureError(message) from error
    picture, orientation = decoded if isinstance(decoded, tuple) else (decoded, None)
    if picture.pixels.size == 0:
        message = f"{path} is empty: its shape is {picture.pixels.shape}, at least one pixel was wanted."
        raise PictureError(message)
    return _upright(picture, orientation or orientation_of(picture.metadata.exif))


def write_picture(
    path: str | os.PathLike[str],
    picture: Picture | np.ndarray,
    like: Picture | None = None,
    *,
    strip_metadata: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a picture in the format that the extension of `path` names; the file is complete or not there.

    Metadata and coding come from `like`, the picture that was read, or from `picture` itself: Exif, XMP, ICC
    profile and resolution in every format that has them; JPEG's quantisation tables, TIFF's compression and
    WebP's losslessness if the format is the same. Otherwise JPEG and WebP are written at quality 95.
    `strip_metadata` drops Exif, XMP, texts, resolution and the colour profile.

    Raises:
        PictureError: an unknown extension, a folder, a picture that the format cannot hold without loss (the
            message names formats that can).
        OutputExistsError: `path` exists and `overwrite` is False.
        PictureNotFoundError: its folder does not exist.
    """
    kind = format_of(path)
    check_target(path, overwrite=overwrite)
    picture = picture if isinstance(picture, Picture) else _from_array(picture, like)
    picture = _squeezed(replace(picture, metadata=(like or picture).metadata))
    try:
        _check_pixels(picture.pixels)
        check_holds(path, kind, str(picture.dtype.newbyteorder("=")), picture.channels, picture.pages)
        metadata = _adapted(picture, like or picture, kind)
        picture = replace(picture, metadata=metadata.stripped() if strip_metadata else metadata)
        if kind != "npy":
            picture = replace(picture, pixels=_plain(picture.pixels))
        data = _codec(kind).encode(picture)
    except PictureError as error:
        message = str(error) if str(error).startswith(str(path)) else f"{path}: {error}"
        raise PictureError(message) from error
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(data)
    return Path(path)


def _codec(kind: str) -> ModuleType:
    return import_module(f"imaging.files.{kind}")


def _contents(path: str | os.PathLike[str]) -> bytes:
    file = Path(path)
    if file.is_dir():
        message = f"{path} is a folder, but a picture file was wanted: name a file in it."
        raise PictureError(message)
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        message = f"{path} does not exist: check the name and the folder it should be in."
        raise PictureNotFoundError(message) from error
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}): check its permissions."
        raise PictureError(message) from error
    if not data:
        message = f"{path} is empty (0 bytes): copy or download it again."
        raise PictureError(message)
    return data


def _not_a_picture(path: str | os.PathLike[str], data: bytes) -> str:
    claimed = EXTENSIONS.get(Path(path).suffix.lower())
    known = ", ".join(NAMES.values())
    if claimed is not None:
        return f"{path} is not a {NAMES[claimed]} file: it begins with {data[:8]!r}. Files read are {known}."
    return f"{path} is not a picture that can be read here: it must be one of {known}; convert it first."


def _upright(picture: Picture, orientation: int) -> Picture:
    """Turn the pixels as Exif orientation 1 to 8 asks, and say in the metadata that it was done."""
    pixels, metadata, row = picture.pixels, picture.metadata, 1 if picture.pages else 0
    if orientation >= 5:
        pixels = np.swapaxes(pixels, row, row + 1)
    if orientation in (3, 4, 7, 8):
        pixels = np.flip(pixels, row)
    if orientation in (2, 3, 6, 7):
        pixels = np.flip(pixels, row + 1)
    resolution = metadata.resolution
    if resolution is not None and orientation >= 5:
        resolution = resolution._replace(x=resolution.y, y=resolution.x)
    turned = replace(picture, pixels=np.ascontiguousarray(pixels))
    exif = None if metadata.exif is None else upright_exif(metadata.exif, turned.size)
    metadata = replace(metadata, exif=exif, xmp=upright_xmp(metadata.xmp), resolution=resolution)
    return replace(turned, metadata=metadata)


def _from_array(pixels: np.ndarray, like: Picture | None) -> Picture:
    pixels = np.asarray(pixels)
    if like is not None and like.pixels.ndim == pixels.ndim:
        pages = like.pages
    else:
        pages = pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] not in (1, 2, 3, 4))
    channels = pixels.shape[-1] if pixels.ndim == 3 + pages else 1
    return Picture(pixels, "npy", alpha=channels in (2, 4), pages=pages)


def _squeezed(picture: Picture) -> Picture:
    one = picture.pixels.ndim == 3 + picture.pages and picture.pixels.shape[-1] == 1
    return replace(picture, pixels=picture.pixels[..., 0]) if one else picture


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.dtype.kind == "c":
        message = f"the picture is complex ({pixels.dtype}): write its real part or its magnitude."
        raise PictureError(message)
    if pixels.size == 0 or pixels.ndim not in (2, 3, 4):
        message = (
            f"the picture has the shape {pixels.shape}, but (H, W) or (H, W, C) with pixels in it was wanted."
        )
        raise PictureError(message)


def _plain(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels in native byte order, bool as 0 and 255."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _adapted(picture: Picture, source: Picture, kind: str) -> Metadata:
    """Return the metadata as far as it is true for these pixels in this format."""
    metadata = picture.metadata
    if source.format != kind:
        metadata = replace(metadata, extra=(), coding=None)
    elif kind == "tiff" and (source.size, len(source.frames())) != (picture.size, len(picture.frames())):
        metadata = replace(metadata, extra=())  # descriptions of stacks and maps count pages and pixels
    if metadata.exif is not None:
        metadata = replace(metadata, exif=upright_exif(metadata.exif, picture.size))
    return metadata.for_channels(3 if kind == "webp" else picture.channels)
