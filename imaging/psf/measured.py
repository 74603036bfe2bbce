"""A psf measured in the picture: from a star or point of light, or from a straight edge."""

import numpy as np

from imaging.psf.errors import PsfNotFound
from imaging.psf.generators import disk, gaussian
from imaging.psf.result import PsfEstimate, grey, window_about

_CUT = 3.0  # deviations of the background above which a pixel belongs to the point
_CLEAR = 10.0  # deviations of the background that the brightest pixel, or the step of an edge, must reach
_MISFIT = 0.05  # share of the step that an edge may differ from the fitted profile, noise apart
_PIXEL = 1 / 12  # variance of the pixel itself, which a sharp edge has too


def psf_from_point(image: np.ndarray, at: tuple[int, int], *, size: int) -> PsfEstimate:
    """The psf that a star or a point of light near `at` (row, column) shows, in a window of `size` pixels
    (odd).

    The background (median of the window's rim) is taken away, what is connected to the brightest pixel and
    above `_CUT` deviations of the rim is kept, with its edge of one pixel; the centre n // 2 is the pixel
    that holds the centroid. PsfNotFound when the point is faint, overexposed, or as large as the window;
    PsfError when the window leaves the picture.

    >>> picture = np.zeros((60, 60))
    >>> picture[20:37, 30:47] += gaussian(2.0)
    >>> found = psf_from_point(picture, (29, 39), size=25)
    >>> bool(np.abs(np.pad(gaussian(2.0), 4) - np.pad(found.psf, (25 - len(found.psf)) // 2)).max() < 1e-3)
    True
    """
    from scipy import ndimage

    picture = grey(image)
    centre = (int(at[0]), int(at[1]))
    for _ in range(3):  # the click is rarely on the centroid: look again from there
        part = window_about(picture, centre, size)
        light, noise = _above_background(part)
        peak = np.unravel_index(int(light.argmax()), light.shape)
        if light[peak] < _CLEAR * noise or light[peak] <= 0:
            message = (
                f"no point of light stands out near {centre}: the brightest pixel is "
                f"{light[peak] / max(noise, 1e-12):.1f} deviations above the background, wanted "
                f"{_CLEAR:g}: choose a brighter, lonelier point."
            )
            raise PsfNotFound(message)
        labels, _count = ndimage.label(light > _CUT * noise, structure=np.ones((3, 3)))
        own = labels == labels[peak]
        row, column = ndimage.center_of_mass(np.where(own, light, 0.0))
        moved = (centre[0] + round(row) - size // 2, centre[1] + round(column) - size // 2)
        if moved == centre:
            break
        centre = moved
    _check_point(picture, part, own, size)
    own = ndimage.binary_dilation(own, structure=np.ones((3, 3)))
    psf = np.where(own, np.clip(light, 0, None), 0.0)
    reach = int(np.abs(np.argwhere(psf > 0) - size // 2).max())
    middle = slice(size // 2 - reach, size // 2 + reach + 1)
    psf = psf[middle, middle] / psf.sum()
    strength = float(light[peak] / max(noise, 1e-12))
    text = (
        f"point at row {centre[0]}, column {centre[1]}: psf {len(psf)}x{len(psf)}, "
        f"brightest pixel {min(strength, 9999):.0f} deviations above the background"
    )
    return PsfEstimate(
        psf, "point", {"row": centre[0], "column": centre[1]}, 1 - _CUT / max(strength, _CUT), text
    )


def _above_background(part: np.ndarray) -> tuple[np.ndarray, float]:
    """The window minus the median of its rim, two pixels wide, and the rim's robust deviation."""
    inside = np.zeros(part.shape, dtype=bool)
    inside[2:-2, 2:-2] = True
    rim = part[~inside]
    level = float(np.median(rim))
    return part - level, float(1.4826 * np.median(np.abs(rim - level)))


def _check_point(picture: np.ndarray, part: np.ndarray, own: np.ndarray, size: int) -> None:
    if own[0].any() or own[-1].any() or own[:, 0].any() or own[:, -1].any():
        message = (
            f"the light reaches the rim of the {size}x{size} window, wanted the whole point inside: "
            "give a larger size, or a point without neighbours."
        )
        raise PsfNotFound(message)
    flat = int((part[own] >= picture.max()).sum())
    if flat >= 4 and picture.max() > 0.98:
        message = (
            f"{flat} pixels of the point share the largest value {picture.max():g}: it is overexposed, "
            "wanted one below the range's end: choose a fainter point."
        )
        raise PsfNotFound(message)


def psf_from_edge(
    image: np.ndarray, at: tuple[int, int], *, size: int, kind: str = "gaussian"
) -> PsfEstimate:
    """An isotropic gaussian or disk from a straight edge through the window of `size` pixels about `at`.

    The edge spread function E(d) of the distance d to the edge is the integral of the line spread function of
    the psf: (1 + erf(d / s / sqrt 2)) / 2 for a gaussian, 1/2 + (asin t + t sqrt(1 - t^2)) / pi, t = d / r in
    [-1, 1], for a disk. Angle, offset, both levels and the width are fitted to all pixels at once, which uses
    the slant as ISO 12233's oversampling does, without binning; the pixel's own width is taken off.
    PsfNotFound when there is no single clear edge, or it is as sharp as the pixels.

    >>> picture = np.repeat([[0.2] * 30 + [0.8] * 30], 60, axis=0)
    >>> from scipy.ndimage import gaussian_filter
    >>> found = psf_from_edge(gaussian_filter(picture, 2.0), (30, 30), size=31)
    >>> round(found.parameters["sigma"], 1)
    2.0
    """
    if kind not in _PROFILES:
        message = (
            f"kind is {kind!r}, wanted one of {', '.join(_PROFILES)}: an edge shows only the width of a psf."
        )
        raise PsfNotFound(message)
    part = window_about(grey(image), at, size)
    fit, noise = _fit_edge(part, kind)
    low, high, angle, width, misfit = fit["low"], fit["high"], fit["angle"], fit["width"], fit["misfit"]
    step = abs(high - low)
    if step < _CLEAR * noise / np.sqrt(size) or step < 1e-6:
        message = (
            f"the edge near {at} rises by {step:.3g} over noise of {noise:.2g}: choose an edge with "
            "more contrast."
        )
        raise PsfNotFound(message)
    if misfit > _MISFIT or 2.5 * width > size / 2:
        message = (
            f"the window near {at} is no single straight edge of a {kind} (misfit {misfit:.0%} of its step, "
            f"wanted at most {_MISFIT:.0%}): choose a longer, lonelier edge or another size."
        )
        raise PsfNotFound(message)
    spread = width if kind == "gaussian" else width / 2  # deviation of the line spread function
    left = spread**2 - _PIXEL
    if left < 0.3**2:
        message = (
            f"the edge near {at} is as sharp as the pixels (width {spread:.2f}): the picture shows no "
            "blur there."
        )
        raise PsfNotFound(message)
    value = float(np.sqrt(left)) * (1 if kind == "gaussian" else 2)
    name = "sigma" if kind == "gaussian" else "radius"
    psf = gaussian(value) if kind == "gaussian" else disk(value)
    where = f"edge at row {at[0]}, column {at[1]}, {angle:.1f} degrees"
    text = f"{where}: {kind}:{value:.2f}, misfit {misfit:.1%} of its step"
    return PsfEstimate(psf, kind, {name: value, "angle": angle}, 1 - misfit / _MISFIT / 2, text)


def _gaussian_edge(d: np.ndarray, width: float) -> np.ndarray:
    from scipy.special import erf

    return (1 + erf(d / (width * np.sqrt(2)))) / 2


def _disk_edge(d: np.ndarray, width: float) -> np.ndarray:
    t = np.clip(d / width, -1, 1)
    return 0.5 + (np.arcsin(t) + t * np.sqrt(1 - t * t)) / np.pi


_PROFILES = {"gaussian": _gaussian_edge, "disk": _disk_edge}


def _fit_edge(part: np.ndarray, kind: str) -> tuple[dict[str, float], float]:
    """Least squares of low + (high - low) E(d), d = column cos n + row sin n - offset; and the noise."""
    from scipy.optimize import least_squares

    n = len(part)
    r, c = np.mgrid[:n, :n] - n // 2
    gr, gc = np.gradient(part)
    normal = 0.5 * np.arctan2(
        2 * (gr * gc).sum(), (gc**2 - gr**2).sum()
    )  # structure tensor (Bigun & Granlund 1987)
    if (gr * np.sin(normal) + gc * np.cos(normal)).sum() < 0:
        normal += np.pi
    weight = (gr * np.sin(normal) + gc * np.cos(normal)) ** 2
    offset = float((weight * (c * np.cos(normal) + r * np.sin(normal))).sum() / max(weight.sum(), 1e-30))
    low, high = np.quantile(part, [0.05, 0.95])
    best = None
    for width in (0.7, 2.0, n / 8):

        def residual(p: np.ndarray) -> np.ndarray:
            d = c * np.cos(p[2]) + r * np.sin(p[2]) - p[3]
            return (p[0] + (p[1] - p[0]) * _PROFILES[kind](d, np.exp(p[4])) - part).ravel()

        found = least_squares(
            residual,
            [low, high, normal, offset, np.log(width)],
            x_scale=[0.1, 0.1, 0.05, 0.5, 0.2],
            max_nfev=50,
        )
        best = found if best is None or found.cost < best.cost else best
    assert best is not None
    left = best.fun.reshape(n, n)
    noise = float(
        1.4826 * np.median(np.abs(np.diff(left, axis=0) - np.median(np.diff(left, axis=0)))) / np.sqrt(2)
    )
    low, high, normal, _, log_width = best.x
    extra = np.sqrt(max(float((left**2).mean()) - noise**2, 0.0))
    edge = -np.degrees(normal) + 90  # along the edge, counter-clockwise with rows downward
    numbers = {"low": low, "high": high, "angle": (edge + 90) % 180 - 90, "width": float(np.exp(log_width))}
    return numbers | {"misfit": float(extra / max(abs(high - low), 1e-12))}, noise
