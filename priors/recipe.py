"""What a kind of training supplies: its network, its batches, its objective and its validation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from priors import processes
from priors.checkpoint import build, configured, network_class
from priors.data import NoisyPatches, Pictures, validation_psnr
from priors.losses import LOSSES, Batch, Objective, objective_of
from priors.precision import PRECISIONS

LEVELS = (15 / 255, 25 / 255, 50 / 255)
VALIDATION_SEED = 20231  # fixed, so that the curves of different trainings compare
RECIPES = {
    "deblur": "priors.deblurring:Deblurring",
    "denoiser": "priors.recipe:Denoising",
    "gradient-step": "priors.recipe:Denoising",
    "lpn": "priors.recipe:Denoising",
    "ridge": "priors.recipe:Denoising",
    "unrolled": "priors.nonblind:NonBlind",
}


class Recipe(Protocol):
    """All that decides the weights beside the pictures and the plan of the steps: a frozen dataclass whose
    fields JSON can hold, for it is written into every state and checkpoint and rebuilt from there.

    `kind` is a name of RECIPES (what is trained), which need not be the kind of the network. `color`, `patch`
    (the least side a training picture needs), `crop` and `limit` (the side and number of the validation
    pictures) say which pictures are wanted; `rate` is the learning rate unless another is given, `precisions`
    what its arithmetic may be.
    """

    @property
    def kind(self) -> str: ...

    @property
    def color(self) -> bool: ...

    @property
    def patch(self) -> int: ...

    @property
    def crop(self) -> int: ...

    @property
    def limit(self) -> int: ...

    @property
    def rate(self) -> float: ...

    @property
    def precisions(self) -> tuple[str, ...]: ...

    def network(self) -> torch.nn.Module:
        """The network before its first step, a function of the recipe alone; it has `kind` and `config`."""

    def started_from(self, card: Mapping[str, Any]) -> Recipe:
        """This recipe for a network that begins with the weights of the checkpoint with this card (see
        read_provenance); ValueError for one it cannot begin with.

        If the kinds differ, the network takes them over by its own `start_from(network)`.
        """

    def batches(self, pictures: Pictures) -> Callable[[int], Batch]:
        """step -> this process's share of the batch: tensors, a function of (seed, step, rank) alone."""

    def objective(self) -> Objective:
        """(network, batch, progress in [0, 1]) -> scalar loss."""

    def measure(self, network: Any, pictures: Sequence[Tensor]) -> dict[str, float]:
        """Figures in dB on clean validation pictures (1, C, h, w), on the same noise at every call; the
        weights with the highest mean are kept.
        """


def recipe_from(fields: Mapping[str, Any]) -> Recipe:
    """The recipe whose fields were written down; raises ValueError for a kind unknown here.

    >>> fields = {"kind": "ridge", "config": {}, "loss": "l1", "color": False, "sigma": [0.0, 0.1]}
    >>> recipe_from({**fields, "batch": 1, "patch": 8, "seed": 0}).sigma
    (0.0, 0.1)
    """
    kind = fields.get("kind")
    if kind not in RECIPES:
        message = f"{kind!r} is no kind of training here: known are {', '.join(sorted(RECIPES))}."
        raise ValueError(message)
    module, name = RECIPES[kind].split(":")
    recipe: Recipe = getattr(import_module(module), name)(**fields)
    return recipe


def check_levels(sigma: tuple[float, float], *, name: str = "sigma", least: float = 1e-9) -> None:
    """Raise ValueError for anything but 0 <= low <= high <= 1, high >= least; name is that of the option.

    >>> check_levels((15, 50))
    Traceback (most recent call last):
    ...
    ValueError: sigma is 15:50, more than the whole range: as fractions of 255 it is 0.05882:0.1961.
    """
    low, high = sigma
    if not 0 <= low <= high or high < least:
        message = (
            f"{name} is {low}:{high}: give a range A:B of fractions of the data range, 0 <= A <= B"
            f"{', B > 0' if least > 0 else ''}."
        )
        raise ValueError(message)
    if high > 1:
        message = (
            f"{name} is {low:g}:{high:g}, more than the whole range: as fractions of 255 it is "
            f"{low / 255:.4g}:{high / 255:.4g}."
        )
        raise ValueError(message)


