"""The peers of quality.py and variants.py, called as their documentation shows: (case, sigma) -> picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from cases import Case
from skimage.restoration import richardson_lucy, unsupervised_wiener

INPUT = "blurred input"
DPIR = "deepinv DPIR, our denoiser"
# Measured elsewhere, once, on the same 144 cases: half-quadratic splitting in 8 steps (Zhang et al. 2022)
# around the weights that the authors of FFDNet published (Zhang, Zuo and Zhang 2018).
PUBLISHED = "DPIR, 8 steps, FFDNet's own weights (published)"
PUBLISHED_FIGURES = {2.55: 30.55, 7.65: 26.62, 12.75: 25.13}


def by_channel(call: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> np.ndarray:
    """A call for grey pictures on each channel: scikit-image's way with colour."""
    return call(y) if y.ndim == 2 else np.stack([call(c) for c in np.moveaxis(y, 2, 0)], axis=2)


def lucy(case: Case, told: float) -> np.ndarray:
    psf = case.psf.astype(np.float32)
    return by_channel(lambda y: richardson_lucy(y, psf, num_iter=10), case.y)


def wiener(case: Case, told: float) -> np.ndarray:
    psf = case.psf.astype(np.float32)
    return by_channel(lambda y: unsupervised_wiener(y, psf, rng=0)[0], case.y)


def dpir(case: Case, told: float) -> np.ndarray:
    """deepinv's DPIR with circular borders around the denoiser that ships here."""
    import deepinv

    y = torch.from_numpy(case.y)
    y = y[None, None] if y.ndim == 2 else y.movedim(2, 0)[None]
    psf = torch.from_numpy(case.psf.astype(np.float32))[None, None]
    physics = deepinv.physics.BlurFFT(img_size=tuple(y.shape[1:]), filter=psf)
    model = deepinv.optim.DPIR(sigma=told, denoiser=network(y.shape[1]))
    with torch.no_grad():
        x = model(y.contiguous(), physics)[0]
    return (x[0] if case.y.ndim == 2 else x.movedim(0, 2)).numpy()


@cache
def network(channels: int) -> Any:
    """The denoiser that ships, read once."""
    import priors

    return priors.load(f"denoiser-{'color' if channels == 3 else 'gray'}")


PEERS: dict[str, Callable[[Case, float], np.ndarray]] = {
    INPUT: lambda case, told: case.y,
    "scikit-image richardson_lucy(10)": lucy,
    "scikit-image unsupervised_wiener": wiener,
    DPIR: dpir,
}
