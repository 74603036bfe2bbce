"""Conformance checks for priors, ours or yours: each asserts one property, if the prior claims it.

    @pytest.mark.parametrize("check", prior_checks(), ids=lambda check: check.__name__)
    def test_my_prior(check):
        check(MyPrior(...).double(), x, 0.1)  # x (B, C, H, W) tiny and float64: Jacobians are built

What a prior claims is its attribute `claims` (`priors.claims.Claims`). Tiny means some fifty pixels, odd
sizes, two pictures. Run them before and after some steps of training (`trained_briefly`): a claim must hold
for any weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from priors.claims import claims_of
from priors.precision import PRECISIONS

PriorCheck = Callable[[Any, Tensor, float], None]


def prior_checks() -> tuple[PriorCheck, ...]:
    """Every check that a prior called as m(x, sigma) has to pass.

    >>> from priors.lpn import LPN, LPNConfig
    >>> net, x = LPN(LPNConfig(side=3)).double(), torch.rand(2, 1, 4, 3, dtype=torch.float64)
    >>> for check in prior_checks():
    ...     check(net, x, 0.1)
    """
    return (
        *(check_symmetric, check_convexity, check_potential, check_lowest, check_moreau, check_descent),
        *(check_pure, check_batch, check_levels, check_float32),
    )


def jacobian(prior: Any, x: Tensor, sigma: float) -> Tensor:
    """The matrices (B, n, n) of the derivative of m(., sigma) at each picture of x, by autograd."""
    n = x[0].numel()
    each = [
        torch.autograd.functional.jacobian(lambda v: prior(v, sigma), v[None]).reshape(n, n).detach()
        for v in x
    ]
    return torch.stack(each)


def check_symmetric(prior: Any, x: Tensor, sigma: float) -> None:
    """The Jacobian is symmetric, up to the border."""
    claims = claims_of(prior)
    if not claims.symmetric:
        return
    matrix = jacobian(prior, x, sigma)
    gap = float((matrix - matrix.mT).norm() / matrix.norm())
    assert gap <= claims.rtol, f"the Jacobian is asymmetric by {gap:.1e} of its norm: no gradient"


def check_convexity(prior: Any, x: Tensor, sigma: float) -> None:
    """The eigenvalues of the Jacobian are not below the claimed constant; far from the data too."""
    claims = claims_of(prior)
    if claims.convexity is None:
        return
    for point in (x, 10 * x - 5, 1e-3 * x):
        matrix = jacobian(prior, point, sigma)
        low = float(torch.linalg.eigvalsh((matrix + matrix.mT) / 2).min())
        assert low >= claims.convexity * (1 - 1e-9) - claims.rtol, (
            f"the smallest eigenvalue of the Jacobian is {low:.6g}, claimed is {claims.convexity:g}"
        )


@torch.no_grad()
def check_potential(prior: Any, x: Tensor, sigma: float) -> None:
    """Where m.potential exists, m is its gradient: central differences along random directions."""
    if not (claims_of(prior).symmetric and hasattr(prior, "potential")):
        return
    _assert_gradient(lambda v: prior.potential(v, sigma), prior(x, sigma), x, "m")


@torch.no_grad()
def check_descent(prior: Any, x: Tensor, sigma: float) -> None:
    """Where it is claimed, x - m(x) is the gradient of m.value."""
    if not claims_of(prior).descent:
        return
    _assert_gradient(lambda v: prior.value(v, sigma), x - prior(x, sigma), x, "x - m")


def _assert_gradient(value: Callable[[Tensor], Tensor], claimed: Tensor, x: Tensor, name: str) -> None:
    step = 1e-5
    for seed in range(4):
        v = _noise(x, seed)
        slope = (value(x + step * v) - value(x - step * v)) / (2 * step)
        product = (claimed * v).sum((1, 2, 3))
        scale = claimed.flatten(1).norm(dim=1) * v.flatten(1).norm(dim=1)
        gap = float(((slope - product).abs() / scale.clamp_min(1e-12)).max())
        assert gap <= 1e-5, f"{name} differs from finite differences of its function by {gap:.1e}"


@torch.no_grad()
def check_lowest(prior: Any, x: Tensor, sigma: float) -> None:
    """Brute force finds no point with a lower R + |. - x|^2 / 2 than m(x)."""
    claims = claims_of(prior)
    if not claims.proximal:
        return
    p = prior(x, sigma)
    directions = [_noise(x, seed) for seed in range(3)] + [x - p, -p]
    steps = [sign * length * d for d in directions for length in (1e-3, 0.05, 0.5) for sign in (-1, 1)]
    tried = torch.cat([p, *(p + step for step in steps)])  # one batch: a value may need an inner solve
    distance = (tried - x.repeat(1 + len(steps), 1, 1, 1)).double().square().sum((1, 2, 3))
    objective = (prior.value(tried, sigma).double() + distance / 2).view(1 + len(steps), len(x))
    gain = objective[0] - objective[1:].min(0).values
    size = x.double().square().sum((1, 2, 3))
    room = 1e-9 * (objective[0].abs() + size) + claims.rtol * size
    assert bool((gain <= room).all()), (
        f"m(x) is not the minimiser of R + |. - x|^2 / 2: a point is lower by {float(gain.max()):.1e}"
    )


@torch.no_grad()
def check_moreau(prior: Any, x: Tensor, sigma: float) -> None:
    """Moreau's identity R(p) + |p|^2 / 2 + psi(y) = <p, y> at p = m(y), Fenchel's inequality elsewhere."""
    if not (claims_of(prior).proximal and hasattr(prior, "potential")):
        return
    p, psi = prior(x, sigma), prior.potential(x, sigma)
    size = x.square().sum((1, 2, 3))
    for at in (p, p + 0.1 * _noise(x, 1), x):
        excess = prior.value(at, sigma) + at.square().sum((1, 2, 3)) / 2 + psi - (at * x).sum((1, 2, 3))
        assert bool((excess >= -1e-9 * size).all()), (
            f"R + |.|^2 / 2 is not the conjugate of psi: it is below by {-float(excess.min()):.1e}"
        )
        if at is p:
            gap = float((excess / size).max())
            assert gap <= 1e-8, f"Moreau's identity is missed by {gap:.1e} of |x|^2"


def check_pure(prior: Any, x: Tensor, sigma: float) -> None:
    """A call changes neither argument nor prior nor random state; a graph only if one is wanted."""
    before, kept, random = x.clone(), _state(prior), torch.get_rng_state()
    first = prior(x, sigma)
    again = prior(x, sigma)
    assert torch.equal(first, again), "two calls with the same argument differ"
    assert torch.equal(x, before) and not x.requires_grad, "the argument was changed"
    same = all(torch.equal(v, kept[k]) for k, v in _state(prior).items())
    assert same, "a call changed the weights or buffers"
    assert torch.equal(torch.get_rng_state(), random), "a call changed the random state"
    with torch.no_grad():
        quiet = prior(x, sigma)
    assert not quiet.requires_grad, "the result carries a graph that nobody asked for"
    gap = float((quiet - first).detach().norm() / x.norm())
    assert gap <= 1e-12, f"with and without gradients the results differ by {gap:.1e}"
    assert quiet.shape == x.shape and quiet.dtype == x.dtype, "the result has another shape or dtype"


@torch.no_grad()
def check_batch(prior: Any, x: Tensor, sigma: float) -> None:
    """A batch gives what its pictures give one by one."""
    singles = torch.cat([prior(v[None], sigma) for v in x])
    gap = float((prior(x, sigma) - singles).norm() / singles.norm())
    assert gap <= max(1e-12, claims_of(prior).rtol), f"a batch differs from its pictures by {gap:.1e}"


@torch.no_grad()
def check_levels(prior: Any, x: Tensor, sigma: float) -> None:
    """sigma may be a tensor with one level a sample."""
    levels = torch.linspace(0.5 * sigma, 1.5 * sigma, len(x), dtype=x.dtype)
    apart = torch.cat([prior(v[None], float(s)) for v, s in zip(x, levels, strict=True)])
    gap = float((prior(x, levels) - apart).norm() / apart.norm())
    assert gap <= max(1e-12, claims_of(prior).rtol), f"levels a sample differ from single calls by {gap:.1e}"


@torch.no_grad()
def check_float32(prior: Any, x: Tensor, sigma: float) -> None:
    """In float32 the result is float32 and close to that in float64; bfloat16 inside is not what is asked."""
    single = copy.deepcopy(prior).float() if isinstance(prior, nn.Module) else prior
    parts: Any = single.modules() if isinstance(single, nn.Module) else ()
    for part in parts:
        if getattr(part, "precision", None) in PRECISIONS:  # "auto" rounds where the processor can
            part.precision = "fp32"
    result, exact = single(x.float(), sigma), prior(x, sigma)
    gap = float((result.double() - exact).norm() / exact.norm())
    assert result.dtype == torch.float32 and gap <= 1e-4, f"float32 is off by {gap:.1e} ({result.dtype})"


def trained_briefly(prior: nn.Module, x: Tensor, sigma: float, *, steps: int, rate: float) -> nn.Module:
    """A copy of the prior after some steps of plain SGD on denoising x: no loop of ours, no care taken."""
    copied = copy.deepcopy(prior).train().requires_grad_(True)
    optimizer = torch.optim.SGD(copied.parameters(), lr=rate)
    for step in range(steps):
        optimizer.zero_grad()
        loss = (copied(x + sigma * _noise(x, step), sigma) - x).square().sum()
        loss.backward()
        optimizer.step()
    return copied.eval()  # a prox is solved less closely while training


def _noise(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


def _state(prior: Any) -> dict[str, Tensor]:
    if not isinstance(prior, nn.Module):
        return {}
    return {k: v.detach().clone() for k, v in prior.state_dict().items()}
