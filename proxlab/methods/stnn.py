"""A network trained for one blur, a pre-processor in front: quick, and refused for any other psf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxlab.errors import UsageError
from proxlab.methods.base import BOUNDARIES, NOISES, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, rms_residual

if TYPE_CHECKING:
    from torch import Tensor

    from priors.deblurring import Deblurring

CLOSE = 0.02  # largest relative distance of psfs at which a network is used: below what it can be felt
ESTIMATING = ("tikhonov", "tv", "denoise")  # these read the noise off the data: repeated pixels have none
REACH = 16  # pixels a picture without periodic borders is continued by, beside half the psf
LOUD = 1.8  # times the strongest noise of its training: on validation crops Tikhonov overtakes at about 2
HELD = (
    0.0125  # noise a pre-processor makes up for: behind one, training without noise is the best up to 0.013
)
BARE = 2e-3  # the same without a pre-processor
RULE = (
    "shipped, for this psf, behind a pre-processor that inverts the blur, trained towards the truth, with "
    "the noise nearest the picture's, of such the best in validation"
)
INVERTING = ("cgls", "tikhonov", "tv")  # pre-processors that do more than smooth

ONE_PSF = Supports(
    boundaries=frozenset(BOUNDARIES),
    noises=frozenset(NOISES),
    scale=False,
    mask=False,
    varying=False,
    lam=False,
    num_iter=False,
    prior=True,
)


@dataclass(frozen=True)
class StabilisedNetwork:
    """x = network(preprocess(op, y)), both from one file; the network has seen this psf and no other."""

    name: str = "stnn"
    summary: str = "a small network trained for this very psf, behind a pre-processor that holds noise back"
    supports: Supports = ONE_PSF

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Two layers of 128 channels and their continued copies; grey networks take channels as a batch."""
        return bytes_of(shape, 4 * 128)

    def run(self, task: Task) -> Outcome:
        """Find the network, hold its psf against the operator's, apply it."""
        network, recipe, name, rule = _network(task)
        mismatch = _mismatch(recipe, task)
        if mismatch > CLOSE:
            raise UsageError(_refusal(name, mismatch))
        x = _applied(network, recipe, task)
        return Outcome(
            x=x,
            lam=None,
            lam_rule=None,
            num_iter=0,
            stop_reason="one pass of the network",
            status="exact",
            residual=rms_residual(task, x),
            objective=(),
            certificate=_certificate(network, recipe),
            warnings=_doubts(recipe, name, task),
            details={
                **{"network": name, "network_rule": rule, "psf_mismatch": mismatch},
                "trained_noise": list(_trained(recipe)),
            },
        )


def _network(task: Task) -> tuple[Any, Deblurring, str, str]:
    """The given network, or the shipped one chosen by RULE; its recipe, its name, how it was chosen."""
    from imaging.blur import CircularBlur
    from priors.base import available, find, load
    from priors.checkpoint import read_provenance
    from priors.deblurring import recipe_behind
    from priors.recipe import recipe_from

    given: Any = task.prior
    if given is not None:
        recipe = recipe_behind(given.network)
        if recipe is None:
            message = (
                f"prior {given.name!r} was not trained for one psf: give a file of `proxlab train deblur`."
            )
            raise UsageError(message)
        return given.network, recipe, given.name, "given"
    made = {name: read_provenance(find(name)) for name in available()}
    made = {name: m for name, m in made.items() if m.get("recipe", {}).get("kind") == "deblur"}
    recipes: dict[str, Any] = {name: recipe_from(m["recipe"]) for name, m in made.items()}
    if not recipes:
        message = (
            "method 'stnn' needs a network trained for this psf, and none ships with this version: make one "
            "with `proxlab train deblur --psf ...` and give its file as the prior."
        )
        raise UsageError(message)

    periodic = isinstance(task.op, CircularBlur)

    def fitness(name: str) -> tuple[bool, bool, bool, float, float, float]:
        """Smaller is better, the first difference decides."""
        r = recipes[name]
        (low, high), filtered = _trained(r), not r.preprocess.startswith(INVERTING)
        if periodic and r.preprocess.startswith(ESTIMATING):
            low = 0.0  # what estimates the noise follows it down; mirrored borders ring without any
        # A whole range goes before its single levels.
        distance = max(low - task.sigma, task.sigma - high, 0.0)
        reached = sum(made[name].get("metrics", {}).values())  # in validation, by equals on equal terms
        return _mismatch(r, task) > CLOSE, r.target != "truth", filtered, distance, low - high, -reached

    name = min(sorted(recipes), key=fitness)
    return load(name), recipes[name], name, RULE


