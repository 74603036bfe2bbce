"""The prox of a data term behind any operator, by splitting off A x, held to a tolerance that is checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms.driver import Until, solve
from algorithms.state import NotConvergedError, State, Status, relative_change
from imaging.fft import convolve, correlate, irfft2, power_of, rfft2
from imaging.fidelity import POINTWISE, LeastSquares
from imaging.linsolve import Linear, conjugate_gradient, default_rtol, implicit_solve, inner
from imaging.operator import LinearOperator, column, factored

RELAX = 1.6  # over-relaxation of the splitting; 1 to 1.8 converge
BALANCED = 100  # iterations in which the penalty may adapt; from then on the proof of convergence holds
PERIOD = 5  # iterations between two looks at the tolerance, each as dear as an iteration


@dataclass(frozen=True, eq=False)
class CheckedProx:
    """A data term (PoissonKL, Huber, LeastAbsolute, or yours with prox_at) with a prox behind any operator.

    Where there is a closed form (least squares, no operator) it is taken. Elsewhere alternating directions on
    u = A x give x = z - A^T w with w a subgradient of gamma l at u, exactly, so that x is the prox up to
    the distance of A x from u: it is brought below rtol |u| in each sample, or NotConvergedError is raised
    after max_iter iterations. Where l has curvature <= c, |x - prox| <= (gamma c)^(1/2) |A x - u| / 2.
    Everything else (value, grad, lipschitz, op, y) is the term's own.

    >>> from imaging.blur import CircularBlur
    >>> from imaging.fidelity import Huber
    >>> blur = CircularBlur(torch.full((1, 1, 1, 2), 0.5), (1, 1, 2))
    >>> f = CheckedProx(Huber(blur, torch.ones(1, 1, 1, 2), delta=0.1), rtol=1e-4, max_iter=200)
    >>> f.prox(torch.zeros(1, 1, 1, 2), gamma=2.0)
    tensor([[[[0.2000, 0.2000]]]])
    """

    term: Any
    rtol: float
    max_iter: int

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "term":  # not there yet, while a copy is being made
            raise AttributeError(name)
        return getattr(self.term, name)

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """argmin over x of gamma f(x) + |x - z|^2 / 2; differentiable where f has a gradient."""
        if isinstance(self.term, LeastSquares) or isinstance(self.term.op, POINTWISE):
            return self.term.prox(z, gamma=gamma)
        gamma = column(gamma, z)
        fixed = gamma.detach() if isinstance(gamma, Tensor) else gamma
        x, u = self._solved(z.detach(), fixed)
        learned = z.requires_grad or (isinstance(gamma, Tensor) and gamma.requires_grad)
        if not (torch.is_grad_enabled() and learned):
            return x
        return x + _change(self.term, (z, gamma), u)

    @torch.no_grad()
    def _solved(self, z: Tensor, gamma: Tensor | float) -> tuple[Tensor, Tensor]:
        parts = _parts(self.term)

        def answer(state: State) -> tuple[Tensor, Tensor]:
            s, w, _ = state.memory
            return z - parts.adjoint(w), parts.select(s)

        def gap(state: State) -> float:
            x, u = answer(state)
            far, size = (v.flatten(1).norm(dim=1) for v in (self.term.op.A(x) - u, u))
            return float((far / size.clamp_min(torch.finfo(u.dtype).tiny)).max())

        until = Until(tol=self.rtol, max_iter=self.max_iter, measure=gap, period=PERIOD)
        run = solve(_split(parts, z, gamma), until)
        if run.status is not Status.converged:
            name, op, left = (
                type(self.term).__name__,
                type(self.term.op).__name__,
                run.history["residual"][-1],
            )
            message = (
                f"the prox of {name} through {op} stopped after {run.n_iter} iterations at {left:.1e} "
                f"(wanted {self.rtol:.1e}): raise max_iter or rtol, use float64, or a smaller gamma."
            )
            raise NotConvergedError(message)
        return answer(run.state)


class _Parts(NamedTuple):
    """The splitting s = K x: K, its adjoint, (I + rho K^T K)^-1, the loss's prox in s, what data see of s."""

    forward: Linear
    adjoint: Linear
    solve: Any
    prox: Any
    select: Linear


