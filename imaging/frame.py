"""The frame around a window: filtering what lies in it without the picture inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from imaging.fft import good_size, irfft2, rfft2
from imaging.linsolve import Linear

WORTH = 0.6  # of the field's pixels: where the parts are more, filters of the whole field are as quick


@dataclass(frozen=True)
class Frame:
    """The pixels of a circular field (H, W) outside a window of `size` that begins at `start`.

    Vectors of them are (..., 1, n): the rows that the window does not reach, over the whole width, then what
    is left of the columns. On the circle both are one band: it begins behind the window and ends before it.

    >>> frame = Frame((4, 4), (1, 1), (2, 2))
    >>> u = frame.take(torch.arange(16.0).view(1, 1, 4, 4))
    >>> u.flatten().int().tolist()
    [12, 13, 14, 15, 0, 1, 2, 3, 7, 4, 11, 8]
    >>> frame.put(u)[0, 0, 1]
    tensor([4., 0., 0., 7.])
    """

    field: tuple[int, int]
    start: tuple[int, int]
    size: tuple[int, int]

    @property
    def bands(self) -> tuple[int, int]:
        """How many rows and columns the window does not reach."""
        return self.field[0] - self.size[0], self.field[1] - self.size[1]

    def take(self, x: Tensor) -> Tensor:
        """The frame's pixels of x (..., H, W) as a vector."""
        (top, left), (h, w) = self.start, self.size
        beside = x[..., top : top + h, :]
        rows = torch.cat([x[..., top + h :, :], x[..., :top, :]], -2)
        columns = torch.cat([beside[..., left + w :], beside[..., :left]], -1)
        return self._joined(rows, columns)

    def put(self, u: Tensor, into: Tensor | None = None) -> Tensor:
        """The field with this frame; the window as in `into`, which is written over, or zero."""
        (top, left), (h, w) = self.start, self.size
        rows, columns = self.parts(u)
        x = u.new_zeros((*u.shape[:-2], *self.field)) if into is None else into
        below, right = self.field[0] - top - h, self.field[1] - left - w
        x[..., top + h :, :], x[..., :top, :] = rows[..., :below, :], rows[..., below:, :]
        x[..., top : top + h, left + w :] = columns[..., :right]
        x[..., top : top + h, :left] = columns[..., right:]
        return x

    def parts(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The band of rows (..., H - h, W), and the band of columns beside the window (..., h, W - w)."""
        (rows, columns), (h, _), kind = self.bands, self.size, u.shape[:-2]
        split = rows * self.field[1]
        return u[..., :split].reshape(*kind, rows, self.field[1]), u[..., split:].reshape(*kind, h, columns)

    def between(self, spectrum: Tensor, *, miss: float, worth: float = WORTH) -> Linear | None:
        """u -> take(filter(put(u))), for the circular filter with this half spectrum (..., H, W // 2 + 1).

        Within each band it is exact. From one to the other what lies around their crossing counts, as far as
        the filter reaches: until what a pixel would get from beyond is less than `miss` times the largest
        value there. None where that is so far, or the bands so wide, that the parts to be filtered have
        more than `worth` times the field's pixels.
        """
        rows, columns = self.bands
        if self._pixels((0, 0)) > worth * self.field[0] * self.field[1]:
            return None
        kernel, reach = irfft2(spectrum, self.field), (0, 0)
        if rows and columns:
            reach = (_reach(kernel, -2, rows, miss), _reach(kernel, -1, columns, miss))
        blocks = self._blocks(reach)
        inside = all(block[k] <= self.field[k] for block in blocks for k in (0, 1))
        apart = 2 * reach[0] <= self.size[0] and 2 * reach[1] <= self.size[1]  # else a pixel is there twice
        if not (inside and apart and self._pixels(reach) <= worth * self.field[0] * self.field[1]):
            return None
        filters = _Filters(*[rfft2(_near(kernel, block)) for block in blocks])
        return lambda u: self._filtered(u, filters, blocks, reach)

    def _blocks(self, reach: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """The circles on which the band of rows, the band of columns and the crossing are filtered.

        Twice a band's width is enough for all offsets inside it, and one reach more than there are pixels for
        all that count around the crossing.
        """
        (rows, columns), (down, across) = self.bands, reach
        return (
            (good_size(2 * rows), self.field[1]),
            (self.field[0], good_size(2 * columns)),
            (good_size(rows + 3 * down), good_size(columns + 3 * across)),
        )

    def _pixels(self, reach: tuple[int, int]) -> int:
        *bands, crossing = (a * b for a, b in self._blocks(reach))
        return sum(bands) + 2 * crossing

    def _filtered(
        self, u: Tensor, filters: _Filters, blocks: tuple[tuple[int, int], ...], reach: tuple[int, int]
    ) -> Tensor:
        (h, _), (top, _left), (n, m) = self.size, self.start, self.bands
        rows, columns = self.parts(u)
        high = blocks[0][0] - n
        along = irfft2(rfft2(pad(rows, (0, 0, 0, high))).mul_(filters.rows), blocks[0])[..., :n, :]
        free = (0, blocks[1][1] - m, top, self.field[0] - top - h)
        beside = irfft2(rfft2(pad(columns, free)).mul_(filters.columns), blocks[1])
        beside = beside[..., top : top + h, :m]
        if min(reach) < 1:
            return self._joined(along, beside)
        crossing = self._crossing(rows, columns, filters.crossing, blocks[2], reach)
        (down, across), (from_rows, from_columns) = reach, crossing.unbind(-3)
        begin = self.start[1] + self.size[1] - across
        got = from_columns[..., down : down + n, : m + 2 * across]
        along[..., begin:] += got[..., : self.field[1] - begin]
        along[..., : self.start[1] + across] += got[..., self.field[1] - begin :]
        beside[..., h - down :, :] += from_rows[..., :down, across : across + m]
        beside[..., :down, :] += from_rows[..., down + n : down + n + down, across : across + m]
        return self._joined(along, beside)

    def _crossing(
        self, rows: Tensor, columns: Tensor, spectrum: Tensor, block: tuple[int, int], reach: tuple[int, int]
    ) -> Tensor:
        """(..., 2, ., .): what around the crossing comes from the band of rows, and what from the columns."""
        (down, across), (n, m) = reach, self.bands
        begin = self.start[1] + self.size[1] - across
        near = rows.new_zeros((*rows.shape[:-2], 2, *block))
        near[..., 0, down : down + n, : m + 2 * across] = torch.cat(
            [rows[..., begin:], rows[..., : self.start[1] + across]], -1
        )
        near[..., 1, :down, across : across + m] = columns[..., columns.shape[-2] - down :, :]
        near[..., 1, down + n : down + n + down, across : across + m] = columns[..., :down, :]
        return irfft2(rfft2(near).mul_(spectrum.unsqueeze(-3)), block)

    def _joined(self, rows: Tensor, columns: Tensor) -> Tensor:
        return torch.cat([rows.flatten(-2), columns.flatten(-2)], -1).unsqueeze(-2)


class _Filters(NamedTuple):
    """Half spectra of the filter on the three blocks."""

    rows: Tensor
    columns: Tensor
    crossing: Tensor


def _near(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The kernel for a smaller circle: its values at the offsets nearest to zero."""
    for dim, n in zip((-2, -1), size, strict=True):
        if n < kernel.shape[dim]:
            first, last = (
                kernel.narrow(dim, 0, n - n // 2),
                kernel.narrow(dim, kernel.shape[dim] - n // 2, n // 2),
            )
            kernel = torch.cat([first, last], dim)
    return kernel


def _reach(kernel: Tensor, dim: int, width: int, miss: float) -> int:
    """The least distance along dim from which a band of this width adds less than miss, at least 1."""
    profile = torch.linalg.vector_norm(kernel.detach(), 1, dim=-1 if dim == -2 else -2).double()
    profile = profile.flatten(0, -2).amax(0).cpu()
    half = len(profile) // 2
    folded = torch.maximum(profile, profile.flip(0).roll(1))[1 : half + 1]  # at distances 1 .. half
    beyond = torch.cat([folded.new_zeros(1), folded.cumsum(0)])
    ends = torch.arange(width, width + half).clamp_max(half)
    much = (beyond[ends] - beyond[:half] > miss).nonzero()
    return 1 if len(much) == 0 else int(much.max()) + 2
