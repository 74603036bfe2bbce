"""Training losses (prediction, target) -> scalar, on (B, C, H, W) or (B, n); usable in any training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, ...]  # what a recipe's batches yield and its objective takes; noisy, clean, sigma here
Objective = Callable[[nn.Module, Batch, float], Tensor]  # network, batch, progress in [0, 1] -> scalar loss


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """mean |prediction - target|; its minimiser is the median of the posterior, pixel by pixel.

    >>> float(l1(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]])))
    2.0
    """
    return (prediction - target).abs().mean()


def l2(prediction: Tensor, target: Tensor) -> Tensor:
    """mean (prediction - target)^2; its minimiser is the mean of the posterior.

    >>> float(l2(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]])))
    5.0
    """
    return (prediction - target).square().mean()


def log_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """mean over samples of ln(mean squared error + 1e-8): every picture counts alike, however hard it is.

    >>> round(float(log_mse(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))), 6)
    0.0
    """
    return (prediction - target).square().flatten(1).mean(1).add(1e-8).log().mean()


@dataclass(frozen=True)
class ProximalMatching:
    """mean over samples of 1 - exp(-|prediction - target|^2 / gamma^2), the norm over all entries of a
    sample.

    The minimiser is the mode of the posterior smoothed by a Gaussian of variance gamma^2 / 2 an entry: the
    posterior mean for large gamma, the MAP estimate prox_{-sigma^2 log p} as gamma goes to 0. Far from the
    target the loss is flat, hence the pretraining with l1 or l2 and the decreasing gamma of
    `proximal_matching_stages`.

    Fang, Buchanan and Sulam, "What's in a Prior? Learned Proximal Networks for Inverse Problems" (2024),
    section 3, without the constant factor (pi gamma^2)^(-n/2).

    >>> ProximalMatching(gamma=2.0)(torch.zeros(1, 1), torch.full((1, 1), 2.0))
    tensor(0.6321)
    """

    gamma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            message = (
                f"gamma is {self.gamma}: proximal matching wants a positive number, about the noise's norm."
            )
            raise ValueError(message)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return _matching(prediction, target, self.gamma)


@dataclass(frozen=True)
class NoiseMatching:
    """Proximal matching for a network that is told the noise level, sample by sample with
    gamma = factor * sigma * sqrt(n), n the number of entries of a sample and sigma at least 1/255.

    One gamma for all levels would see weak noise as no error at all and be flat for strong noise. At
    sigma = 0.2 the paper's 0.08 sqrt(n) weighs what is no better than the noisy picture by
    exp(-(0.2 / 0.08)^2) = 0.002, and at 0.01 everything alike; here it is exp(-1 / factor^2) at every level,
    0.21 for 0.8. `at(sigma)`, sigma (B,) or one for all, is the loss of a batch.

    >>> loss = NoiseMatching(factor=0.8).at(torch.tensor([0.01, 0.2]))
    >>> clean = torch.zeros(2, 100)
    >>> 1 - loss(clean + torch.tensor([[0.01], [0.2]]), clean)
    tensor(0.2096)
    """

    factor: float
    least: ClassVar[float] = 1 / 255

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 0):
            message = (
                f"factor is {self.factor}: give a positive number, about 1, for gamma over the noise's norm."
            )
            raise ValueError(message)

    def at(self, sigma: Tensor) -> Loss:
        """The loss (prediction, target) -> scalar at these noise levels."""

        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            norm = sigma.flatten().clamp(min=self.least) * math.sqrt(target[0].numel())
            return _matching(prediction, target, self.factor * norm)

        return loss


@dataclass(frozen=True)
class LevelL1:
    """l1 in units of the noise: mean over samples of UNIT / (sigma + least) * mean |prediction - target|.

    With plain l1 the pull of a sample falls with its noise, and a network for all levels learns the quiet
    ones last, which are where plug-and-play ends. The minimiser at each level is that of l1. UNIT keeps the
    values near those of l1. `at(sigma)` as for `NoiseMatching`.

    >>> loss = LevelL1().at(torch.tensor([0.01, 0.2]))
    >>> clean = torch.zeros(2, 100)
    >>> loss(clean + torch.tensor([[0.01], [0.2]]), clean)
    tensor(0.0761)
    """

    least: ClassVar[float] = 2 / 255  # below it, pixels of eight bits are as uncertain as the noise
    UNIT: ClassVar[float] = 0.1

    def at(self, sigma: Tensor) -> Loss:
        """The loss (prediction, target) -> scalar at these noise levels."""

        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            weight = self.UNIT / (sigma.flatten() + self.least)
            return (weight * (prediction - target).abs().flatten(1).mean(1)).mean()

        return loss


AnyLoss = Loss | NoiseMatching | LevelL1
Stage = tuple[float, AnyLoss]  # share of the steps, loss


def _matching(prediction: Tensor, target: Tensor, gamma: float | Tensor) -> Tensor:
    squared = (prediction - target).square().flatten(1).sum(1)
    return -torch.expm1(-squared / gamma**2).mean()


def proximal_matching_stages(
    pretraining: Loss, *, share: float, smallest: float, entries: int
) -> tuple[Stage, ...]:
    """Stages (share of the steps, loss): pretraining, then gamma = 8, 4, 2, 1 times smallest * sqrt(entries).

    The paper's schedule, for one noise level. `share` is the part of the steps given to the pretraining,
    `smallest` the last gamma as a root mean square an entry (the paper's code: 0.08 at noise 0.05 and 0.1),
    `entries` the number of entries C * H * W of a sample.

    >>> [stage[0] for stage in proximal_matching_stages(l1, share=0.5, smallest=0.08, entries=4096)]
    [0.5, 0.125, 0.125, 0.125, 0.125]
    """
    base = smallest * math.sqrt(entries)
    return _stages(pretraining, share, [ProximalMatching(times * base) for times in (8, 4, 2, 1)])


def noise_matching_stages(pretraining: Loss, *, share: float, factor: float) -> tuple[Stage, ...]:
    """The same for a network that is told the noise level: gamma = 8, 4, 2, 1 times factor * sigma * sqrt(n).

    >>> [loss.factor for _, loss in noise_matching_stages(l2, share=0.5, factor=0.8)[1:]]
    [6.4, 3.2, 1.6, 0.8]
    """
    return _stages(pretraining, share, [NoiseMatching(times * factor) for times in (8, 4, 2, 1)])


def _stages(pretraining: Loss, share: float, losses: Sequence[AnyLoss]) -> tuple[Stage, ...]:
    if not 0 <= share < 1:
        message = f"the share of the pretraining is {share}: give a number from 0 to below 1."
        raise ValueError(message)
    return ((share, pretraining), *(((1 - share) / len(losses), loss) for loss in losses))


def regression(loss: AnyLoss) -> Objective:
    """The objective of a denoiser with one loss throughout: loss(network(noisy, sigma), clean)."""
    return staged([(1.0, loss)])


def staged(stages: Sequence[Stage]) -> Objective:
    """The objective whose loss depends on the progress of the training: stages (share of the steps, loss) in
    order.

    >>> objective = staged([(0.5, l1), (0.5, l2)])
    >>> batch = torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), torch.tensor([0.1])
    >>> [float(objective(lambda y, sigma: y, batch, progress)) for progress in (0.2, 0.5)]
    [2.0, 5.0]
    """
    if not stages or not math.isclose(sum(share for share, _ in stages), 1.0):
        message = (
            f"the stages' shares add up to {sum(share for share, _ in stages):g}: they must add up to 1."
        )
        raise ValueError(message)

    def objective(network: nn.Module, batch: Batch, progress: float) -> Tensor:
        """The loss of the stage that this progress is in."""
        noisy, clean, sigma = batch
        chosen = _loss_at(stages, progress)
        loss = chosen.at(sigma) if isinstance(chosen, (NoiseMatching, LevelL1)) else chosen
        return loss(network(noisy, sigma), clean)

    return objective


def _loss_at(stages: Sequence[Stage], progress: float) -> AnyLoss:
    end = 0.0
    for share, loss in stages:
        end += share
        if progress < end - 1e-12:
            return loss
    return stages[-1][1]


LOSSES = ("l1", "l2", "l1-level", "pm")


def objective_of(name: str) -> Objective:
    """The objective of a name of LOSSES; "pm" is l2 for half the steps, then proximal matching with gamma in
    proportion to the noise, down to 0.8 of its norm (the paper's ratio at its stronger noise).
    """
    if name == "pm":
        return staged(noise_matching_stages(l2, share=0.5, factor=0.8))
    losses: dict[str, AnyLoss] = {"l1": l1, "l2": l2, "l1-level": LevelL1()}
    return regression(losses[name])
