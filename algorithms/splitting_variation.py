"""Alternating directions for data terms behind a circular convolution: every step is a closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.state import State, relative_change
from algorithms.variation import TotalVariation
from imaging.fft import irfft2, power_of, rfft2
from imaging.fidelity import LeastSquares
from imaging.operator import Factored, factored

RELAX = 1.7  # over-relaxation of Eckstein and Bertsekas (1992); 1 to 1.8 converge, 1.7 took 40 % fewer steps


class Penalties(NamedTuple):
    """Weights of the two splittings: u = K x (data) and v = D x (variation), in units of the data term."""

    data: float
    variation: float


def split_variation(
    loss: Any, tv: TotalVariation, *, penalties: Penalties, x0: Tensor | State
) -> Iterator[State]:
    """Minimise loss(x) + tv(x) where loss.op = S K, K a circular convolution and S a selection of samples.

    ADMM on u = K x, v = D x: the step in x is diagonal in frequency, the one in u acts sample by sample
    (loss.prox_at), the one in v shrinks; so unknown borders, masks and decimation cost the same as periodic
    borders (Almeida and Figueiredo 2013). Where S keeps everything and the loss is quadratic, u is not split
    at all, which halves the FFTs. The memory of a State is (p, v), p the dual point (|p| <= tv.lam), or where
    u is split (p, w, v, u), w the dual point of S u. x0 is a tensor (B, C, H, W) in the operator's domain or
    a State of this solver.

    Raises TypeError for an operator without that structure (use primal_dual_variation).
    """
    structure = factored(loss.op)
    if structure is None:
        message = (
            f"{type(loss.op).__name__} is not a selection after a circular convolution: "
            "use primal_dual_variation."
        )
        raise TypeError(message)
    if isinstance(loss, LeastSquares) and sees_everything(loss.op):
        return _unsplit(loss, structure.otf, tv, penalties.variation, x0)
    return _split(loss, structure, tv, penalties, x0)


def sees_everything(op: Any) -> bool:
    """Is every sample of the circular convolution observed, so that A^T A is diagonal in frequency?"""
    return bool(op.exact_prox) and op.valid is None and tuple(op.img_size) == tuple(op.data_size)


def laplacian_spectrum(size: tuple[int, int], like: Tensor) -> Tensor:
    """Eigenvalues |f|^2 of D^T D with periodic borders, 4 sin^2 + 4 sin^2, shape (H, W // 2 + 1)."""
    H, W = size
    rows = torch.fft.fftfreq(H, dtype=torch.float64, device=like.device)
    columns = torch.fft.rfftfreq(W, dtype=torch.float64, device=like.device)
    spectrum = (2 * (torch.pi * rows).sin())[:, None] ** 2 + (2 * (torch.pi * columns).sin()) ** 2
    return spectrum.to(like.dtype)


def _periodic_differences(x: Tensor) -> Tensor:
    d = x.new_empty(x.shape[0], 2, *x.shape[1:])
    torch.sub(x[..., 1:, :], x[..., :-1, :], out=d[:, 0, :, :-1])
    torch.sub(x[..., :1, :], x[..., -1:, :], out=d[:, 0, :, -1:])
    torch.sub(x[..., 1:], x[..., :-1], out=d[:, 1, ..., :-1])
    torch.sub(x[..., :1], x[..., -1:], out=d[:, 1, ..., -1:])
    return d


def _periodic_adjoint(p: Tensor) -> Tensor:
    x = p[:, 0] + p[:, 1]
    x.neg_()
    x[..., 1:, :] += p[:, 0, :, :-1]
    x[..., :1, :] += p[:, 0, :, -1:]
    x[..., 1:] += p[:, 1, ..., :-1]
    x[..., :1] += p[:, 1, ..., -1:]
    return x


def _unsplit(
    loss: LeastSquares, otf: Tensor, tv: TotalVariation, penalty: float, x0: Tensor | State
) -> Iterator[State]:
    radius = tv.lam / penalty
    x, p, v = _begin(x0, 2)
    size = (x.shape[-2], x.shape[-1])
    data = rfft2(loss.y).mul_(otf.conj())
    inverse = 1 / (power_of(otf) + penalty * laplacian_spectrum(size, x))
    while True:
        b = p / penalty
        new = irfft2(torch.add(data, rfft2(_periodic_adjoint(v - b)), alpha=penalty).mul_(inverse), size)
        z = _relaxed(_periodic_differences(new), v).add_(b)
        b = tv.project(z, radius)
        x, old, p, v = new, x, b * penalty, z.sub_(b)
        yield State(x, relative_change(x, old), (p, v))


def _split(
    loss: Any, structure: Factored, tv: TotalVariation, penalties: Penalties, x0: Tensor | State
) -> Iterator[State]:
    x, p, w, v, u = _begin(x0, 4, structure)
    size, otf, radius = (x.shape[-2], x.shape[-1]), structure.otf, tv.lam / penalties.variation
    ratio = penalties.variation / penalties.data
    inverse = 1 / (power_of(otf) + ratio * laplacian_spectrum(size, x))
    a = structure.scatter(w / penalties.data)
    while True:
        b = p / penalties.variation
        spectrum = rfft2(u - a).mul_(otf.conj()).add_(rfft2(_periodic_adjoint(v - b)), alpha=ratio)
        new = irfft2(spectrum.mul_(inverse), size)
        s = _relaxed(irfft2(spectrum.mul_(otf), size), u).add_(a)
        seen = structure.select(s)
        w = (seen - loss.prox_at(seen, 1 / penalties.data)) * penalties.data
        a = structure.scatter(w / penalties.data)
        u = s - a
        z = _relaxed(_periodic_differences(new), v).add_(b)
        b = tv.project(z, radius)
        x, old, p, v = new, x, b * penalties.variation, z.sub_(b)
        yield State(x, relative_change(x, old), (p, w, v, u))


def _relaxed(new: Tensor, old: Tensor) -> Tensor:
    return new.mul_(RELAX).add_(old, alpha=1 - RELAX)


def _begin(x0: Tensor | State, parts: int, structure: Factored | None = None) -> tuple[Tensor, ...]:
    if isinstance(x0, State):
        if len(x0.memory) != parts:
            message = f"the State to resume from has {len(x0.memory)} parts, this solver's have {parts}."
            raise ValueError(message)
        return (x0.x, *x0.memory)
    v = _periodic_differences(x0)
    if structure is None:
        return x0, torch.zeros_like(v), v
    u = irfft2(rfft2(x0).mul_(structure.otf), (x0.shape[-2], x0.shape[-1]))
    return x0, torch.zeros_like(v), torch.zeros_like(structure.select(u)), v, u
