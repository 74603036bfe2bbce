"""Between sRGB values, as cameras store them, and linear light, in which blur adds up."""

import numpy as np


def srgb_to_linear(x: np.ndarray) -> np.ndarray:
    """Return the linear light of sRGB-coded values.

        linear = x / 12.92 for x <= 0.04045, ((x + 0.055) / 1.055) ** 2.4 above;

    odd about 0 and continued above 1, so that noise outside [0, 1] is neither clipped nor folded.
    Any shape, nominal range [0, 1], floating dtype kept. Source: IEC 61966-2-1.

    >>> srgb_to_linear(np.array([0.0, 0.5, 1.0])).round(4).tolist()
    [0.0, 0.214, 1.0]
    """
    size = np.abs(x)
    # The power branch sees at least the knee, so that nothing is computed outside its domain.
    power = ((np.maximum(size, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.copysign(np.where(size <= 0.04045, size / 12.92, power), x)


def linear_to_srgb(x: np.ndarray) -> np.ndarray:
    """Return the sRGB coding of linear light, the inverse of `srgb_to_linear` on the whole line.

        srgb = 12.92 x for x <= 0.0031308, 1.055 x ** (1 / 2.4) - 0.055 above.

    >>> linear_to_srgb(np.array([0.0, 0.2140411, 1.0])).round(4).tolist()
    [0.0, 0.5, 1.0]
    """
    size = np.abs(x)
    knee = 0.04045 / 12.92  # the standard prints 0.0031308; this makes both directions meet exactly
    power = 1.055 * np.maximum(size, knee) ** (1 / 2.4) - 0.055
    return np.copysign(np.where(size <= knee, 12.92 * size, power), x)
