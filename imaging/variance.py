"""Anscombe's transform: counts of light as values with noise of one strength, and the way back."""

from __future__ import annotations

from torch import Tensor

ZERO = 0.375**0.5 * 2  # the transform of no counts


def anscombe(y: Tensor, peak: float) -> Tensor:
    """2 sqrt(peak y + 3/8): of standard deviation about 1 where peak y is Poisson of mean above about 4.

    y of any shape, counts / peak; values below zero count as zero. Anscombe (1948).

    >>> import torch
    >>> float(anscombe(torch.tensor(0.5), peak=101.25))
    14.28285...
    """
    _check(peak)
    return 2 * (peak * y.clamp_min(0) + 0.375).sqrt()


def inverse_anscombe(d: Tensor, peak: float) -> Tensor:
    """The value whose counts, transformed, have the mean d; not the algebraic inverse, which is too dark.

    I(d) = d^2 / 4 + c / (4 d) - 11 / (8 d^2) + 5 c / (8 d^3) - 1 / 8, c = sqrt(3 / 2), divided by the peak;
    zero where d is below the transform of zero. Makitalo and Foi, "A closed-form approximation of the exact
    unbiased inverse of the Anscombe variance-stabilizing transformation" (2011).

    >>> import torch
    >>> float(inverse_anscombe(anscombe(torch.tensor(0.5).double(), peak=100.0), peak=100.0)) > 0.5
    True
    """
    _check(peak)
    d = d.clamp_min(ZERO)
    c = 1.5**0.5
    return (d.square() / 4 + c / (4 * d) - 11 / (8 * d**2) + 5 * c / (8 * d**3) - 0.125).clamp_min(0) / peak


def _check(peak: float) -> None:
    if not 0 < peak < float("inf"):
        message = f"peak is {peak}: give the positive number of counts at value 1."
        raise ValueError(message)
