"""Training as a generator of steps: a plan, a learner holding all that a step changes, and the loop."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from priors.checkpoint import TRAINING, load_tensors, save_tensors
from priors.losses import Batch, Objective
from priors.muon import Muon
from priors.precision import autocast

OPTIMIZERS = {"adam": torch.optim.Adam, "muon": Muon}
MOMENTS = ("exp_avg", "exp_avg_sq")  # what either keeps of a weight, beside the number of steps


@dataclass(frozen=True)
class Plan:
    """How a training runs from its first step to its last; all of it is written down in the training's state.

    The rate rises over `warmup` steps to `rate`, stays there up to step `hold`, and falls along a cosine to
    `rate * last` at the final step; `hold=steps` never lets it fall. `ema` is the decay of the running mean
    of the weights, which is what is validated and shipped; it starts shorter. It is validated every `period`
    steps, 0 for a sixtieth of all. `optimizer` is a name of OPTIMIZERS.
    """

    steps: int
    rate: float
    period: int = 0
    hold: int = 0
    last: float = 0.005
    warmup: int = 100
    ema: float = 0.999
    clip: float = 1.0
    precision: str = "fp32"
    optimizer: str = "adam"

    @property
    def every(self) -> int:
        """Steps between two validations."""
        return self.period or max(1, self.steps // 60)

    def rate_at(self, step: int) -> float:
        """Learning rate of the step number `step`, counted from zero."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        decay = max(0.0, step - self.hold) / max(1, self.steps - self.hold)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, decay)))
        return self.rate * rise * (self.last + (1 - self.last) * fall)

    def ema_at(self, step: int) -> float:
        return min(self.ema, (1 + step) / (10 + step))


class Step(NamedTuple):
    """What one step yields: steps done so far, its loss and its learning rate."""

    done: int
    loss: float
    rate: float


class Learner:
    """A network in training: its weights, their running mean, the moments and the number of steps done.

    `wrap` is applied to the network once (DistributedDataParallel, for instance); weights are read from the
    bare one.
    """

    def __init__(self, network: nn.Module, plan: Plan, *, device: str = "cpu", wrap: Callable | None = None):
        self.network, self.plan, self.done = network.to(device).train(), plan, 0
        self.mean = copy.deepcopy(network).eval().requires_grad_(False)
        self.called = wrap(self.network) if wrap else self.network
        self.optimizer = OPTIMIZERS[plan.optimizer](self.network.parameters(), lr=plan.rate)
        self.device = torch.device(device)

    def step(self, batch: Batch, objective: Objective) -> Step:
        """One step, gradient clipped; raises FloatingPointError at a loss that is not finite."""
        rate = self.plan.rate_at(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = tuple(t.to(self.device, non_blocking=True) for t in batch)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True):  # the same bits on a GPU too
            with autocast(self.plan.precision, self.device):
                loss = objective(self.called, batch, self.done / self.plan.steps)
            loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        value = float(loss.detach())
        if not math.isfinite(value):
            message = f"the loss of step {self.done} is {value}: resume with a rate below {rate:g}."
            raise FloatingPointError(message)
        with autocast(self.plan.precision, self.device):  # Muon's matrix products, a third of a float32 step
            self.optimizer.step()
        self._average()
        self.done += 1
        return Step(self.done, value, rate)

    @torch.no_grad()
    def _average(self) -> None:
        weight = 1 - self.plan.ema_at(self.done)
        for mean, now in zip(self.mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, weight)
        for kept, current in zip(self.mean.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)

    def save(self, path: str | Path, notes: dict[str, str]) -> None:
        """Write everything the next step needs, and `notes`, to one file."""
        tensors = {f"network.{k}": t for k, t in self.network.state_dict().items()}
        tensors |= {f"mean.{k}": t for k, t in self.mean.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"{m}.{name}": moments[m] for m in MOMENTS if m in moments}
        metadata = {"format": TRAINING, "done": str(self.done), "plan": json.dumps(asdict(self.plan))}
        save_tensors(path, tensors, {**notes, **metadata})

    def restore(self, path: str | Path) -> dict[str, str]:
        """Go back to the saved state, in place; returns the notes."""
        tensors, metadata = load_tensors(path, TRAINING)
        self.done = int(metadata["done"])
        for prefix, module in (("network.", self.network), ("mean.", self.mean)):
            module.load_state_dict(
                {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            )
        for name, parameter in self.network.named_parameters():
            if f"exp_avg.{name}" in tensors:
                moments = {
                    m: torch.empty_like(parameter).copy_(tensors[f"{m}.{name}"])
                    for m in MOMENTS
                    if f"{m}.{name}" in tensors
                }
                self.optimizer.state[parameter] = {"step": torch.tensor(float(self.done)), **moments}
        return metadata


def read_plan(path: str | Path) -> tuple[Plan, dict[str, Any]]:
    """The plan of a saved training, and its session's notes."""
    metadata = load_tensors(path, TRAINING, only_metadata=True)[1]
    return Plan(**json.loads(metadata["plan"])), json.loads(metadata.get("session", "{}"))


def training(learner: Learner, batches: Callable[[int], Batch], objective: Objective) -> Iterator[Step]:
    """Steps from where the learner stands to the end of its plan; batch k is `batches(k)`, so resuming equals
    not stopping.

    >>> from priors.losses import regression, l1
    >>> plan = Plan(steps=3, rate=1e-3)
    >>> batch = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.tensor([0.1])
    >>> class Shift(nn.Conv2d):
    ...     def forward(self, x, sigma): return super().forward(x)
    >>> [s.done for s in training(Learner(Shift(1, 1, 1), plan), lambda k: batch, regression(l1))]
    [1, 2, 3]
    """
    while learner.done < learner.plan.steps:
        yield learner.step(batches(learner.done), objective)


def seconds_per_step(
    learner: Learner, batches: Callable[[int], Batch], objective: Objective, *, seconds: float
) -> float:
    """Measured time of one step, on a copy of the learner's network; at least five steps and about `seconds`
    seconds.
    """
    trial = Learner(copy.deepcopy(learner.network), learner.plan, device=str(learner.device))
    trial.step(batches(0), objective)
    start, count = time.perf_counter(), 0
    while count < 5 or time.perf_counter() - start < seconds:
        trial.step(batches(count), objective)
        count += 1
    return (time.perf_counter() - start) / count
