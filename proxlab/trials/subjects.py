"""What is tested: any way from a name, a file, a function to something bound to a noise level."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from proxlab.errors import UsageError
from proxlab.methods import METHODS, check_name, load_method
from proxlab.methods.base import Method, Need, Noise, Outcome, Progress, Task

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.linearise import Linearised, Reconstructor
    from proxlab.trials.quadratic import Weighing

BASELINES = ("identity", "wiener", "tikhonov", "tv")  # in every study: without them a number means nothing
TUNED = {"tikhonov": (2.0, (10.0, 30.0, 100.0, 300.0, 1000.0)), "tv": (1.5, (0.2, 0.4, 0.8, 1.6))}
TOLD = ("tv", "denoise")  # pre-processors that a noise level is told to
QUADRATIC = 100.0  # lam / sigma^2 of the quadratic surrogate: the middle of what fits photographs
PREFERENCE = 0.98  # a true gradient is kept unless the surrogate finds clearly more


@dataclass(frozen=True)
class Bound:
    """A subject at one noise level: the full reconstructor, and what its gradients are taken from.

    gradient says in words how; `linearise` takes the operator. settings are what the method was told.
    """

    reconstruct: Reconstructor
    linearise: Callable[[Any], Linearised]
    gradient: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """One method under test; call `at(sigma, lam)` for a reconstructor (sigma None: its own estimate).

    way: "autograd", "tikhonov" or "variation", where gradients come from; tuned: exponent of sigma and the
    factors to try for lam, for baselines whose weight is tuned on other pictures; told: whether it takes the
    level; bound: a proven upper bound of its Lipschitz constant, where there is one; weigh: how a quadratic
    method chooses its weight where it is given none. digest: of everything trained that it may use.
    """

    name: str
    summary: str
    call: Callable[[Any, Tensor, float | None, float | None], Tensor]
    way: str
    prior: str | None = None
    digest: str | None = None
    tuned: tuple[float, tuple[float, ...]] | None = None
    boundaries: frozenset[str] = frozenset({"unknown", "circular"})
    told: bool = True
    bound: float | None = None
    weigh: Weighing | None = None

    def at(self, sigma: float | None, lam: float | None = None) -> Bound:
        """The reconstructor at a level."""
        from algorithms.linearise import by_autograd, by_variation

        def reconstruct(op: Any, y: Tensor) -> Tensor:
            return self.call(op, y, sigma, lam)

        variation = lam if lam is not None else 0.8 * (sigma or 0.01) ** 1.5
        ways: dict[str, tuple[str, Callable[[Any], Linearised]]] = {
            "autograd": ("automatic differentiation", lambda op: by_autograd(reconstruct, op)),
            "tikhonov": (
                "implicit differentiation of the quadratic problem and of the rule of its weight"
                if self.weigh
                else "a quadratic surrogate",
                lambda op: self._quadratic(reconstruct, op, sigma, lam),
            ),
            "variation": (
                "implicit differentiation at the fixed point of the rounded problem",
                lambda op: by_variation(reconstruct, op, lam=variation),
            ),
        }
        text, linearise = ways[self.way]
        return Bound(reconstruct, linearise, text, {"sigma": sigma, "lam": lam})

    def _quadratic(
        self, reconstruct: Reconstructor, op: Any, sigma: float | None, lam: float | None
    ) -> Linearised:
        """The pullback of the weight given, or of the one chosen anew for all data; else of a guess."""
        from algorithms.linearise import by_tikhonov

        weigh = self.weigh
        if weigh is None:
            return by_tikhonov(reconstruct, op, lam=QUADRATIC * (sigma or 0.01) ** 2)
        if lam is not None:
            return by_tikhonov(reconstruct, op, lam=lam)
        return by_tikhonov(
            reconstruct,
            op,
            lam=lambda y: weigh.lam(op, y, sigma),
            slope=lambda y, chosen: weigh.slope(op, y, sigma, chosen),
        )


def find_subjects(methods: Any, *, device: str, seed: int, prior: Any = None) -> list[Subject]:
    """Subjects of {"name": callable or name} or of a list of names; the baselines are added.

    A name is a method of proxlab, "module:function" (called as (op, y), or (op, y, sigma=...) if it takes
    sigma), or whatever `proxlab.load_reconstructor` knows. Raises UsageError otherwise.
    """
    if isinstance(methods, str):
        methods = methods.split(",")
    named = (
        dict(methods) if isinstance(methods, Mapping) else {str(m).strip(): str(m).strip() for m in methods}
    )
    if not all(named):
        message = f"methods are {', '.join(map(repr, named)) or 'none'}: an empty name is none, leave it out."
        raise UsageError(message)
    for name in BASELINES:
        if name not in named.values():
            named.setdefault(name, name)
    setting = (device, seed, prior)
    return [_subject(name, target, setting) for name, target in named.items()]


def _subject(name: str, target: Any, setting: tuple[str, int, Any]) -> Subject:
    if callable(target):
        return _of_function(name, target, getattr(target, "__doc__", None))
    if target in METHODS:
        return _of_method(name, load_method(target), setting)
    if ":" in target:
        return _of_function(name, _imported(target), f"{target}, given by the user")
    loader = _loader()
    if loader is not None and not (target.isidentifier() and not os.path.exists(target)):
        found = loader(target)
        if hasattr(found, "recipe"):  # of one psf: the method continues what it sees beyond the borders
            one = _of_method(name, load_method("stnn"), (setting[0], setting[1], target))
            text = f"{one.summary}; {_noise_of(found.recipe)}"
            told = found.recipe.preprocess.startswith(TOLD)
            return replace(one, summary=text, bound=_bound(found), told=told)
        found.network.to(setting[0])
        return _of_function(name, found, f"the network {target}")
    check_name(target)  # raises, with the nearest name
    raise AssertionError


def _noise_of(recipe: Any) -> str:
    """Whether the network was trained on noisy data: without, it meets noise for the first time here."""
    if recipe.inject == "none" or not recipe.noise[1]:
        return "trained without noise"
    low, high = recipe.noise
    return f"trained with noise of {low:g}" + (f" to {high:g}" if high > low else "")


def _loader() -> Callable[[str], Any] | None:
    """proxlab.load_reconstructor, where this version has it."""
    import proxlab

    found: Callable[[str], Any] | None = getattr(proxlab, "load_reconstructor", None)
    return found


def _imported(target: str) -> Callable[..., Any]:
    import sys

    module, _, attribute = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's module lies where the command was typed
    try:
        found: Callable[..., Any] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as cause:
        message = f"method {target!r} cannot be imported ({cause}): write module:function, from this folder."
        raise UsageError(message) from cause
    return found


def _of_function(name: str, function: Callable[..., Any], summary: str | None) -> Subject:
    """A callable (op, y) or (op, y, sigma=), or a model that is called as (y, physics), as deepinv's are."""
    names = list(_parameters(getattr(function, "forward", function)))
    knows, swapped = "sigma" in names, names[:2] == ["y", "physics"]

    def call(op: Any, y: Tensor, sigma: float | None, lam: float | None) -> Tensor:
        """x, from the function called the way its arguments are named."""
        if swapped:
            x: Tensor = function(y, op)
        elif knows:
            x = function(op, y, sigma=_level(op, y) if sigma is None else sigma)
        else:
            x = function(op, y)
        return x

    text = (summary or "a function of the user's").strip().splitlines()[0]
    return Subject(
        name,
        f"{text}{'' if knows else ' (is not told the noise level)'}",
        call,
        "autograd",
        digest=_digest(function),
        told=knows,
        bound=_bound(function),
    )


