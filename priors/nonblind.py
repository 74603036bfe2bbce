"""The recipe of the unrolled deblurring network: random blur, level and border in, the sharp patch wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from imaging.operator import LinearOperator, window
from priors import processes
from priors.blurry import BlurryPatches, operator_of, random_psf, seen, stacked
from priors.checkpoint import build, configured
from priors.data import Pictures
from priors.deblurrer import Deblurrer
from priors.losses import Batch, Objective, l1, l2, log_mse
from priors.precision import PRECISIONS
from priors.recipe import VALIDATION_SEED, check_counts, check_levels, refuse_other_shape, refuse_start

LEVELS = (2.55 / 255, 7.65 / 255, 12.75 / 255)
LOSSES = {"l1": l1, "l2": l2, "ln-mse": log_mse}
STARTS = ("unrolled", "denoiser", "lpn")


@dataclass(frozen=True)
class NonBlind:
    """Random psfs of at most `reach` pixels a side, levels of the range `sigma`, both kinds of border.

    `patch` is the side of the field, which unknown borders leave partly unseen. `checkpointing` trades a
    third more time for the memory of one step.
    """

    kind: str
    config: dict[str, Any]
    loss: str
    color: bool
    sigma: tuple[float, float]
    reach: int
    batch: int
    patch: int
    seed: int
    checkpointing: bool = False
    crop: ClassVar[int] = 128
    limit: ClassVar[int] = 12
    rate: ClassVar[float] = 1e-4
    precisions: ClassVar[tuple[str, ...]] = PRECISIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", tuple(self.sigma))  # JSON brings lists
        check_levels(self.sigma)
        check_counts(self.batch, self.patch, self.seed)
        if self.loss not in LOSSES:
            message = f"loss is {self.loss!r}: choose one of {', '.join(LOSSES)}."
            raise ValueError(message)
        if not 9 <= self.reach <= self.patch // 2 or self.reach % 2 == 0:
            message = (
                f"reach is {self.reach} with a patch of {self.patch}: psfs need an odd side of at least 9, "
                "and at most half the patch, or nothing of it would be seen."
            )
            raise ValueError(message)

    def network(self) -> nn.Module:
        """A fresh one: its first weights are of no use, begin with those of a denoiser."""
        network: Any = build("unrolled", configured("unrolled", self.config), seed=self.seed)
        network.checkpointing = self.checkpointing
        return network

    def started_from(self, card: Mapping[str, Any]) -> NonBlind:
        """In the configuration of an unrolled network, or around a denoiser or learned proximal network."""
        refuse_start(card["kind"], self.kind, STARTS)
        inner = self.config.get("network", {})
        if card["kind"] == "unrolled":
            refuse_other_shape(card, {k: v for k, v in self.config.items() if k != "network"})
            refuse_other_shape({**card, "config": card["config"]["network"]}, inner)
            return replace(self, config=card["config"])
        refuse_other_shape(card, inner)
        return replace(self, config={**self.config, "prior": card["kind"], "network": card["config"]})

    def batches(self, pictures: Pictures) -> BlurryPatches:
        """(y, truth, psf, sigma, circular)."""
        share = processes.share_of(self.batch)
        size = (self.patch, share, self.sigma, self.reach)
        return BlurryPatches(pictures, *size, self.seed, processes.rank())

    def objective(self) -> Objective:
        """The loss of what the sensor looked at."""
        loss = LOSSES[self.loss]

        def objective(network: nn.Module, batch: Batch, progress: float) -> Tensor:
            y, truth, psf, sigma, circular = batch
            op = operator_of(psf, y, circular)
            return loss(window(op, network(op, y, sigma)), truth)

        return objective

    def measure(self, network: Deblurrer, pictures: Sequence[Tensor]) -> dict[str, float]:
        """Mean PSNR at each usual level within the range; psfs drawn once, every second border unknown."""
        low, high = self.sigma
        levels = [s for s in LEVELS if low <= s <= high] or [(low + high) / 2]
        scenes = [self._scene(index, sharp) for index, sharp in enumerate(pictures)]
        values = {s: float(np.mean([scene.psnr(network, s) for scene in scenes])) for s in levels}
        return {f"psnr_{255 * s:g}": round(v, 4) for s, v in values.items()}

    def _scene(self, index: int, sharp: Tensor) -> Scene:
        rng = np.random.default_rng([VALIDATION_SEED, index])
        reach = min(self.reach, (min(sharp.shape[-2:]) - 1) // 2 * 2 - 1)
        psf, circular = stacked([random_psf(rng, max(9, reach))]).to(sharp), index % 2 == 0
        blurred, truth = seen(sharp, psf, circular=circular)
        noise = torch.from_numpy(rng.standard_normal(blurred.shape, dtype=np.float32)).to(sharp)
        return Scene(operator_of(psf, blurred, circular), blurred, truth, noise)


class Scene(NamedTuple):
    """One blurred validation picture with its operator, its truth and its noise of unit level."""

    op: LinearOperator
    blurred: Tensor
    truth: Tensor
    noise: Tensor

    def psnr(self, network: Deblurrer, sigma: float) -> float:
        """Of what the sensor looked at, clipped to [0, 1], in dB."""
        x = window(self.op, network(self.op, self.blurred + sigma * self.noise, sigma))
        return -10 * float(torch.log10((x.clamp(0, 1) - self.truth).double().square().mean()))
