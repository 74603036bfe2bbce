"""A map of neighbourhoods on strips of rows: what lies between its steps is small, and soon used again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

VALUES = 1 << 21  # of a strip: arrays of this size are given again from the heap, larger ones are new memory
LEAST = 32  # rows, or too many are computed twice


def by_strips(local: Callable[[Tensor], Tensor], x: Tensor, reach: int, *, over: bool = False) -> Tensor:
    """local(x) for a map of the same shape and type whose rows depend on `reach` rows on either side.

    x (B, C, H, W). Only without gradients, and where x has more values than a strip; else the map itself is
    called. What local pads its borders with is at the picture's ends as without strips, since each strip
    comes with its neighbours and loses them again. over: the result may be written over x.

    >>> x = torch.rand(1, 1, 3000, 1000)
    >>> blur = torch.nn.AvgPool2d(3, stride=1, padding=1)
    >>> with torch.no_grad():
    ...     torch.equal(by_strips(blur, x, 1), blur(x))
    True
    """
    height = x.shape[2]
    rows = max(LEAST, reach, VALUES * height // max(1, x.numel()))
    if rows >= height or torch.is_grad_enabled():
        return local(x)
    out = x if over else torch.empty_like(x)
    done = None  # written when the strip after it has been computed from what was there
    for first in range(0, height, rows):
        last, top = min(first + rows, height), max(first - reach, 0)
        part = local(x[:, :, top : last + reach])[:, :, first - top : last - top]
        if done is not None:
            out[:, :, first - rows : first] = done
        done = part
    assert done is not None
    out[:, :, height - done.shape[2] :] = done
    return out


def added_by_strips(raised: Callable[[Tensor], Tensor], z: Tensor, skip: Tensor) -> Tensor:
    """raised(z) + skip for a map that makes of every row of z as many rows of its own; written over skip.

    z (B, C, h, W), skip (B, c, n h, w) with a whole n. With gradients nothing is written over.

    >>> z, skip = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 6, 8)
    >>> twice = torch.nn.UpsamplingNearest2d(scale_factor=2)
    >>> with torch.no_grad():
    ...     torch.equal(twice(z) + skip, added_by_strips(twice, z, skip))
    True
    """
    if torch.is_grad_enabled():
        return raised(z) + skip
    height, times = z.shape[2], skip.shape[2] // z.shape[2]
    rows = max(1, LEAST // times, VALUES * height // max(1, skip.numel()))
    for first in range(0, height, rows):
        place = skip[:, :, times * first : times * (first + rows)]
        place.copy_(raised(z[:, :, first : first + rows]) + place)
    return skip
