"""Real Fourier transforms of pictures: good sizes, half spectra, transfer functions."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Origin = tuple[int, int]

LARGE = 1 << 22  # pixels from which a packed inverse is faster: a quarter at this size, half at four times it
PART = 1 << 17  # values of a spectrum that are packed together, so that they stay in the cache


@lru_cache(maxsize=1024)
def good_size(n: int) -> int:
    """The smallest even size of at least n whose prime factors are 2, 3, 5 and 7: fast in every FFT library.

    >>> good_size(97), good_size(100), good_size(1)
    (98, 100, 2)
    """
    size = max(2, n + n % 2)
    while _rest(size) != 1:
        size += 2
    return size


def _rest(n: int) -> int:
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n


def rfft2(x: Tensor) -> Tensor:
    """Half spectrum (..., H, W // 2 + 1) of a real picture (..., H, W)."""
    return torch.fft.rfft2(x)


def irfft2(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
    """Real picture (..., H, W) of a half spectrum; size = (H, W) says whether W is odd or even.

    The spectrum is one of a real picture, as rfft2 and products of such are.
    """
    large = spectrum.device.type == "cpu" and size[0] * size[1] >= LARGE and size[1] % 2 == 0
    if large and spectrum.is_complex() and not spectrum.requires_grad:
        return _packed(spectrum, size)
    return torch.fft.irfft2(spectrum, s=size)


def _packed(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
    """irfft2 by one complex transform of half the width, whose real and imaginary parts are neighbours.

    torch transforms the columns of an inverse apart from the rows, with long strides: of large pictures that
    takes twice as long as all of this. With the rows' roots of unity w (Sorensen, Jones, Heideman and Burrus
    1987; Press et al., Numerical Recipes, 12.3.2): the transform of x[2m] + i x[2m + 1] is
    (X[k, l] + Y[k, l]) / 2 + i w^l (X[k, l] - Y[k, l]) / 2, Y[k, l] the conjugate of X[-k, W / 2 - l].
    """
    height, half = size[0], size[1] // 2
    angle = torch.arange(half, dtype=torch.float64) * (torch.pi / half)
    root = torch.complex(-angle.sin(), angle.cos()) / 2  # i w / 2
    ours, theirs = (0.5 + root).to(spectrum), (0.5 - root).to(spectrum)
    packed = spectrum.new_empty((*spectrum.shape[:-2], height, half))

    def fill(rows: Tensor, these: Tensor, mirrored: Tensor) -> None:
        """Some rows of the packed spectrum, from those rows and the ones at minus their frequency."""
        there = mirrored[..., 1:].flip((-2, -1)).conj_physical_()
        torch.mul(these[..., :half], ours, out=rows).addcmul_(there, theirs)

    fill(packed[..., :1, :], spectrum[..., :1, :], spectrum[..., :1, :])
    step = max(1, PART // half)
    for first in range(1, height, step):
        last = min(first + step, height)
        mirrored = spectrum[..., height - last + 1 : height - first + 1, :]
        fill(packed[..., first:last, :], spectrum[..., first:last, :], mirrored)
    return torch.view_as_real(torch.fft.ifft2(packed)).flatten(-2)


def centre_of(psf: Tensor, origin: Origin | None = None) -> Origin:
    """Index of the psf's centre: n // 2 in each direction unless given; ValueError when it is outside.

    >>> centre_of(torch.zeros(1, 1, 5, 4)), centre_of(torch.zeros(1, 1, 5, 4), (0, 3))
    ((2, 2), (0, 3))
    """
    h, w = psf.shape[-2:]
    if origin is None:
        return h // 2, w // 2
    row, column = int(origin[0]), int(origin[1])
    if not (0 <= row < h and 0 <= column < w):
        message = (
            f"origin ({row}, {column}) is outside the psf of {h}x{w}: "
            f"give a row from 0 to {h - 1} and a column from 0 to {w - 1}, or pad the psf with zeros."
        )
        raise ValueError(message)
    return row, column


def otf_of(psf: Tensor, size: tuple[int, int], origin: Origin | None = None) -> Tensor:
    """Transfer function of the circular true convolution with psf on pictures of size (H, W).

    A half spectrum (..., H, W // 2 + 1), complex: rfft2(psf * x) = otf_of(psf) rfft2(x), the psf's centre
    (see centre_of) at pixel (0, 0). Raises ValueError when the psf is larger than the picture.

    >>> delta = torch.zeros(1, 1, 3, 3)
    >>> delta[..., 1, 1] = 1
    >>> torch.equal(otf_of(delta, (4, 6)).real, torch.ones(1, 1, 4, 4))
    True
    """
    (h, w), (H, W) = psf.shape[-2:], size
    if h > H or w > W:
        message = f"psf is {h}x{w} but the image is {H}x{W}: crop the psf or pad the image."
        raise ValueError(message)
    row, column = centre_of(psf, origin)
    field = psf.new_zeros((*psf.shape[:-2], H, W))
    for rows, to_rows in _wrapped(h, row, H):  # rolling the whole field took a tenth of a large picture's run
        for columns, to_columns in _wrapped(w, column, W):
            field[..., to_rows, to_columns] = psf[..., rows, columns]
    return torch.fft.rfft2(field)


def _wrapped(n: int, centre: int, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """(from, to) of the part of n from its centre on, and of the part before it, in a circle of size."""
    return (slice(centre, n), slice(0, n - centre)), (slice(0, centre), slice(size - centre, size))


def power_of(spectrum: Tensor) -> Tensor:
    """|spectrum|^2 of a complex tensor, several times faster than abs().square() or a sum over pairs.

    >>> power_of(torch.tensor([3 + 4j]))
    tensor([25.])
    """
    return spectrum.real.square().add_(spectrum.imag.square())


def convolve(x: Tensor, otf: Tensor) -> Tensor:
    """Circular convolution of x (B, C, H, W) with the kernel of this transfer function: one rfft2, one
    irfft2.
    """
    return irfft2(rfft2(x).mul_(otf), (x.shape[-2], x.shape[-1]))


def correlate(x: Tensor, otf: Tensor) -> Tensor:
    """The transpose of convolve."""
    return irfft2(rfft2(x).mul_(otf.conj()), (x.shape[-2], x.shape[-1]))


def half_weights(width: int, like: Tensor) -> Tensor:
    """How often each column of a half spectrum occurs in the full one: 1 at 0 and Nyquist, else 2.

    sum |x|^2 = sum(half_weights |rfft2(x)|^2) / (H W), Parseval's identity on half a spectrum.
    """
    weights = torch.full((width // 2 + 1,), 2.0, dtype=like.dtype, device=like.device)
    weights[0] = 1
    if width % 2 == 0:
        weights[-1] = 1
    return weights