def _level(op: Any, y: Tensor) -> float:
    """The subject's own estimate of the noise level."""
    from proxlab.reconstructors import estimated_level

    return float(estimated_level(op, y.detach()).mean())


def _bound(function: Any) -> float | None:
    """The proven constant of a network bounded by its layers, behind a pre-processor that expands nothing."""
    constant = getattr(getattr(function, "network", None), "lipschitz", None)
    before = getattr(getattr(function, "recipe", None), "preprocess", "")
    still = before == "none" or before.startswith("gaussian")
    return float(constant) if isinstance(constant, float) and still else None


def _digest(function: Any) -> str | None:
    """What tells a user's method from the one that an earlier run measured: its weights, else its file."""
    from proxlab.trials.origin import combined, denoiser_digest, source_digest

    own = _weights(function) or source_digest(function)
    return combined(own, denoiser_digest(getattr(function, "network", function)))


def _weights(function: Any) -> str | None:
    """What tells a trained model from the same model trained further."""
    import hashlib

    model = next(
        (m for m in (function, getattr(function, "network", None)) if hasattr(m, "state_dict")), None
    )
    values = {} if model is None else model.state_dict()
    if not values:
        return None
    sha = hashlib.sha256()
    for key, value in sorted(values.items()):
        sha.update(f"{key}{tuple(value.shape)}".encode())
        sha.update(value.detach().cpu().double().numpy().tobytes())
    return sha.hexdigest()


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _of_method(name: str, method: Method, setting: tuple[str, int, Any]) -> Subject:
    import torch

    from proxlab.networks import find_prior, place
    from proxlab.trials.quadratic import Weighing

    device, seed, given = setting
    wants = method.supports.prior
    prior = find_prior(given if wants else None, method, 1)
    place(prior, torch.device(device), torch.float32)

    def task(op: Any, y: Tensor, sigma: float | None, lam: float | None = None) -> Task:
        """What the method receives, of what is told and what is estimated."""
        rule = "given"
        if sigma is None:
            sigma, rule = _level(op, y), "estimated from the data"
        return Task(
            op=op,
            y=y,
            sigma=max(sigma, 1e-6),
            sigma_rule=rule,
            noise=Noise("gaussian"),
            lam=lam,
            num_iter=None,
            prior=prior,
            seed=seed,
            report=_silent,
        )

    def call(op: Any, y: Tensor, sigma: float | None, lam: float | None) -> Tensor:
        outcome: Outcome = method.run(task(op, y, sigma, lam))
        return outcome.x

    ways = {"wiener": "tikhonov", "tikhonov": "tikhonov", "tv": "variation"}
    return Subject(
        name,
        method.summary,
        call,
        ways.get(method.name, "autograd"),
        prior=None if prior is None else prior.name,
        digest=_trained(method, prior),
        tuned=TUNED.get(method.name),
        boundaries=method.supports.boundaries & {"unknown", "circular"},
        weigh=Weighing(method.name, task) if method.name in ("wiener", "tikhonov") else None,
    )


