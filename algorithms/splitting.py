"""Methods that take proxes in turn: Douglas-Rachford, ADMM, half-quadratic splitting, primal-dual.

Both functions offer prox(x, gamma=); gamma > 0 is a number or a tensor, one for all or one a sample. The
State's x is what g's prox (or the denoiser) gave, so that it has g's structure, except in chambolle_pock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from algorithms.state import State, relative_change
from algorithms.steps import Step, begin, checked_step
from imaging.operator import norm_bound


def drs(f: Any, g: Any, *, gamma: Step, x0: Tensor | State, relax: float = 1.0) -> Iterator[State]:
    """Douglas-Rachford: x = prox_f(w), z = prox_g(2 x - w), w <- w + relax (z - x); the State's x is z.

    Converges for convex f and g, every gamma > 0 and 0 < relax < 2; gamma decides how fast. Lions and Mercier
    (1979), Eckstein and Bertsekas (1992). The memory of a State is (w,), the residual |z - x| / |z|. Raises
    ValueError for gamma or relax outside their ranges.

    >>> from priors import Box, L1
    >>> next(drs(L1(1.0), Box(0.0, 9.0), gamma=0.5, x0=torch.full((1, 1, 1, 1), 2.0))).x
    tensor([[[[1.]]]])
    """
    if not 0 < relax < 2:
        message = f"relax is {relax}, wanted a number between 0 and 2, both excluded: 1 is the plain method."
        raise ValueError(message)
    return _drs(f, g, checked_step("gamma", gamma, x0), x0, relax)


def _drs(f: Any, g: Any, gamma: Step, x0: Tensor | State, relax: float) -> Iterator[State]:
    _, w = begin(x0, 1, lambda x: (x,))
    while True:
        x = f.prox(w, gamma=gamma)
        z = g.prox(2 * x - w, gamma=gamma)
        w = w + relax * (z - x)
        yield State(z, relative_change(z, x), (w,))


def admm(f: Any, g: Any, *, gamma: Step, x0: Tensor | State) -> Iterator[State]:
    """Alternating directions on f(v) + g(x), v = x: v = prox_f(x - u), x = prox_g(v + u), u <- u + v - x.

    gamma is 1 / rho of the augmented Lagrangian f(v) + g(x) + (|v - x + u|^2 - |u|^2) / (2 gamma). Converges
    for convex f, g and every gamma > 0: it is drs(g, f). Boyd, Parikh, Chu, Peleato, Eckstein (2011), 3.1.1.
    The memory of a State is (v, u); its residual the larger of |x - v| and |x - previous x|, over |x|.

    >>> from priors import Box, L1
    >>> next(admm(L1(1.0), Box(0.0, 9.0), gamma=0.5, x0=torch.full((1, 1, 1, 1), 2.0))).x
    tensor([[[[1.5000]]]])
    """
    return _admm(f, g, checked_step("gamma", gamma, x0), x0)


def _admm(f: Any, g: Any, gamma: Step, x0: Tensor | State) -> Iterator[State]:
    x, _, u = begin(x0, 2, lambda x: (x, torch.zeros_like(x)))
    while True:
        v = f.prox(x - u, gamma=gamma)
        x, old = g.prox(v + u, gamma=gamma), x
        u = u + v - x
        yield State(x, max(relative_change(x, v), relative_change(x, old)), (v, u))


def hqs(
    f: Any, denoise: Callable[[Tensor, Any], Tensor], pairs: Iterable[tuple[Any, Step]], *, x0: Tensor | State
) -> Iterator[State]:
    """Half-quadratic splitting, a step a pair (sigma, gamma): v = prox_f(x) at gamma, x = denoise(v, sigma).

    Finite: the schedule is data, and the rest of it, with a State as x0, continues a run. Geman and Yang
    (1995); with a denoiser Zhang, Zuo, Gu and Zhang (2017). The memory of a State is (v,).

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> f = LeastSquares(Identity((1, 1, 1)), torch.ones(1, 1, 1, 1))
    >>> shrink, schedule = lambda x, sigma: x / (1 + sigma), [(1.0, 1.0), (0.0, 3.0)]
    >>> [float(s.x) for s in hqs(f, shrink, schedule, x0=torch.zeros(1, 1, 1, 1))]
    [0.25, 0.8125]
    """
    x = x0.x if isinstance(x0, State) else x0
    for sigma, gamma in pairs:
        v = f.prox(x, gamma=checked_step("gamma", gamma, x))
        x, old = denoise(v, sigma), x
        yield State(x, relative_change(x, old), (v,))


@dataclass(frozen=True)
class LinearMap:
    """A linear map for chambolle_pock: A, its exact transpose, and a proven upper bound of its norm."""

    A: Callable[[Tensor], Tensor]
    A_adjoint: Callable[[Tensor], Tensor]
    bound: float


def chambolle_pock(
    f: Any,
    g: Any,
    K: Any,
    *,
    tau: Step | None = None,
    sigma: Step | None = None,
    x0: Tensor | State,
) -> Iterator[State]:
    """Minimise f(x) + g(K x) by primal and dual steps, K an operator or a LinearMap; never inverts anything.

    p <- p + sigma K(2 x - previous x), minus sigma times the prox of g / sigma at 1 / sigma of that;
    x <- prox of tau f at x - tau K^T p. Converges for convex f and g if tau sigma |K|^2 <= 1: a step that is
    not given is taken from the other and the proven norm bound, both 1 / bound if neither is. Chambolle and
    Pock (2011), algorithm 1. The memory of a State is (p, 2 x - previous x); its residual the larger relative
    change of x and p.

    >>> from priors import Box, L1
    >>> twice = LinearMap(lambda x: 2 * x, lambda y: 2 * y, bound=2.0)
    >>> run = chambolle_pock(Box(1.0, 9.0), L1(1.0), twice, x0=torch.full((1, 1, 1, 1), 4.0))
    >>> [float(next(run).x) for _ in range(3)]
    [3.0, 2.0, 1.0]
    """
    if tau is None or sigma is None:
        bound = K.bound if isinstance(K, LinearMap) else norm_bound(K)
        tau, sigma = _steps(tau, sigma, bound)
    return _chambolle_pock(f, g, K, (checked_step("tau", tau, x0), checked_step("sigma", sigma, x0)), x0)


def _steps(tau: Step | None, sigma: Step | None, bound: float) -> tuple[Step, Step]:
    if sigma is not None:
        return 1 / (sigma * bound**2), sigma
    return (1 / bound, 1 / bound) if tau is None else (tau, 1 / (tau * bound**2))


def _chambolle_pock(f: Any, g: Any, K: Any, steps: tuple[Step, Step], x0: Tensor | State) -> Iterator[State]:
    tau, sigma = steps
    x, p, ahead = begin(x0, 2, lambda x: (torch.zeros_like(K.A(x)), x))
    while True:
        q = p + sigma * K.A(ahead)
        p, before = q - sigma * g.prox(q / sigma, gamma=1 / sigma), p
        x, old = f.prox(x - tau * K.A_adjoint(p), gamma=tau), x
        ahead = 2 * x - old
        yield State(x, max(relative_change(x, old), relative_change(p, before)), (p, ahead))
