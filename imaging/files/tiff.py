"""TIFF: 8 and 16 bit integers, floats, several pages, grey or colour, alpha; lossless compression is kept."""

import logging
import struct
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.files.errors import PictureError
from imaging.files.exif import ORIENTATION
from imaging.files.metadata import Metadata, Resolution, TiffCoding
from imaging.files.picture import Picture
from imaging.files.tiff_exif import append_exif, read_exif

if TYPE_CHECKING:
    import tifffile

_DESCRIPTION, _X, _Y, _UNIT, _XMP, _ICC = 270, 282, 283, 296, 700, 34675
# Copied as they are while the size stays: IPTC, ImageJ, GeoTIFF and GDAL.
_KEPT = (_DESCRIPTION, 33723, 50838, 50839, 33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)
_UNITS = {1: "none", 2: "inch", 3: "cm"}
_UNIT_CODES = {name: code for code, name in _UNITS.items()}
_NONE, _DEFLATE = 1, 8
_LOSSLESS = {_NONE, 5, _DEFLATE, 32773, 34925, 50000}  # none, LZW, deflate, PackBits, LZMA, zstd
_OLD_DEFLATE = 32946
_REFUSED = {5: "CMYK", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a raw colour filter array"}


def decode(data: bytes) -> tuple[Picture, int]:
    """Return the picture as stored and its orientation; several pages come first, (N, H, W[, C]).

    Palettes are expanded, 1 bit becomes 0 and 255, white-is-zero is turned round.

    Raises:
        PictureError: CMYK, Lab or raw data, more than four samples a pixel, pages of different sizes.
    """
    import tifffile

    _quiet()
    _check_chain(data)
    with tifffile.TiffFile(BytesIO(data)) as tif:
        page = _first_page(tif)
        pixels, pages = _stack(tif)
        pixels = _as_light(pixels, page)
        samples = page.samplesperpixel if page.photometric != 3 else 3
        if samples > 4:
            message = (
                f"the TIFF has {samples} samples a pixel, but 1 to 4 were wanted: save the channels as pages."
            )
            raise PictureError(message)
        alpha = samples in (2, 4)
        tags = page.tags
        metadata = replace(described(tif), exif=read_exif(data))
        orientation = int(tags.valueof(ORIENTATION, default=1))
    return Picture(pixels, "tiff", alpha=alpha, pages=pages, metadata=metadata), orientation


def described(tif: "tifffile.TiffFile") -> Metadata:
    """What the first page says beside its pixels, Exif excepted."""
    page = tif.pages.first
    tags = page.tags
    return Metadata(
        icc=_bytes(tags, _ICC),
        xmp=_bytes(tags, _XMP),
        resolution=_resolution(tags),
        coding=TiffCoding(
            int(page.compression),
            int(page.predictor),
            tif.byteorder,
            page.samplesperpixel in (2, 4) and 1 in tuple(page.extrasamples),
        ),
        extra=tuple(
            (str(code), _raw(tif, tags[code])) for code in _KEPT if code in tags and _worth(tags[code])
        ),
    )


def encode(picture: Picture) -> bytes:
    """Return the file's bytes; input of a lossy compression comes back with the lossless deflate."""
    import tifffile

    options = options_of(picture.metadata, picture.channels, picture.pixels.dtype)
    pixels, order = picture.pixels, options["byteorder"]
    stream = BytesIO()
    ordered = pixels.astype(pixels.dtype.newbyteorder(order), copy=False)
    if picture.metadata.exif is None:
        tifffile.imwrite(stream, ordered, **options)
        return stream.getvalue()
    return append_exif(stream, ordered, options, picture.metadata.exif)


def options_of(metadata: Metadata, channels: int, dtype: np.dtype) -> dict[str, Any]:
    """How tifffile is to write pixels of so many channels with this metadata, Exif excepted."""
    coding = (
        metadata.coding if isinstance(metadata.coding, TiffCoding) else TiffCoding(_DEFLATE, 2, "<", False)
    )
    per_unit = metadata.resolution
    if per_unit is not None and per_unit.unit == "metre":
        per_unit = Resolution(*(per_unit.per("inch") or (0.0, 0.0)), "inch")
    compression = coding.compression if coding.compression in _LOSSLESS else _DEFLATE
    options: dict[str, Any] = {
        "photometric": "rgb" if channels >= 3 else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": [1 if coding.premultiplied else 2] if channels in (2, 4) else None,
        "compression": None if compression == _NONE else compression,
        "predictor": _predictor(coding, compression, dtype),
        "byteorder": ">" if coding.byteorder == ">" else "<",
        "metadata": None,
        "software": False,
        "extratags": [_extratag(int(code), value) for code, value in metadata.extra],
    }
    if per_unit is not None and min(per_unit.x, per_unit.y) > 0:
        options |= {"resolution": (per_unit.x, per_unit.y), "resolutionunit": _UNIT_CODES[per_unit.unit]}
    for code, kind, content in ((_XMP, 1, metadata.xmp), (_ICC, 7, metadata.icc)):
        if content is not None:
            options["extratags"].append((code, kind, len(content), content, True))
    return options


def _quiet() -> None:
    """Keep tifffile's log off stderr, unless somebody listens: what matters is raised."""
    log = logging.getLogger("tifffile")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _check_chain(data: bytes) -> None:
    """Refuse a file whose chain of pages leads past its end: tifffile returns the pages before the cut."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    at, seen = 8 if big else 4, set()
    try:
        while (page := struct.unpack_from(order + offset, data, at)[0]) and page not in seen:
            seen.add(page)
            entries = struct.unpack_from(order + count, data, page)[0]
            at = page + struct.calcsize(count) + entry * entries
    except struct.error:
        message = f"the TIFF is truncated after {max(len(seen) - 1, 0)} pages: copy or download it again."
        raise PictureError(message) from None


def _first_page(tif: "tifffile.TiffFile") -> "tifffile.TiffPage":
    page = tif.pages.first
    if int(page.photometric) in _REFUSED:
        message = (
            f"the TIFF holds {_REFUSED[int(page.photometric)]}, but grey or RGB was wanted: "
            "convert it to RGB with its colour profile."
        )
        raise PictureError(message)
    return page


def _stack(tif: "tifffile.TiffFile") -> tuple[np.ndarray, bool]:
    """Return (H, W), (H, W, C) or the pages stacked in front, and whether there are several."""
    # Bit 1 of the subfile type marks a smaller copy of another page.
    series = [s for s in tif.series if not int(s.keyframe.subfiletype) & 1]
    if len(series) != 1:
        shapes = ", ".join(str(s.shape) for s in series[:4])
        message = (
            f"the TIFF has pages of different kinds or sizes ({shapes}): split it into one file for each."
        )
        raise PictureError(message)
    pixels = series[0].asarray()
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    axes = series[0].axes
    if "S" in axes and not axes.endswith("S"):  # planes of one colour each
        pixels = np.moveaxis(pixels, axes.index("S"), -1)
    inner = 3 if "S" in axes else 2
    if pixels.ndim == inner:
        return pixels, False
    return pixels.reshape(-1, *pixels.shape[pixels.ndim - inner :]), True


def _as_light(pixels: np.ndarray, page: "tifffile.TiffPage") -> np.ndarray:
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if page.photometric == 3:
        colours = np.asarray(page.colormap).T  # 16 bits, though most were 8 shifted up
        if not (colours % 257).any():
            colours = (colours // 257).astype(np.uint8)
        elif not (colours % 256).any():
            colours = (colours // 256).astype(np.uint8)
        return colours[pixels]
    if page.photometric == 0 and pixels.dtype.kind == "u":
        return np.iinfo(pixels.dtype).max - pixels
    return pixels


def _resolution(tags: "tifffile.TiffTags") -> Resolution | None:
    if _X not in tags or _Y not in tags:
        return None
    (a, b), (c, d) = tags[_X].value, tags[_Y].value
    if 0 in (a, b, c, d):
        return None
    return Resolution(a / b, c / d, _UNITS.get(int(tags.valueof(_UNIT, default=2)), "none"))


def _bytes(tags: "tifffile.TiffTags", code: int) -> bytes | None:
    value = tags.valueof(code)
    return value.encode("utf-8") if isinstance(value, str) else value


def _worth(tag: "tifffile.TiffTag") -> bool:
    # tifffile's own description repeats the shape and would contradict a cropped picture.
    return tag.code != _DESCRIPTION or not str(tag.value).startswith('{"shape"')


def _raw(tif: "tifffile.TiffFile", tag: "tifffile.TiffTag") -> tuple[int, int, bytes]:
    """Return (dtype, count, bytes in the file's byte order)."""
    tif.filehandle.seek(tag.valueoffset)
    return int(tag.dtype), tag.count, tif.filehandle.read(tag.valuebytecount)


def _extratag(code: int, value: object) -> tuple[int, int, int, bytes, bool]:
    assert isinstance(value, tuple)
    dtype, count, content = value
    return code, dtype, count, content, True


def _predictor(coding: TiffCoding, compression: int, dtype: np.dtype) -> int | bool:
    """Return the predictor, 2 for integers, 3 for floats, if the input had one and the compression can."""
    if coding.predictor in (2, 3, 34892, 34893, 34894, 34895) and compression in (5, _DEFLATE, 34925, 50000):
        return 3 if dtype.kind == "f" else 2
    return False
