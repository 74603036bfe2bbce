"""A network in one safetensors file: weights, configuration, provenance; and a training's state beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from imaging.files.atomic import atomic_write
from priors.claims import claims_of

NETWORK, TRAINING = "proxlab.network/1", "proxlab.training/1"
KINDS = {
    "bounded": "priors.networks.bounded:Bounded",
    "denoiser": "priors.denoiser:Denoiser",
    "gradient-step": "priors.gradient_step:GradientStep",
    "lpn": "priors.lpn:LPN",
    "nafnet": "priors.networks.nafnet:NAFNet",
    "ridge": "priors.ridge:Ridge",
    "ssnet": "priors.networks.ssnet:SSNet",
    "unet": "priors.networks.unet:UNet",
    "unrolled": "priors.deblurrer:Deblurrer",
}


class CheckpointError(ValueError):
    """A file that is no usable checkpoint; the sentence says what it is instead."""


def network_class(kind: str) -> Any:
    """The class of networks of a kind, imported on use; raises CheckpointError for an unknown one."""
    if kind not in KINDS:
        message = f"{kind!r} is no kind of network here: known are {', '.join(sorted(KINDS))}."
        raise CheckpointError(message)
    module, name = KINDS[kind].split(":")
    return getattr(import_module(module), name)


def configured(kind: str, settings: Mapping[str, Any]) -> Any:
    """The configuration of a kind of network with these settings, defaults for the others.

    Raises ValueError for a setting that the kind does not have, and for a value that makes no network.

    >>> configured("denoiser", {"width": 8})
    Traceback (most recent call last):
    ...
    ValueError: a network of kind 'denoiser' has no setting 'width': did you mean 'widths'? It has ...
    """
    shape = network_class(kind).Config
    names = [field.name for field in fields(shape)]
    for name in settings:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            message = f"a network of kind {kind!r} has no setting {name!r}: {hint}It has {', '.join(names)}."
            raise ValueError(message)
    try:
        return shape(**settings)
    except TypeError as error:
        message = f"a network of kind {kind!r} cannot have the settings {json.dumps(settings)}: {error}."
        raise ValueError(message) from error


def build(kind: str, config: Any, *, seed: int) -> nn.Module:
    """A fresh network whose first weights depend on `seed` alone; the global random state is left as it
    was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network_class(kind)(config)


def save_network(
    path: str | Path, network: Any, provenance: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write `network` (weights, kind, configuration) with `provenance` (anything JSON can say), atomically.

    `half` stores float16, half the size; `load_network` gives float32 all the same, rounded. Raises
    ValueError for a weight that float16 cannot hold. `store_half` also measures what the rounding costs.
    """
    metadata = {
        "format": NETWORK,
        "kind": network.kind,
        "config": json.dumps(network.config.to_dict()),
        "provenance": json.dumps(dict(provenance)),
    }
    weights = network.state_dict()
    save_tensors(path, {k: _rounded(k, t) for k, t in weights.items()} if half else weights, metadata)


def store_half(path: str | Path, measure: Callable[[Any], Mapping[str, float]]) -> dict[str, float]:
    """Store the network of a file in float16 and return what `measure` loses by it, before minus after.

    Both measurements, and the network's claims recomputed from the rounded weights, go into the provenance.
    The file is replaced in one move, after the measurements.
    """
    _, metadata = load_tensors(path, NETWORK, only_metadata=True)
    network, provenance = load_network(path), json.loads(metadata["provenance"])
    before = dict(measure(network))
    network.load_state_dict({k: _rounded(k, t) for k, t in network.state_dict().items()})
    after = dict(measure(network))
    provenance["half"] = {"before": before, "after": after, "claims": asdict(claims_of(network))}
    save_network(path, network, provenance, half=True)
    return {name: before[name] - after[name] for name in before}


def _rounded(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.half()
    if not torch.isfinite(rounded).all():
        message = f"{name} has weights up to {float(tensor.abs().max()):.3g}, beyond float16: store float32."
        raise ValueError(message)
    return rounded


def load_network(path: str | Path) -> nn.Module:
    """Rebuild the network of a file written by `save_network`: on the CPU, float32, in evaluation mode,
    frozen.

    Its attribute `card` is what `read_provenance` says. Nothing is unpickled. Raises FileNotFoundError, or
    CheckpointError for a truncated or foreign file.
    """
    tensors, metadata = load_tensors(path, NETWORK)
    try:
        kind = metadata["kind"]
        network = build(kind, configured(kind, json.loads(metadata["config"])), seed=0)
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = (
            f"{str(path)!r} does not fit the network it names: it is of another version, or edited ({error})."
        )
        raise CheckpointError(message) from error
    network.card = _card(metadata)  # type: ignore[assignment]
    return network.eval().requires_grad_(False)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a checkpoint says about itself: kind, configuration, data, seed, steps, versions, metrics."""
    _, metadata = load_tensors(path, NETWORK, only_metadata=True)
    return _card(metadata)


def _card(metadata: Mapping[str, str]) -> dict[str, Any]:
    config, provenance = (json.loads(metadata[name]) for name in ("config", "provenance"))
    return {"kind": metadata["kind"], "config": config, **provenance}


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """One safetensors file, complete or not there: written beside the target, then moved into place."""
    plain = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    with atomic_write(path, overwrite=True) as stream:
        stream.write(save(plain, dict(metadata)))


def load_tensors(
    path: str | Path, wanted: str, *, only_metadata: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file of the format `wanted`; raises CheckpointError for anything else."""
    if not Path(path).is_file():
        message = f"there is no checkpoint file {str(path)!r}."
        raise FileNotFoundError(message)
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata, wanted)
            return {} if only_metadata else {k: file.get_tensor(k) for k in file.keys()}, metadata
    except SafetensorError as error:
        message = (
            f"{str(path)!r} is no complete safetensors file, it is truncated or something else ({error})."
        )
        raise CheckpointError(message) from error


def _check_format(path: str | Path, metadata: Mapping[str, str], wanted: str) -> None:
    found = metadata.get("format")
    if found == wanted:
        return
    if found in (NETWORK, TRAINING):
        names = {NETWORK: "a network", TRAINING: "the state of a training"}
        message = (
            f"{str(path)!r} holds {names[found]}, wanted is {names[wanted]}: give the other file of the pair."
        )
    else:
        other = f"{str(path)!r} is a safetensors file of another program (its format is {found!r})"
        message = f"{other}: wanted is one written by `proxlab train`."
    raise CheckpointError(message)
