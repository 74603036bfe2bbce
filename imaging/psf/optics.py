"""Psf of an aberrated lens: the pupil's phase as Zernike polynomials, by one FFT."""

import math
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from imaging.psf.errors import PsfError

ENERGY = 0.98  # light kept by the crop: diffraction rings fade so slowly that 0.999 needs hundreds of pixels
_LARGEST = 2048  # samples a side of the pupil grid

# Noll-normalised (unit variance over the pupil); x along columns, y along rows downward. Coma carries the
# tilt that keeps the centroid in the centre: a coma of Noll alone moves the picture (the crop leaves a fifth
# of a pixel).
_POLYNOMIALS = {
    "defocus": lambda x, y, q: math.sqrt(3) * (2 * q - 1),
    "astigmatism": lambda x, y, q: math.sqrt(6) * (x * x - y * y),
    "astigmatism_45": lambda x, y, q: math.sqrt(6) * 2 * x * y,
    "coma_x": lambda x, y, q: math.sqrt(8) * (3 * q - 3) * x,
    "coma_y": lambda x, y, q: math.sqrt(8) * (3 * q - 3) * y,
    "spherical": lambda x, y, q: math.sqrt(5) * (6 * q * q - 6 * q + 1),
}
ABERRATIONS = tuple(_POLYNOMIALS)


def zernike(coefficients: Mapping[str, float], *, cutoff: float = 1.0) -> np.ndarray:
    """Psf |FFT(P exp(i sum_k a_k Z_k))|^2 of a round pupil P with wavefront errors a_k in radians rms.

    Names: defocus, astigmatism, astigmatism_45, coma_x, coma_y, spherical. `cutoff` in (0, 1] is the lens'
    optical cutoff as a share of the Nyquist frequency: at 1 the diffraction spot is 2 pixels wide. One radian
    of defocus spreads light over a radius of about 4.4 / cutoff pixels. Cropped to the smallest odd centred
    square with `ENERGY` of the light. Goodman, Introduction to Fourier Optics, section 6.4; Noll, JOSA 66
    (1976), table 1. PsfError for an unknown name, a cutoff outside (0, 1], or aberrations wider than the
    largest grid.

    >>> h = zernike({"defocus": 1.0, "coma_x": 0.3})
    >>> h.shape[0] % 2, round(float(h.sum()), 12)
    (1, 1.0)
    """
    for name, value in coefficients.items():
        _known(name, value)
    if not 0 < cutoff <= 1:
        message = (
            f"cutoff is {cutoff:g}, "
            "wanted a share of the Nyquist frequency in (0, 1]: 1 is a lens as sharp as the sensor."
        )
        raise PsfError(message)
    radius = cutoff / 4  # of the pupil, cycles per pixel: the OTF reaches twice as far
    spread = sum(abs(a) for a in coefficients.values()) * 10 / (2 * math.pi * radius)
    size = 1 << math.ceil(math.log2(max(256, 4 * spread)))
    if not size <= _LARGEST:
        message = (
            f"the aberrations spread light over {spread:.0f} pixels, wanted at most {_LARGEST // 4}: "
            "give smaller coefficients (radians rms)."
        )
        raise PsfError(message)
    f = np.fft.fftfreq(size) / radius
    y, x = np.meshgrid(f, f, indexing="ij")
    q = x * x + y * y
    phase = sum((a * _POLYNOMIALS[name](x, y, q) for name, a in coefficients.items()), np.zeros_like(q))
    field = np.fft.fftshift(np.fft.ifft2((q <= 1) * np.exp(1j * phase)))
    return _central(np.abs(field) ** 2)


def _known(name: str, value: float) -> None:
    if not math.isfinite(value):
        message = f"{name} is {value}, wanted radians rms: give a finite number."
        raise PsfError(message)
    if name not in _POLYNOMIALS:
        near = get_close_matches(name, ABERRATIONS, n=1, cutoff=0.0)[0]
        message = (
            f"unknown aberration {name!r}, wanted one of {', '.join(ABERRATIONS)}: did you mean {near!r}?"
        )
        raise PsfError(message)


def _central(h: np.ndarray) -> np.ndarray:
    """Smallest odd square about n // 2 that holds ENERGY of the light, scaled to sum 1."""
    centre = h.shape[0] // 2
    distance = np.abs(np.arange(h.shape[0]) - centre)
    ring = np.maximum(distance[:, None], distance[None, :])
    inside = np.cumsum(np.bincount(ring.ravel(), weights=h.ravel()))
    reach = min(int(np.searchsorted(inside, ENERGY * inside[-1])), centre - 1)
    h = h[centre - reach : centre + reach + 1, centre - reach : centre + reach + 1]
    return h / h.sum()
