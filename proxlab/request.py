"""What was asked, checked once: the options of the front door as one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any

from proxlab.cluster import check_cluster
from proxlab.errors import UsageError, unknown
from proxlab.memory import parse_bytes
from proxlab.methods import check_name, require
from proxlab.methods.base import BOUNDARIES, NOISES, Method, Need, Noise


@dataclass(frozen=True)
class Request:
    """The options of `proxlab.deblur` that are not arrays; the defaults are in its signature.

    Raises UsageError for unknown names, impossible values and options this version does not have.
    """

    sigma: float | None
    method: str
    prior: object | None
    boundary: str
    noise: str
    lam: float | None
    num_iter: int | None
    scale: int
    origin: tuple[int, int] | None
    channel_axis: int | None
    data_range: float | None
    max_memory: float | str | None
    cluster: object | None
    device: str | None
    seed: int
    linear: bool
    tile: int | None

    def __post_init__(self) -> None:
        check_name(self.method)
        if self.boundary not in BOUNDARIES:
            error = unknown("boundary", str(self.boundary), BOUNDARIES)
            raise error
        if self.cluster is not None:
            check_cluster(self.cluster)
        self._check_numbers()
        if self.method == "auto" and self.lam is not None and self.prior is not None:
            message = (
                f"lam={self.lam} with method 'auto' is the weight of total variation, which takes no prior: "
                "leave lam or prior out, or say method='pnp'."
            )
            raise UsageError(message)
        if self.noise_model.peak is not None and self.sigma is not None:
            message = f"noise={self.noise!r} fixes the noise level already: leave sigma out."
            raise UsageError(message)
        if self.max_memory is not None:
            parse_bytes(self.max_memory)

    @property
    def noise_model(self) -> Noise:
        """The noise text as an object."""
        return parse_noise(self.noise)

    def need(self, *, mask: bool, varying: bool) -> Need:
        """What this request asks of a method."""
        return Need(
            boundary=self.boundary,
            noise=self.noise_model.kind,
            scale=self.scale,
            mask=mask,
            varying=varying,
            lam=self.lam is not None,
            num_iter=self.num_iter is not None,
            prior=self.prior is not None,
        )

    def choose_method(self, *, mask: bool = False, varying: bool = False) -> Method:
        """The method object; raises UsageError naming those that can where this one cannot."""
        return require(self.method, self.need(mask=mask, varying=varying))

    def as_dict(self) -> dict[str, object]:
        """The record for a receipt: what differs from nothing."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def _check_numbers(self) -> None:
        for name, value in (("sigma", self.sigma), ("lam", self.lam)):
            if value is not None and not isinstance(value, Real):
                message = f"{name} is {value!r}: give a number, not {type(value).__name__}."
                raise UsageError(message)
        if self.sigma is not None:
            check_sigma(self.sigma)
        if self.lam is not None and not (math.isfinite(self.lam) and self.lam > 0):
            message = f"lam is {self.lam}: give a positive number, larger is smoother."
            raise UsageError(message)
        for name, value in (("num_iter", self.num_iter), ("scale", self.scale)):
            if value is not None and (not isinstance(value, Integral) or value < 1):
                message = f"{name} is {value}: give a whole number from 1."
                raise UsageError(message)
        if self.tile is not None and (not isinstance(self.tile, Integral) or self.tile < 64):
            message = f"tile is {self.tile}: give the side of a tile in pixels, 64 or more."
            raise UsageError(message)
        if not isinstance(self.seed, Integral) or self.seed < 0:
            message = f"seed is {self.seed!r}: give a whole number from 0."
            raise UsageError(message)
        if self.origin is not None and len(self.origin) != 2:
            message = f"origin is {self.origin}: give the row and the column of the psf's centre."
            raise UsageError(message)


def check_sigma(sigma: float) -> None:
    """UsageError for what is no noise level on a data range of 1; a level for 8 bits gets its fraction."""
    if not (math.isfinite(sigma) and sigma >= 0):
        message = (
            f"sigma is {sigma}: give the noise as a fraction of the data range, 0 or more, such as 0.01."
        )
        raise UsageError(message)
    if sigma > 1:
        message = (
            f"sigma is {sigma:g}, more than the whole range: as a fraction of 255 it is {sigma / 255:.4g}."
        )
        raise UsageError(message)


def parse_noise(text: str) -> Noise:
    """A noise text as an object.

    >>> parse_noise("poisson:500")
    Noise(kind='poisson', peak=500.0)
    """
    kind, colon, level = str(text).partition(":")
    if kind not in NOISES:
        error = unknown("noise", kind, NOISES)
        raise error
    if not colon:
        return Noise(kind)
    try:
        peak = float(level)
    except ValueError:
        peak = math.nan
    if kind != "poisson" or not (math.isfinite(peak) and peak > 0):
        message = (
            f"noise is {text!r}: wanted 'gaussian', 'poisson' or 'poisson:PEAK' with PEAK counts at value 1."
        )
        raise UsageError(message)
    return Noise(kind, peak)


def same_treatment(info: Mapping[str, object]) -> dict[str, object]:
    """The options that treat another picture like the one of `info`: its method, sigma, lam, num_iter.

    The level is the one that was used, which is above an estimated one where a method raises those.
    """
    from proxlab.methods import load_method

    supports = load_method(str(info["method"])).supports
    chosen: dict[str, object] = {"method": info["method"]}
    details = info.get("details")
    sigma: Any = info["sigma"]
    used: Any = (details.get("sigma_used") if isinstance(details, Mapping) else None) or sigma
    noise = parse_noise(str(info.get("noise", "gaussian")))
    chosen["noise"] = noise.kind
    if noise.kind != "poisson":
        chosen["sigma"] = used
    elif noise.peak is not None:  # the level goes as its root
        chosen["noise"] = f"poisson:{noise.peak * (sigma / used) ** 2:.10g}"
    if supports.lam and info.get("lam") is not None:
        chosen["lam"] = info["lam"]
    if supports.num_iter and info.get("num_iter"):
        chosen["num_iter"] = info["num_iter"]
    return chosen
