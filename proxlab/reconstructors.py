"""Whole reconstructors by name or file: callables (op, y) -> x."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.errors import InputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1 / 255 / 12**0.5  # rounding to 8 bits: an estimate below it is none
SHIPPING = {"unrolled": "proxlab train unrolled", "ssnet": "proxlab train deblur"}  # family -> how it is made


@dataclass(frozen=True)
class Unrolled:
    """The unrolled network as (op, y) -> x, x in the operator's domain; the noise level is estimated.

    Called with sigma=, a float or one level a sample, that level is used.
    """

    network: Any

    def __call__(self, op: Any, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        x: Tensor = self.network(op, y, estimated_level(op, y) if sigma is None else sigma)
        return x


@dataclass(frozen=True)
class OnePsf:
    """A network for one psf behind its pre-processor, as (op, y) -> x; ValueError for another psf."""

    network: Any
    recipe: Any
    name: str

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        from imaging.operator import factored
        from priors.deblurring import chain_of, psf_mismatch
        from proxlab.methods.stnn import CLOSE

        structure = factored(op)
        size = (op.img_size[-2], op.img_size[-1])
        if structure is None or psf_mismatch(self.recipe, structure.otf, size) > CLOSE:
            message = f"network {self.name!r} was trained for another psf: use an operator with that one."
            raise ValueError(message)
        x: Tensor = chain_of(self.network)(op, y)
        return x


def load_reconstructor(name_or_path: str | Path) -> Unrolled | OnePsf:
    """The reconstructor of a shipped name (unrolled-gray, ...) or of a safetensors file, as (op, y) -> x.

    op is an operator of `imaging` in the type and on the device of y, (B, C, h, w) on [0, 1]; the network is
    the attribute `network`, on the CPU in float32. Raises UsageError for an unknown name and for a file that
    holds a prior, InputError for one that is no checkpoint.

    >>> load_reconstructor("unrolled-grey")
    Traceback (most recent call last):
    ...
    proxlab.errors.UsageError: ...
    """
    from priors.base import available, load
    from priors.checkpoint import CheckpointError
    from priors.deblurring import recipe_behind

    name = str(name_or_path)
    family = name.split("-")[0]
    if not name.endswith(".safetensors") and name not in available() and family in SHIPPING:
        message = (
            f"there is no reconstructor {name!r}: shipped are {', '.join(_shipped()) or 'none'}. Make one "
            f"with `{SHIPPING[family]}` and give its .safetensors file."
        )
        raise UsageError(message)
    try:
        network: Any = load(name)
    except (CheckpointError, FileNotFoundError) as error:
        raise InputError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    if network.kind == "unrolled":
        return Unrolled(network)
    recipe = recipe_behind(network)
    if recipe is None:
        message = f"{name!r} holds a {network.kind}, which denoises: give it as the prior of method 'pnp'."
        raise UsageError(message)
    return OnePsf(network, recipe, Path(name).stem)


def _shipped() -> list[str]:
    from priors.base import available

    return [name for name in available() if name.split("-")[0] in SHIPPING]


def estimated_level(op: Any, y: Tensor) -> Tensor:
    """The noise level of each sample (B,), read with the operator's psf where it has one."""
    from algorithms.sure import plain_blur, psf_of
    from imaging.noise_level import estimate_sigma
    from imaging.operator import factored

    blur = plain_blur(op, y)
    psf = None
    if blur is not None:
        psf = psf_of(factored(blur).otf, (blur.img_size[-2], blur.img_size[-1]))  # type: ignore[union-attr]
    return estimate_sigma(y, psf, mask=getattr(op, "valid", None)).clamp_min(LEAST)
