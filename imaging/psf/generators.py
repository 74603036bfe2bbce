"""Point spread functions from a few numbers: float64, odd sizes, sum 1, centre at index n // 2.

Angles are degrees, counter-clockwise as seen on the screen, from the positive column axis (to the right).
Rows run downward, so the direction of angle a is (row, column) = (-sin a, cos a): 90 points up, towards row
0.
"""

import math

import numpy as np

from imaging.psf.errors import PsfError

GAUSSIAN_CUT = 4.0  # standard deviations kept on every side: 1.3e-4 of the light lies outside
_STRIPS = 128  # strips a pixel is cut into for the area of a rotated line: error below 1e-4 of a pixel


def _positive(name: str, value: float) -> float:
    value = float(value)
    if not (math.isfinite(value) and value > 0):
        message = (
            f"{name} is {value:g}, wanted a number of pixels above 0: give the extent of the blur in pixels."
        )
        raise PsfError(message)
    return value


def _angle(value: float) -> float:
    if not math.isfinite(value):
        message = (
            f"angle is {value}, wanted degrees: give a finite number, counter-clockwise from the column axis."
        )
        raise PsfError(message)
    return math.radians(value)


def _reach(half_extent: float) -> int:
    """Pixels on each side of the centre pixel that an extent of +-half_extent touches."""
    return max(0, math.ceil(half_extent - 0.5 - 1e-9))


def _covered(low: np.ndarray | float, high: np.ndarray | float, reach: int) -> np.ndarray:
    """Length of [low, high] inside each pixel [k - 1/2, k + 1/2], k = -reach..reach along a new last axis."""
    left = np.arange(-reach, reach + 1) - 0.5
    low, high = np.expand_dims(low, -1), np.expand_dims(high, -1)
    return np.clip(np.minimum(high, left + 1) - np.maximum(low, left), 0, None)


def gaussian(sx: float, sy: float | None = None, angle: float = 0.0) -> np.ndarray:
    """Gaussian with standard deviation sx along `angle` and sy across it, sampled at the pixel centres.

    h = exp(-(u / sx)^2 / 2 - (v / sy)^2 / 2), u along the angle; sy defaults to sx. Cut where a side lies
    `GAUSSIAN_CUT` standard deviations of its own axis away. PsfError for a width that is not above 0.

    >>> h = gaussian(1.5)
    >>> h.shape, round(float(h.sum()), 12), tuple(int(i) for i in np.unravel_index(h.argmax(), h.shape))
    ((13, 13), 1.0, (6, 6))
    """
    sx, a = _positive("sx", sx), _angle(angle)
    sy = sx if sy is None else _positive("sy", sy)
    rows, columns = (
        max(1, math.ceil(GAUSSIAN_CUT * math.hypot(sx * along, sy * across)))
        for along, across in ((math.sin(a), math.cos(a)), (math.cos(a), math.sin(a)))
    )
    r, c = np.mgrid[-rows : rows + 1, -columns : columns + 1].astype(np.float64)
    u, v = c * math.cos(a) - r * math.sin(a), c * math.sin(a) + r * math.cos(a)
    h = np.exp(-((u / sx) ** 2 + (v / sy) ** 2) / 2)
    return h / h.sum()


def disk(radius: float) -> np.ndarray:
    """Disk of defocus; each pixel holds exactly the area of it that the disk covers. PsfError for radius <=
    0.

    >>> h = disk(3.0)
    >>> h.shape, round(float(h[3, 3] * np.pi * 9), 12)
    ((7, 7), 1.0)
    """
    radius = _positive("radius", radius)
    reach = _reach(radius)
    edges = np.arange(-reach, reach + 2) - 0.5
    corner = _quarter_area(np.abs(edges)[:, None], np.abs(edges)[None, :], radius)
    corner *= np.sign(edges)[:, None] * np.sign(edges)[None, :]
    h = np.clip(np.diff(np.diff(corner, axis=0), axis=1), 0, None)
    return h / h.sum()