def _trained(method: Method, prior: Any) -> str | None:
    """The digest of the weights a method uses, and of all that ship where it chooses among them by itself."""
    from proxlab.trials.origin import combined, denoiser_digest, shipped_digest

    chooses = method.supports.prior and (prior is None or method.name == "auto")
    shipped = shipped_digest() if chooses else None
    if prior is None or prior.digest is None:
        return combined(shipped, None if prior is None else _digest(prior.network))
    return combined(shipped, prior.digest, denoiser_digest(prior.network))


def _silent(step: Progress) -> None:
    """Nobody watches."""


def supported(method: Method, boundary: str) -> bool:
    """Can the method work with that border?"""
    return not Need(boundary, "gaussian", 1, False, False, False, False).missing(method.supports)


def with_honest_gradient(subject: Subject, op: Any, y: Tensor, truth: Tensor, sigma: float) -> Subject:
    """The subject with the way that works: autograd if it gives a gradient at all and a true one.

    Where it does not, or disagrees with a difference quotient, a short attack decides between it and the
    quadratic surrogate. op, y and truth are small: this is a trial.
    """
    from algorithms.attack import Effort, Threat, worst_case

    if subject.way != "autograd":
        return subject
    surrogate = replace(subject, way="tikhonov")
    budget = (sigma * y[0].numel() ** 0.5) * y.new_ones(1)
    errors = []
    for candidate in (subject, surrogate):
        try:
            at = candidate.at(sigma).linearise(op)
            found = worst_case(at, y, truth, Threat("l2", budget), Effort(6, 1, seed=0))
        except (RuntimeError, TypeError, ValueError, AttributeError):
            errors.append(-1.0)
            if candidate is surrogate:
                raise
            continue
        errors.append(float(found.error))
    return subject if errors[0] >= PREFERENCE * errors[1] else surrogate
