"""The one small grammar of psf texts: `kind:numbers`, or the name of a file."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from imaging.psf.errors import PsfError

AUTO_KINDS = ("motion", "gaussian", "disk")
GRAMMAR = {
    "gaussian": "gaussian:S or gaussian:SX,SY@ANGLE (standard deviations in pixels, degrees)",
    "motion": "motion:LENGTH@DEGREES (pixels, counter-clockwise from the column axis)",
    "disk": "disk:RADIUS (pixels)",
    "box": "box:N (pixels)",
    "shake": "shake:SEED or shake:SEED,SIZE (a whole number; the side in pixels)",
    "zernike": "zernike:defocus=1.0,coma_x=0.3,... (radians rms; cutoff=0.5 for a softer lens)",
}


@dataclass(frozen=True)
class Auto:
    """A psf of this kind is to be estimated from the picture itself."""

    kind: str


def parse_psf(text: str, *, shape: tuple[int, ...] | None = None, seed: int = 0) -> np.ndarray | Auto:
    """The psf that a text describes, or `Auto(kind)` for motion:auto, gaussian:auto, disk:auto.

    Texts: gaussian:S, gaussian:SX,SY@ANGLE, motion:LENGTH@DEGREES, disk:RADIUS, box:N, shake:SEED,
    zernike:NAME=VALUE,..., or a file (png, tif, npy, mat; file.mat:NAME picks a variable). `shape` (H, W,
    ...) of the picture, when given, is compared with the size; `seed` serves a bare "shake". PsfError
    otherwise.

    >>> parse_psf("gaussian:2").shape, parse_psf("motion:15@30").shape, parse_psf("disk:auto")
    ((17, 17), (9, 15), Auto(kind='disk'))
    """
    kind, _, rest = text.strip().partition(":")
    kind, rest = kind.strip().lower(), rest.strip()
    if kind not in GRAMMAR:
        psf = _from_file(text.strip(), kind)
    elif rest.lower() == "auto":
        return _auto(kind, text)
    elif kind == "shake" and not rest:
        psf = _shake(str(seed))
    elif not rest:
        message = f"psf text {text!r} names a kind without its numbers, wanted {GRAMMAR[kind]}."
        raise PsfError(message)
    else:
        psf = _generate(kind, rest, text)
    if shape is not None:
        from imaging.psf.doctor import check_size

        check_size(psf.shape, shape)
    return psf


def _generate(kind: str, rest: str, text: str) -> np.ndarray:
    try:
        return _READERS[kind](rest)
    except PsfError:
        raise
    except (ValueError, TypeError) as error:
        message = f"cannot read psf text {text!r}: wanted {GRAMMAR[kind]}."
        raise PsfError(message) from error


def _gaussian(rest: str) -> np.ndarray:
    from imaging.psf.generators import gaussian

    widths, at, angle = rest.partition("@")
    numbers = [float(part) for part in widths.split(",")]
    if len(numbers) > 2 or (at and len(numbers) == 1):
        raise ValueError
    return gaussian(numbers[0], numbers[-1], float(angle) if at else 0.0)


def _motion(rest: str) -> np.ndarray:
    from imaging.psf.generators import motion

    length, at, angle = rest.partition("@")
    return motion(float(length), float(angle) if at else 0.0)


def _disk(rest: str) -> np.ndarray:
    from imaging.psf.generators import disk

    return disk(float(rest))


def _box(rest: str) -> np.ndarray:
    from imaging.psf.generators import box

    return box(float(rest))


def _shake(rest: str) -> np.ndarray:
    from imaging.psf.generators import shake

    numbers = [int(part) for part in rest.split(",")]
    if len(numbers) > 2 or numbers[0] < 0:
        raise ValueError
    return shake(*numbers)


def _zernike(rest: str) -> np.ndarray:
    from imaging.psf.optics import zernike

    values: dict[str, float] = {}
    for part in rest.split(","):
        name, equals, value = part.partition("=")
        if not equals or name.strip() in values:
            raise ValueError
        values[name.strip()] = float(value)
    cutoff = values.pop("cutoff", 1.0)
    return zernike(values, cutoff=cutoff)


_READERS: dict[str, Callable[[str], np.ndarray]] = {
    "gaussian": _gaussian,
    "motion": _motion,
    "disk": _disk,
    "box": _box,
    "shake": _shake,
    "zernike": _zernike,
}


def _auto(kind: str, text: str) -> Auto:
    if kind not in AUTO_KINDS:
        message = (
            f"psf text {text!r}: only {', '.join(AUTO_KINDS)} can be estimated from a picture, "
            f"not {kind}: give its numbers, {GRAMMAR[kind]}."
        )
        raise PsfError(message)
    return Auto(kind)


def _from_file(text: str, kind: str) -> np.ndarray:
    from imaging.psf.files import SUFFIXES, read_psf

    path, _, key = text.rpartition(":")
    if path.lower().endswith(".mat") and not os.path.exists(text):
        return read_psf(path, key)
    if text.lower().endswith(SUFFIXES) or os.path.exists(text):
        return read_psf(text)
    near = get_close_matches(kind, GRAMMAR, n=1, cutoff=0.5)
    hint = f"did you mean {GRAMMAR[near[0]]}?" if near else "write one of these with its numbers."
    message = (
        f"psf {text!r} is neither a file nor a known kind, wanted one of {', '.join(GRAMMAR)} "
        f"or a {', '.join(SUFFIXES)} file: {hint}"
    )
    raise PsfError(message)
