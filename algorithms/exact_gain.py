"""The worst gain of a quadratic method behind any border: its top singular value to a stated tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.linearise import solve_normal, unwindow
from imaging.operator import window

FAILURE = 1e-3  # probability that the tolerance is missed
SOLVED = (1e-7, 5000)  # relative residual and most steps of each inner solve


class TopGain(NamedTuple):
    """A lower bound of the largest singular value, which is at most (1 + tolerance) times as large.

    The second half holds but for a probability of FAILURE over the random start; steps: how many were taken.
    """

    value: float
    tolerance: float
    steps: int


def quadratic_gain(op: Any, *, lam: float, tolerance: float, seed: int) -> TopGain:
    """The largest singular value of y -> (A^T A + lam L^T L)^-1 A^T y, cut to what the sensor looked at.

    L is the gradient, op a blur behind any border, in float64 (in float32 the inner solves miss SOLVED).
    Raises SolveError where they do, for weights near rounding.

    >>> from imaging.blur import WindowedBlur
    >>> op = WindowedBlur(torch.ones(1, 1, 1, 1, dtype=torch.float64), (1, 8, 8))
    >>> round(quadratic_gain(op, lam=1.0, tolerance=0.01, seed=0).value, 3)  # the mean is kept as it is
    1.0
    """
    like = op.A(torch.zeros(1, *op.img_size, dtype=torch.float64))
    steps = lanczos_steps(like.numel(), tolerance=tolerance, failure=FAILURE)
    return TopGain(
        top_eigenvalue(squared_map(op, lam), like, steps=steps, seed=seed) ** 0.5, tolerance, steps
    )


def squared_map(op: Any, lam: float) -> Callable[[Tensor], Tensor]:
    """v -> R^T R v, R the method of `quadratic_gain`."""

    def squared(v: Tensor) -> Tensor:
        """R^T R v."""
        x = solve_normal(op, op.A_adjoint(v), lam, budget=SOLVED)
        square: Tensor = op.A(solve_normal(op, unwindow(op, window(op, x)), lam, budget=SOLVED))
        return square

    return squared


def lanczos_steps(size: int, *, tolerance: float, failure: float) -> int:
    """Steps after which the top singular value is known to the relative tolerance, but for that probability.

    Of a symmetric positive matrix of that size, k steps from a start that is uniform on the sphere miss
    the top eigenvalue by more than its share eps with a probability of at most 1.648 sqrt(size)
    exp(-sqrt(eps) (2k - 1)), whatever the spectrum (Kuczynski and Wozniakowski 1992, theorem 4.2); a
    singular value is its root, so eps is 1 - 1 / (1 + tolerance)^2.

    >>> lanczos_steps(65536, tolerance=0.01, failure=1e-3)
    47
    """
    eps = 1 - (1 + tolerance) ** -2
    wanted = math.log(1.648 * size**0.5 / failure) / eps**0.5
    return max(1, math.ceil((wanted + 1) / 2))


def top_eigenvalue(square: Callable[[Tensor], Tensor], like: Tensor, *, steps: int, seed: int) -> float:
    """The largest Ritz value of a symmetric map after so many Lanczos steps, from below; like (1, ...).

    All directions are kept orthogonal, twice over: without that, rounding repeats the top ones.
    """
    start = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = [(start / start.norm()).to(like)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, like.numel())):
        w = square(basis[-1])
        diagonal.append(float((w * basis[-1]).sum()))
        known = torch.stack([b.flatten() for b in basis])
        for _ in range(2):
            w = w - (known.T @ (known @ w.flatten())).view_as(w)
        size = float(w.norm())
        if size <= 1e-12 * max(diagonal):
            break  # the span is invariant: nothing else can be reached
        beside.append(size)
        basis.append(w / size)
    edge = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    matrix = (
        torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(edge, 1) + torch.diag(edge, -1)
    )
    return float(torch.linalg.eigvalsh(matrix)[-1])
