"""What a prior claims about itself, for `priors.testing` to prove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Claims:
    """Properties of f = m(., sigma), for any weights; each is proved by a check of `prior_checks`.

    `symmetric`: the Jacobian is symmetric, so that f is a gradient. `convexity`: its eigenvalues are at least
    this number. `proximal`: f(y) minimises R(x) + |x - y|^2 / 2 with R = m.value(., sigma). `descent`:
    f(x) = x - grad m.value(., sigma) (x). `rtol` is the relative accuracy of f itself, where an inner solver
    has a tolerance.
    """

    symmetric: bool = False
    convexity: float | None = None
    proximal: bool = False
    descent: bool = False
    rtol: float = 1e-10


def claims_of(prior: Any) -> Claims:
    """The claims of a prior; one that states none claims nothing.

    >>> claims_of(lambda x, sigma: x).symmetric
    False
    """
    stated = getattr(prior, "claims", Claims())
    if not isinstance(stated, Claims):
        message = f"claims is {type(stated).__name__}: state them as priors.claims.Claims(...)."
        raise TypeError(message)
    return stated
