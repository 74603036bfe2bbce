"""How strong the noise is: given, estimated, or following from a Poisson law."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.blurs import Blur, Scene, read_blur
from proxlab.data import Data, read_data
from proxlab.errors import InputError, UsageError
from proxlab.job import noise_text
from proxlab.methods.base import Noise
from proxlab.request import Request

if TYPE_CHECKING:
    from torch import Tensor

    from imaging.noise_level import NoiseLook

DISAGREE = 1.5  # a given sigma this many times off the estimate deserves a warning
GLIMPSE = 768  # pixels a side that are looked at for that warning
# High over low half of the noise: white noise gave 0.92 to 1.08 on blurred photographs, JPEG 0.4 to 0.8.
COLOURED = 0.85
SMALLEST = 48  # pixels a side: below, white noise was called coloured in a quarter of the cases
FAINT = 1e-6  # what an estimate of zero becomes, so that nobody divides by it


@dataclass(frozen=True)
class Level:
    """The noise model with its level: a fraction of the range, how it was found, what looks wrong."""

    noise: Noise
    sigma: float
    rule: str
    warnings: tuple[str, ...] = ()
    white: bool = True  # may rules that assume white noise be used?


def find_level(request: Request, data: Data, blur: Blur | None) -> Level:
    """The level of the noise in the data; a given one is obeyed and compared with the estimate.

    blur None: the picture is sharp.
    """
    noise = request.noise_model
    if noise.kind == "poisson":
        return _poisson(request, noise, data)
    simple = request.scale == 1 and blur is not None and not blur.varying
    given = request.sigma is not None
    seen = _glimpse(data) if given else data
    look = _look(seen, blur if simple else None, roughly=given)
    estimate = _sigma(look)
    floor = max(data.values.step / 12**0.5, FAINT)  # rounding to integers is noise too
    if request.sigma is None:
        if estimate is None:
            message = "the noise level cannot be estimated from this picture, it is too small: give sigma."
            raise InputError(message)
        return _estimated(noise, max(estimate, floor), seen, look)
    sigma = float(request.sigma)
    white = _colour(seen, look) >= COLOURED
    return Level(noise, sigma, "given", _disagreement(sigma, estimate, floor), white)


def _disagreement(sigma: float, estimate: float | None, floor: float) -> tuple[str, ...]:
    """A warning where a given level is more than DISAGREE times off the estimate."""
    if estimate is None or sigma / DISAGREE <= estimate <= max(sigma, floor) * DISAGREE:
        return ()
    return (
        f"sigma is given as {sigma:.4g} but the picture looks like {estimate:.4g}: the given one is used.",
    )


def _estimated(noise: Noise, sigma: float, seen: Data, look: NoiseLook | None) -> Level:
    """The estimate, raised to the level beside the signal where the high frequencies lack noise."""
    colour = _colour(seen, look)
    if look is None or colour >= COLOURED:
        return Level(noise, sigma, "estimated")
    beside = _number(look.beside_signal)
    raised = sigma / colour if beside is None else max(sigma, beside)
    if raised == sigma:  # nothing but rounding, which a smooth picture makes look coloured
        return Level(noise, sigma, "estimated")
    warning = (
        f"the noise is not white, its high frequencies have {colour:.0%} of the level of the low ones, as "
        f"after JPEG or resizing: {raised:.4g} is used instead of {sigma:.4g}, with care for the weight."
    )
    return Level(noise, raised, "estimated, raised because the noise is not white", (warning,), False)


def _glimpse(data: Data) -> Data:
    """The middle of a large picture: enough to see that a given level is far off."""
    height, width = data.planes.shape[1:]
    top, left = max(0, (height - GLIMPSE) // 2), max(0, (width - GLIMPSE) // 2)
    part = np.s_[:, top : top + GLIMPSE, left : left + GLIMPSE]
    valid = None if data.valid is None else data.valid[part]
    if valid is not None and not valid.any():
        return data
    return replace(data, planes=data.planes[part], valid=valid)


def _poisson(request: Request, noise: Noise, data: Data) -> Level:
    """sigma at the mean brightness of the valid pixels: the variance of counts / peak is mean / peak."""
    used = True if data.valid is None else np.broadcast_to(data.valid, data.planes.shape)
    mean = max(float(data.planes.mean(where=used)), FAINT)
    if noise.peak is not None:
        return Level(noise, (mean / noise.peak) ** 0.5, f"from {noise_text(noise)}, given")
    if request.sigma is not None:
        if request.sigma == 0:
            message = "sigma is 0 with noise='poisson': give 'poisson:PEAK', or a positive sigma."
            raise UsageError(message)
        given = float(request.sigma)
        look = _look(_glimpse(data), None, roughly=True)
        estimate = _sigma(look)
        doubt = () if estimate is None else _disagreement(given, estimate, FAINT)
        return Level(Noise("poisson", mean / given**2), given, "given", doubt)
    import torch

    from imaging.noise_level import estimate_peak

    mask = None if data.valid is None else torch.from_numpy(data.valid)[None]
    try:
        peak = float(estimate_peak(torch.from_numpy(data.planes)[None], mask=mask))
    except ValueError as cause:
        message = (
            f"the Poisson peak cannot be estimated from this picture, {cause} Write noise='poisson:PEAK'."
        )
        raise InputError(message) from cause
    found = Noise("poisson", peak)
    return Level(found, (mean / peak) ** 0.5, f"from {noise_text(found)}, estimated")


def estimate_level(data: Data, blur: Blur | None) -> float | None:
    """The estimated Gaussian level, or None where the picture is too small to tell."""
    look = _look(data, None if blur is not None and blur.varying else blur)
    return _sigma(look)


def _colour(data: Data, look: NoiseLook | None) -> float:
    """High over low half of the noise frequencies; 1 where that cannot be told."""
    if look is None or min(data.planes.shape[1:]) < SMALLEST:
        return 1.0
    colour = _number(look.colour)
    return 1.0 if colour is None or colour <= 0 else colour


def _look(data: Data, blur: Blur | None, *, roughly: bool = False) -> NoiseLook | None:
    """What the noise is measured in, None where there is too little of it."""
    import torch

    from imaging.noise_level import NoiseLook

    y = torch.from_numpy(data.planes)[None]
    kernel = None if blur is None else torch.from_numpy(blur.kernels[0]).to(y.dtype)
    mask = None if data.valid is None else torch.from_numpy(data.valid)[None].expand_as(y)
    try:
        return NoiseLook(y, kernel, mask=mask, roughly=roughly)
    except ValueError:
        return None


def _sigma(look: NoiseLook | None) -> float | None:
    """The level, None where it cannot be told."""
    return None if look is None else _number(look.sigma)


def _number(measure: Callable[[], Tensor]) -> float | None:
    """The only one that is measured, None where it cannot be."""
    try:
        number = float(measure()[0])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def noise_level(
    image: Any,
    psf: Any,
    *,
    channel_axis: int | None,
    data_range: float | None,
    origin: tuple[int, int] | None,
) -> float:
    """The Gaussian noise level of a picture, clipped areas left out; see `proxlab.estimate_noise`."""
    data = read_data(np.asarray(image), channel_axis=channel_axis, data_range=data_range)
    blur = None if psf is None else read_blur(psf, Scene(data.planes, 1, 0), origin=origin)
    estimate = estimate_level(data, blur)
    if estimate is None:
        message = "the noise level cannot be estimated from this picture: it is too small."
        raise InputError(message)
    return estimate
