"""Small details put into pictures, and what the trade-off theorem says about reconstructing them.

If Psi has clean error at most eta on x and on x + d, then with e = K d, |Psi(K x + e) - x| >= |d| - eta, so
its stability constant is at least (|d| - 2 eta) / |K d|: a method that restores a detail which the blur
nearly removes must be unstable, whatever it is made of (Evangelista et al. 2025, theorem on the trade-off).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.linearise import unwindow

GLYPHS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "N": "10001 11001 10101 10101 10011 10001 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "X": "10001 01010 00100 00100 00100 01010 10001",
}
KINDS = ("text", "dots", "lines")


def pattern(kind: str, size: tuple[int, int]) -> Tensor:
    """A page of 5x7 letters, pixels every 6, or lines one pixel wide every 3: 0 and 1, (1, 1, H, W).

    ValueError for another kind.

    >>> pattern("lines", (1, 6)).flatten().tolist()
    [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """
    height, width = size
    page = torch.zeros(1, 1, height, width, dtype=torch.float64)
    if kind == "dots":
        page[..., 2::6, 2::6] = 1
    elif kind == "lines":
        page[..., ::3] = 1
    elif kind == "text":
        letters = [_glyph(rows) for rows in GLYPHS.values()]
        for line, top in enumerate(range(1, height - 7, 10)):
            for place, left in enumerate(range(1, width - 5, 6)):
                letter = letters[(3 * line + 5 * place) % len(letters)]
                page[..., top : top + 7, left : left + 5] = letter
    else:
        message = f"unknown kind of detail {kind!r}: wanted one of {', '.join(KINDS)}."
        raise ValueError(message)
    return page


def _glyph(rows: str) -> Tensor:
    return torch.tensor([[float(bit) for bit in row] for row in rows.split()], dtype=torch.float64)


def insert(x: Tensor, page: Tensor, amplitude: float) -> Tensor:
    """d = +- amplitude on the page's ones, up where x is dark, down where bright: x + d stays in range."""
    return page.to(x) * torch.where(x < 0.5, amplitude, -amplitude).to(x)


class DetailBound(NamedTuple):
    """|d| and |K d| of one detail in one picture."""

    kind: str
    size: float
    seen: float

    def constant(self, eta: float) -> float:
        """The least stability constant of a method of clean error eta; negative says nothing."""
        return (self.size - 2 * eta) / self.seen

    @property
    def stable_above(self) -> float:
        """The eta below which every method is unstable (constant at least 1): (|d| - |K d|) / 2."""
        return (self.size - self.seen) / 2


def detail_bounds(op: Any, x: Tensor, *, amplitude: float, kinds: Sequence[str] = KINDS) -> list[DetailBound]:
    """The bounds of each kind of detail in a picture x (1, C, h, w) as op.window sees it."""
    bounds = []
    for kind in kinds:
        d = insert(x, pattern(kind, (x.shape[-2], x.shape[-1])), amplitude)
        seen = op.A(unwindow(op, d))
        bounds.append(DetailBound(kind, float(d.double().norm()), float(seen.double().norm())))
    return bounds
