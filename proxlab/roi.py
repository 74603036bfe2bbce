"""Working on a part of a picture: the region, and the context that its blur reaches into."""

from __future__ import annotations

from dataclasses import dataclass

from proxlab.errors import UsageError

CONTEXT = 16  # pixels around a region, at least


@dataclass(frozen=True)
class Region:
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)

    def with_context(self, reach: tuple[int, int], size: tuple[int, int]) -> Region:
        """The region with the size of the psf around it, as far as the picture goes.

        >>> Region(0, 8, 20, 28).with_context((5, 33), (64, 64))
        Region(top=0, bottom=24, left=0, right=61)
        """
        down, across = max(reach[0], CONTEXT), max(reach[1], CONTEXT)
        return Region(
            max(0, self.top - down),
            min(size[0], self.bottom + down),
            max(0, self.left - across),
            min(size[1], self.right + across),
        )

    def aligned(self, step: int, size: tuple[int, int]) -> Region:
        """The region, enlarged until its corners lie on multiples of step, or at the picture's end.

        >>> Region(5, 20, 16, 31).aligned(16, (24, 64))
        Region(top=0, bottom=24, left=16, right=32)
        """
        bottom, right = (
            min(n, -(-end // step) * step) for n, end in zip(size, (self.bottom, self.right), strict=True)
        )
        return Region(self.top // step * step, bottom, self.left // step * step, right)

    def inside(self, outer: Region) -> Region:
        """The same region counted from the corner of an outer one."""
        return Region(
            self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left
        )


def parse_roi(text: str, size: tuple[int, int]) -> Region:
    """Read "R0:R1,C0:C1" for a picture of that size; a missing number is the border, a negative one counts
    from it.

    >>> parse_roi("10:20,:-5", (40, 30))
    Region(top=10, bottom=20, left=0, right=25)
    """
    try:
        parts = [[int(n) if n.strip() else None for n in part.split(":")] for part in text.split(",")]
        if [len(part) for part in parts] != [2, 2]:
            raise ValueError
    except ValueError:
        message = f"roi is {text!r}: give rows and columns as R0:R1,C0:C1, such as 100:300,0:200."
        raise UsageError(message) from None
    (top, bottom), (left, right) = (slice(*part).indices(n)[:2] for part, n in zip(parts, size, strict=True))
    if top >= bottom or left >= right:
        message = (
            f"roi {text} holds no pixel of the {size[0]}x{size[1]} picture: rows come first, ends are "
            "exclusive."
        )
        raise UsageError(message)
    return Region(top, bottom, left, right)
