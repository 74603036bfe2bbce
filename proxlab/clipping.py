"""Clipped pixels: where the sensor ran out of range, so that the stored value is not what the light was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CONTENT = 0.5  # more than this share of one plane at one end is a white page or a black sky, not clipping
Content = np.ndarray  # (2, C) of bool: an end of the range, white first, is one plane's own

MANY = 1e-3  # scattered clipped pixels are worth a word above this share


class Clipped(NamedTuple):
    """`valid` (C, H, W) is True where a pixel can be used, None when all can.

    `warnings` say what is masked, `notes` what lies at the ends of the range and is used.
    """

    valid: np.ndarray | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Tally:
    """Counts in planes of `size` pixels: how many are at each end of the range, and how many in squares of
    them; (2, C), white first. Those of a picture's parts add up.
    """

    size: int
    at_end: np.ndarray
    solid: np.ndarray

    @property
    def content(self) -> Content:
        """Where an end of the range is the picture's content; (2, C)."""
        return self.at_end / self.size > CONTENT

    def texts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Warnings and notes about the whole picture."""
        warnings: list[str] = []
        notes: list[str] = []
        total, content = self.size * self.at_end.shape[1], self.content
        for name, at_end, solid, own in zip(
            ("white", "black"), self.at_end, self.solid, content, strict=True
        ):
            masked = int(solid[~own].sum())
            if masked:
                share = _percent(masked, total)
                warnings.append(f"{masked} pixels are clipped at {name} ({share}): masked near others.")
            whole, left = int(at_end[own].sum()), int((at_end - solid)[~own].sum())
            if whole:
                notes.append(
                    f"{whole} pixels are exactly {name} ({_percent(whole, total)}): taken as the "
                    "picture's content, not masked; give mask= if they are clipped."
                )
            if left > MANY * total:
                share = _percent(left, total)
                notes.append(f"{left} scattered pixels are at {name} ({share}): used as they are.")
        return tuple(warnings), tuple(notes)


def find_clipped(planes: np.ndarray, low: float, high: float) -> Clipped:
    """Find saturation in stored integer planes (C, H, W) whose range is [low, high].

    Pixels at the bottom or top of the range count where they fill squares of 2x2: there the light left the
    range. Scattered ones are the tail of the noise. They stay, because leaving out only those whose noise
    pointed outwards would bias what is left.

    >>> picture = np.full((1, 6, 6), 90, np.uint8)
    >>> picture[0, 1:4, 1:3] = 255
    >>> find_clipped(picture, 0, 255).warnings
    ('6 pixels are clipped at white (16.7 %): masked near others.',)
    """
    tally = tally_of(planes, low, high)
    invalid = solid_at_ends(planes, low, high, tally.content)
    return Clipped(~invalid if invalid.any() else None, *tally.texts())


def tally_of(planes: np.ndarray, low: float, high: float, *, rows: slice = slice(None)) -> Tally:
    """The counts of some rows of planes (C, H, W); the rows around them say what is a square."""
    at_end, solid = [], []
    for end in (high, low):
        at = planes == end
        at_end.append(at[:, rows].sum((1, 2)))
        solid.append(_squares(at)[:, rows].sum((1, 2)) if at_end[-1].any() else at_end[-1])
    size = planes[0, rows].size
    return Tally(size, np.array(at_end, np.int64), np.array(solid, np.int64))


def solid_at_ends(planes: np.ndarray, low: float, high: float, content: Content) -> np.ndarray:
    """Where planes (C, H, W) are clipped: squares at an end of the range that is not their content."""
    invalid = np.zeros(planes.shape, bool)
    for end, own in zip((high, low), content, strict=True):
        at_end = planes == end
        if at_end.any():
            invalid |= _squares(at_end) & ~own[:, None, None]
    return invalid


def far_inside(clipped: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clipped pixels (C, H, W) that see nothing but clipped ones through a psf of this size.

    Masked like those at an edge, only the prior would decide the middle of a white sky, and it became grey;
    as data they keep it white. At edges the light may be anything beyond the range, and they stay masked.

    >>> far_inside(np.ones((1, 4, 9), bool) & (np.arange(9) > 2), (3, 5))[0, 0].astype(int)
    array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    """
    from scipy.ndimage import minimum_filter1d

    inside = clipped.astype(np.uint8)
    for axis, n in zip((1, 2), size, strict=True):
        inside = minimum_filter1d(inside, 2 * (n // 2) + 3, axis, mode="constant", cval=1)
    return inside.astype(bool)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"


def _squares(at: np.ndarray) -> np.ndarray:
    """The union of all 2x2 squares that are wholly True, plane by plane."""
    full = at[:, :-1, :-1] & at[:, 1:, :-1] & at[:, :-1, 1:] & at[:, 1:, 1:]
    out = np.zeros_like(at)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            out[:, rows, columns] |= full
    return out
