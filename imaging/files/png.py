"""PNG: pixels by imagecodecs (Pillow has no 16-bit colour), metadata chunks by hand.

Source: PNG specification, third edition (W3C, 2025).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from imaging.files.errors import PictureError
from imaging.files.exif import without_prefix
from imaging.files.metadata import Metadata, Resolution
from imaging.files.picture import Picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP = b"XML:com.adobe.xmp\0"
# Chunks that stay true for other pixels of the same kind. Not kept: tRNS and PLTE (expanded into the pixels),
# bKGD, hIST, sBIT and sPLT (about the old pixels), tIME (the last change).
_KEPT = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tEXt", b"zTXt", b"iTXt"}


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of each chunk up to IEND.

    Raises:
        PictureError: the file ends before IEND.
    """
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if len(content) < length:
            break
        yield kind, content
        if kind == b"IEND":
            return
        at += 12 + length
    message = "the PNG is truncated: it ends before its last chunk. Copy or download it again."
    raise PictureError(message)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk: length, type, content and CRC."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def decode(data: bytes) -> Picture:
    """Return the picture, palette and 1, 2, 4 bits expanded to 8, transparency to an alpha channel.

    Raises:
        PictureError: a truncated or animated file.
    """
    import imagecodecs

    metadata, extra = Metadata(), []
    for kind, content in chunks(data):
        if kind == b"acTL":
            message = "the PNG is an animation: save the frame you want as a picture."
            raise PictureError(message)
        if kind == b"iTXt" and content.startswith(_XMP):
            metadata = replace(metadata, xmp=_xmp_text(content))
        elif kind in _KEPT:
            extra.append((kind.decode("ascii"), content))
        elif kind == b"iCCP":
            metadata = replace(metadata, icc=_profile(content))
        elif kind == b"eXIf":
            metadata = replace(metadata, exif=without_prefix(content))
        elif kind == b"pHYs":
            x, y, unit = struct.unpack(">IIB", content)
            metadata = replace(metadata, resolution=Resolution(x, y, "metre" if unit == 1 else "none"))
    pixels = imagecodecs.png_decode(data)
    alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    return Picture(pixels, "png", alpha=alpha, metadata=replace(metadata, extra=tuple(extra)))


def encode(picture: Picture) -> bytes:
    """Return the file's bytes for uint8 or uint16 pixels (H, W[, C])."""
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(picture.pixels)))
    header = len(_SIGNATURE) + 25  # the IHDR chunk; colour chunks must come before the pixels
    return data[:header] + b"".join(_metadata_chunks(picture.metadata)) + data[header:]


def _metadata_chunks(metadata: Metadata) -> Iterator[bytes]:
    if metadata.icc is not None:
        yield chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
    resolution = metadata.resolution
    if resolution is not None:
        per_metre = resolution.per("metre")
        x, y = per_metre or (resolution.x, resolution.y)
        if 1 <= min(x, y) and max(x, y) < 2**31:
            yield chunk(b"pHYs", struct.pack(">IIB", round(x), round(y), 1 if per_metre else 0))
    for kind, content in metadata.extra:
        assert isinstance(content, bytes)
        yield chunk(kind.encode("ascii"), content)
    if metadata.exif is not None:
        yield chunk(b"eXIf", metadata.exif)
    if metadata.xmp is not None:
        yield chunk(b"iTXt", _XMP + b"\0\0\0\0" + metadata.xmp)


def _profile(content: bytes) -> bytes | None:
    """Return the ICC profile of an iCCP chunk; like every viewer, do without it if it is damaged."""
    try:
        return zlib.decompress(content.split(b"\0", 1)[1][1:])
    except (IndexError, zlib.error):
        return None


def _xmp_text(content: bytes) -> bytes:
    compressed, _method, rest = content[len(_XMP)], content[len(_XMP) + 1], content[len(_XMP) + 2 :]
    text = rest.split(b"\0", 2)[2]  # language, translated keyword
    return zlib.decompress(text) if compressed else text
