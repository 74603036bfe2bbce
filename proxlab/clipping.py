"""Clipped pixels: where the sensor ran out of range, so that the stored value is not what the light was."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CONTENT = 0.5  # more than this share of one plane at one end is a white page or a black sky, not clipping
MANY = 1e-3  # scattered clipped pixels are worth a word above this share


class Clipped(NamedTuple):
    """`valid` (C, H, W) is True where a pixel can be used, None when all can.

    `warnings` say what is masked, `notes` what lies at the ends of the range and is used.
    """

    valid: np.ndarray | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def find_clipped(planes: np.ndarray, low: float, high: float) -> Clipped:
    """Find saturation in stored integer planes (C, H, W) whose range is [low, high].

    Pixels at the bottom or top of the range count where they fill squares of 2x2: there the light left the
    range. Scattered ones are the tail of the noise. They stay, because leaving out only those whose noise
    pointed outwards would bias what is left.

    >>> picture = np.full((1, 6, 6), 90, np.uint8)
    >>> picture[0, 1:4, 1:3] = 255
    >>> find_clipped(picture, 0, 255).warnings
    ('6 pixels are clipped at white (16.7 %) and are masked.',)
    """
    invalid = np.zeros(planes.shape, bool)
    warnings: list[str] = []
    notes: list[str] = []
    for end, name in ((high, "white"), (low, "black")):
        at_end = planes == end
        if not at_end.any():
            continue
        content = at_end.mean(axis=(1, 2), keepdims=True) > CONTENT
        solid = _squares(at_end) & ~content
        if solid.any():
            warnings.append(f"{solid.sum()} pixels are clipped at {name} ({_percent(solid)}) and are masked.")
        notes += _notes(name, at_end, solid, content)
        invalid |= solid
    return Clipped(~invalid if invalid.any() else None, tuple(warnings), tuple(notes))


def _notes(name: str, at_end: np.ndarray, solid: np.ndarray, content: np.ndarray) -> list[str]:
    notes = []
    if content.any():
        whole = at_end & content
        notes.append(
            f"{whole.sum()} pixels are exactly {name} ({_percent(whole)}): taken as the picture's content, "
            "not masked; give mask= if they are clipped."
        )
    left = at_end & ~solid & ~content
    if left.mean() > MANY:
        notes.append(f"{left.sum()} scattered pixels are at {name} ({_percent(left)}): used as they are.")
    return notes


def _percent(where: np.ndarray) -> str:
    return f"{100 * where.mean():.3g} %"


def _squares(at: np.ndarray) -> np.ndarray:
    """The union of all 2x2 squares that are wholly True, plane by plane."""
    full = at[:, :-1, :-1] & at[:, 1:, :-1] & at[:, :-1, 1:] & at[:, 1:, 1:]
    out = np.zeros_like(at)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            out[:, rows, columns] |= full
    return out
