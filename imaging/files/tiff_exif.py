"""Exif in TIFF, where it is spread over the file: gathered into one block on reading, put back on writing."""

import struct
from io import BytesIO
from typing import Any

import numpy as np

from imaging.files.exif import EXIF_IFD, GPS_IFD

# Make, model, software, date, artist, host computer, copyright: what describes the picture, not its storage.
_TEXTS = (271, 272, 305, 306, 315, 316, 33432)
_INTEROPERABILITY = 0xA005  # an offset to yet another directory, about file names of cameras


def read_exif(data: bytes) -> bytes | None:
    """Return the Exif block (TIFF structure) of a TIFF file, or None if it has none that can be read."""
    from PIL import Image

    if data[2:4] not in (b"*\0", b"\0*"):
        return None  # BigTIFF, which Exif cannot point into
    source, block = Image.Exif(), Image.Exif()
    try:
        source.load_from_fp(BytesIO(data))
        for tag in _TEXTS:
            if tag in source:
                block[tag] = source[tag]
        for tag in (EXIF_IFD, GPS_IFD):
            directory = {key: value for key, value in source.get_ifd(tag).items() if key != _INTEROPERABILITY}
            if directory:
                block[tag] = directory
        return block.tobytes().removeprefix(b"Exif\0\0") if len(block) else None
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        return None


def append_exif(stream: BytesIO, pixels: np.ndarray, options: dict[str, Any], exif: bytes) -> bytes:
    """Write the TIFF into `stream` with the block's texts as tags and its directories behind the pixels."""
    import tifffile
    from PIL import Image

    block = Image.Exif()
    block.load(b"Exif\0\0" + exif)
    texts = [
        (tag, 2, 0, str(block[tag]), True) for tag in _TEXTS if tag in block and str(block[tag]).isascii()
    ]
    directories = {tag: directory for tag in (EXIF_IFD, GPS_IFD) if (directory := block.get_ifd(tag))}
    # tifffile refuses to write these two tags, so room is made under the number below, which sorts alike.
    rooms = [(tag - 1, 4, 1, 0, True) for tag in directories]
    tifffile.imwrite(stream, pixels, **(options | {"extratags": [*options["extratags"], *texts, *rooms]}))
    stream.seek(0)
    with tifffile.TiffFile(stream) as tif:
        if tif.is_bigtiff:
            return stream.getvalue()
        entries = {tag: tif.pages.first.tags[tag - 1].offset for tag in directories}
    data, order = bytearray(stream.getvalue()), options["byteorder"]
    for tag, directory in directories.items():
        data += bytes(len(data) % 2)  # directories start at even offsets
        struct.pack_into(order + "HHII", data, entries[tag], tag, 4, 1, len(data))
        data += _directory_bytes(directory, order, len(data))
    return bytes(data)


def _directory_bytes(directory: dict[int, Any], order: str, at: int) -> bytes:
    from PIL import TiffImagePlugin

    written = TiffImagePlugin.ImageFileDirectory_v2(
        ifh=b"II*\0\0\0\0\0" if order == "<" else b"MM\0*\0\0\0\0"
    )
    for key, value in directory.items():
        if key != _INTEROPERABILITY:
            written[key] = value
    return written.tobytes(at)
