"""A reconstructor's output together with its pullback u -> J^T u, exact or by a surrogate.

What is evaluated is always the reconstructor itself; only the direction of an attack may come from a
surrogate. Solvers are differentiated at their fixed point (implicit function theorem), which needs one linear
solve instead of a stored iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from algorithms.classical import penalty_spectrum
from algorithms.splitting_variation import sees_everything
from algorithms.variation import differences, differences_adjoint
from imaging.fft import irfft2, power_of, rfft2
from imaging.linsolve import SolveError, conjugate_gradient
from imaging.operator import factored, solve_in_frequency, window

Reconstructor = Callable[[Any, Tensor], Tensor]
Pullback = Callable[[Tensor], Tensor]
Linearised = Callable[[Tensor], tuple[Tensor, Pullback]]

ROUGH = (1e-3, 400)  # tolerance and steps of a surrogate's solve: a direction, not a result
ROUND = 0.01  # |D x| below this share of the range counts as flat when total variation is differentiated


class NotDifferentiableError(TypeError):
    """Automatic differentiation finds no way from the data to the result."""


def result(reconstruct: Reconstructor, op: Any, y: Tensor) -> Tensor:
    """What the sensor looked at of reconstruct(op, y), which may lie on the operator's field or be cropped.

    ValueError for any other shape.

    >>> from imaging.masks import Identity
    >>> result(lambda op, y: 2 * y, Identity((1, 1, 2)), torch.ones(1, 1, 1, 2))
    tensor([[[[2., 2.]]]])
    """
    x = reconstruct(op, y)
    if tuple(x.shape[1:]) == tuple(op.img_size):
        return window(op, x)
    inside = window(op, y.new_zeros(1, *op.img_size)).shape[1:]
    if x.shape[1:] != inside:
        message = (
            f"the reconstructor returned shape {tuple(x.shape)}, wanted {(len(y), *op.img_size)}, "
            f"the operator's domain, or its window {(len(y), *inside)}."
        )
        raise ValueError(message)
    return x


def by_autograd(reconstruct: Reconstructor, op: Any) -> Linearised:
    """J^T u by automatic differentiation of the reconstructor itself.

    The returned function raises NotDifferentiableError when the result does not depend on the data for
    autograd (no_grad inside, numpy inside).

    >>> from imaging.masks import Identity
    >>> x, pull = by_autograd(lambda op, y: y**2, Identity((1, 1, 1)))(torch.full((1, 1, 1, 1), 3.0))
    >>> x.item(), pull(torch.ones(1, 1, 1, 1)).item()
    (9.0, 6.0)
    """

    def at(y: Tensor) -> tuple[Tensor, Pullback]:
        """The result for y and the gradient of <result, u> with respect to y, as a function of u."""
        with torch.enable_grad():
            data = y.detach().clone().requires_grad_()
            x = result(reconstruct, op, data)
        if not x.requires_grad:
            message = (
                "the result carries no gradient with respect to the data: "
                "take a surrogate, or search without gradients."
            )
            raise NotDifferentiableError(message)

        def pull(u: Tensor) -> Tensor:
            """J^T u, zero where nothing of the data arrives."""
            (g,) = torch.autograd.grad(x, data, u, allow_unused=True)
            return torch.zeros_like(data) if g is None else g

        return x.detach(), pull

    return at


def by_tikhonov(
    reconstruct: Reconstructor,
    op: Any,
    *,
    lam: float | Callable[[Tensor], float],
    slope: Callable[[Tensor, float], Tensor] | None = None,
) -> Linearised:
    """Values of the reconstructor, the pullback of Tikhonov's estimate: u -> A v, v = (A^TA + lam L^TL)^-1 u.

    Exact (to ROUGH) for Tikhonov and Wiener of a fixed weight. Where they choose it, lam is the function
    y -> weight, and slope the function (y, weight) -> d weight / d y, which adds -<v, L^T L x> slope: data
    that pass for sharper get less smoothing, and this is where such a method is weakest. Without slope that
    part is left out. A surrogate for anything else that deblurs with the operator (backward pass
    differentiable approximation: Athalye, Carlini, Wagner 2018).
    """

    def at(y: Tensor) -> tuple[Tensor, Pullback]:
        """The result for y, and the pullback at the weight there."""
        weight = lam(y) if callable(lam) else lam
        if slope is None:
            return _value(reconstruct, op, y), lambda u: op.A(solve_quadratic(op, unwindow(op, u), weight))
        with torch.no_grad():
            x = reconstruct(op, y)
        full = x if tuple(x.shape[1:]) == tuple(op.img_size) else unwindow(op, x)
        bent, turn = _penalised(full), slope(y, weight)

        def pull(u: Tensor) -> Tensor:
            v = solve_quadratic(op, unwindow(op, u), weight)
            return op.A(v) - (v * bent).sum((1, 2, 3), keepdim=True) * turn

        return window(op, full), pull

    return at


def by_variation(reconstruct: Reconstructor, op: Any, *, lam: float) -> Linearised:
    """Values of the reconstructor, the pullback of total variation at its own minimiser x."""

    def at(y: Tensor) -> tuple[Tensor, Pullback]:
        """The result for y, and the pullback of total variation there."""
        with torch.no_grad():
            x = reconstruct(op, y)
        full = x if tuple(x.shape[1:]) == tuple(op.img_size) else unwindow(op, x)
        pull = variation_pullback(op, full, lam=lam)
        return window(op, full), lambda u: pull(unwindow(op, u))

    return at


def variation_pullback(op: Any, x: Tensor, *, lam: float) -> Pullback:
    """J^T at the minimiser x of |A x - y|^2 / 2 + lam TV(x), y -> x; u on the operator's domain.

    u -> A (A^T A + lam D^T W D)^-1 u, W the second derivative of sqrt(|d|^2 + ROUND^2) at d = D x: the
    implicit function theorem for the rounded problem.
    """
    d = differences(x)
    size = (d.square().sum((1, 2), keepdim=True) + ROUND**2).sqrt()
    stiffness = lam * float((1 / size).mean())

    def bent(v: Tensor) -> Tensor:
        dv = differences(v)
        along = (d * dv).sum((1, 2), keepdim=True) / size.square()
        return op.A_adjoint(op.A(v)) + lam * differences_adjoint((dv - d * along) / size)

    @torch.no_grad()
    def pull(u: Tensor) -> Tensor:
        """op.A of the solve, to a tolerance; the quadratic one where it is missed."""
        try:
            v = conjugate_gradient(bent, u, precondition=_smoother(op, u, stiffness), rtol=0.03, max_iter=200)
        except SolveError:  # the quadratic direction will do
            v = solve_quadratic(op, u, stiffness)
        back: Tensor = op.A(v)
        return back

    return pull


def straight_through(reconstruct: Reconstructor, op: Any) -> Linearised:
    """Values of the reconstructor, the pullback of the bare blur, u -> A u: for anything at all."""
    return lambda y: (_value(reconstruct, op, y), lambda u: op.A(unwindow(op, u)))


def unwindow(op: Any, u: Tensor) -> Tensor:
    """The transpose of op.window: the result's pixels put back on a field of zeros."""
    with torch.enable_grad():
        x = u.new_zeros(len(u), *op.img_size, requires_grad=True)
        (field,) = torch.autograd.grad(window(op, x), x, u)
    return field


