"""What `proxlab train KIND` trains: for every kind the options it has, their defaults, its recipe."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.blur_recipe import FLAGS, deblur_recipe
from proxlab.errors import UsageError

if TYPE_CHECKING:
    from priors.recipe import Recipe

TOP_SIGMA = 55 / 255  # a little above the strongest noise of the benchmarks, which then is no border case
UNROLLED_SIGMA = 15 / 255
# Options that not every kind has: name among the arguments -> flag.
SPECIAL = {"loss": "--loss", "reach": "--reach", "checkpointing": "--checkpointing", **FLAGS}

# Options that decide a training from its first step on: a resumed one takes them from its state.
KEPT = (
    *("kind", "loss", "color", "sigma", "batch", "patch", "seed", "optimizer", "reach"),
    *("arch", "preprocess", "target", "noise", "inject"),
)


@dataclass(frozen=True)
class Kind:
    """One kind of training on the command line: arguments -> recipe, and which of SPECIAL it looks at."""

    recipe: Callable[[Namespace], Recipe]
    options: frozenset[str] = frozenset()


def prior_recipe(args: Namespace) -> Recipe:
    """Noise -> clean."""
    from priors.recipe import Denoising

    sigma = args.sigma or (0.0, TOP_SIGMA)
    return Denoising(
        kind=args.kind,
        config={"channels": 3 if args.color else 1, "sigma": sigma, **(args.net or {})},
        loss=args.loss or "l1",
        color=bool(args.color),
        sigma=sigma,
        batch=args.batch or 16,
        patch=args.patch or 64,
        seed=args.seed or 0,
    )


def unrolled_recipe(args: Namespace) -> Recipe:
    """Random blur -> sharp."""
    from priors.nonblind import NonBlind

    sigma = args.sigma or (0.0, UNROLLED_SIGMA)
    inner = {"network": {"channels": 3 if args.color else 1}}
    return NonBlind(
        kind=args.kind,
        config={**inner, "sigma": sigma, **(args.net or {})},
        loss=args.loss or "l1",
        color=bool(args.color),
        sigma=sigma,
        reach=args.reach or 27,
        batch=args.batch or 2,
        patch=args.patch or 96,
        seed=args.seed or 0,
        checkpointing=bool(args.checkpointing),
    )


_PRIOR = Kind(prior_recipe, frozenset({"loss"}))
KINDS: dict[str, Kind] = {
    "deblur": Kind(deblur_recipe, frozenset({"loss", *FLAGS})),
    "denoiser": _PRIOR,
    "gradient-step": _PRIOR,
    "lpn": _PRIOR,
    "ridge": _PRIOR,
    "unrolled": Kind(unrolled_recipe, frozenset({"loss", "reach", "checkpointing"})),
}


def recipe_of(args: Namespace) -> Recipe:
    """The recipe of the arguments, defaults filled in; UsageError for an option its kind does not have."""
    kind = KINDS[args.kind]
    for name, flag in SPECIAL.items():
        if getattr(args, name, None) is not None and name not in kind.options:
            having = ", ".join(k for k, v in KINDS.items() if name in v.options)
            message = f"a training of {args.kind!r} has no {flag}: it belongs to {having}."
            raise UsageError(message)
    return kind.recipe(args)


def check_resumed(args: Namespace, saved: Mapping[str, Any]) -> None:
    """Refuse, by UsageError, an option that differs from what a training to be resumed was begun with."""
    given = {name: getattr(args, name, None) for name in KEPT if name in saved}
    begun = {name: saved[name] for name in given}
    for name, value in (getattr(args, "net", None) or {}).items():
        given[f"net {name}"], begun[f"net {name}"] = value, saved["config"].get(name)
    if getattr(args, "start", None) is not None:
        given["start"], begun["start"] = Path(args.start).name, saved.get("start")
    for name, value in given.items():
        if value is None or _agrees(json.loads(json.dumps(value)), begun[name]):
            continue
        what = "kind" if name == "kind" else f"--{name}"
        message = (
            f"the training to resume was begun with {what} {begun[name]}, now it is {value}: leave it so, "
            "or begin anew with another --out."
        )
        raise UsageError(message)


def _agrees(asked: Any, begun: Any) -> bool:
    """Whether what is asked is what was begun; of settings only those that are given."""
    if isinstance(asked, dict) and isinstance(begun, dict):
        return all(name in begun and _agrees(value, begun[name]) for name, value in asked.items())
    return bool(asked == begun)


def optimizer_of(recipe: Any) -> str:
    """How the gradients of a training become steps: what its network says, else Adam."""
    from priors.checkpoint import network_class

    return str(getattr(network_class(getattr(recipe, "arch", recipe.kind)), "optimizer", "adam"))


def precision_of(recipe: Any, asked: str, device: str) -> str:
    """The arithmetic of a training; some kinds of network have no meaning but in float32."""
    from priors.precision import resolve

    if asked in recipe.precisions:
        return resolve(asked, device)
    if asked == "auto":
        return "fp32"
    message = f"--precision {asked}: a {recipe.kind} is trained in float32 only, leave the option out."
    raise UsageError(message)
