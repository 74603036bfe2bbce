"""JPEG: 8 bits, grey or colour; with the input's quantisation tables and subsampling, or at quality 95."""

import struct
from collections.abc import Iterator
from io import BytesIO

import numpy as np

from imaging.files.errors import PictureError
from imaging.files.exif import without_prefix
from imaging.files.metadata import JpegCoding, Metadata, Resolution
from imaging.files.picture import Picture

QUALITY = 95  # of what was no JPEG before, without chroma subsampling
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_LONGER_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_APP0, _APP1, _APP13, _COMMENT, _SCAN = 0xE0, 0xE1, 0xED, 0xFE, 0xDA
_LONGEST = 65533


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) of the segments in front of the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _SCAN:
            return
        length = struct.unpack_from(">H", data, at + 2)[0]
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def segment(marker: int, content: bytes) -> bytes:
    """Return one segment: marker, length, content."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def decode(data: bytes) -> Picture:
    """Return the picture, (H, W[, 3]); what follows the first image (previews, gain maps) is not read.

    Raises:
        PictureError: a CMYK or truncated file.
    """
    from PIL import JpegImagePlugin

    # The plugin itself, not Image.open: photographs above Pillow's limit against bombs exist.
    with JpegImagePlugin.JpegImageFile(BytesIO(data)) as image:
        if image.mode not in ("L", "RGB"):
            message = (
                f"the JPEG is {image.mode}, but grey or RGB was wanted: convert it with its colour profile."
            )
            raise PictureError(message)
        try:
            pixels = np.array(image)
        except OSError as error:
            if "truncated" not in str(error):
                raise
            message = f"the JPEG is truncated ({error}): copy or download it again."
            raise PictureError(message) from error
        tables = tuple(
            tuple(int(value) for value in table) for _, table in sorted(image.quantization.items())
        )
        sampling = JpegImagePlugin.get_sampling(image)
        info = dict(image.info)
    return Picture(pixels, "jpeg", metadata=_metadata(data, info, JpegCoding(tables, max(sampling, 0))))


def encode(picture: Picture) -> bytes:
    """Return the file's bytes for uint8 pixels (H, W) or (H, W, 3)."""
    from PIL import Image

    metadata, pixels = picture.metadata, picture.pixels
    options: dict[str, object] = {"quality": QUALITY, "subsampling": 0}
    coding = metadata.coding
    # A grey JPEG has no table for colour differences.
    if isinstance(coding, JpegCoding) and (pixels.ndim == 2 or len(coding.tables) > 1):
        # No quality with them: Pillow would scale the tables by it.
        options = {"qtables": [list(table) for table in coding.tables], "subsampling": coding.subsampling}
    per_inch = metadata.resolution.per("inch") if metadata.resolution else None
    if per_inch is not None and 0.5 <= min(per_inch) and max(per_inch) < 65535:
        options["dpi"] = tuple(round(value) for value in per_inch)
    if metadata.icc is not None:
        options["icc_profile"] = metadata.icc
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", **options)
    return _with_segments(stream.getvalue(), list(_segments_of(metadata)))


def _metadata(data: bytes, info: dict, coding: JpegCoding) -> Metadata:
    exif, xmp, extra = None, None, []
    for marker, content in segments(data):
        if marker == _APP1 and content.startswith(b"Exif\0\0"):
            exif = exif or without_prefix(content)
        elif marker == _APP1 and content.startswith(_XMP):
            xmp = content.removeprefix(_XMP)
        elif marker in (_APP13, _COMMENT) or (marker == _APP1 and content.startswith(_LONGER_XMP)):
            extra.append((f"{marker:02X}", content))
    unit = {1: "inch", 2: "cm"}.get(info.get("jfif_unit", 0))
    resolution = None
    if unit is not None and min(info["jfif_density"]) > 0:
        x, y = info["jfif_density"]
        resolution = Resolution(float(x), float(y), unit)
    return Metadata(exif, info.get("icc_profile"), xmp, resolution, coding, tuple(extra))


def _segments_of(metadata: Metadata) -> Iterator[bytes]:
    contents = [(_APP1, b"Exif\0\0" + metadata.exif)] if metadata.exif is not None else []
    if metadata.xmp is not None:
        contents.append((_APP1, _XMP + metadata.xmp))
    for name, content in metadata.extra:
        assert isinstance(content, bytes)
        contents.append((int(name, 16), content))
    for marker, content in contents:
        if len(content) > _LONGEST:
            message = (
                f"its metadata has a block of {len(content)} bytes and JPEG takes {_LONGEST} at most: "
                "write another format or strip the metadata (strip_metadata=True, --strip-metadata)."
            )
            raise PictureError(message)
        yield segment(marker, content)


def _with_segments(data: bytes, extra: list[bytes]) -> bytes:
    """Insert segments after the start marker and the JFIF header, where readers look for Exif."""
    at = 2
    if data[2:4] == bytes((0xFF, _APP0)):
        at += 2 + struct.unpack_from(">H", data, 4)[0]
    return data[:at] + b"".join(extra) + data[at:]
