"""Downsampling: keep every f-th row and column of what another operator sees."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate
from torch.nn.functional import pad as pad_tensor

from imaging.blur import CircularBlur
from imaging.fft import irfft2, rfft2
from imaging.operator import Factored, LinearOperator, column


class Downsample(LinearOperator):
    """y = (op x) at rows and columns 0, f, 2 f, ...: low resolution with the blur and border of op.

    The prox is a closed form when op is a CircularBlur whose size factor divides (exact_prox says so): then A
    A^T is circular at low resolution (Zhao, Wei, Basarab, Dobigeon, Kouame, Tourneret 2016, Fast single image
    super-resolution). Otherwise conjugate gradients, in frequency where op is factored.

    >>> import torch
    >>> psf = torch.ones(1, 1, 2, 2) / 4
    >>> Downsample(CircularBlur(psf, (1, 6, 6)), 2).A(torch.ones(1, 1, 6, 6)).shape
    torch.Size([1, 1, 3, 3])
    """

    op: LinearOperator
    factor: int
    gram: Tensor | None

    def __init__(self, op: LinearOperator, factor: int) -> None:
        channels, h, w = op.data_size
        if factor != int(factor) or not 1 <= factor <= min(h, w):
            message = (
                f"factor is {factor}, wanted a whole number from 1 to {min(h, w)}, the data's smaller side."
            )
            raise ValueError(message)
        f = int(factor)
        gram = None
        if isinstance(op, CircularBlur) and h % f == 0 and w % f == 0:
            # Autocorrelation of the psf, decimated: the kernel of A A^T.
            gram = rfft2(irfft2(op.otf.abs().square() + 0j, (h, w))[..., ::f, ::f]).real.clamp_min(0)
        parts = {"op": op, "factor": f, "exact_prox": gram is not None, "gram": gram, "batch": op.batch}
        super().__init__(op.img_size, (channels, -(-h // f), -(-w // f)), parts)

    def A(self, x: Tensor, **_: object) -> Tensor:
        """Every f-th row and column of op.A(x)."""
        return self._decimate(self.op.A(x))

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """op's adjoint of y with zeros in between."""
        return self.op.A_adjoint(self._insert(y))

    def _decimate(self, fine: Tensor) -> Tensor:
        return fine[..., :: self.factor, :: self.factor]

    def _insert(self, y: Tensor) -> Tensor:
        self._expect(y, self.data_size, "y")
        fine = y.new_zeros(len(y), *self.op.data_size)
        fine[..., :: self.factor, :: self.factor] = y
        return fine

    def prox_l2(self, z: Tensor | float | None, y: Tensor, gamma: Tensor | float, **_: Any) -> Tensor:
        """z + gamma A^T (I + gamma A A^T)^-1 (y - A z) where A A^T is circular; otherwise conjugate
        gradients.
        """
        if self.gram is None:
            return super().prox_l2(z, y, gamma, **_)
        self._expect(y, self.data_size, "y")
        gamma = column(gamma, y)
        if not isinstance(z, Tensor):
            z = y.new_full((len(y), *self.img_size), float(z or 0))
        spectrum = rfft2(y - self.A(z)) / (1 + gamma * self.gram)
        return z + gamma * self.A_adjoint(irfft2(spectrum, (y.shape[-2], y.shape[-1])))

    def norm_bound(self) -> float:
        """op's bound: leaving samples out cannot increase a norm."""
        return self.op.norm_bound()

    def factored(self) -> Factored | None:
        """op's structure with the decimation in the selection."""
        inner = self.op.factored()
        if inner is None:
            return None
        return Factored(
            inner.otf,
            lambda field: self._decimate(inner.select(field)),
            lambda y: inner.scatter(self._insert(y)),
        )

    @property
    def valid(self) -> Tensor | None:
        """op's mask at the samples that are kept."""
        fine = self.op.valid
        return None if fine is None else self._decimate(fine)

    def embed(self, y: Tensor) -> Tensor:
        """Bilinear interpolation that leaves every sample at its place, then op's way to its domain."""
        self._expect(y, self.data_size, "y")
        (_, h, w), (_, H, W), f = self.data_size, self.op.data_size, self.factor
        size = ((h - 1) * f + 1, (w - 1) * f + 1)
        fine = interpolate(y, size=size, mode="bilinear", align_corners=True)
        return self.op.embed(pad_tensor(fine, (0, W - size[1], 0, H - size[0]), mode="replicate"))

    def window(self, x: Tensor) -> Tensor:
        """What the fine sensor would have looked at."""
        return self.op.window(x)
