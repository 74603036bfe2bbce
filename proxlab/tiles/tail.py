"""How far a method's answer depends on what lies beyond: measured by cutting a sample and looking."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from proxlab.tiles.geometry import Axis, Span, region_size
from proxlab.tiles.piece import Setting, solve_light

SIDE = 384  # pixels of the sample that is cut
LEAST, MOST = 16, 160  # data pixels of overlap
FINE = 1.5e-3  # of the range: what a seam may show, the worst pixel, at the overlap
MARGIN = 1.25  # other places than the sample may be worse


class Tail(NamedTuple):
    """overlap: data pixels from where on a cut changes the answer by less than FINE anywhere; worst: the
    largest change at that distance and beyond.
    """

    overlap: int
    worst: float

    def warning(self, whose: str) -> str | None:
        """Words for an answer that reaches too far; a network that pools globally shows like this, too."""
        if self.worst <= FINE:
            return None
        return (
            f"the answer of {whose} reaches further than {self.overlap} pixels, tiles change it by up to "
            f"{self.worst:.2g} of the range near their seams: a larger lam shortens it, and a picture that "
            "is not cut has no seams."
        )


def measure_tail(setting: Setting, light: np.ndarray, valid: np.ndarray | None, *, stride: int) -> Tail:
    """Solve a part of planes (C, H, W) on [0, 1] whole, and cut to three quarters in either direction.

    The change at distance d from the cut is what a tile sees whose context ends there. What is iterated is
    iterated to the end, without a network in float64: conjugate gradients know of every pixel, and stopped
    early they differ everywhere.
    """
    if setting.prior is None:
        setting, light = replace(setting, double=True), light.astype(np.float64)
    light, valid = _middle(light), None if valid is None else _middle(valid)
    whole, _ = solve_light(setting, light, _usable(valid), None, close=True)
    axes = axes_of(setting, light.shape)
    profiles = []
    for along in (0, 1):
        spans = [Span(0, axis.length, 0, axis.field) for axis in axes]
        size = region_size(axes[along], axes[along].field * 3 // 4, stride)
        spans[along] = Span(0, 1, 0, size)  # like a tile: aligned to the network's stride
        (rows, top), (columns, left) = (span.rows(axis) for span, axis in zip(spans, axes, strict=True))
        cut = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        place = ((spans[0].size, spans[1].size), (top, left))
        part = None if valid is None else _usable(valid[cut])
        seen, _ = solve_light(setting, light[cut], part, place, close=True)
        change = np.abs(seen - whole[cut]).max((0, 2 - along))
        profiles.append(change[::-1][: len(change) * 2 // 3])  # the far side has a cut border of its own
    return tail_of(profiles)


def tail_of(profiles: list[np.ndarray]) -> Tail:
    """The overlap from changes by distance from the cut, in each direction.

    >>> tail_of([0.5 ** np.arange(150.0)])
    Tail(overlap=16, worst=0.0009765625)
    """
    length = min(min(len(p) for p in profiles), MOST)
    change = np.max([p[:length] for p in profiles], axis=0)
    beyond = np.maximum.accumulate(change[::-1])[::-1]
    fine = np.flatnonzero(beyond <= FINE)
    if not len(fine):
        return Tail(length, float(beyond[-1]))
    reach = int(fine[0])
    return Tail(min(max(LEAST, int(MARGIN * reach)), MOST), float(beyond[reach]))


def axes_of(setting: Setting, planes: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Both directions of the field that a picture (C, H, W) has as a whole."""
    import torch

    from imaging.blur import field_of

    psf = torch.from_numpy(setting.kernels)[None]
    sizes = (int(planes[1]), int(planes[2]))
    field, start = field_of(psf, sizes, setting.origin)
    down, across = (
        Axis(n, f, s, k - 1 - o, o)
        for n, f, s, k, o in zip(sizes, field, start, psf.shape[-2:], setting.origin, strict=True)
    )
    return down, across


def _middle(planes: np.ndarray) -> np.ndarray:
    height, width = planes.shape[-2:]
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    return planes[:, top : top + SIDE, left : left + SIDE]


def _usable(valid: np.ndarray | None) -> np.ndarray | None:
    """A mask without a hole, or without a pixel, is none."""
    return None if valid is None or valid.all() or not valid.any() else valid