def _parts(term: Any) -> _Parts:
    op, structure = term.op, factored(term.op)
    if structure is None:
        return _Parts(op.A, op.A_adjoint, _by_cg(op), term.prox_at, lambda s: s)
    otf, select, scatter = structure[:3]
    power = power_of(otf)

    def divide(b: Tensor, rho: Tensor, _: Tensor) -> Tensor:
        return irfft2(rfft2(b) / (1 + rho * power), (b.shape[-2], b.shape[-1]))

    def prox(s: Tensor, gamma: Tensor) -> Tensor:
        seen = select(s)
        return s + scatter(term.prox_at(seen, gamma) - seen)

    return _Parts(lambda x: convolve(x, otf), lambda s: correlate(s, otf), divide, prox, select)


def _by_cg(op: Any) -> Any:
    def divide(b: Tensor, rho: Tensor, x0: Tensor) -> Tensor:
        """(I + rho A^T A)^-1 b, solved from x0."""
        guess = op.precondition(rho) if isinstance(op, LinearOperator) else None
        normal = lambda v: v + rho * op.A_adjoint(op.A(v))  # noqa: E731
        rtol = default_rtol(b.dtype)  # looser is cheaper, but its error times the penalty stays in w
        return conjugate_gradient(normal, b, x0=x0, precondition=guess, rtol=rtol, max_iter=2000)

    return divide


def _split(parts: _Parts, z: Tensor, gamma: Tensor | float) -> Iterator[State]:
    """ADMM on |x - z|^2 / 2 + gamma l(s), s = K x, the penalty balanced as in Wohlberg (2017), section 3.

    Memory: s, w the dual point of s, a subgradient of gamma l at s, and the penalty of each sample.
    """
    rho = torch.ones(len(z), *[1] * (z.ndim - 1), dtype=z.dtype, device=z.device) * gamma
    x, s = z, parts.forward(z)
    b, n = torch.zeros_like(s), 0
    while True:
        n += 1
        x, old = parts.solve(z + rho * parts.adjoint(s - b), rho, x), x
        seen = parts.forward(x)
        point = RELAX * seen + (1 - RELAX) * s + b
        s, before = parts.prox(point, gamma / rho), s
        b = point - s
        yield State(x, relative_change(x, old), (s, rho * b, rho))
        if n <= BALANCED and n % PERIOD == 0:
            primal = inner(seen - s, seen - s) / inner(s, s).clamp_min(1e-30)
            pull = parts.adjoint(b)
            dual = inner(*[parts.adjoint(s - before)] * 2) / inner(pull, pull).clamp_min(1e-30)
            factor = (primal / dual.clamp_min(1e-30)).pow(0.25).clamp(0.1, 10)
            factor = torch.where((factor > 1.5) | (factor < 1 / 1.5), factor, 1.0)
            rho, b = rho * factor, b / factor


def _change(term: Any, given: tuple[Tensor, Any], u: Tensor) -> Tensor:
    """Zero, with the derivative of the prox: (I + gamma A^T H A) dx = dz - A^T l'(u) dgamma, H = l''(u)."""
    if not hasattr(term, "grad_at"):
        message = f"{type(term).__name__} is not smooth, so its prox is not differentiated: detach its input."
        raise NotImplementedError(message)
    z, gamma = given
    with torch.enable_grad():
        v = u.detach().requires_grad_()
        slope = term.grad_at(v)
        (curvature,) = torch.autograd.grad(slope.sum(), v) if slope.requires_grad else (torch.zeros_like(u),)
    fixed = gamma.detach() if isinstance(gamma, Tensor) else gamma
    weight, op = fixed * curvature, term.op

    def gram(d: Tensor) -> Tensor:
        return op.A_adjoint(weight * op.A(d))

    def solved_for(right: Tensor, x0: Tensor | None) -> Tensor:
        rtol = default_rtol(right.dtype)
        return conjugate_gradient(lambda d: d + gram(d), right, x0=x0, rtol=rtol, max_iter=2000)

    force = op.A_adjoint(slope.detach())
    return implicit_solve((z - z.detach()) - (gamma - fixed) * force, 1.0, solved_for, gram, x0=None)