@torch.no_grad()
def _value(reconstruct: Reconstructor, op: Any, y: Tensor) -> Tensor:
    return result(reconstruct, op, y)


def _penalised(x: Tensor) -> Tensor:
    """L^T L x of the gradient penalty."""
    size = (x.shape[-2], x.shape[-1])
    return irfft2(rfft2(x) * penalty_spectrum("gradient", size, x), size)


@torch.no_grad()
def solve_quadratic(op: Any, b: Tensor, lam: float) -> Tensor:
    """(A^T A + lam L^T L)^-1 b to ROUGH; where that takes too long, its circulant guess."""
    try:
        return solve_normal(op, b, lam, budget=ROUGH)
    except SolveError:  # a direction is wanted, not an exception
        return _smoother(op, b, lam)(b)


def solve_normal(op: Any, b: Tensor, lam: float, *, budget: tuple[float, int]) -> Tensor:
    """The same to (relative residual, most steps), exactly where A^T A is diagonal; SolveError beyond."""
    structure, size = factored(op), (b.shape[-2], b.shape[-1])
    spectrum = lam * penalty_spectrum("gradient", size, b)
    if structure is None:
        return conjugate_gradient(
            lambda v: op.A_adjoint(op.A(v)) + irfft2(rfft2(v) * spectrum, size),
            b,
            precondition=lambda v: irfft2(rfft2(v) / (spectrum + 0.5), size),
            rtol=budget[0],
            max_iter=budget[1],
        )
    if sees_everything(op):
        return irfft2(rfft2(b) / (power_of(structure.otf) + spectrum), size)
    return solve_in_frequency(structure, b, 1.0, x0=None, budget=budget, base=spectrum)


def _smoother(op: Any, like: Tensor, stiffness: float) -> Pullback:
    """(|otf|^2 + stiffness |f|^2 + small)^-1, the circulant guess of the inverse."""
    structure, size = factored(op), (like.shape[-2], like.shape[-1])
    gain = 0.5 if structure is None else power_of(structure.otf)
    inverse = 1 / (gain + stiffness * penalty_spectrum("gradient", size, like) + 1e-4)
    return lambda v: irfft2(rfft2(v) * inverse, size)
