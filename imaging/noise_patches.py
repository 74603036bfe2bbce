"""White noise read from the flattest patches of a picture, when the blur is not known or removes nothing."""

from __future__ import annotations

import numpy as np

SIDE = 6
ROUNDS = 5
MAX_PATCHES = 50_000  # enough for a percent; bounds the cost of large pictures
FEWEST = 10  # patches for each entry of a patch, below which a smallest eigenvalue says nothing
CONFIDENCE = 1 - 1e-6  # share of flat noisy patches that pass as flat


def flat_patches(y: np.ndarray, observed: np.ndarray, *, most: int = MAX_PATCHES) -> np.ndarray | None:
    """Patches whose gradient could be noise alone, by the fixed point of Liu, Tanaka and Okutomi.

    Iterates: level = smallest eigenvalue of the patches' covariance; keep the patches whose gradient energy
    is below the quantile CONFIDENCE of what noise of that level gives (X. Liu, M. Tanaka, M. Okutomi,
    "Single-image noise level estimation for blind denoising", IEEE TIP 22, 2013, eq. 13-16).

    Args:
        y: (H, W). observed: (H, W) bool; a patch with an unobserved pixel is left out. most: how many patches
            are looked at, spread evenly.

    Returns:
        (patches, SIDE^2), or None where there are too few patches for a covariance.
    """
    from scipy.stats import gamma

    patches = _all_patches(y, observed, most)
    if len(patches) < FEWEST * SIDE**2:
        return None
    gradient = _gradient_matrix()
    energy = ((patches @ gradient.T) ** 2).sum(1)
    normal = gradient.T @ gradient
    rank, trace = np.linalg.matrix_rank(normal), np.trace(normal)
    threshold = gamma.ppf(CONFIDENCE, rank / 2, scale=2 * trace / rank)
    flat = patches
    for _ in range(ROUNDS):
        keep = energy < threshold * smallest_variance(flat)
        if keep.sum() < FEWEST * SIDE**2:
            break
        flat = patches[keep]
    return flat


def smallest_variance(patches: np.ndarray) -> float:
    """Smallest eigenvalue of the patches' covariance: the noise, where the signal leaves one direction alone.

    Of n independent patches of d entries it would be low by (1 - sqrt(d / n))^2 (Marchenko and Pastur, 1967);
    half of that is corrected, because patches overlap and the signal that is left acts the other way.

    >>> n = np.random.default_rng(0).normal(size=(20000, SIDE**2))
    >>> bool(0.9 < smallest_variance(n) < 1)
    True
    """
    centred = patches - patches.mean(0)
    low = 1 - 0.5 * np.sqrt(centred.shape[1] / len(centred))
    return max(0.0, float(np.linalg.eigvalsh(centred.T @ centred / len(centred))[0])) / low**2


def band_levels(patches: np.ndarray) -> np.ndarray:
    """Variance of the patches along each vector of the orthonormal two-dimensional DCT, (SIDE, SIDE).

    White noise gives the same number everywhere.
    """
    k = np.arange(SIDE)
    dct = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / SIDE) * np.sqrt(2 / SIDE)
    dct[0] /= np.sqrt(2)
    return (patches @ np.kron(dct, dct).T).var(0).reshape(SIDE, SIDE)


def tiny_picture_level(y: np.ndarray, observed: np.ndarray) -> float:
    """Standard deviation from second differences in both directions, for pictures too small for patches.

    median |(1, -2, 1)^T (1, -2, 1) * y| / (6 x 0.6745) (J. Immerkaer, "Fast noise variance estimation", 1996,
    with a median for the sum).

    >>> round(tiny_picture_level(np.add.outer(np.arange(5.0), np.arange(5.0)), np.ones((5, 5), bool)), 12)
    0.0
    """

    def twice(a: np.ndarray) -> np.ndarray:
        b = a[2:] - 2 * a[1:-1] + a[:-2]
        return b[:, 2:] - 2 * b[:, 1:-1] + b[:, :-2]

    whole = np.lib.stride_tricks.sliding_window_view(observed, (3, 3)).all((-1, -2))
    values = np.abs(twice(y))[whole]
    return float(np.median(values)) / (6 * 0.6745) if values.size else float("nan")


def _all_patches(y: np.ndarray, observed: np.ndarray, most: int = MAX_PATCHES) -> np.ndarray:
    """Evenly spread patches, (count, SIDE^2)."""
    if min(y.shape) < SIDE:
        return np.empty((0, SIDE**2))
    view = np.lib.stride_tricks.sliding_window_view
    if observed.all():
        whole = np.arange((y.shape[0] - SIDE + 1) * (y.shape[1] - SIDE + 1))
    else:
        whole = np.flatnonzero(view(observed, (SIDE, SIDE)).all((-1, -2)))
    # a step without a common factor with the rows would alias; an even spread of positions does not
    chosen = whole[np.linspace(0, len(whole) - 1, min(len(whole), most)).astype(int)] if len(whole) else whole
    windows = view(y, (SIDE, SIDE))
    return windows[np.unravel_index(chosen, windows.shape[:2])].reshape(-1, SIDE**2)


def _gradient_matrix() -> np.ndarray:
    """Central differences along rows and columns inside a patch, (2 SIDE (SIDE - 2), SIDE^2)."""
    step = (np.eye(SIDE, k=1) - np.eye(SIDE, k=-1))[1:-1] / 2
    return np.concatenate([np.kron(np.eye(SIDE), step), np.kron(step, np.eye(SIDE))])
