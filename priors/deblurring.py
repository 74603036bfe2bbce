"""The recipe of a network for one blur: which pre-processor, which target, where its noise comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from algorithms.classical import tikhonov
from algorithms.stabilize import (
    ConjugateGradients,
    Denoise,
    GaussianFilter,
    Preprocess,
    Quadratic,
    Stabilised,
    Untouched,
    Variation,
    told,
)
from imaging.blur import CircularBlur
from imaging.fft import half_weights, otf_of, power_of
from imaging.noise import gaussian
from priors import processes
from priors.checkpoint import build, configured
from priors.data import NoisyPatches, Pictures
from priors.losses import Batch, Loss, Objective, l1, l2, log_mse
from priors.networks.layers import freeze_statistics
from priors.precision import PRECISIONS
from priors.recipe import (
    VALIDATION_SEED,
    check_counts,
    check_levels,
    recipe_from,
    refuse_other_shape,
    refuse_start,
)

ARCHITECTURES = ("ssnet", "unet", "nafnet", "bounded")
INJECTIONS = ("before", "after", "none")
FROZEN = 0.75  # progress from which batch statistics are kept as they are (see freeze_statistics)
# The paper's methods by name: pre-processor and training target.
PAPER = {
    "nn": ("none", "truth"),
    "finn": ("gaussian:1", "truth"),
    "stnn": ("cgls:3,0.01", "truth"),
    "renn": ("none", "tikhonov:1e-4"),
    "strenn": ("cgls:3,0.01", "tikhonov:1e-4"),
}
USUAL = {"gaussian": "1", "cgls": "3,0.01", "tikhonov": "", "tv": "", "denoise": "denoiser-gray", "none": ""}


def preprocess_of(text: str) -> Preprocess:
    """The pre-processor of a text: none, gaussian:WIDTH, cgls:STEPS,LAM, tikhonov or tikhonov:LAM, tv, and
    denoise:NAME with the name or file of a denoiser.

    Without numbers: a Gaussian of 1 pixel, three steps at 0.01, Tikhonov's gradient penalty with its weight
    by cross-validation, total variation at 0.8 sigma^1.5 in 30 steps. ValueError for anything else.

    >>> preprocess_of("cgls:2,1e-4"), preprocess_of("gaussian")
    (ConjugateGradients(lam=0.0001, n_iter=2), GaussianFilter(width=1.0))
    """
    kind, _, rest = text.partition(":")
    rest = rest or USUAL.get(kind, "")
    try:
        if kind == "none" and not rest:
            return Untouched()
        if kind == "gaussian" and float(rest) > 0:
            return GaussianFilter(float(rest))
        if kind == "cgls":
            steps, _, lam = rest.partition(",")
            return ConjugateGradients(float(lam or 0.01), int(steps))
        if kind == "tikhonov":
            return Quadratic(float(rest) if rest else None, "gradient", seed=0)
        if kind == "tv" and not rest:
            return Variation(factor=0.8, n_iter=30)
    except ValueError:
        pass
    if kind == "denoise":
        from priors.base import find

        file = find(rest)
        return Denoise(_denoiser(file, file.stat().st_mtime_ns if file.exists() else 0))
    message = (
        f"preprocess is {text!r}: give none, gaussian:WIDTH, cgls:STEPS,LAM, tikhonov, tv or denoise:NAME."
    )
    raise ValueError(message)


def denoiser_file(text: str) -> Path | None:
    """The file of the denoiser that the pre-processor of this text loads; None where it loads none.

    ValueError for a name that does not ship.

    >>> denoiser_file("denoise").name, denoiser_file("tv")
    ('denoiser-gray.safetensors', None)
    """
    from priors.base import find

    kind, _, rest = text.partition(":")
    return find(rest or USUAL[kind]) if kind == "denoise" else None


@lru_cache(4)
def _denoiser(file: Path, changed: int) -> Any:
    """The network of a file, read again when that has changed."""
    from priors.base import load

    return load(file)


LOSSES: dict[str, Loss] = {"ln-mse": log_mse, "l1": l1, "l2": l2}


@dataclass(frozen=True)
class Deblurring:
    """network(preprocess(K x + noise)) -> target, for one psf and periodic patches.

    target is "truth", or "tikhonov:LAM": argmin |A x - y|^2 / 2 + LAM |x|^2 / 2 from noise-free data, for
    which nobody needs the truth. noise is the range of levels, drawn for each sample; inject says whether it
    comes "before" the pre-processor, as in use, "after" it, as in the authors' code, or not at all ("none").
    psf holds its rows, sum 1.
    """

    kind: str
    arch: str
    config: dict[str, Any]
    psf: tuple[tuple[float, ...], ...] = field(repr=False)
    preprocess: str
    target: str
    noise: tuple[float, float]
    inject: str
    loss: str
    color: bool
    batch: int
    patch: int
    seed: int
    crop: ClassVar[int] = 128
    limit: ClassVar[int] = 16
    rate: ClassVar[float] = 1e-3
    precisions: ClassVar[tuple[str, ...]] = PRECISIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", tuple(self.noise))  # JSON brings lists
        object.__setattr__(self, "psf", tuple(tuple(row) for row in self.psf))
        check_counts(self.batch, self.patch, self.seed)
        known = {"arch": ARCHITECTURES, "inject": INJECTIONS, "loss": tuple(LOSSES)}
        for name, allowed in known.items():
            if getattr(self, name) not in allowed:
                message = f"{name} is {getattr(self, name)!r}: choose one of {', '.join(allowed)}."
                raise ValueError(message)
        check_levels(self.noise, name="noise", least=0.0)
        self._weight()
        if not self.preprocess.startswith("denoise"):  # that one reads a file
            preprocess_of(self.preprocess)

    @property
    def channels(self) -> int:
        return 3 if self.color else 1

    def kernel(self) -> Tensor:
        """The psf as a tensor (1, 1, h, w), float32."""
        return torch.tensor(self.psf)[None, None]

    def operator(self, height: int, width: int) -> CircularBlur:
        """The blur of pictures of this size, periodic."""
        return CircularBlur(self.kernel(), (self.channels, height, width))

    def _weight(self) -> float | None:
        """The weight of a Tikhonov target, None where the truth is wanted."""
        name, _, number = self.target.partition(":")
        try:
            if name == "truth" and not number:
                return None
            if name == "tikhonov" and float(number or 1e-4) > 0:
                return float(number or 1e-4)
        except ValueError:
            pass
        message = f"target is {self.target!r}: give truth or tikhonov:LAM."
        raise ValueError(message)

    def wanted(self, op: Any, clean: Tensor) -> Tensor:
        """What the network should answer for these pictures."""
        lam = self._weight()
        return clean if lam is None else tikhonov(op, op.A(clean), lam=lam, penalty="identity")

    def network(self) -> torch.nn.Module:
        """A fresh network of the architecture."""
        config = {"channels": self.channels, **self.config}
        return build(self.arch, configured(self.arch, config), seed=self.seed)

    def started_from(self, card: Mapping[str, Any]) -> Deblurring:
        """In the configuration of a checkpoint of the same architecture, whatever its blur was."""
        refuse_start(card["kind"], self.arch, (self.arch,))
        refuse_other_shape(card, self.config)
        return replace(self, config=card["config"])

    def batches(self, pictures: Pictures) -> BlurredPairs:
        """(input of the network, target)."""
        return BlurredPairs(self, pictures, processes.share_of(self.batch), processes.rank())

    def objective(self) -> Objective:
        """The loss of network(input) against the target."""
        loss = LOSSES[self.loss]

        def objective(network: torch.nn.Module, batch: Batch, progress: float) -> Tensor:
            """The loss of the answer; late in a training the statistics stand still."""
            if progress >= FROZEN:
                freeze_statistics(network)
            seen, target = batch
            return loss(network(seen), target)

        return objective

    def measure(self, network: Any, pictures: Sequence[Tensor]) -> dict[str, float]:
        """Mean PSNR against the target at the ends and the middle of the range of levels."""
        low, high = (0.0, 0.0) if self.inject == "none" else self.noise
        chain = Stabilised(preprocess_of(self.preprocess), network)
        values: dict[str, float] = {}
        for level in sorted({low, (low + high) / 2, high}):
            errors = []
            for index, clean in enumerate(pictures):
                op = self.operator(clean.shape[-2], clean.shape[-1]).to(clean.device)
                y = gaussian(op.A(clean), level, VALIDATION_SEED + index)
                error = (chain(op, y).clamp(0, 1) - self.wanted(op, clean)).double().square().mean()
                errors.append(-10 * math.log10(float(error)))
            values[f"psnr_{level:g}"] = round(sum(errors) / len(errors), 4)
        return values


@dataclass(frozen=True)
class BlurredPairs:
    """step -> (input of the network, target), both (B, C, patch, patch); a function of (seed, step, rank)."""

    recipe: Deblurring
    pictures: Pictures
    batch: int
    rank: int

    @torch.no_grad()
    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        r = self.recipe
        patches = NoisyPatches(self.pictures, r.patch, self.batch, r.noise, r.seed, self.rank)
        noisy, clean, _ = patches(step)
        noise, op, preprocess = noisy - clean, r.operator(r.patch, r.patch), preprocess_of(r.preprocess)
        y = op.A(clean)
        if r.inject == "before":
            seen = preprocess(op, y + noise)
        else:
            seen = preprocess(op, y)
            seen = seen + noise if r.inject == "after" else seen
        return seen, r.wanted(op, clean)


def recipe_behind(network: Any) -> Deblurring | None:
    """The recipe of a network loaded from a file, None for one that was not trained for a single blur."""
    fields = getattr(network, "card", {}).get("recipe", {})
    recipe = recipe_from(fields) if fields.get("kind") == "deblur" else None
    return recipe if isinstance(recipe, Deblurring) else None


def psf_mismatch(recipe: Deblurring, otf: Tensor, size: tuple[int, int]) -> float:
    """|h - h0| / |h0| for the psf h of this transfer function on pictures (H, W), h0 the one trained for.

    0 for the same psf, about 0.1 for a Gaussian 8 % wider; a moved centre counts too.
    """
    known = otf_of(recipe.kernel().to(otf.device, otf.real.dtype), size)
    weights = half_weights(size[1], otf.real)
    distance = (weights * power_of(otf - known)).sum((-2, -1)).amax()
    return math.sqrt(float(distance / (weights * power_of(known)).sum()))


def chain_of(network: Any, *, sigma: float | None = None) -> Stabilised:
    """The reconstructor (op, y) -> x of a network loaded from a file: its pre-processor, then itself.

    A pre-processor that depends on the noise level estimates it, unless sigma says it. The network is trained
    for one psf and looks at no other: `psf_mismatch` says whether op is that blur. A grey one treats colours
    one by one, behind a pre-processor that sees them all. Raises
    ValueError for a network that was not trained by `Deblurring`.
    """
    recipe = recipe_behind(network)
    if recipe is None:
        message = f"the network is a {getattr(network, 'kind', type(network).__name__)}, trained for no blur."
        raise ValueError(message)
    return Stabilised(
        told(preprocess_of(recipe.preprocess), sigma), partial(_each_channel, network, recipe.channels)
    )


def _each_channel(network: Any, channels: int, x: Tensor) -> Tensor:
    """network(x); one for a single channel takes several one by one."""
    seen = x.reshape(-1, 1, *x.shape[-2:]) if channels == 1 else x
    found: Tensor = network(seen)
    return found.view_as(x)
