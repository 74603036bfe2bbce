"""The psf doctor: looks at a psf, mends what can be mended without moving anything, says each thing in one
line.
"""

from dataclasses import dataclass, replace

import numpy as np

from imaging.psf.errors import PsfError

LIGHT_OUTSIDE = 1e-6  # share of the light that a crop may cost
_FAR = 0.5  # pixels between centroid and centre that shift a result visibly
_FLAT_RIM = 0.1  # spread of the rim relative to its mean, below which it is a background and not a tail
_RANGE_ENDS = (1.0, 255.0, 65535.0)


@dataclass(frozen=True)
class Finding:
    """One line about a psf; level "note" (nothing done), "mended" (changed) or "warning" (look at it)."""

    level: str
    text: str


@dataclass(frozen=True)
class Diagnosis:
    """The psf after mending, float64 (h, w[, C]), its centre (row, column), and what was found."""

    psf: np.ndarray
    origin: tuple[int, int]
    findings: tuple[Finding, ...] = ()

    @property
    def text(self) -> str:
        """One line a finding, "ok" when there is none."""
        return "\n".join(f"{f.level}: {f.text}" for f in self.findings) or "ok: nothing to mend"

    def having(self, level: str, text: str) -> "Diagnosis":
        """The same with one more finding."""
        return replace(self, findings=(*self.findings, Finding(level, text)))


def diagnose(
    psf: np.ndarray,
    image_shape: tuple[int, ...] | None = None,
    *,
    origin: tuple[int, int] | None = None,
    normalize: bool = True,
) -> Diagnosis:
    """Check a psf (h, w) or (h, w, C); return it mended, with its centre and one line a finding. Pure.

    Mended: a constant background and negative values are taken away, empty margins are cropped symmetrically
    about the centre (at most `LIGHT_OUTSIDE` of the light), each channel is divided by its sum unless
    `normalize=False`. Reported, never changed: a centroid away from the centre, an even size, a clipped top.
    The centre is `origin` (row, column) or n // 2. PsfError for what cannot be used: complex, NaN, an
    unusable shape, a sum of zero, an origin outside, a psf larger than `image_shape` (H, W[, C]).

    >>> found = diagnose(np.pad(np.ones((3, 3)), 4))
    >>> found.psf.shape, found.origin
    ((3, 3), (1, 1))
    >>> print(found.text)
    mended: cropped from 11x11 to 3x3: the rest holds no light.
    mended: its sum was 9: divided by it.
    """
    seen = _readable(psf, origin)
    total = seen.psf.sum((0, 1))
    if np.any(np.abs(total) <= 1e-9 * np.abs(seen.psf).sum((0, 1))):
        _check_sum(np.zeros_like(seen.psf) if not np.any(seen.psf) else -np.abs(seen.psf), total)
    for look in (_clipped, _background, _negatives):
        seen = look(seen)
    _check_sum(seen.psf, total)
    for look in (_support, _even, _centroid, _single):
        seen = look(seen)
    if image_shape is not None:
        check_size(seen.psf.shape, image_shape)
    return _scaled(seen, normalize)


