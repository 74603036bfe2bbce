"""Denoising: the prior as it was named becomes a network, and the network a method of the one pipeline."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.application import apply_denoiser
from proxlab.data import Data, read_data
from proxlab.errors import InputError, UsageError
from proxlab.job import Job, digest
from proxlab.level import find_level
from proxlab.memory import check_limit, resident
from proxlab.methods.base import NOISES, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, rms_residual
from proxlab.model import choose_device, device_text
from proxlab.pipeline import Prepared
from proxlab.receipt import file_digest
from proxlab.request import Request
from proxlab.reuse import Recent

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_NETWORKS = Recent(4)  # as read from files; every use gets a copy
WITHOUT_BLUR = Supports(
    boundaries=frozenset(),
    noises=frozenset(NOISES),
    scale=False,
    mask=True,
    varying=False,
    lam=False,
    num_iter=False,
    prior=True,
)


@dataclass(frozen=True)
class Prior:
    """A network called as (x, sigma) with its name, and the digest of its file where there is one.

    channels is what it was made for, None if it does not say.
    """

    network: Any
    name: str
    digest: str | None
    channels: int | None


@dataclass(frozen=True)
class Denoising:
    """x = prior(y, sigma); a grey prior takes the channels of a picture one by one.

    Poisson noise and masked pixels: see `proxlab.application`.
    """

    prior: Prior
    summary: str = "the denoiser itself"
    supports: Supports = WITHOUT_BLUR

    @property
    def name(self) -> str:
        """The name of the prior."""
        return self.prior.name

    def memory(self, shape: tuple[int, int, int]) -> int:
        """The feature maps of the network that live at one time, and three pictures."""
        return bytes_of(shape, 3) + bytes_of((1, *shape[1:]), feature_maps(self.prior.network))

    def run(self, task: Task) -> Outcome:
        """Denoise, in the type of the network's weights and on their device."""
        from proxlab.networks import applied

        done = apply_denoiser(applied(self.prior), task)
        return Outcome(
            x=done.x,
            lam=None,
            lam_rule=None,
            num_iter=done.num_iter,
            stop_reason=done.stop_reason,
            status=done.status,
            residual=rms_residual(task, done.x),
            objective=(),
            certificate=_certificate(self.prior.network, task),
        )


def prepare_denoising(request: Request, image: Any, prior: Any, mask: Any = None) -> Prepared:
    """Check and choose everything; clipped pixels are used as they are, those a mask leaves out are not."""
    import torch

    from imaging.masks import Identity, Masked
    from proxlab.networks import check_denoises

    started = perf_counter()
    image = np.asarray(image)
    data = _read(request, image, mask)
    channels = data.layout.planes[0]
    chosen = choose_prior(prior, channels)
    check_denoises(chosen)
    device = choose_device(request.device)
    y = torch.from_numpy(data.planes)[None]
    if chosen.digest is not None:  # read from a file just now: nobody else's, and free to move
        chosen.network.to(device, y.dtype)
    method, op = Denoising(chosen), Identity(data.layout.planes)
    if data.valid is not None:
        op = Masked(op, torch.from_numpy(data.valid)[None])
    level = find_level(request, data, None)
    needed = method.memory(data.layout.planes) + (resident() if device.type == "cpu" else 0)
    check_limit(needed, request.max_memory, device)
    job = Job(
        request=request,
        method=chosen.name,
        operator=_operator_text(data),
        psf="none",
        noise=level.noise,
        sigma=level.sigma,
        sigma_rule=level.rule,
        device=device_text(device),
        memory=needed,
        masked=data.masked,
        notes=data.notes + _notes(chosen, channels),
        warnings=data.warnings + level.warnings,
        hashes=_hashes(image, mask, chosen),
    )
    return Prepared(
        job=job,
        method=method,
        data=data,
        op=op.to(device, y.dtype),
        y=y.to(device),
        white=level.white,
        started=started,
    )


def choose_prior(prior: Any, channels: int) -> Prior:
    """The prior of a name, a file or a callable; None is the shipped denoiser for that many channels.

    Raises UsageError for an unknown name and where nothing ships, InputError for a file that is no prior.
    """
    if prior is None:
        return choose_prior(_default(channels), channels)
    if isinstance(prior, Prior):  # read in another process
        return prior
    if callable(prior):
        return Prior(prior, type(prior).__name__, None, _channels(prior))
    if not isinstance(prior, str | os.PathLike):
        message = f"prior is {type(prior).__name__}: give a name, a file, or something called as (x, sigma)."
        raise UsageError(message)
    from priors.base import find, load
    from priors.checkpoint import CheckpointError

    try:
        path = find(os.fspath(prior))
        if not path.is_file():
            load(path)  # raises, and says what is wanted
        stamp = path.stat()
        key = (path.resolve(), stamp.st_mtime_ns, stamp.st_size)
        network, known_by = _NETWORKS.get(key, lambda: (load(path), file_digest(path)))
    except (CheckpointError, FileNotFoundError) as error:
        raise InputError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Prior(copy.deepcopy(network), path.stem, known_by, _channels(network))  # free to move