def check_counts(batch: int, patch: int, seed: int) -> None:
    """Raise ValueError for a batch or a patch that is not positive, and for a negative seed."""
    if min(batch, patch) < 1:
        message = f"batch is {batch} and patch {patch}: both must be positive."
        raise ValueError(message)
    if seed < 0:
        message = f"seed is {seed}: give a whole number from 0."
        raise ValueError(message)


def refuse_start(found: str, kind: str, usable: Sequence[str]) -> None:
    """Raise ValueError if a network of kind `found` is none of those that a training can begin with."""
    if found not in usable:
        message = f"the start holds a {found}: a {kind} starts from {' or '.join(usable)} only, leave it out."
        raise ValueError(message)


FLAGS = {"channels": "--color", "sigma": "--sigma"}  # what decides them on the command line; --net the rest


def refuse_other_shape(card: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise ValueError if the network of the checkpoint with this card is not of the configuration asked for.

    >>> refuse_other_shape({"kind": "lpn", "config": {"channels": 3}}, {"channels": 1})
    Traceback (most recent call last):
    ...
    ValueError: the start is a network of kind lpn with channels = 3, asked is channels = 1: ...
    """
    for name, value in json.loads(json.dumps(dict(asked))).items():
        found = card["config"].get(name)
        if found != value:
            what = f"{name} = {json.dumps(found)}" if name in card["config"] else f"no {name}"
            message = (
                f"the start is a network of kind {card['kind']} with {what}, asked is {name} = "
                f"{json.dumps(value)}: give {FLAGS.get(name, '--net')} as the start has it, or begin without "
                "--start."
            )
            raise ValueError(message)


@dataclass(frozen=True)
class Denoising:
    """Noise -> clean, at levels drawn from a range: denoiser, gradient-step, lpn and ridge."""

    kind: str
    config: dict[str, Any]
    loss: str
    color: bool
    sigma: tuple[float, float]
    batch: int
    patch: int
    seed: int
    crop: ClassVar[int] = 192
    limit: ClassVar[int] = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", tuple(self.sigma))  # JSON brings lists
        check_levels(self.sigma)
        check_counts(self.batch, self.patch, self.seed)
        if self.loss not in LOSSES:
            message = f"loss is {self.loss!r}: choose one of {', '.join(LOSSES)}."
            raise ValueError(message)

    @property
    def rate(self) -> float:
        return getattr(network_class(self.kind), "rate", 1e-3)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Some kinds of network have no meaning but in float32."""
        return getattr(network_class(self.kind), "precisions", PRECISIONS)

    def network(self) -> torch.nn.Module:
        """A fresh network of the kind."""
        return build(self.kind, configured(self.kind, self.config), seed=self.seed)

    def started_from(self, card: Mapping[str, Any]) -> Denoising:
        """In the configuration of a checkpoint of its own kind, or of one its kind can start from.

        ValueError if that contradicts the configuration here.
        """
        known = getattr(network_class(self.kind), "starts_from", ())
        refuse_start(card["kind"], self.kind, (self.kind, *known))
        refuse_other_shape(card, self.config)
        return replace(self, config=card["config"])

    def objective(self) -> Objective:
        """The loss of network(noisy, sigma) against the clean patch."""
        return objective_of(self.loss)

    def batches(self, pictures: Pictures) -> NoisyPatches:
        """(noisy, clean, sigma)."""
        share = processes.share_of(self.batch)
        return NoisyPatches(pictures, self.patch, share, self.sigma, self.seed, processes.rank())

    def measure(self, network: Any, pictures: Sequence[Tensor]) -> dict[str, float]:
        """Mean PSNR at each of the usual levels within the recipe's range."""
        low, high = self.sigma
        levels = [s for s in LEVELS if low <= s <= high] or [(low + high) / 2]
        values = {s: validation_psnr(network, pictures, s, VALIDATION_SEED) for s in levels}
        return {f"psnr_{255 * s:g}": round(v, 4) for s, v in values.items()}
