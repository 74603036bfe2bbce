"""Unrolling: a fixed number of steps of the solvers, with levels and step sizes that are learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from algorithms.proximal import pgd
from algorithms.splitting import admm, hqs
from algorithms.state import State

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x, sigma) -> x
Pair = tuple[Tensor | float, Tensor | float]  # what one step is given: the level, and gamma or the step size
StepRule = Callable[[Any, Denoise, Pair, "Tensor | State"], State]
SPEED = 10.0  # rates fit for network weights move the logarithm of a level so much faster


class AtPair:
    """A denoiser bound to a level, in the place of g: prox(x, gamma=) = denoise(x, sigma).

    >>> AtPair(lambda x, sigma: x / (1 + sigma), 1.0).prox(torch.ones(1), gamma=3.0)
    tensor([0.5000])
    """

    def __init__(self, denoise: Denoise, sigma: Any):
        self.denoise, self.sigma = denoise, sigma

    def prox(self, x: Tensor, *, gamma: Any) -> Tensor:
        """denoise(x, sigma); the strength is sigma alone."""
        return self.denoise(x, self.sigma)


def hqs_step(f: Any, denoise: Denoise, pair: Pair, state: Tensor | State) -> State:
    """One step of half-quadratic splitting; pair = (sigma, gamma)."""
    return next(hqs(f, denoise, [pair], x0=state))


def pgd_step(f: Any, denoise: Denoise, pair: Pair, state: Tensor | State) -> State:
    """One step of the proximal gradient method; pair = (sigma, step)."""
    sigma, step = pair
    return next(pgd(f, AtPair(denoise, sigma), step=step, x0=state))


def admm_step(f: Any, denoise: Denoise, pair: Pair, state: Tensor | State) -> State:
    """One step of ADMM; pair = (sigma, gamma)."""
    sigma, gamma = pair
    return next(admm(f, AtPair(denoise, sigma), gamma=gamma, x0=state))


STEPS: dict[str, StepRule] = {"hqs": hqs_step, "pgd": pgd_step, "admm": admm_step}


def unroll(
    f: Any,
    denoise: Denoise,
    pairs: Iterable[Pair],
    *,
    x0: Tensor | State,
    step: StepRule = hqs_step,
    checkpointing: bool = False,
) -> State:
    """One step a pair, from x0; gradients flow through everything that asks for them.

    With `checkpointing` only the states between the steps are kept, and each step is computed again on the
    way back: the memory of one step, at a third more time, and the same gradients bit by bit. Raises
    ValueError without a pair.

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> f = LeastSquares(Identity((1, 1, 1)), torch.ones(1, 1, 1, 1))
    >>> pairs = [(1.0, 1.0), (0.0, 3.0)]
    >>> float(unroll(f, lambda x, sigma: x / (1 + sigma), pairs, x0=torch.zeros(1, 1, 1, 1)).x)
    0.8125
    """
    state = x0
    for pair in pairs:
        if not (checkpointing and torch.is_grad_enabled()):
            state = step(f, denoise, pair, state)
            continue
        start = state if isinstance(state, State) else State(state, 0.0)

        def advance(x: Tensor, *memory: Tensor, pair: Pair = pair, fresh: bool = state is not start) -> State:
            return step(f, denoise, pair, x if fresh else State(x, 0.0, memory))

        state = checkpoint(advance, start.x, *start.memory, use_reentrant=False, preserve_rng_state=False)
    if not isinstance(state, State):
        message = "no steps: unrolling needs at least one pair (sigma, gamma)."
        raise ValueError(message)
    return state


class Schedule(nn.Module):
    """Levels and step sizes as learned functions of the noise level s: n pairs, each positive.

    log sigma_k and log gamma_k are affine in log s. At the start, with t = k / (n - 1),
    sigma_k = start^(1 - t) s^t and gamma_k = sigma_k^2 / (weight s^2), or 1 for step sizes (`gamma=False`):
    the schedule of plug-and-play (Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior"
    (2022), section 4.2). s below `floor` counts as that, since logarithms know no zero.

    >>> schedule = Schedule(3, start=0.16, weight=0.25, floor=0.002).requires_grad_(False)
    >>> [round(float(sigma), 4) for sigma, gamma in schedule(torch.tensor([0.01]))]
    [0.16, 0.04, 0.01]
    """

    def __init__(self, n: int, *, start: float, weight: float, floor: float, gamma: bool = True):
        super().__init__()
        if n < 1 or min(start, weight, floor) <= 0:
            message = f"n is {n}, start {start}, weight {weight}, floor {floor}: all must be positive."
            raise ValueError(message)
        self.floor, self.unit = floor, start / 10
        t = torch.arange(n, dtype=torch.float64) / max(1, n - 1)
        level = torch.stack([(1 - t) * math.log(start) + t * math.log(self.unit), t])
        if gamma:
            second = 2 * level - torch.tensor([[math.log(weight) + 2 * math.log(self.unit)], [2.0]])
        else:
            second = torch.zeros_like(level)
        self.register_buffer(
            "begin", torch.stack([level, second]).float()
        )  # (sigma | gamma, offset | slope, n)
        self.change = nn.Parameter(torch.zeros(2, 2, n))

    def forward(self, noise: Tensor) -> list[Pair]:
        """Pairs (sigma, gamma), each (B,), for noise (B,)."""
        begin: Any = self.begin
        offset, slope = (begin + SPEED * self.change).to(noise).unbind(1)
        s = (noise.clamp_min(self.floor) / self.unit).log()
        values = (offset[..., None] + slope[..., None] * s).exp()  # (2, n, B)
        return list(zip(values[0], values[1], strict=True))


class Unrolled(nn.Module):
    """n steps of a solver around a denoiser, levels and step sizes learned with it end to end.

    Called with a data term f, the noise level (B,) and a start x0; returns the last x. A denoiser that is a
    module brings its parameters along.
    """

    def __init__(
        self, denoise: Denoise, schedule: nn.Module, *, step: StepRule = hqs_step, checkpointing: bool = False
    ):
        super().__init__()
        self.denoise, self.schedule = denoise, schedule
        self.step, self.checkpointing = step, checkpointing

    def forward(self, f: Any, noise: Tensor, x0: Tensor) -> Tensor:
        """x after the last step."""
        pairs = self.schedule(noise)
        return unroll(f, self.denoise, pairs, x0=x0, step=self.step, checkpointing=self.checkpointing).x
