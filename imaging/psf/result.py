"""What an estimate hands back, and the grey picture it starts from."""

from dataclasses import dataclass, field

import numpy as np

from imaging.psf.errors import PsfError


@dataclass(frozen=True)
class PsfEstimate:
    """A psf found in a picture.

    psf (h, w), odd, sum 1, centre n // 2; kind; its numbers in pixels and degrees; confidence in [0, 1], the
    its maker says what it means; one line of text.
    """

    psf: np.ndarray
    kind: str
    parameters: dict[str, float] = field(default_factory=dict)
    confidence: float = 1.0
    text: str = ""


def grey(image: np.ndarray) -> np.ndarray:
    """Mean of the colours as float64 (H, W), integers on [0, 1]; alpha is dropped. PsfError otherwise."""
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.dtype.kind not in "uif" or not image.size:
        message = (
            f"image is an array of {image.dtype} of shape {image.shape}, "
            "wanted (H, W) or (H, W, C): cut one picture out."
        )
        raise PsfError(message)
    if image.ndim == 3:
        colours = {2: 1, 4: 3}.get(image.shape[2], image.shape[2])
        image = image[..., :colours]
    scale = float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else 1.0
    picture = image.astype(np.float64) / scale
    if picture.ndim == 3:
        picture = picture.mean(2)
    if not np.isfinite(picture).all():
        message = "image has NaN or infinite pixels, wanted finite values: fill or crop them first."
        raise PsfError(message)
    return picture


def window_about(image: np.ndarray, at: tuple[int, int], size: int) -> np.ndarray:
    """The size x size pixels about `at` (row, column); PsfError when they are not all in the picture."""
    if size < 9 or size % 2 == 0:
        message = f"window size is {size}, wanted an odd number of at least 9: give the side in pixels."
        raise PsfError(message)
    r, c = (int(i) - size // 2 for i in at)
    if r < 0 or c < 0 or r + size > image.shape[0] or c + size > image.shape[1]:
        message = (
            f"a window of {size}x{size} about {tuple(int(i) for i in at)} leaves the "
            f"{image.shape[0]}x{image.shape[1]} image, wanted it inside: "
            "choose another place or a smaller size."
        )
        raise PsfError(message)
    return image[r : r + size, c : c + size]
