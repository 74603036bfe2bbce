"""Extending a picture across its border by a rule, and the exact transpose of that."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Mode = Literal["reflect", "edge", "zero"]
Border = tuple[int, int]  # samples added before and after, in one direction


def checked_mode(mode: str, size: tuple[int, int], borders: tuple[Border, Border]) -> None:
    """ValueError for an unknown mode, or for a reflection that needs more pixels than the picture has."""
    if mode not in get_args(Mode):
        message = f"border mode {mode!r} is unknown: choose one of {', '.join(map(repr, get_args(Mode)))}."
        raise ValueError(message)
    for n, border in zip(size, borders, strict=True):
        if mode == "reflect" and max(border) >= n:
            message = (
                f"a reflected border of {max(border)} pixels needs a picture larger than that, got {n}: "
                "crop the psf, or use mode 'edge' or 'zero'."
            )
            raise ValueError(message)


def extend(x: Tensor, borders: tuple[Border, Border], mode: Mode) -> Tensor:
    """Picture (..., H, W) with borders added: as numpy.pad does with "reflect", "edge" or "constant".

    "reflect" mirrors about the border pixel without repeating it (c b | a b c | b a), scipy.ndimage's
    "mirror"; "edge" repeats the border pixel, scipy's "nearest"; "zero" is dark outside.

    >>> extend(torch.tensor([[1, 2, 3]]), ((0, 0), (2, 1)), "reflect")
    tensor([[3, 2, 1, 2, 3, 2]])
    """
    for axis, border in zip((-2, -1), borders, strict=True):
        x = _extend(x, axis, border, mode)
    return x


def _extend(x: Tensor, axis: int, border: Border, mode: Mode) -> Tensor:
    (before, after), n = border, x.shape[axis]
    if mode == "reflect":
        head, tail = x.narrow(axis, 1, before).flip(axis), x.narrow(axis, n - 1 - after, after).flip(axis)
    elif mode == "edge":
        head = x.narrow(axis, 0, 1).repeat_interleave(before, axis)
        tail = x.narrow(axis, n - 1, 1).repeat_interleave(after, axis)
    else:
        head = torch.zeros_like(x.narrow(axis, 0, 1)).repeat_interleave(before, axis)
        tail = torch.zeros_like(x.narrow(axis, 0, 1)).repeat_interleave(after, axis)
    return torch.cat((head, x, tail), axis)


def fold(x: Tensor, borders: tuple[Border, Border], mode: Mode) -> Tensor:
    """The transpose of extend: what lies in the borders is added to the pixels it came from.

    Written with slices, not with index_add, whose sums on a GPU come in a random order.

    >>> fold(torch.tensor([[3, 2, 1, 2, 3, 2]]), ((0, 0), (2, 1)), "reflect")
    tensor([[1, 6, 6]])
    """
    for axis, border in zip((-1, -2), reversed(borders), strict=True):
        x = _fold(x, axis, border, mode)
    return x


def _fold(x: Tensor, axis: int, border: Border, mode: Mode) -> Tensor:
    before, after = border
    n = x.shape[axis] - before - after
    core = x.narrow(axis, before, n).clone()
    head, tail = x.narrow(axis, 0, before), x.narrow(axis, before + n, after)
    if mode == "reflect":
        core.narrow(axis, 1, before).add_(head.flip(axis))
        core.narrow(axis, n - 1 - after, after).add_(tail.flip(axis))
    elif mode == "edge":
        core.narrow(axis, 0, 1).add_(head.sum(axis, keepdim=True))
        core.narrow(axis, n - 1, 1).add_(tail.sum(axis, keepdim=True))
    return core
