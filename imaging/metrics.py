"""Figures of merit, as the literature computes them: PSNR, SSIM, and the whiteness of a residual."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

SSIM_WINDOW = 11  # side of the Gaussian window of 1.5 pixels, cut at 3.5 standard deviations


def psnr(x: Any, reference: Any) -> float:
    """Peak signal to noise ratio in decibels, on results clipped to [0, 1].

    -10 log10 mean((clip(x) - clip(reference))^2), peak 1; infinite for equal pictures.

    Args:
        x, reference: numpy (H, W) or (H, W, C), or torch (C, H, W) or (B, C, H, W); a batch gives the mean of
            its pictures' values.

    Raises:
        TypeError: not floating. ValueError: shapes differ.

    >>> round(psnr(np.zeros((4, 4)), np.full((4, 4), 0.1)), 6)
    20.0
    """
    from skimage.metrics import peak_signal_noise_ratio  # loads scipy: only those who measure pay

    with np.errstate(divide="ignore"):  # equal pictures: infinity is the right answer
        values = [peak_signal_noise_ratio(b, a, data_range=1.0) for a, b in _pairs(x, reference)]
    return float(np.mean(values))


def ssim(x: Any, reference: Any) -> float:
    """Structural similarity on results clipped to [0, 1], mean over channels.

    Gaussian weights of 1.5 pixels, population covariance, K = (0.01, 0.03) (Wang et al., IEEE TIP 13, 2004).

    Args:
        x, reference: numpy (H, W) or (H, W, C), or torch (C, H, W) or (B, C, H, W); a batch gives the mean of
            its pictures' values.

    Raises:
        TypeError: not floating. ValueError: shapes differ, or a side is below 11 pixels.

    >>> round(ssim(np.eye(16), np.eye(16)), 6)
    1.0
    """
    from skimage.metrics import structural_similarity

    values = []
    for a, b in _pairs(x, reference):
        if min(a.shape[:2]) < SSIM_WINDOW:
            msg = (
                f"the picture is {a.shape[0]}x{a.shape[1]}, SSIM needs {SSIM_WINDOW} pixels a side: use psnr."
            )
            raise ValueError(msg)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        values.append(structural_similarity(a, b, data_range=1.0, channel_axis=2, **options))
    return float(np.mean(values))


def whiteness(residual: Tensor, mask: Tensor | None = None) -> float:
    """Largest absolute normalised autocorrelation over the lags within 2 pixels, lag 0 left out.

    max_l |mean(r_i r_{i+l})| / mean(r_i^2) over pairs of valid pixels, pooled over batch and channels. The
    mean is not removed: an offset is structure too. White noise of N pixels gives about 2.5 / sqrt(N).

    Args:
        residual: (..., H, W), at least 3 pixels a side.
        mask: broadcasts with residual, nonzero where a pixel counts.

    Raises:
        ValueError: a side below 3 pixels, or no valid pair at some lag.

    >>> checker = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    >>> whiteness(checker)
    1.0
    """
    if residual.ndim < 2 or min(residual.shape[-2:]) < 3:
        shape = tuple(residual.shape)
        msg = f"the residual has shape {shape}, at least 3x3 pixels are wanted: measure a larger one."
        raise ValueError(msg)
    r = residual.to(torch.float64)
    m = torch.ones_like(r) if mask is None else (mask != 0).to(r).expand_as(r)
    r = torch.where(m > 0, r, 0)
    power = float((r * r).sum() / m.sum().clamp_min(1))
    half_plane = [(i, j) for i, j in product(range(3), range(-2, 3)) if (i, j) > (0, 0)]
    largest = max(abs(_lagged(r, m, lag)) for lag in half_plane)
    return largest / power if power > 0 else 0.0


def _lagged(r: Tensor, m: Tensor, lag: tuple[int, int]) -> float:
    """Mean product over the valid pairs at one lag of the half plane i >= 0."""
    i, j = lag
    height, width = r.shape[-2:]
    here = (..., slice(0, height - i), slice(max(0, -j), width - max(0, j)))
    there = (..., slice(i, height), slice(max(0, j), width - max(0, -j)))
    pairs = float((m[here] * m[there]).sum())
    if pairs == 0:
        msg = f"no two valid pixels lie {lag} apart: the mask leaves too little to judge whiteness."
        raise ValueError(msg)
    return float((r[here] * r[there]).sum()) / pairs


def _pairs(x: Any, reference: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pictures of both as float64 (H, W, C) on [0, 1]."""
    a, b = _pictures(x), _pictures(reference)
    if a.shape != b.shape:
        msg = (
            f"shapes differ, {tuple(x.shape)} against {tuple(reference.shape)}: compare pictures of one size."
        )
        raise ValueError(msg)
    return list(zip(a, b, strict=True))


def _pictures(x: Any) -> np.ndarray:
    """Float64 (B, H, W, C), clipped to [0, 1]."""
    floating = x.is_floating_point() if isinstance(x, Tensor) else np.asarray(x).dtype.kind == "f"
    if not floating:
        kind = getattr(x, "dtype", type(x).__name__)
        msg = f"got pixels of {kind}, floating ones on [0, 1] are wanted: divide by the range of the type."
        raise TypeError(msg)
    shape = tuple(np.shape(x))
    if isinstance(x, Tensor) and len(shape) in (3, 4):
        array = x.detach().to("cpu", torch.float64).numpy()
        array = np.moveaxis(array.reshape(-1, *shape[-3:]), 1, -1)
    elif not isinstance(x, Tensor) and len(shape) in (2, 3):
        array = np.asarray(x, np.float64).reshape(1, *shape[:2], -1)
    else:
        msg = f"got shape {shape}: numpy (H, W[, C]) or torch ([B,] C, H, W) is wanted."
        raise ValueError(msg)
    return np.clip(array, 0, 1)