def _trained(recipe: Deblurring) -> tuple[float, float]:
    return (0.0, 0.0) if recipe.inject == "none" else recipe.noise


def _mismatch(recipe: Deblurring, task: Task) -> float:
    """Relative distance of the operator's psf from the one trained for."""
    from imaging.operator import factored
    from priors.deblurring import psf_mismatch

    otf: Any = task.op.otf
    periodic = factored(task.op) is not None
    size = tuple(task.op.img_size[-2:]) if periodic else (otf.shape[-2], 2 * (otf.shape[-1] - 1))
    return psf_mismatch(recipe, otf, size)  # type: ignore[arg-type]


def _refusal(name: str, mismatch: float) -> str:
    return (
        f"network {name!r} was trained for another psf: the two differ by {mismatch:.1%} of its norm, "
        f"at most {CLOSE:.0%} is usable. Use method 'tikhonov' or 'tv', or train one for it with "
        "`proxlab train deblur`."
    )


def _applied(network: Any, recipe: Deblurring, task: Task) -> Tensor:
    """The chain on the data, told their noise level, and continued unless the blur is periodic; a grey
    network takes the channels one by one.
    """
    from torch.nn.functional import pad

    from imaging.blur import CircularBlur
    from imaging.fft import good_size
    from priors.deblurring import chain_of
    from priors.mirroring import mirror

    y, weight = task.y, next(network.parameters())
    if recipe.channels != 1 and y.shape[1] != recipe.channels:
        message = f"the network was trained for {recipe.channels} channels, the picture has {y.shape[1]}."
        raise UsageError(message)
    h, w = y.shape[-2:]
    if isinstance(task.op, CircularBlur):
        top = left = bottom = right = 0
    else:
        top = left = REACH + max(recipe.kernel().shape) // 2
        bottom, right = (good_size(n + 2 * top) - n - top for n in (h, w))
    seen = y.reshape(-1, recipe.channels, h, w).to(weight)
    if recipe.preprocess.startswith(ESTIMATING):
        seen = mirror(mirror(seen, -2, top, bottom), -1, left, right)
    else:
        seen = pad(seen, (left, right, top, bottom), mode="replicate")
    x = chain_of(network, sigma=task.sigma)(recipe.operator(*seen.shape[-2:]).to(seen), seen)
    x = x[..., top : top + h, left : left + w].reshape(y.shape).to(y)
    return x if isinstance(task.op, CircularBlur) else task.op.embed(x)


def _doubts(recipe: Deblurring, name: str, task: Task) -> tuple[str, ...]:
    """A warning where the noise is beyond what the network was trained for and its pre-processor holds."""
    high = _trained(recipe)[1]
    if task.sigma <= max(LOUD * high, BARE if recipe.preprocess == "none" else HELD):
        return ()
    return (
        f"network {name!r} was trained with noise up to {high:g}, the picture has {task.sigma:.3g}: it may "
        "amplify it; a network trained with more noise, or method 'tikhonov' or 'tv', will not.",
    )


def _certificate(network: Any, recipe: Deblurring) -> dict[str, object]:
    bound = getattr(network, "lipschitz", None)
    claim = {
        "claim": "trained for this psf",
        "kind": "observed",
        "detail": f"pre-processor {recipe.preprocess}, target {recipe.target}, noise {_trained(recipe)}",
    }
    if bound is None:
        return {"verdict": "nothing is proven about a network's answer", "conditions": [claim]}
    stable = {
        "claim": f"the network amplifies no change of its input more than {bound:g} times",
        "kind": "proven",
        "detail": "its layers are bounded by construction; the pre-processor comes on top",
    }
    verdict = "a network of bounded amplification; nothing is proven about its accuracy"
    return {"verdict": verdict, "conditions": [claim, stable]}


METHOD = StabilisedNetwork()
