"""What a picture file says besides its pixels, in terms that every format can use."""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

_METRES = {"inch": 0.0254, "cm": 0.01, "metre": 1.0}


class Resolution(NamedTuple):
    """Pixels per unit along x (columns) and y (rows); the unit is "inch", "cm", "metre" or "none"."""

    x: float
    y: float
    unit: str

    def per(self, unit: str) -> tuple[float, float] | None:
        """Return (x, y) in pixels per `unit`, or None when there is no unit to convert from.

        >>> Resolution(100.0, 100.0, "cm").per("inch")
        (254.0, 254.0)
        """
        if self.unit == unit:
            return self.x, self.y
        if self.unit not in _METRES or unit not in _METRES:
            return None
        ratio = _METRES[unit] / _METRES[self.unit]
        return round(self.x * ratio, 6), round(self.y * ratio, 6)


class JpegCoding(NamedTuple):
    """How a JPEG was compressed: quantisation tables of 64 values each in reading order, chroma subsampling
    (0: 4:4:4, 1: 4:2:2, 2: 4:2:0)."""

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


class TiffCoding(NamedTuple):
    """How a TIFF was laid out: compression and predictor as TIFF numbers, byte order, premultiplied alpha."""

    compression: int
    predictor: int
    byteorder: str
    premultiplied: bool


class WebpCoding(NamedTuple):
    """Whether a WebP was compressed without loss."""

    lossless: bool


@dataclass(frozen=True)
class Metadata:
    """Exif (TIFF structure, no prefix, orientation 1), ICC and XMP bytes, resolution, coding.

    `extra` holds (name, content) items that only the same format can take back: PNG chunks, JPEG segments,
    TIFF tags.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    resolution: Resolution | None = None
    coding: JpegCoding | TiffCoding | WebpCoding | None = None
    extra: tuple[tuple[str, object], ...] = ()

    def stripped(self) -> "Metadata":
        """Return only how the pixels are coded: nothing about camera, place, author, colour profile."""
        return Metadata(coding=self.coding)

    def for_channels(self, channels: int) -> "Metadata":
        """Return the metadata without an ICC profile that was made for the other kind, grey or colour."""
        if self.icc is None or len(self.icc) < 20:
            return replace(self, icc=None)
        kind = b"GRAY" if channels in (1, 2) else b"RGB "
        return self if self.icc[16:20] == kind else replace(self, icc=None)


def upright_xmp(xmp: bytes | None) -> bytes | None:
    """Return the XMP packet with tiff:Orientation, where it has one, set to 1."""
    if xmp is None:
        return None
    return re.sub(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>\s*))[1-8]", rb"\g<1>1", xmp)
