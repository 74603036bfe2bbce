"""Blur that changes over the picture: a grid of psfs, interpolated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_tensor

from imaging.blur import checked_psf, field_of, margins, schur
from imaging.fft import Origin, centre_of, good_size, irfft2, otf_of, power_of, rfft2
from imaging.operator import Linear, LinearOperator, Shape, checked_size

Pair = tuple[int, int]


class Tiling(NamedTuple):
    """Where the tiles lie: one a psf, as large as the largest reach of a psf's weight on the data."""

    corners: tuple[Pair, ...]  # of each tile, on the data
    tile: Pair  # size on the data
    patch: Pair  # size of what it sees, tile + psf - 1
    offset: Pair  # of data pixel (0, 0)'s patch on the field
    field: Pair
    data: Pair


class VaryingBlur(LinearOperator):
    """y[i] = sum over the grid of w_g[i] (psf_g * x)[i], seen through a window: unknown border.

    psfs (rows, columns, 1|C, h, w) stand at the centres of an even rows x columns partition of the data; a
    pixel in between sees their bilinear mixture, beyond the outermost centres the outermost psf (Nagy and
    O'Leary 1998). As the weights of a pixel add up to one, a constant picture stays constant. Each psf is
    applied by FFT on its own tile only. x lives on a field as WindowedBlur's does; the prox is iterative.

    >>> psfs = torch.ones(2, 3, 1, 3, 3) / 9
    >>> VaryingBlur(psfs, (1, 12, 12)).A(torch.ones(1, 1, 14, 14)).mean().round(decimals=4)
    tensor(1.)
    """

    spectrum: Tensor
    weights: Tensor
    power: Tensor
    tiling: Tiling
    start: Pair
    bound: float

    def __init__(self, psfs: Tensor, data_size: Shape, *, origin: Origin | None = None) -> None:
        channels, h, w = checked_size(data_size)
        if psfs.ndim != 5:
            message = f"psfs have shape {tuple(psfs.shape)}, wanted (rows, columns, 1 or {channels}, h, w)."
            raise ValueError(message)
        kernels = checked_psf(psfs.flatten(0, 1), channels)
        field, start = field_of(kernels, (h, w), origin)
        tiling, weights = _tiles(psfs, (h, w), field, (start, centre_of(kernels, origin)))
        otf = _tile_otf(kernels, tiling)
        size = kernels.abs().double()
        columns = _spread(size.new_ones(1, channels, h, w), _tile_otf(size, tiling), weights.double(), tiling)
        # A pixel's weights are a mean, so no row of |A| sums to more than the largest |psf|_1.
        parts = {
            "spectrum": torch.view_as_real(otf),
            "weights": weights,
            "power": _mean_power(kernels, field, origin),
            "tiling": tiling,
            "start": start,
            "bound": schur(size.sum((-2, -1)).max(), columns.max(), psfs.dtype),
        }
        super().__init__((channels, *field), data_size, parts)

    @property
    def _otf(self) -> Tensor:
        return torch.view_as_complex(self.spectrum)

    def A(self, x: Tensor, **_: object) -> Tensor:
        """The mixture of all blurs of x, inside the window."""
        self._expect(x, self.img_size, "x")
        t = self.tiling
        patches = torch.stack([_cut(x, t, corner, t.offset, t.patch) for corner in t.corners], 1)
        size = _fft_size(t)
        blurred = irfft2(torch.fft.rfft2(patches, s=size).mul_(self._otf), size)
        seen = blurred[..., : t.tile[0], : t.tile[1]] * self.weights
        y = x.new_zeros(len(x), *self.data_size)
        for tile, corner in zip(seen.unbind(1), t.corners, strict=True):
            _cut(y, t, corner, (0, 0), t.tile).add_(tile)
        return y

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """Every tile weighted, correlated with its psf and put back."""
        self._expect(y, self.data_size, "y")
        return _spread(y, self._otf, self.weights, self.tiling)

    def norm_bound(self) -> float:
        """sqrt(largest row sum times largest column sum) of |A| (Schur's test)."""
        return self.bound

    def embed(self, y: Tensor) -> Tensor:
        """The data with their border pixels repeated outwards."""
        self._expect(y, self.data_size, "y")
        return pad_tensor(y, margins(self.img_size, self.data_size, self.start), mode="replicate")

    def window(self, x: Tensor) -> Tensor:
        """The pixels of the field that the sensor looked at."""
        self._expect(x, self.img_size, "x")
        (top, left), (_, h, w) = self.start, self.data_size
        return x[..., top : top + h, left : left + w]

    def precondition(self, gamma: Tensor | float) -> Linear:
        """The circulant operator with the mean |otf|^2 of the grid, times the observed share of the field."""
        share = self.data_size[1] * self.data_size[2] / (self.img_size[1] * self.img_size[2])
        diagonal = 1 + gamma * share * self.power
        return lambda r: irfft2(rfft2(r).div_(diagonal), (r.shape[-2], r.shape[-1]))


