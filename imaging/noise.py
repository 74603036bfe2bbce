"""Noise as plain functions of (picture, level, seed).

Every draw is made on the CPU in float64 by a generator of its own and then carried to the device and dtype of
the picture: the global random state is never touched, and the same seed gives the same noise everywhere.
Nothing is clipped except by `quantise`, because a clipped Gaussian is not Gaussian any more.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian(x: Tensor, sigma: float, seed: int) -> Tensor:
    """Add white Gaussian noise.

    y = x + sigma n, n ~ N(0, 1) independent in every pixel and channel.

    Args:
        x: picture of any shape, floating, on [0, 1].
        sigma: standard deviation as a fraction of the range, >= 0.
        seed: decides the draw.

    Raises:
        TypeError: x is not floating.
        ValueError: sigma is negative or not finite.

    >>> round(float(gaussian(torch.zeros(1, 1, 200, 200), 0.1, seed=0).std()), 2)
    0.1
    """
    _check(x, "sigma", sigma)
    return x + sigma * _normal(x, _generator(seed))


def poisson(x: Tensor, peak: float, seed: int) -> Tensor:
    """Replace a picture by photon counts, scaled back to the range.

    y = Poisson(peak x) / peak; variance x / peak. Values below 0 hold no light and count as 0.

    Args:
        x: picture of any shape, floating, on [0, 1].
        peak: expected count at value 1, > 0.
        seed: decides the draw.

    Raises:
        TypeError: x is not floating.
        ValueError: peak is not a positive finite number.

    >>> y = poisson(torch.full((1, 1, 100, 100), 0.25), 100.0, seed=0)
    >>> counts = y * 100
    >>> bool((counts - counts.round()).abs().max() < 1e-4), round(float(y.mean()), 2)
    (True, 0.25)
    """
    _check(x, "peak", peak)
    if peak == 0:
        msg = "peak is 0, a positive count at value 1 is wanted: give the mean count of a white pixel."
        raise ValueError(msg)
    counts = torch.poisson(
        peak * x.detach().to("cpu", torch.float64).clamp_min(0), generator=_generator(seed)
    )
    return (counts / peak).to(x.device, x.dtype)


def poisson_gaussian(x: Tensor, level: tuple[float, float], seed: int) -> Tensor:
    """Photon counts read by an amplifier with Gaussian noise.

    y = Poisson(peak x) / peak + sigma n; variance x / peak + sigma^2 (Foi et al., IEEE TIP 17, 2008, eq. 4).

    Args:
        x: picture of any shape, floating, on [0, 1].
        level: (peak, sigma).
        seed: decides both draws.

    Raises:
        TypeError: x is not floating.
        ValueError: peak is not positive, or sigma is negative.

    >>> y = poisson_gaussian(torch.full((1, 1, 300, 300), 0.5), (100.0, 0.05), seed=0)
    >>> round(float(y.var()), 4)  # 0.5 / 100 + 0.05^2
    0.0075
    """
    peak, sigma = level
    _check(x, "sigma", sigma)
    # a stream of its own: with one seed for both, counts and amplifier would be correlated
    return poisson(x, peak, seed) + sigma * _normal(x, _generator(seed + 2**32))


def impulse(x: Tensor, share: float, seed: int) -> Tensor:
    """Salt and pepper: replace a share of the values by 0 or 1 with equal odds.

    Args:
        x: picture of any shape, floating, on [0, 1]; channels are hit independently.
        share: expected share of replaced values, on [0, 1].
        seed: decides the draw.

    Raises:
        TypeError: x is not floating.
        ValueError: share is outside [0, 1].

    >>> y = impulse(torch.full((1, 1, 100, 100), 0.5), 0.2, seed=0)
    >>> round(float((y != 0.5).double().mean()), 1)
    0.2
    """
    _check(x, "share", share)
    if share > 1:
        msg = f"share is {share}, a fraction on [0, 1] is wanted: divide percentages by 100."
        raise ValueError(msg)
    draw = torch.rand(x.shape, generator=_generator(seed), dtype=torch.float64).to(x.device)
    salted = torch.where(draw < share / 2, torch.zeros_like(x), x)
    return torch.where(draw >= 1 - share / 2, torch.ones_like(x), salted)


def uniform(x: Tensor, width: float, seed: int) -> Tensor:
    """Add noise that is uniform on [-width/2, width/2]; its standard deviation is width / sqrt(12).

    Args:
        x: picture of any shape, floating, on [0, 1].
        width: full width of the interval, >= 0.
        seed: decides the draw.

    Raises:
        TypeError: x is not floating.
        ValueError: width is negative or not finite.

    >>> y = uniform(torch.zeros(1, 1, 100, 100), 0.2, seed=0)
    >>> bool(y.abs().max() <= 0.1)
    True
    """
    _check(x, "width", width)
    draw = torch.rand(x.shape, generator=_generator(seed), dtype=torch.float64) - 0.5
    return x + (width * draw).to(x.device, x.dtype)


def quantise(x: Tensor, levels: int, seed: int | None = None) -> Tensor:
    """Round to a file's grid: clip to [0, 1], then to the nearest of `levels` equally spaced values.

    y = round((levels - 1) clip(x)) / (levels - 1); 256 levels are 8 bits. The error's standard deviation is
    about 1 / ((levels - 1) sqrt(12)).

    Args:
        x: picture of any shape, floating, on [0, 1].
        levels: number of values, >= 2.
        seed: accepted so that all corruptions are called alike; rounding draws nothing.

    Raises:
        TypeError: x is not floating.
        ValueError: fewer than two levels.

    >>> quantise(torch.tensor([-0.2, 0.3, 0.6, 1.5]), 3).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    del seed
    _check(x, "levels", levels)
    if levels < 2 or levels != int(levels):
        msg = f"levels is {levels}, a whole number of at least 2 is wanted: 256 for 8 bits, 65536 for 16."
        raise ValueError(msg)
    return (x.clamp(0, 1) * (levels - 1)).round() / (levels - 1)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator(device="cpu").manual_seed(seed)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, x.dtype)


def _check(x: Tensor, name: str, level: float) -> None:
    if not x.is_floating_point():
        msg = f"got pixels of {x.dtype}, floating ones on [0, 1] are wanted: divide by the range of the type."
        raise TypeError(msg)
    if not 0 <= level < float("inf"):
        msg = (
            f"{name} is {level}, a finite number, not negative, is wanted: levels are fractions of the range."
        )
        raise ValueError(msg)
