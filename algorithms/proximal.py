"""Methods that take gradients of f and proxes of g: gradient descent, proximal gradient, FISTA.

f offers grad(x), g offers prox(x, gamma=) (gradient descent: grad). A step that is not given is 1 over the
proven bound f.lipschitz(). A step may be a tensor, one for all or one a sample, or a parameter that learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from algorithms.state import State, relative_change
from algorithms.steps import Step, begin, checked_step, proven_step
from imaging.linsolve import inner


def gd(f: Any, g: Any = None, *, step: Step | None = None, x0: Tensor | State) -> Iterator[State]:
    """Gradient descent on f, or f + g: x <- x - step (grad f(x) + grad g(x)).

    For convex functions with gradients of Lipschitz constants Lf, Lg it converges for step < 2 / (Lf + Lg),
    and the objective falls at every step. Not given: 1 / (Lf + Lg).

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> f = LeastSquares(Identity((1, 1, 2)), torch.tensor([[[[1.0, 2.0]]]]))
    >>> next(gd(f, step=0.5, x0=torch.zeros(1, 1, 1, 2))).x
    tensor([[[[0.5000, 1.0000]]]])
    """
    functions = (f,) if g is None else (f, g)
    return _gd(functions, checked_step("step", proven_step(*functions) if step is None else step, x0), x0)


def _gd(functions: tuple[Any, ...], step: Step, x0: Tensor | State) -> Iterator[State]:
    (x,) = begin(x0, 0, lambda _: ())
    while True:
        slope = functions[0].grad(x)
        for g in functions[1:]:
            slope = slope + g.grad(x)
        x, old = x - step * slope, x
        yield State(x, relative_change(x, old))


def pgd(f: Any, g: Any, *, step: Step | None = None, x0: Tensor | State) -> Iterator[State]:
    """Proximal gradient: x <- prox of step g at x - step grad f(x).

    For convex f, g it converges for step < 2 / L, L the Lipschitz constant of grad f; the objective falls at
    every step <= 1 / L even where g is not convex. Not given: 1 / L. Combettes and Wajs (2005).

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> from priors import L1
    >>> f = LeastSquares(Identity((1, 1, 2)), torch.tensor([[[[1.0, 0.1]]]]))
    >>> next(pgd(f, L1(0.25), x0=torch.zeros(1, 1, 1, 2))).x
    tensor([[[[0.7500, 0.0000]]]])
    """
    return _pgd(f, g, checked_step("step", proven_step(f) if step is None else step, x0), x0)


def _pgd(f: Any, g: Any, step: Step, x0: Tensor | State) -> Iterator[State]:
    (x,) = begin(x0, 0, lambda _: ())
    while True:
        x, old = g.prox(x - step * f.grad(x), gamma=step), x
        yield State(x, relative_change(x, old))


def nesterov(t: Tensor) -> Tensor:
    """The sequence of Beck and Teboulle (2009), (1 + (1 + 4 t^2)^(1/2)) / 2."""
    return (1 + (1 + 4 * t.square()).sqrt()) / 2


def fista(
    f: Any,
    g: Any,
    *,
    step: Step | None = None,
    x0: Tensor | State,
    restart: bool = True,
    momentum: Callable[[Tensor], Tensor] = nesterov,
) -> Iterator[State]:
    """Proximal gradient with momentum: objective - minimum <= 2 |x0 - x*|^2 / (step n^2), convex f and g.

    The step is taken at x + (t - 1) / momentum(t) (x - previous x), t = 1 at first; with restart, t returns
    to 1 in each sample where the last step went against the momentum, which brings back the linear rate where
    there is one. Beck and Teboulle (2009); O'Donoghue and Candes (2015, gradient scheme). Proven for
    step <= 1 / L, which is used when none is given. The memory of a State is (point of the next step, t); its
    residual is the length of the prox-gradient step.

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> from priors import L1
    >>> f = LeastSquares(Identity((1, 1, 2)), torch.tensor([[[[1.0, 0.1]]]]))
    >>> next(fista(f, L1(0.25), x0=torch.zeros(1, 1, 1, 2))).x
    tensor([[[[0.7500, 0.0000]]]])
    """
    step = checked_step("step", proven_step(f) if step is None else step, x0)
    return _fista(f, g, step, x0, (restart, momentum))


def _fista(
    f: Any, g: Any, step: Step, x0: Tensor | State, rules: tuple[bool, Callable[[Tensor], Tensor]]
) -> Iterator[State]:
    restart, momentum = rules
    x, ahead, t = begin(x0, 2, lambda x: (x, x.new_ones(len(x), *[1] * (x.ndim - 1))))
    while True:
        new = g.prox(ahead - step * f.grad(ahead), gamma=step)
        move, pull = new - x, relative_change(new, ahead)
        if restart:
            t = torch.where(inner(ahead.detach() - new.detach(), move.detach()) > 0, 1.0, t)
        after = momentum(t)
        x, ahead, t = new, new + (t - 1) / after * move, after
        yield State(x, pull, (ahead, t))
