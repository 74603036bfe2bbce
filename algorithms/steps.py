"""Step sizes: proven ones from Lipschitz constants, given ones checked; and where a run begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from algorithms.state import State

Step = float | Tensor


def proven_step(*functions: Any) -> float:
    """1 / L, L the sum of the functions' proven Lipschitz constants of the gradient.

    Raises TypeError where one of them has none.

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> import torch
    >>> proven_step(LeastSquares(Identity((1, 1, 2)), torch.zeros(1, 1, 1, 2)))
    1.0
    """
    return 1 / sum(_lipschitz(f) for f in functions)


def _lipschitz(f: Any) -> float:
    if not hasattr(f, "lipschitz"):
        message = (
            f"{type(f).__name__} has no proven Lipschitz constant of its gradient: give the step, "
            "or use a solver that takes its prox."
        )
        raise TypeError(message)
    return float(f.lipschitz())


def checked_step(name: str, step: Step, x0: Tensor | State) -> Step:
    """step as a positive number, or as a tensor that broadcasts over pictures: one for all or one a sample.

    Tensors, learned ones too, are not looked at. Raises ValueError for a number that is no step.

    >>> import torch
    >>> checked_step("step", -1.0, torch.zeros(1, 1, 1, 1))
    Traceback (most recent call last):
    ...
    ValueError: step is -1.0, wanted a positive finite number.
    """
    if not isinstance(step, Tensor):
        if not (step > 0 and math.isfinite(step)):
            message = f"{name} is {step}, wanted a positive finite number."
            raise ValueError(message)
        return float(step)
    x = x0.x if isinstance(x0, State) else x0
    step = step.to(x)
    return step if step.ndim == 0 else step.reshape(step.shape[0], *[1] * (x.ndim - 1))


def begin(
    x0: Tensor | State, parts: int, fresh: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """(x, *memory): of the State to resume from, whose memory must have `parts` parts, or fresh(x0).

    >>> import torch
    >>> begin(torch.zeros(1), 1, lambda x: (x,))
    (tensor([0.]), tensor([0.]))
    """
    if not isinstance(x0, State):
        return (x0, *fresh(x0))
    if len(x0.memory) != parts:
        message = (
            f"the State to resume from has {len(x0.memory)} parts, this solver's have {parts}: "
            "give its x to start another solver there."
        )
        raise ValueError(message)
    return (x0.x, *x0.memory)
