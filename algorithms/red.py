"""Regularisation by denoising: the slope weight (x - denoise(x)) beside a data term, in two forms.

denoise maps a picture to a picture, its level bound in. Both forms have the same fixed points,
grad f(x) + weight (x - denoise(x)) = 0. They are minimisers of f + weight x^T (x - denoise(x)) / 2 only where
denoise is linear and symmetric, or homogeneous with a symmetric Jacobian (Reehorst and Schniter 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from algorithms.state import State, relative_change
from algorithms.steps import Step, begin, checked_step, proven_step

Denoise = Callable[[Tensor], Tensor]


def red_gradient(
    f: Any, denoise: Denoise, *, weight: Step, step: Step | None = None, x0: Tensor | State
) -> Iterator[State]:
    """x <- x - step (grad f(x) + weight (x - denoise(x))).

    Converges for convex f and a non-expansive denoiser if step < 2 / (L + 2 weight), L the Lipschitz constant
    of grad f: both slopes are then cocoercive. Not given: 1 / (L + 2 weight). Romano, Elad and Milanfar
    (2017), equation 36.

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> import torch
    >>> f = LeastSquares(Identity((1, 1, 1)), torch.ones(1, 1, 1, 1))
    >>> float(next(red_gradient(f, lambda x: x / 2, weight=1.0, step=0.5, x0=torch.ones(1, 1, 1, 1))).x)
    0.75
    """
    weight = checked_step("weight", weight, x0)
    if step is None:
        step = 1 / (1 / proven_step(f) + 2 * weight)
    return _red_gradient(f, denoise, weight, checked_step("step", step, x0), x0)


def _red_gradient(f: Any, denoise: Denoise, weight: Step, step: Step, x0: Tensor | State) -> Iterator[State]:
    (x,) = begin(x0, 0, lambda _: ())
    while True:
        x, old = x - step * (f.grad(x) + weight * (x - denoise(x))), x
        yield State(x, relative_change(x, old))


def red_fixed_point(f: Any, denoise: Denoise, *, weight: Step, x0: Tensor | State) -> Iterator[State]:
    """x <- argmin over x of f(x) + weight |x - denoise(previous x)|^2 / 2: the prox of f / weight.

    Converges for convex f and a denoiser that is averaged, or any contraction. Romano, Elad and Milanfar
    (2017), section 4.2.

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> import torch
    >>> f = LeastSquares(Identity((1, 1, 1)), torch.ones(1, 1, 1, 1))
    >>> float(next(red_fixed_point(f, lambda x: x / 2, weight=1.0, x0=torch.ones(1, 1, 1, 1))).x)
    0.75
    """
    return _red_fixed_point(f, denoise, checked_step("weight", weight, x0), x0)


def _red_fixed_point(f: Any, denoise: Denoise, weight: Step, x0: Tensor | State) -> Iterator[State]:
    (x,) = begin(x0, 0, lambda _: ())
    while True:
        x, old = f.prox(denoise(x), gamma=1 / weight), x
        yield State(x, relative_change(x, old))
