"""What is known of a prior before a run: its claims, whose word they are, and a probe to refute them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from algorithms.certificate import OBSERVED, PROVEN, VIOLATED, Condition

OURS = ("imaging.", "algorithms.", "priors.")  # what these packages state of a class is proven by their tests
CROP = 32  # a window is enough to refute: the claims are of the map, at every picture of any size


def is_bound(g: Any) -> bool:
    """Whether g is the prox of one step only, as a learned proximal network is."""
    return getattr(g, "fixed_gamma", None) is not None


def stated_convex(g: Any) -> Condition | None:
    """The condition that g is convex, proven where its class is ours; None where nobody says so."""
    if getattr(g, "is_convex", False) is not True:
        return None
    return Condition(f"{type(g).__name__} is convex", word(g), _whose(g))


def prior_conditions(g: Any, x: Tensor) -> list[Condition]:
    """What a learned prior rests on, probed on a window of x; an empty list where nothing is claimed.

    g binds the prior: `Fixed` (claims.proximal: the gradient of a convex potential, hence a prox), or
    `Weighted` (claims.descent or a proven curvature: an explicit smooth function).
    """
    prior = unwrapped(g)
    claims = getattr(g, "claims", None) or getattr(prior, "claims", None)
    name = type(prior).__name__
    if is_bound(g):
        proximal = bool(getattr(claims, "proximal", False))
        claim = f"{name} is a proximal operator, the gradient of a convex potential"
        if not proximal:
            return [Condition(claim, VIOLATED, "it does not even claim so: it is a plain denoiser")]
        return [_probed(claim, prior, lambda v: g.prox(v, gamma=g.fixed_gamma), x)]
    if hasattr(prior, "curvature") or getattr(claims, "descent", False):
        claim = f"{name} is an explicit function with a gradient that is Lipschitz on bounded sets"
        return [_probed(claim, prior, g.grad, x)]
    return []


def unwrapped(g: Any) -> Any:
    """The network inside what of ours binds it; a stranger that holds one of ours speaks for itself."""
    if not _ours(g):
        return g
    for name in ("network", "prior", "term"):
        if getattr(g, name, None) is not None:
            return unwrapped(getattr(g, name))
    return g


def _probed(claim: str, prior: Any, map_: Any, x: Tensor) -> Condition:
    gap = asymmetry(map_, x[:1, ..., :CROP, :CROP])
    if gap is None:
        return Condition(claim, word(prior), f"{_whose(prior)}, not probed: it is not differentiable here")
    limit = 1e-3 if x.dtype == torch.float32 else 1e-8
    kind = word(prior) if gap <= limit else VIOLATED
    return Condition(claim, kind, f"{_whose(prior)}; asymmetry of its Jacobian on a window", gap, limit)


def asymmetry(map_: Any, x: Tensor, *, seed: int = 0) -> float | None:
    """|1 - <J^T v, u> / |J^T u|^2| for a random u and v = J^T u, J the Jacobian of map_ at x.

    0 where J is symmetric, whatever u is; None where map_ has no derivative that autograd sees.

    >>> turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    >>> x = torch.ones(1, 2)
    >>> asymmetry(lambda v: v @ turn, x), asymmetry(lambda v: v @ turn.abs(), x)
    (2.0, 0.0)
    """
    u = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype).to(x.device)
    with torch.enable_grad():
        at = x.detach().clone().requires_grad_()
        out = map_(at)
        if not out.requires_grad:
            return None
        try:
            (v,) = torch.autograd.grad(out, at, u, retain_graph=True)
            (w,) = torch.autograd.grad(out, at, v)
        except RuntimeError:
            return None
    size = float(v.double().square().sum())
    return abs(1 - float((w.double() * u.double()).sum()) / size) if size > 0 else 0.0


def word(g: Any) -> str:
    """What a statement of g is worth: proven where it, what it binds and its operator are of ours."""
    return OBSERVED if _strangers(g) else PROVEN


def _strangers(g: Any) -> list[Any]:
    inner = unwrapped(g)
    return [part for part in (inner, getattr(inner, "op", None)) if part is not None and not _ours(part)]


def _ours(part: Any) -> bool:
    return type(part).__module__.startswith(OURS)


def _whose(g: Any) -> str:
    strangers = _strangers(g)
    return f"the word of {type(strangers[0]).__name__}, not refuted" if strangers else "by construction"