def _mean_power(kernels: Tensor, field: Pair, origin: Origin | None) -> Tensor:
    """The mean |otf|^2 on the field, (1, 1|C, H, W // 2 + 1), one psf at a time: the grid may be large."""
    first, *others = kernels.split(1)
    total = power_of(otf_of(first, field, origin))
    for kernel in others:
        total += power_of(otf_of(kernel, field, origin))
    return total / len(kernels)


def _tiles(psfs: Tensor, data: Pair, field: Pair, places: tuple[Pair, Pair]) -> tuple[Tiling, Tensor]:
    start, centre = places
    kernel = (psfs.shape[-2], psfs.shape[-1])
    rows, columns = (_hats(n, count) for n, count in zip(data, psfs.shape[:2], strict=True))
    corners = tuple((r, c) for r in rows[0] for c in columns[0])
    tile = (rows[1].shape[1], columns[1].shape[1])
    patch = (tile[0] + kernel[0] - 1, tile[1] + kernel[1] - 1)
    offset = (start[0] - (kernel[0] - 1 - centre[0]), start[1] - (kernel[1] - 1 - centre[1]))
    weights = (rows[1][:, None, :, None] * columns[1][None, :, None, :]).flatten(0, 1)[:, None]
    return Tiling(corners, tile, patch, offset, field, data), weights.to(psfs)


def _hats(length: int, count: int) -> tuple[list[int], Tensor]:
    """Start of each tile in one direction, and the weights on it (count, tile): linear hats, flat at the
    ends.
    """
    place = (torch.arange(length, dtype=torch.float64) + 0.5) * count / length - 0.5
    nodes = torch.arange(count, dtype=torch.float64)[:, None]
    hats = (1 - (place.clamp(0, count - 1) - nodes).abs()).clamp_min(0)
    reach = [hat.nonzero().flatten() for hat in hats]
    if any(len(r) == 0 for r in reach):
        message = f"{count} psfs over {length} pixels: some would never be used, give a coarser grid."
        raise ValueError(message)
    tile = max(int(r[-1] - r[0]) + 1 for r in reach)
    starts = [min(int(r[0]), length - tile) for r in reach]
    return starts, torch.stack([hat[s : s + tile] for hat, s in zip(hats, starts, strict=True)])


def _fft_size(t: Tiling) -> Pair:
    return good_size(t.patch[0]), good_size(t.patch[1])


def _tile_otf(kernels: Tensor, t: Tiling) -> Tensor:
    """With the last sample of the psf as centre, the valid part of a patch begins at its pixel (0, 0)."""
    return otf_of(kernels, _fft_size(t), (kernels.shape[-2] - 1, kernels.shape[-1] - 1))


def _cut(x: Tensor, t: Tiling, corner: Pair, offset: Pair, size: Pair) -> Tensor:
    top, left = corner[0] + offset[0], corner[1] + offset[1]
    return x[..., top : top + size[0], left : left + size[1]]


def _spread(y: Tensor, otf: Tensor, weights: Tensor, t: Tiling) -> Tensor:
    """The adjoint for any transfer functions, so that the constructor can ask it for column sums of |A|."""
    tiles = torch.stack([_cut(y, t, corner, (0, 0), t.tile) for corner in t.corners], 1) * weights
    size = _fft_size(t)
    spread = irfft2(torch.fft.rfft2(tiles, s=size).mul_(otf.conj()), size)[..., : t.patch[0], : t.patch[1]]
    x = y.new_zeros(*y.shape[:2], *t.field)
    for patch, corner in zip(spread.unbind(1), t.corners, strict=True):
        _cut(x, t, corner, t.offset, t.patch).add_(patch)
    return x
