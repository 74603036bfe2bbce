"""A fixed number of conjugate gradient steps on a least squares problem: early stopping as a regulariser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imaging.linsolve import inner


def cgls(op: Any, y: Tensor, *, lam: float, n_iter: int, x0: Tensor | None = None) -> Tensor:
    """x after exactly n_iter steps of conjugate gradients on (A^T A + lam) x = A^T y, from x0 or from zero.

    x (B, *op.img_size) for y (B, *op.data_size), any operator, any border; lam is the weight in
    |A x - y|^2 / 2 + lam |x|^2 / 2, 0 or more. ValueError for n_iter below 1. Bjorck, Numerical methods for
    least squares problems (1996), algorithm 7.4.1, for the stacked operator (A, sqrt(lam) I).

    >>> from imaging.masks import Identity
    >>> cgls(Identity((1, 1, 2)), torch.tensor([[[[1.0, 3.0]]]]), lam=1.0, n_iter=1)
    tensor([[[[0.5000, 1.5000]]]])
    """
    if n_iter < 1 or not lam >= 0:
        message = f"n_iter is {n_iter} and lam {lam}: give at least one step and a weight of 0 or more."
        raise ValueError(message)
    x = torch.zeros_like(op.A_adjoint(y)) if x0 is None else x0.clone()
    r = y - op.A(x) if x0 is not None else y
    s = op.A_adjoint(r) - lam * x
    p, power = s, inner(s, s)
    tiny = torch.finfo(y.dtype).tiny
    for _ in range(n_iter):
        q = op.A(p)
        step = power / (inner(q, q) + lam * inner(p, p)).clamp_min(tiny)
        x, r = torch.addcmul(x, step, p), torch.addcmul(r, step, q, value=-1)
        s = op.A_adjoint(r) - lam * x
        power, old = inner(s, s), power
        p = torch.addcmul(s, power / old.clamp_min(tiny), p)
    return x
