"""The frame around a window: filtering what lies in it without the picture inside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from imaging.fft import good_size, irfft2, rfft2

Size = tuple[int, int]

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

    field: Size
    start: Size
    size: Size

    @property
    def bands(self) -> Size:
        """How many rows and columns the window does not reach."""
        return self.field[0] - self.size[0], self.field[1] - self.size[1]

    def take(self, x: Tensor) -> Tensor:
        """The frame's pixels of x (..., H, W) as a vector."""
        (top, left), (h, w) = self.start, self.size
        beside = x[..., top : top + h, :]
        rows = torch.cat([x[..., top + h :, :], x[..., :top, :]], -2)
        columns = torch.cat([beside[..., left + w :], beside[..., :left]], -1)
        return _joined(rows, columns)

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

    def between(self, spectrum: Tensor, *, miss: float, worth: float = WORTH) -> Between | None:
        """u -> take(filter(put(u))), for the circular filter with this half spectrum (..., H, W // 2 + 1).

        Within each band it is exact. From one to the other what lies around their crossing counts, as far as
        the filter reaches: until what a pixel would get from beyond is less than `miss` times the largest
        value there. None where that is so far, or the bands so wide, that the parts to be filtered have
        more than `worth` times the field's pixels.
        """
        (rows, columns), reach = self.bands, (0, 0)
        if self._share(reach) > worth:
            return None
        kernel = irfft2(spectrum, self.field)
        if rows and columns:
            size = kernel.detach().abs()
            profiles = size @ size.new_ones(self.field[1]), size.mT @ size.new_ones(self.field[0])
            reach = _reach(profiles[0], rows, miss), _reach(profiles[1], columns, miss)
            del size
        blocks = self._blocks(reach)
        inside = all(block[k] <= self.field[k] for block in blocks for k in (0, 1))
        apart = 2 * reach[0] <= self.size[0] and 2 * reach[1] <= self.size[1]  # else a pixel is there twice
        share = self._share(reach)
        if not (inside and apart and share <= worth):
            return None
        return Between(self, reach, blocks, tuple(rfft2(_near(kernel, block)) for block in blocks), share)

    def _blocks(self, reach: Size) -> tuple[Size, Size, Size]:
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

    def _share(self, reach: Size) -> float:
        """The pixels of these circles, that of the crossing taken twice, in units of the field's."""
        rows, columns, crossing = (a * b for a, b in self._blocks(reach))
        return (rows + columns + 2 * crossing) / (self.field[0] * self.field[1])


@dataclass(frozen=True)
class Between:
    """A circular filter between the pixels of a frame; see `Frame.between`.

    share is about what one application costs, in units of one on the whole field.
    """

    frame: Frame
    reach: Size
    blocks: tuple[Size, Size, Size]
    spectra: tuple[Tensor, ...]  # of the filter on the blocks
    share: float

    def __call__(self, u: Tensor) -> Tensor:
        """take(filter(put(u))) for a vector u of the frame (..., 1, n)."""
        rows, columns = self.frame.parts(u)
        along, beside = self._in_bands(rows, columns)
        if min(self.reach) > 0:
            self._add_crossing(along, beside, self._at_crossing(rows, columns))
        return _joined(along, beside)

    def _in_bands(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """What each band gets from itself."""
        (n, m), (high, wide), top = self.frame.bands, self.blocks[:2], self.frame.start[0]
        height = columns.shape[-2]
        below = self.frame.field[0] - top - height
        taller, wider = pad(rows, (0, 0, 0, high[0] - n)), pad(columns, (0, wide[1] - m, top, below))
        along = irfft2(rfft2(taller).mul_(self.spectra[0]), high)[..., :n, :]
        beside = irfft2(rfft2(wider).mul_(self.spectra[1]), wide)[..., top : top + height, :m]
        return along, beside

    def _at_crossing(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(..., 2, ., .): what around the crossing comes from the band of rows, and what from the columns."""
        (down, across), (n, m), block = self.reach, self.frame.bands, self.blocks[2]
        near = rows.new_zeros((*rows.shape[:-2], 2, *block))
        ends = rows[..., self._begin :], rows[..., : self.frame.start[1] + across]
        near[..., 0, down : down + n, : m + 2 * across] = torch.cat(ends, -1)
        near[..., 1, :down, across : across + m] = columns[..., columns.shape[-2] - down :, :]
        near[..., 1, down + n : down + n + down, across : across + m] = columns[..., :down, :]
        return irfft2(rfft2(near).mul_(self.spectra[2].unsqueeze(-3)), block)

    def _add_crossing(self, along: Tensor, beside: Tensor, crossing: Tensor) -> None:
        """To the rows what came from the columns, and to these what came from the rows."""
        (down, across), (n, m), (from_rows, from_columns) = self.reach, self.frame.bands, crossing.unbind(-3)
        got, before = from_columns[..., down : down + n, : m + 2 * across], along.shape[-1] - self._begin
        along[..., self._begin :] += got[..., :before]
        along[..., : self.frame.start[1] + across] += got[..., before:]
        beside[..., beside.shape[-2] - down :, :] += from_rows[..., :down, across : across + m]
        beside[..., :down, :] += from_rows[..., down + n : down + n + down, across : across + m]

    @property
    def _begin(self) -> int:
        """The field's column where the crossing begins."""
        return self.frame.start[1] + self.frame.size[1] - self.reach[1]


def _joined(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.cat([rows.flatten(-2), columns.flatten(-2)], -1).unsqueeze(-2)


def _near(kernel: Tensor, size: Size) -> Tensor:
    """The kernel for a smaller circle: its values at the offsets nearest to zero."""
    for dim, n in zip((-2, -1), size, strict=True):
        if n < kernel.shape[dim]:
            ends = kernel.narrow(dim, 0, n - n // 2), kernel.narrow(dim, kernel.shape[dim] - n // 2, n // 2)
            kernel = torch.cat(ends, dim)
    return kernel


def _reach(profile: Tensor, width: int, miss: float) -> int:
    """The least distance from which a band of this width adds less than miss, at least 1.

    profile (..., N) is what a filter has in all at each offset across the band.
    """
    profile = profile.flatten(0, -2).amax(0).double().cpu()
    half = len(profile) // 2
    folded = torch.maximum(profile, profile.flip(0).roll(1))[1 : half + 1]  # at distances 1 .. half
    beyond = torch.cat([folded.new_zeros(1), folded.cumsum(0)])
    ends = torch.arange(width, width + half).clamp_max(half)
    much = (beyond[ends] - beyond[:half] > miss).nonzero()
    return 1 if len(much) == 0 else int(much.max()) + 2
