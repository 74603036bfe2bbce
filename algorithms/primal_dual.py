"""Total variation for any linear operator: primal-dual steps from A, its adjoint and a norm bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algorithms.splitting_variation import Penalties
from algorithms.state import State, relative_change
from algorithms.variation import TotalVariation, differences, differences_adjoint
from imaging.operator import norm_bound

NORM_D_SQUARED = 8.0  # proven: |D x|^2 <= 8 |x|^2 for forward differences in two directions


def primal_dual_variation(
    loss: Any, tv: TotalVariation, *, penalties: Penalties, x0: Tensor | State
) -> Iterator[State]:
    """Minimise loss(x) + tv(x) for any operator, by the method of Chambolle and Pock (2011).

    Dual points w of u = A x and p of D x take steps of the two penalties; the primal step is
    1 / (data |A|^2 + 8 variation) with the proven norm bound, so that convergence is proven too. The loss
    enters through prox_at and so may be any of imaging.fidelity. The memory of a State is (p, w) and the
    extrapolated x. x0 (B, C, H, W) or a State. TypeError for an operator without a norm bound.
    """
    bound = norm_bound(loss.op)
    return _iterate(loss, tv, penalties, bound, x0)


def _iterate(
    loss: Any, tv: TotalVariation, penalties: Penalties, bound: float, x0: Tensor | State
) -> Iterator[State]:
    s, q = penalties
    tau = 1 / (s * bound**2 + NORM_D_SQUARED * q)
    if isinstance(x0, State):
        if len(x0.memory) != 3:
            message = f"the State to resume from has {len(x0.memory)} parts, this solver's have 3."
            raise ValueError(message)
        x, (p, w, ahead) = x0.x, x0.memory
    else:
        x = ahead = x0
        p, w = torch.zeros_like(differences(x)), torch.zeros_like(loss.y)
    while True:
        u = w + s * loss.op.A(ahead)
        w = u - s * loss.prox_at(u / s, 1 / s)
        p = tv.project(p + q * differences(ahead), tv.lam)
        new = x - tau * (loss.op.A_adjoint(w) + differences_adjoint(p))
        ahead = 2 * new - x
        x, old = new, x
        yield State(x, relative_change(x, old), (p, w, ahead))
