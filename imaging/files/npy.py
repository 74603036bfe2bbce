"""npy: any real pixels, (H, W) or (H, W, C), exactly as they are; no metadata."""

from io import BytesIO

import numpy as np

from imaging.files.errors import PictureError
from imaging.files.picture import Picture


def decode(data: bytes) -> Picture:
    """Return the picture.

    Raises:
        PictureError: complex or not numeric values, a volume or another shape that is no picture.
    """
    pixels = np.load(BytesIO(data), allow_pickle=False)
    if pixels.dtype.kind == "c":
        message = f"the array is complex ({pixels.dtype}): save its real part or its magnitude."
        raise PictureError(message)
    if pixels.dtype.kind not in "biuf":
        message = f"the array has {pixels.dtype} values: integers or floats were wanted."
        raise PictureError(message)
    if pixels.ndim not in (2, 3):
        message = (
            f"the array has the shape {pixels.shape}, but (H, W) or (H, W, C) with C = 1, 3 or 4 was wanted."
        )
        raise PictureError(message)
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        message = (
            f"the array is a volume of shape {pixels.shape}, but (H, W) or (H, W, C) with C = 1, 3 or 4 "
            "was wanted: save its planes as pages of a TIFF."
        )
        raise PictureError(message)
    return Picture(pixels, "npy", alpha=pixels.ndim == 3 and pixels.shape[2] == 4)


def encode(picture: Picture) -> bytes:
    """Return the file's bytes."""
    stream = BytesIO()
    np.save(stream, picture.pixels, allow_pickle=False)
    return stream.getvalue()