def _quarter_area(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Area of the part of [0, x] x [0, y] that lies inside the circle about 0."""
    x, y = np.minimum(x, radius), np.minimum(y, radius)

    def height(u: np.ndarray) -> np.ndarray:  # rounded, u may lie beyond the radius by a bit
        return np.sqrt(np.maximum(radius**2 - u**2, 0))

    def under_arc(u: np.ndarray) -> np.ndarray:
        return (u * height(u) + radius**2 * np.arcsin(np.minimum(u / radius, 1))) / 2

    flat = np.minimum(height(y), x)  # up to here the box lies inside the circle
    return flat * y + under_arc(x) - under_arc(flat)


def motion(length: float, angle: float = 0.0) -> np.ndarray:
    """Even motion along a straight line: a rectangle of `length` x 1 pixels, each pixel holding the area
    covered.

    motion(5, 0) is five equal pixels in a row; lengths and angles need not be integers; 180 degrees more is
    the same psf. PsfError for a length that is not above 0.

    >>> motion(4).round(3).tolist(), motion(7, 90).shape
    ([[0.125, 0.25, 0.25, 0.25, 0.125]], (7, 1))
    """
    length, a = max(_positive("length", length), 1.0), _angle(angle)
    s, c = math.sin(a), math.cos(a)
    if abs(s) < 1e-12 or abs(c) < 1e-12:  # along an axis: exact, no stray rows from rounding
        line = _covered(-length / 2, length / 2, _reach(length / 2))[None, :] / length
        return line if abs(s) < 0.5 else line.T
    if abs(s) > abs(c):  # strips run across the shorter extent, so swap rows and columns
        return motion(length, 90 - angle).T
    rows, columns = (_reach((length * abs(p) + abs(q)) / 2) for p, q in ((s, c), (c, s)))
    strip = (np.arange(-rows - 0.5, rows + 0.5, 1 / _STRIPS) + 0.5 / _STRIPS)[: (2 * rows + 1) * _STRIPS]
    # |x c - r s| <= length / 2 along the line, |x s + r c| <= 1/2 across it: an interval of x in every strip
    # r
    along = np.array([-length / 2, length / 2])[:, None] / c + strip * s / c
    across = np.array([-0.5, 0.5])[:, None] / s - strip * c / s
    low = np.maximum(along.min(0), across.min(0))
    high = np.minimum(along.max(0), across.max(0))
    h = _covered(low, high, columns).reshape(2 * rows + 1, _STRIPS, -1).sum(1)
    return h / h.sum()


def box(width: float) -> np.ndarray:
    """Square of width x width pixels, each pixel holding the area covered; an even width has half pixels at
    its rim.

    >>> box(3).shape, box(4)[2].round(4).tolist()
    ((3, 3), [0.0312, 0.0625, 0.0625, 0.0625, 0.0312])
    """
    width = max(_positive("width", width), 1.0)
    side = _covered(-width / 2, width / 2, _reach(width / 2)) / width
    return np.outer(side, side)


def shake(seed: int, size: int = 31) -> np.ndarray:
    """Random camera shake inside size x size pixels, its centroid at the centre; the same seed gives the same
    psf.

    A point of constant speed whose direction is pushed by noise, pulled back to the start and now and then
    thrown round (in the spirit of Boracchi & Foi, Modeling the performance of image restoration from motion
    blur, IEEE TIP 2012, section II), laid down bilinearly. PsfError for a size that is even or below 5.

    >>> h = shake(3)
    >>> h.shape, bool(h.min() >= 0), round(float((h.sum(0) * (np.arange(31) - 15)).sum()), 9) + 0
    ((31, 31), True, 0.0)
    """
    if size < 5 or size % 2 == 0:
        message = (
            f"size of a shake psf is {size}, wanted an odd number of at least 5: give the side in pixels."
        )
        raise PsfError(message)
    rng = np.random.default_rng(seed)
    path = _wander(rng, steps=2000)
    path = path - path.mean()
    furthest = max(np.abs(path.real).max(), np.abs(path.imag).max())
    path = path * (size // 2 - 0.5) * rng.uniform(0.5, 1.0) / furthest
    h = np.zeros((size, size))
    r, c = path.imag + size // 2, path.real + size // 2
    r0, c0 = np.floor(r).astype(int), np.floor(c).astype(int)
    for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (1 - np.abs(r - r0 - dr)) * (1 - np.abs(c - c0 - dc))
        np.add.at(h, (r0 + dr, c0 + dc), share)
    return h / h.sum()


def _wander(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Positions column + i row of a hand-held camera, in arbitrary units, total length 1."""
    pull, jerk, tremor = rng.uniform(0, 0.7), rng.uniform(0, 0.2), rng.uniform(0, 10.0)
    anxiety = 0.1 * rng.uniform()
    speed = 1.0 / steps
    position = np.zeros(steps, dtype=complex)
    velocity = speed * np.exp(2j * np.pi * rng.uniform())
    for t in range(1, steps):
        push = (
            anxiety
            * speed
            * (tremor * complex(*rng.standard_normal(2)) - pull * steps / 16 * position[t - 1])
        )
        if rng.uniform() < jerk * anxiety:
            push += 2 * velocity * np.exp(1j * (np.pi + rng.uniform(-0.5, 0.5)))
        velocity = (velocity + push) * speed / max(abs(velocity + push), 1e-30)
        position[t] = position[t - 1] + velocity
    return position
