"""Estimate of a motion, gaussian or disk psf from one picture with unknown border and noise; or a refusal."""

from difflib import get_close_matches
from typing import NoReturn

import numpy as np

from imaging.psf.errors import PsfError, PsfNotFound
from imaging.psf.result import PsfEstimate, grey
from imaging.psf.search import KINDS, NAMES, Candidate, most_likely, unblurred
from imaging.psf.spectrum import Spectrum, spectrum_of

SMALLEST = 128  # pixels a side: below, too few independent frequencies are left
# Set on training photographs of BSDS500 (sharp, and blurred by each kind, noise 0.005 and 0.01), so that
# sharp pictures and other kinds stay below; gaussian and small disk differ so little that a slight lag is
# allowed.
_GAIN = {"motion": 40.0, "gaussian": 10.0, "disk": 20.0}  # log likelihood over the sharp picture
_LEAD = {"motion": 40.0, "gaussian": -4.0, "disk": 4.0}  # log likelihood over the best other kind
_LEAST = {"motion": 4.0, "gaussian": 0.65, "disk": 1.5}  # pixels: what a soft sharp picture shows as well
_MISFIT = 0.18  # of the spectrum: repeating texture has peaks and gaps of its own
# Median widths found, and true widths, of gaussian blurs of those photographs: their own softness stands in
# the way.
_WIDTHS = ((0.5, 0.83, 1.12, 1.49, 1.9, 2.46, 3.04, 4.0), (0.5, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0))
_WORDS = {"motion": "motion blur", "gaussian": "gaussian blur", "disk": "defocus by a disk"}


def estimate_psf(image: np.ndarray, kind: str) -> PsfEstimate:
    """The motion, gaussian or disk psf that most likely blurred a picture (H, W[, C]), or PsfNotFound.

    Maximises the Whittle likelihood of the periodogram P over the psf h, the noise s and the spectrum S,

        -sum_f log m(f) + P(f) / m(f),  m(f) = s^2 + |H(f)|^2 S(f),

    where log S is smooth in log frequency and direction with a prior from sharp photographs. The zeros of H
    give motion and disk away, the fall of H the gaussian. Refuses when the gain over a sharp picture is
    small, when another kind explains the picture better, and when the size is one that sharp photographs show
    as well. `confidence` runs from 0.5 (just accepted) to 1 with both gains; it is no probability. Colours
    are averaged; noise must be white. Takes seconds. PsfError for an unknown kind or a picture smaller than
    `SMALLEST`.

    >>> estimate_psf(np.zeros((200, 200)), "motion")
    Traceback (most recent call last):
    ...
    imaging.psf.errors.PsfNotFound: the picture is flat, wanted ...
    """
    if kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1, cutoff=0.0)[0]
        message = (
            f"cannot estimate a psf of kind {kind!r}, "
            f"wanted one of {', '.join(KINDS)}: "
            f"did you mean {near!r}?"
        )
        raise PsfError(message)
    picture = grey(image)
    if min(picture.shape) < SMALLEST:
        message = (
            f"image is {picture.shape[0]}x{picture.shape[1]}, wanted at least {SMALLEST} pixels a side to "
            "estimate a psf from: give more of the picture, or the psf."
        )
        raise PsfError(message)
    if np.ptp(picture) < 1e-3:
        message = "the picture is flat, wanted texture or edges that a blur could have spread: give the psf."
        raise PsfNotFound(message)
    spectrum = spectrum_of(picture / np.abs(picture).max())
    return _judged(spectrum, kind)


def _judged(spectrum: Spectrum, kind: str) -> PsfEstimate:
    """The best candidate of `kind` when the evidence is enough; PsfNotFound otherwise."""
    sharp = unblurred(spectrum)
    found = most_likely(spectrum, kind)
    gain, described = found.score - sharp.score, _described(found)
    if gain < _GAIN[kind]:
        _refuse(
            f"the picture shows no clear {_WORDS[kind]}: {described} explains it hardly better than no blur"
        )
    if found.numbers[0] < _LEAST[kind]:
        _refuse(f"the best {_WORDS[kind]}, {described}, is as small as the softness of a sharp picture")
    if found.misfit > _MISFIT:
        _refuse("the spectrum of the picture is not that of a photograph, as repeating texture makes it")
    rivals = [most_likely(spectrum, other) for other in KINDS if other != kind]
    rival = max(rivals, key=lambda r: r.score)
    lead = found.score - max(rival.score, sharp.score)
    if lead < _LEAD[kind]:
        _refuse(
            f"the picture looks less like {_WORDS[kind]} than like {_WORDS[rival.kind]}: "
            f"{_described(rival)} explains it as well as {described}"
        )
    margin = min((gain - _GAIN[kind]) / _GAIN[kind], (lead - _LEAD[kind]) / max(abs(_LEAD[kind]), 8.0))
    confidence = float(1 - 0.5 * np.exp(-margin))
    found = _unbiased(found)
    text = (
        f"{_described(found)} (log likelihood {gain:.0f} above no blur, "
        f"{lead:.0f} above the next kind, {_described(rival)})"
    )
    return PsfEstimate(
        found.psf(), kind, dict(zip(NAMES[kind], found.numbers, strict=True)), confidence, text
    )


def _unbiased(found: Candidate) -> Candidate:
    """Gaussian widths on the scale of the truth; zeros give the other kinds away without bias."""
    if found.kind != "gaussian" or not _WIDTHS[0][0] < found.numbers[0] < _WIDTHS[0][-1]:
        return found
    return found._replace(numbers=(float(np.interp(found.numbers[0], *_WIDTHS)),))


def _described(found: Candidate) -> str:
    """As a psf text: motion:15.0@30."""
    return f"{found.kind}:" + "@".join(f"{v:.3g}" for v in found.numbers)


def _refuse(reason: str) -> NoReturn:
    message = (
        f"{reason}; this would be a guess: give the psf by numbers, or measure it from a star or an edge."
    )
    raise PsfNotFound(message)
