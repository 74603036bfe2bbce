"""BMP: 8 bits, grey, colour or colour with alpha, never compressed."""

import struct
from io import BytesIO

import numpy as np

from imaging.files.metadata import Metadata, Resolution
from imaging.files.picture import Picture


def decode(data: bytes) -> Picture:
    """Return the picture, palettes expanded, (H, W), (H, W, 3) or (H, W, 4)."""
    from PIL import BmpImagePlugin

    with BmpImagePlugin.BmpImageFile(BytesIO(data)) as image:
        dpi = image.info.get("dpi")
        mode = {"1": "L", "L": "L", "RGBA": "RGBA"}.get(image.mode, "RGB")
        pixels = np.array(image if image.mode == mode else image.convert(mode))
    x, y = struct.unpack_from("<ii", data, 38) if dpi else (0, 0)
    resolution = Resolution(float(x), float(y), "metre") if min(x, y) > 0 else None
    return Picture(pixels, "bmp", alpha=mode == "RGBA", metadata=Metadata(resolution=resolution))


def encode(picture: Picture) -> bytes:
    """Return the file's bytes for uint8 pixels (H, W[, 3 or 4]); of the metadata BMP takes the resolution."""
    from PIL import Image

    per_metre = picture.metadata.resolution.per("metre") if picture.metadata.resolution else None
    x, y = (round(value) for value in per_metre or (0, 0))
    if picture.pixels.ndim == 3 and picture.pixels.shape[2] == 4:
        return _with_alpha(picture.pixels, x, y)
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.pixels)).save(stream, "BMP")
    data = bytearray(stream.getvalue())
    struct.pack_into("<ii", data, 38, x, y)
    return bytes(data)


def _with_alpha(pixels: np.ndarray, x: int, y: int) -> bytes:
    """Return a BMP of version 4, whose bit masks are the only ones that declare an alpha channel."""
    height, width = pixels.shape[:2]
    body = np.ascontiguousarray(pixels[::-1, :, [2, 1, 0, 3]]).tobytes()
    offset = 14 + 108
    header = struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset)
    header += struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), x, y, 0, 0)
    header += struct.pack("<IIII4s", 0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000, b"BGRs")
    return header + bytes(48) + body
