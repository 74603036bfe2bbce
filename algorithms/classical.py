"""Quadratic restoration: Tikhonov and Wiener, in closed form or as one checked linear solve."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from algorithms.splitting_variation import laplacian_spectrum, sees_everything
from imaging.fft import irfft2, power_of, rfft2
from imaging.linsolve import conjugate_gradient, default_rtol
from imaging.operator import embed, factored, solve_in_frequency

Penalty = Literal["gradient", "identity"]


def tikhonov(
    op: Any,
    y: Tensor,
    *,
    lam: float,
    penalty: Penalty = "gradient",
    rtol: float | None = None,
    max_iter: int = 2000,
) -> Tensor:
    """argmin over x of |A x - y|^2 / 2 + lam |L x|^2 / 2, L the differences (periodic) or the identity.

    x (B, *op.img_size) for y (B, *op.data_size). In closed form where A^T A is diagonal in frequency; through
    crops, masks and decimation by conjugate gradients in frequency, for any other operator in the plane, both
    to the relative residual rtol (3e-5 in float32, 1e-7 in float64), recomputed at the end. Raises SolveError
    when max_iter steps miss it (raise lam or rtol), ValueError for lam that is not positive.

    >>> from imaging.masks import Identity
    >>> tikhonov(Identity((1, 1, 2)), torch.tensor([[[[1.0, 3.0]]]]), lam=1.0, penalty="identity")
    tensor([[[[0.5000, 1.5000]]]])
    """
    if not lam > 0:
        message = f"lam is {lam}, wanted a positive number: larger is smoother."
        raise ValueError(message)
    size = (op.img_size[-2], op.img_size[-1])
    spectrum = lam * penalty_spectrum(penalty, size, y)
    structure = factored(op)
    if structure is not None and sees_everything(op):
        inverse = 1 / (power_of(structure.otf) + spectrum)
        return irfft2(rfft2(y).mul_(structure.otf.conj()).mul_(inverse), size)
    b = op.A_adjoint(y)
    budget = (rtol or max(3 * default_rtol(y.dtype), 1e-7), max_iter)
    if structure is not None:
        return solve_in_frequency(structure, b, 1.0, x0=embed(op, y), budget=budget, base=spectrum)
    return conjugate_gradient(
        lambda v: op.A_adjoint(op.A(v)) + irfft2(rfft2(v).mul_(spectrum), size),
        b,
        x0=embed(op, y),
        precondition=lambda v: irfft2(rfft2(v).div_(spectrum + 0.5), size),
        rtol=budget[0],
        max_iter=max_iter,
    )


def wiener(op: Any, y: Tensor, *, sigma: float, c: float) -> Tensor:
    """The mean of x given y for white noise sigma and a signal of power spectrum c / |f|^2 (Wiener 1949).

    |f|^2 is the spectrum of the discrete Laplacian, so this is Tikhonov's estimate with gradient penalty and
    lam = sigma^2 / c; c, the mean square of the differences summed over both directions, is fitted by
    choose.evidence_weight. x, shapes and errors as for tikhonov.
    """
    return tikhonov(op, y, lam=sigma**2 / c, penalty="gradient")


def penalty_spectrum(penalty: Penalty, size: tuple[int, int], like: Tensor) -> Tensor:
    """Eigenvalues of L^T L, shape (H, W // 2 + 1)."""
    if penalty == "gradient":
        return laplacian_spectrum(size, like)
    return torch.ones(size[0], size[1] // 2 + 1, dtype=like.dtype, device=like.device)
