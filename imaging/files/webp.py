"""WebP: 8-bit colour, perhaps with alpha; lossless if the input was a lossless WebP, else at quality 95."""

import struct
from io import BytesIO

import numpy as np

from imaging.files.errors import PictureError
from imaging.files.exif import without_prefix
from imaging.files.metadata import Metadata, WebpCoding
from imaging.files.picture import Picture

QUALITY = 95


def decode(data: bytes) -> Picture:
    """Return the picture, (H, W, 3) or (H, W, 4): WebP has no grey.

    Raises:
        PictureError: a truncated or animated file.
    """
    from PIL import WebPImagePlugin

    if len(data) < 8 + struct.unpack_from("<I", data, 4)[0]:
        message = "the WebP is truncated: it is shorter than its header says. Copy or download it again."
        raise PictureError(message)
    with WebPImagePlugin.WebPImageFile(BytesIO(data)) as image:
        if getattr(image, "n_frames", 1) > 1:
            message = "the WebP is an animation: save the frame you want as a picture."
            raise PictureError(message)
        info = dict(image.info)
        pixels = np.array(image if image.mode in ("RGB", "RGBA") else image.convert("RGB"))
    metadata = Metadata(
        exif=without_prefix(info.get("exif")),
        icc=info.get("icc_profile"),
        xmp=info.get("xmp"),
        coding=WebpCoding(b"VP8L" in _chunk_names(data)),
    )
    return Picture(pixels, "webp", alpha=pixels.shape[2] == 4, metadata=metadata)


def encode(picture: Picture) -> bytes:
    """Return the file's bytes for uint8 pixels; grey is written as three equal channels.

    Raises:
        PictureError: a side is longer than the 16383 pixels that WebP can hold.
    """
    from PIL import Image

    pixels, metadata = picture.pixels, picture.metadata
    if max(pixels.shape[:2]) > 16383:
        message = (
            f"WebP holds 16383 pixels a side, the picture is {pixels.shape[0]}x{pixels.shape[1]}: write .png."
        )
        raise PictureError(message)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    elif pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    lossless = isinstance(metadata.coding, WebpCoding) and metadata.coding.lossless
    # exact: keep the colours under transparent pixels. Quality of a lossless file is effort.
    options: dict[str, object] = {"lossless": lossless, "quality": 80 if lossless else QUALITY, "exact": True}
    if metadata.exif is not None:
        options["exif"] = metadata.exif
    if metadata.icc is not None:
        options["icc_profile"] = metadata.icc
    if metadata.xmp is not None:
        options["xmp"] = metadata.xmp
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "WEBP", **options)
    return stream.getvalue()


def _chunk_names(data: bytes) -> list[bytes]:
    names, at = [], 12
    while at + 8 <= len(data):
        names.append(data[at : at + 4].rstrip())
        size = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + size + size % 2
    return names