def check_size(psf_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> None:
    """PsfError when a psf (h, w[, C]) does not fit a picture (H, W[, C])."""
    (h, w), (height, width) = psf_shape[:2], image_shape[:2]
    if h > height or w > width:
        message = f"psf is {h}x{w} but the image is {height}x{width}: crop the psf or pad the image."
        raise PsfError(message)
    channels = image_shape[2] if len(image_shape) == 3 else 1
    colours = channels - 1 if channels in (2, 4) else channels
    if len(psf_shape) == 3 and psf_shape[2] not in (1, colours):
        message = (
            f"psf has {psf_shape[2]} channels but the image has {colours}: "
            "give one psf (h, w) for all channels or one a channel (h, w, C)."
        )
        raise PsfError(message)


def _readable(psf: np.ndarray, origin: tuple[int, int] | None) -> Diagnosis:
    """The psf as float64 with a valid centre; PsfError for what is no psf at all."""
    given = np.asarray(psf)
    if given.dtype.kind not in "biufc" or given.ndim not in (2, 3) or not given.size:
        message = (
            f"psf is an array of {given.dtype} of shape {given.shape}, "
            "wanted numbers (h, w) or (h, w, C): cut it out."
        )
        raise PsfError(message)
    if given.ndim == 3 and given.shape[2] > 4:
        message = (
            f"psf has shape {given.shape}, "
            "wanted (h, w) or (h, w, C) with at most 4 channels: move the channels last."
        )
        raise PsfError(message)
    if given.dtype.kind == "c":
        if given.imag.any():
            message = "psf is complex, wanted real numbers: give the intensity |h|^2 or the real part."
            raise PsfError(message)
        given = given.real
    values = given.astype(np.float64)  # a copy: the caller's array is never touched
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0][:2])
        message = f"psf has {bad.sum()} values that are NaN or infinite, the first at {where}: replace them."
        raise PsfError(message)
    h, w = values.shape[:2]
    centre = (h // 2, w // 2) if origin is None else (int(origin[0]), int(origin[1]))
    if not (0 <= centre[0] < h and 0 <= centre[1] < w):
        message = f"origin {centre} lies outside the {h}x{w} psf: give (row, column) counted from 0."
        raise PsfError(message)
    return Diagnosis(values, centre)


def _clipped(seen: Diagnosis) -> Diagnosis:
    """A flat top at the end of a file's range is an overexposed star, unless the psf is flat by nature."""
    top = seen.psf.max()
    flat, slope = int((seen.psf == top).sum()), seen.psf[(seen.psf > top / 20) & (seen.psf < top)]
    if top not in _RANGE_ENDS or flat < 3 or flat > len(slope) or len(np.unique(slope)) < 12:
        return seen
    return seen.having(
        "warning",
        f"{flat} pixels share the largest value {top:g}: if the psf was photographed, it is overexposed.",
    )


def _background(seen: Diagnosis) -> Diagnosis:
    """A rim at one level is no light of the point; the rim of a cut tail is not at one level."""
    h, w = seen.psf.shape[:2]
    if min(h, w) < 3:
        return seen
    inside = np.zeros((h, w), dtype=bool)
    inside[1:-1, 1:-1] = True
    rim = seen.psf[~inside]
    level = rim.mean(0)
    total = np.abs(seen.psf).sum((0, 1))
    flat = (rim.std(0) <= _FLAT_RIM * level) & (level < seen.psf.max((0, 1)) / 2) & (level > 0)
    if not np.any(flat):
        return seen
    lift = np.where(flat, level, 0.0)
    share = float(np.max(lift * h * w / total))
    left = np.where(flat, np.clip(seen.psf - lift, 0, None), seen.psf)
    text = f"took away a constant background of {float(np.max(lift)):.3g} ({share:.0%} of the light)."
    return replace(seen, psf=left).having("mended", text)


def _negatives(seen: Diagnosis) -> Diagnosis:
    negative = seen.psf < 0
    if not negative.any() or not (seen.psf > 0).any():
        return seen
    share = float(-seen.psf[negative].sum() / np.abs(seen.psf).sum())
    text = f"set {negative.sum()} negative values to 0 ({share:.2g} of the light)."
    level = "mended"
    if share > 0.05:
        level, text = "warning", text[:-1] + ": so many suggest that this is no psf, or a sharpened one."
    return replace(seen, psf=np.clip(seen.psf, 0, None)).having(level, text)


def _check_sum(psf: np.ndarray, total: np.ndarray | float) -> None:
    if (psf.sum((0, 1)) > 0).all() and (psf >= 0).all():
        return
    message = (
        f"psf sums to {np.min(total):g}, wanted light to add up to more than zero: "
        "check its sign and that the file is not empty."
    )
    if not np.any(psf):
        message = "psf sums to zero: it is empty, wanted at least one pixel of light; check the file."
    raise PsfError(message)


def _support(seen: Diagnosis) -> Diagnosis:
    """Crop rows and columns alike on both sides of the centre while LIGHT_OUTSIDE of the light is not
    exceeded.
    """
    light = seen.psf / seen.psf.sum((0, 1))
    light = light.max(2) if light.ndim == 3 else light
    slices, centre = [], []
    for axis, at in enumerate(seen.origin):
        profile = light.sum(1 - axis)
        distance = np.abs(np.arange(len(profile)) - at)
        outside = profile.sum() - np.cumsum(np.bincount(distance, weights=profile))
        reach = int(np.argmax(outside <= LIGHT_OUTSIDE / 2))
        low = max(0, at - reach)
        slices.append(slice(low, at + reach + 1))
        centre.append(at - low)
    cropped = seen.psf[slices[0], slices[1]]
    if cropped.shape == seen.psf.shape:
        return seen
    (a, b), (h, w) = seen.psf.shape[:2], cropped.shape[:2]
    text = f"cropped from {a}x{b} to {h}x{w}: the rest holds no light."
    return Diagnosis(np.ascontiguousarray(cropped), (centre[0], centre[1]), seen.findings).having(
        "mended", text
    )


def _even(seen: Diagnosis) -> Diagnosis:
    h, w = seen.psf.shape[:2]
    if h % 2 and w % 2:
        return seen
    return seen.having(
        "note",
        f"its size {h}x{w} is even: its centre is taken at {seen.origin}, counted from 0.",
    )


def _centroid(seen: Diagnosis) -> Diagnosis:
    light = seen.psf.sum(2) if seen.psf.ndim == 3 else seen.psf
    grids = np.mgrid[: light.shape[0], : light.shape[1]]
    row, column = ((g * light).sum() / light.sum() - at for g, at in zip(grids, seen.origin, strict=True))
    if max(abs(row), abs(column)) <= _FAR + 1e-9:
        return seen
    at = tuple(round(o + d) for o, d in zip(seen.origin, (row, column), strict=True))
    return seen.having(
        "warning",
        f"its centroid lies {row:+.1f} rows, {column:+.1f} columns from its centre {seen.origin}: the result "
        f"moves by as much; origin={at} puts the centre there.",
    )


def _single(seen: Diagnosis) -> Diagnosis:
    if np.count_nonzero(seen.psf if seen.psf.ndim == 2 else seen.psf.max(2)) > 1:
        return seen
    return seen.having("note", "it is a single pixel: it blurs nothing.")


def _scaled(seen: Diagnosis, normalize: bool) -> Diagnosis:
    sums = seen.psf.sum((0, 1))
    if np.allclose(sums, 1, rtol=0, atol=1e-9):
        return replace(seen, psf=seen.psf / sums) if normalize else seen
    shown = ", ".join(f"{s:.6g}" for s in np.atleast_1d(sums))
    if not normalize:
        return seen.having("note", f"its sum is {shown}: left as it is.")
    divided = replace(seen, psf=seen.psf / sums)
    return (
        divided.having("mended", f"its sum was {shown}: divided by it.")
        if np.abs(sums - 1).max() > 1e-6
        else divided
    )
