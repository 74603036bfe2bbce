"""Linear solves with a promise: the true residual is checked, and a missed tolerance is an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Linear = Callable[[Tensor], Tensor]
Solver = Callable[[Tensor, Tensor | None], Tensor]

RTOL = {torch.float32: 1e-5, torch.float64: 1e-10}  # what rounding lets a solve reach with some room

PART = 1 << 13  # values of a long inner product that are multiplied and added up together


class SolveError(RuntimeError):
    """An inner linear solve missed its tolerance."""


def default_rtol(dtype: torch.dtype) -> float:
    """The relative tolerance of a solve in this dtype; TypeError for other than float32 and float64."""
    if dtype not in RTOL:
        message = f"a linear solve in {dtype} cannot be held to a tolerance: use float32 or float64."
        raise TypeError(message)
    return RTOL[dtype]


def inner(u: Tensor, v: Tensor) -> Tensor:
    """Inner product of each sample, kept broadcastable: (B, ...) and (B, ...) give (B, 1, ...)."""
    rows, columns = u.flatten(1), v.flatten(1)
    if u.device.type != "cpu" or u.is_complex() or rows.shape[1] <= PART:
        products = torch.linalg.vecdot(rows, columns)
    else:
        products = torch.stack([_long_dot(a, b) for a, b in zip(rows, columns, strict=True)])
    return products.view(-1, *[1] * (u.ndim - 1))


def _long_dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of two long vectors, part by part: vecdot writes the product of all values first,
    which is new memory each time, and a single dot adds up too many in float32.
    """
    return torch.stack([torch.dot(p, q) for p, q in zip(a.split(PART), b.split(PART), strict=True)]).sum()


@torch.no_grad()
def conjugate_gradient(
    apply: Linear,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    precondition: Linear | None = None,
    rtol: float,
    max_iter: int,
) -> Tensor:
    """Solve apply(x) = b for a symmetric positive definite map, sample by sample (first axis); no gradients.

    Ends when |b - apply(x)| <= rtol |b| for every sample, with the residual recomputed from x, not the one of
    the recurrence, which drifts; restarts when the two disagree. precondition approximates the inverse, must
    be symmetric positive definite too, and may give the same tensor each time, written anew. SolveError when
    max_iter steps do not suffice, ValueError when b is not finite. Source: Saad, Iterative methods for sparse
    linear systems (2003), algorithm 9.1.

    >>> diagonal = torch.tensor([[1.0, 2.0, 4.0]])
    >>> conjugate_gradient(lambda v: diagonal * v, torch.ones(1, 3), rtol=1e-5, max_iter=10)
    tensor([[1.0000, 0.5000, 0.2500]])
    """
    goal = rtol**2 * inner(b, b)
    if not bool(torch.isfinite(goal).all()):
        message = (
            "the right-hand side of a linear solve is not finite: look for NaN or inf in the data or in x."
        )
        raise ValueError(message)
    # A zero right-hand side has the solution zero, exactly: no start from elsewhere.
    x = torch.zeros_like(b) if x0 is None else torch.where(goal > 0, x0, 0)
    r = b.clone() if x0 is None else b - apply(x)
    # Rounding lets less be promised than can be had: at the dtype's tolerance the recurrence goes 30 times
    # further, because an error that apply hardly sees is as large as the residual, and b much larger than x.
    aim = goal / (900 if rtol <= 2 * RTOL.get(b.dtype, 0.0) else 4)
    steps, error = 0, inner(r, r)
    missed = ~(error <= aim)  # NaN is a miss
    while bool(missed.any()):
        if steps >= max_iter or not bool(torch.isfinite(error).all()):
            raise SolveError(_missed(steps, error, goal, rtol))
        steps += _descend(apply, precondition, (x, r), aim, max_iter - steps)
        r = b - apply(x)
        error = inner(r, r)
        missed = ~(error <= goal)
    return x


def _descend(
    apply: Linear, precondition: Linear | None, start: tuple[Tensor, Tensor], goal: Tensor, max_iter: int
) -> int:
    """One uninterrupted recurrence, in place on x and r; the number of steps it took."""
    x, r = start
    tiny = torch.finfo(r.dtype).tiny
    z = r if precondition is None else precondition(r)
    p, rz = z.clone(), inner(r, z)
    for n in range(max_iter):
        open_ = inner(r, r) > goal  # a finished sample stands still, so a batch equals its singles
        if not bool(open_.any()):
            return max(n, 1)
        q = apply(p)
        alpha = torch.where(open_, rz / inner(p, q).clamp_min(tiny), 0)
        x.addcmul_(alpha, p)
        r.addcmul_(alpha, q, value=-1)
        z = r if precondition is None else precondition(r)
        rz, old = inner(r, z), rz
        torch.addcmul(z, rz / old.clamp_min(tiny), p, out=p)
    return max_iter


def _missed(steps: int, error: Tensor, goal: Tensor, rtol: float) -> str:
    left = float((error / goal).sqrt().nan_to_num(nan=torch.inf).max()) * rtol
    return (
        f"an inner linear solve stopped after {steps} steps at relative residual {left:.1e} "
        f"(wanted {rtol:.1e}): use float64, a smaller gamma, or pass prox_l2 a larger max_iter or rtol."
    )


class _ImplicitSolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, b: Tensor, gamma: Tensor, solve: Solver, gram: Linear, x0: Tensor | None) -> Tensor:
        """solve(b, x0), whatever way it takes."""
        x = solve(b, x0)
        ctx.save_for_backward(x, gamma)
        ctx.solve, ctx.gram = solve, gram
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """One more solve for b, and minus u^T G x for gamma."""
        x, gamma = ctx.saved_tensors
        u = ctx.solve(grads[0], None)
        by_gamma = None
        if ctx.needs_input_grad[1]:
            by_gamma = -(u * ctx.gram(x)).sum_to_size(gamma.shape)
        return u, by_gamma, None, None, None


def implicit_solve(
    b: Tensor, gamma: Tensor | float, solve: Solver, gram: Linear, *, x0: Tensor | None
) -> Tensor:
    """x = (I + gamma G)^-1 b with gradients in b and gamma, whatever happens inside solve(b, x0).

    The derivative is another solve with the same symmetric matrix, dx = (I + gamma G)^-1 (db - G x dgamma),
    so memory does not grow with the number of inner steps. gram applies G, which is taken as a constant.
    """
    factor = torch.as_tensor(gamma, dtype=b.dtype, device=b.device)
    return _ImplicitSolve.apply(b, factor, solve, gram, x0)


@torch.no_grad()
def power_iteration(apply: Linear, x0: Tensor, *, rtol: float, max_iter: int) -> float:
    """Largest eigenvalue of a symmetric positive semi-definite map, estimated *from below* (never a bound).

    Stops when the estimate moves by less than rtol; SolveError when max_iter steps do not suffice. x0 is the
    start.

    >>> power_iteration(lambda v: torch.tensor([[1.0, 3.0]]) * v, torch.ones(1, 2), rtol=1e-6, max_iter=99)
    3.0...
    """
    x, old = x0 / x0.norm(), 0.0
    for _ in range(max_iter):
        image = apply(x)
        value = float((x * image).sum())
        if abs(value - old) <= rtol * abs(value):
            return value
        x, old = image / image.norm().clamp_min(torch.finfo(x.dtype).tiny), value
    message = (
        f"power iteration still moved after {max_iter} steps (last value {old:.4g}): raise max_iter or rtol."
    )
    raise SolveError(message)
