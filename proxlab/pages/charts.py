"""Charts as SVG text: lines with bands, and points against bounds; colours and type come from the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 460, 300
LEFT, TOP, BOTTOM = 52, 14, 44
LETTER, GAP, APART = 7.2, 16, 13  # pixels: of a letter of a name at a line's end, around it, between names
KEY = 12  # of the mark before a name
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "1 2", "6 2 1 2")
SHAPES = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True)
class Line:
    """One named curve: points (x, y, low, high), in the order of x; style is its number in the palette."""

    name: str
    style: int
    points: Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Frame:
    """Axes: the ranges shown, the titles, and a sentence for those who do not see the picture.

    log: y is drawn by its logarithm, of a range above 0.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    titles: tuple[str, str]
    alt: str
    marks: Sequence[float] = field(default_factory=tuple)
    names: Sequence[str] = field(default_factory=tuple)
    log: bool = False

    @property
    def right(self) -> float:
        """Where the axes end, so that the longest of the names has room beside them."""
        return WIDTH - GAP - KEY - LETTER * min(24, max((len(name) for name in self.names), default=0))

    def px(self, x: float) -> float:
        """Pixels from the left."""
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - LEFT)

    def py(self, y: float) -> float:
        """Pixels from the top."""
        low, high = self.y
        y = min(max(y, low), high)
        share = math.log(y / low) / math.log(high / low) if self.log else (y - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def rows(self) -> list[float]:
        """Where the lines of the grid are."""
        return decades(*self.y) if self.log else ticks(*self.y)


def lines_chart(lines: Sequence[Line], frame: Frame) -> str:
    """Curves with bands, their names at their ends."""
    parts = [_axes(frame)]
    for line in lines:
        if len(line.points) > 1:
            upper = [f"{frame.px(x):.1f},{frame.py(high):.1f}" for x, _, _, high in line.points]
            lower = [f"{frame.px(x):.1f},{frame.py(low):.1f}" for x, _, low, _ in reversed(line.points)]
            parts.append(f'<polygon class="band c{line.style % 8}" points="{" ".join(upper + lower)}"/>')
    for line in lines:
        dash = DASHES[line.style % 8]
        path = " ".join(f"{frame.px(x):.1f},{frame.py(y):.1f}" for x, y, _, _ in line.points)
        if len(line.points) == 1:  # no band: its interval as an upright line
            x, _, low, high = line.points[0]
            path = f"{frame.px(x):.1f},{frame.py(low):.1f} {frame.px(x):.1f},{frame.py(high):.1f}"
        parts.append(f'<polyline class="line c{line.style % 8}" stroke-dasharray="{dash}" points="{path}"/>')
        for x, y, _, _ in line.points:
            text = f"{line.name}: {y:.3g} at {x:.3g}"
            parts.append(_mark(frame.px(x), frame.py(y), line.style, text))
    ends = [(line.name, line.style, frame.py(line.points[-1][1])) for line in lines if line.points]
    return _svg([*parts, *_labels(ends, frame)], frame)


def tradeoff_chart(
    bound: tuple[float, float], points: Mapping[str, tuple[float, float]], frame: Frame
) -> str:
    """Measured (eta, constant) of each method above the line (|d| - 2 eta) / |Kd|; bound is (|d|, |Kd|)."""
    size, seen = bound
    ends = [(x, (size - 2 * x) / seen) for x in frame.x]
    # the line where it is inside the frame
    inside = [(x, y) for x, y in ends]
    if inside[0][1] > frame.y[1]:
        inside[0] = ((size - frame.y[1] * seen) / 2, frame.y[1])
    if inside[1][1] < frame.y[0]:
        inside[1] = ((size - frame.y[0] * seen) / 2, frame.y[0])
    path = " ".join(f"{frame.px(x):.1f},{frame.py(y):.1f}" for x, y in inside)
    corner = f"{frame.px(frame.x[0]):.1f},{frame.py(frame.y[0]):.1f}"
    left = f"{frame.px(frame.x[0]):.1f},{frame.py(inside[0][1]):.1f}"
    parts = [
        f'<polygon class="forbidden" points="{corner} {left} {path}"/>',
        _axes(frame),
        f'<polyline class="bound" points="{path}"/>',
    ]
    for style, (name, (x, y)) in enumerate(points.items()):
        parts.append(_mark(frame.px(x), frame.py(y), style, f"{name}: eta {x:.3g}, constant {y:.3g}"))
    named = [(name, style, frame.py(y)) for style, (name, (_, y)) in enumerate(points.items())]
    return _svg([*parts, *_labels(named, frame)], frame)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from low to high.

    >>> ticks(0, 10)
    [0, 2, 4, 6, 8, 10]
    """
    raw = (high - low) / count
    base = 10 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """The round numbers 1, 2, 5, 10, ... from low to high; only 1, 10, 100, ... where those would crowd.

    >>> decades(3, 60)
    [5, 10, 20, 50]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    first = (1, 2, 5) if high / low < 2000 else (1,)
    found = [float(f"{m}e{n}") for n in powers for m in first]
    return [int(v) if v >= 1 else v for v in found if low <= v <= high]


def span_of(values: Sequence[float], *, zero: bool) -> tuple[float, float]:
    """A range around the values with some air; from 0 on if zero."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = 0.0 if zero else low
    air = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if zero else low - air), high + air


def _axes(frame: Frame) -> str:
    parts = []
    for y in frame.rows():
        row = f"{frame.py(y):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{frame.right:.1f}" y1="{row}" y2="{row}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{frame.py(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in frame.marks or ticks(*frame.x):
        parts.append(
            f'<text x="{frame.px(x):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{x:g}</text>'
        )
    base = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{frame.right:.1f}" y1="{base}" y2="{base}"/>')
    middle = (LEFT + frame.right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(frame.titles[0])}</text>')
    centre = (TOP + base) / 2
    turned = f'transform="translate(13 {centre}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {turned}>{escape(frame.titles[1])}</text>")
    return "".join(parts)


def _labels(ends: Sequence[tuple[str, int, float]], frame: Frame) -> list[str]:
    """Names (name, style, y) at the ends of their lines, pushed apart, none out of the frame."""
    ranked = sorted(ends, key=lambda end: end[2])
    places: list[float] = []
    for _, _, y in ranked:
        places.append(max(y, places[-1] + APART) if places else y)
    limit = HEIGHT - 8.0
    for n in range(len(places) - 1, -1, -1):
        places[n] = min(places[n], limit)
        limit = places[n] - APART
    left = frame.right + 8
    return [
        _mark(left + KEY / 3, y, style, name)
        + f'<text class="name t{style % 8}" x="{left + KEY:.1f}" y="{y + 4:.1f}">{escape(name[:24])}</text>'
        for (name, style, _), y in zip(ranked, places, strict=True)
    ]


def _mark(x: float, y: float, style: int, text: str) -> str:
    shapes = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6"',
        "square": f'<rect x="{x - 3.3:.1f}" y="{y - 3.3:.1f}" width="6.6" height="6.6"',
        "triangle": f'<path d="M{x:.1f} {y - 4.4:.1f}l4.2 7.4h-8.4z"',
        "diamond": f'<path d="M{x:.1f} {y - 4.6:.1f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z"',
    }
    shape = shapes[SHAPES[style % 4]]
    return f'{shape} class="mark c{style % 8}"><title>{escape(text)}</title>{_end(shape)}'


def _end(shape: str) -> str:
    return f"</{shape[1:].split()[0]}>"


def _svg(parts: Sequence[str], frame: Frame) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(frame.alt, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
