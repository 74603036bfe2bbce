"""The prior of a deblurring run: given or shipped, on its device, a function of picture and level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxlab.errors import UsageError
from proxlab.methods.base import Method, Task
from proxlab.methods.common import bytes_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from proxlab.denoising import Prior

    Denoise = Callable[[Tensor, Any], Tensor]


def find_prior(prior: Any, method: Method, channels: int) -> Prior | None:
    """The given prior, or what ships of the family the method wants; None where it can do without.

    Raises UsageError for an unknown name and where a needed one does not ship, InputError for a bad file.
    """
    from proxlab.denoising import choose_prior

    supports = method.supports
    if prior is not None:
        chosen = choose_prior(prior, channels)
        if supports.family in ("denoiser", "gradient-step"):
            check_denoises(chosen)
        return chosen
    if supports.family is None:
        return None
    name = shipped(supports.family, channels)
    if name is not None:
        return choose_prior(name, channels)
    if not supports.needs_prior:
        return None
    message = (
        f"method {method.name!r} needs a prior and no {supports.family} ships with this version: give "
        "prior=, a .safetensors file of `proxlab train` or anything called as (x, sigma)."
    )
    raise UsageError(message)


def check_denoises(prior: Prior) -> None:
    """UsageError for a network from a file that deblurs by itself: it is not called as (x, sigma)."""
    from priors.deblurring import recipe_behind

    whole = "unrolled" if getattr(prior.network, "kind", None) == "unrolled" else "stnn"
    if whole == "unrolled" or recipe_behind(prior.network) is not None:
        message = f"prior {prior.name!r} is no denoiser, it deblurs by itself: use it with method {whole!r}."
        raise UsageError(message)


def shipped(family: str, channels: int) -> str | None:
    """The shipped network of a family that fits so many channels best, or None.

    >>> shipped("no-such-family", 1) is None
    True
    """
    from priors.base import available

    names = available()
    wanted = f"{family}-{'color' if channels == 3 else 'gray'}"
    fitting = [name for name in (wanted, f"{family}-gray", f"{family}-color") if name in names]
    return fitting[0] if fitting else None


def place(prior: Prior | None, device: torch.device, dtype: torch.dtype) -> None:
    """Move a network that was read from a file just now, and so is nobody else's."""
    if prior is not None and prior.digest is not None:
        prior.network.to(device, dtype)


def network_memory(prior: Prior | None, method: Method, shape: tuple[int, int, int], working: int = 4) -> int:
    """Bytes that the feature maps of a network take at one time on a field (C, H, W) of numbers of `working`
    bytes.
    """
    from proxlab.denoising import feature_maps

    if prior is None:
        return 0
    count = shape[0] if prior.channels == 1 and method.supports.together else 1
    return bytes_of((count, *shape[1:]), feature_maps(prior.network, working)) * working // 4


def denoiser(task: Task) -> Denoise:
    """task.prior as `applied` has it."""
    prior: Any = task.prior
    return applied(prior)


def applied(prior: Prior) -> Denoise:
    """A prior as a function (x, sigma) -> x, in the type and on the device of its weights, any channels.

    The function raises UsageError where the prior gives no tensor, or one of another shape.
    """
    import torch

    from imaging.heap import settle
    from proxlab.denoising import by_channels

    weight = next(iter(getattr(prior.network, "parameters", lambda: ())()), None)

    def denoise(x: Tensor, sigma: Any) -> Tensor:
        """One application, checked."""
        moved = x if weight is None else x.to(weight.device, weight.dtype)
        settle()  # a network's arrays are of other sizes than a data step's
        y: Any = by_channels(prior, moved, sigma)
        settle()
        if not isinstance(y, torch.Tensor):
            message = (
                f"the prior {prior.name} gave {type(y).__name__}: it is called with a tensor (B, C, H, W) "
                "and a level, and must give a tensor of the same shape."
            )
            raise UsageError(message)
        if y.shape != x.shape:
            message = (
                f"the prior made {tuple(y.shape)} of {tuple(x.shape)}: it must keep the picture's shape."
            )
            raise UsageError(message)
        return y.to(x.device, x.dtype)

    return denoise