def prior_file(prior: Any) -> Path | None:
    """The file of the user's own that a prior names, or None for a shipped name."""
    from pathlib import Path

    text = None if prior is None else os.fspath(prior)
    return Path(text) if text is not None and text.endswith(".safetensors") else None


def by_channels(prior: Prior, y: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
    """prior(y, sigma) for y (1, C, H, W): a grey one channel by channel, a colour one on grey three times.

    Three equal channels have equal noise, which along the grey axis is sqrt(3) times as strong as the white
    noise the network knows: so that is the level it is told.
    """
    from priors.weighted import each_channel

    channels = y.shape[1]
    if prior.channels in (None, channels):
        denoised: torch.Tensor = prior.network(y, sigma)
        return denoised
    if prior.channels == 1:
        return each_channel(prior.network, y, sigma)
    if channels == 1:
        equal, told = y.expand(-1, prior.channels, -1, -1), sigma * prior.channels**0.5
        grey: torch.Tensor = prior.network(equal, told).mean(1, keepdim=True)
        return grey
    message = (
        f"the prior {prior.name} is for {prior.channels} channels, the picture has {channels}: use another."
    )
    raise UsageError(message)


def feature_maps(network: Any, working: int = 4) -> float:
    """About how many planes in the size of the picture a network holds at one time, in units of `working`
    bytes, 4 or 8: the type of the picture.

    A network says so itself for float32, as `feature_maps`, and as `mixed` that then it works in half of it;
    one around another `network` holds what that one holds.
    """
    told = getattr(network, "feature_maps", None)
    if isinstance(told, int | float):
        return float(told) * (2 if working == 8 and getattr(network, "mixed", False) else 1)
    inner = getattr(network, "network", None)
    return 300.0 if inner is None else feature_maps(inner, working)  # a stranger: a guess on the careful side


def _default(channels: int) -> str:
    from priors.base import available

    names, wanted = available(), ("denoiser-color", "denoiser-gray")[channels != 3]
    for name in (wanted, "denoiser-gray", "denoiser-color"):
        if name in names:
            return name
    message = (
        "no denoiser ships with this version: train one with `proxlab train denoiser`, and give its "
        ".safetensors file as prior, or give anything called as (x, sigma)."
    )
    raise UsageError(message)


def _channels(network: Any) -> int | None:
    found = getattr(getattr(network, "config", None), "channels", None)
    return found if isinstance(found, int) else None


def _notes(prior: Prior, channels: int) -> tuple[str, ...]:
    if prior.channels in (None, channels):
        return ()
    how = "each channel alone" if prior.channels == 1 else "the grey picture as a colour one"
    return (f"the prior {prior.name} is for {prior.channels} channels: it denoised {how}.",)


def _read(request: Request, image: Any, mask: Any) -> Data:
    """The picture; clipping is found, not masked: from around it nothing brighter than white would come."""
    data = read_data(
        image, mask, channel_axis=request.channel_axis, data_range=request.data_range, linear=request.linear
    )
    if data.valid is None or data.clipped is None:
        return data
    count, given = int(data.clipped.sum()), data.valid | data.clipped
    note = f"{count} clipped pixels are used as they are: denoising does not know what lay beyond the range."
    return replace(data, valid=None if given.all() else given, warnings=(), notes=(*data.notes, note))


def _hashes(image: Any, mask: Any, prior: Prior) -> dict[str, str]:
    hashes = {"image": digest(image)}
    if mask is not None and not isinstance(mask, bool):
        hashes["mask"] = digest(np.asarray(mask))
    return {**hashes, "prior": prior.digest} if prior.digest else hashes


def _operator_text(data: Data) -> str:
    channels, height, width = data.layout.planes
    text = f"no blur, data {height}x{width}" + (f"x{channels}" if channels > 1 else "")
    return text + (f", {data.masked} samples masked" if data.masked else "")


def _certificate(network: Any, task: Task) -> dict[str, object]:
    from priors.claims import claims_of

    claims = claims_of(network)
    if claims.proximal:
        verdict = "the proximal operator of a regulariser that can be read"
    elif claims.descent:
        verdict = "one gradient step down a function that can be read"
    else:
        verdict = "a denoiser, of which nothing is proven"
    if task.noise.kind == "poisson":
        verdict += ", between Anscombe's transform and its inverse"
    if task.op.valid is not None:
        verdict += ", applied until the masked pixels no longer change"
    return {"verdict": verdict, "conditions": []}
