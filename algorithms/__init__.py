"""Algorithms as generators of states, one driver, rules that choose weights; names resolve on first use."""

from importlib import import_module

_HOME = {
    "State": "state",
    "Status": "state",
    "Result": "state",
    "solve": "driver",
    "last": "driver",
    "every": "driver",
    "wiener": "classical",
    "tikhonov": "classical",
    "richardson_lucy": "lucy",
    "TotalVariation": "variation",
    "split_variation": "splitting",
    "primal_dual_variation": "primal_dual",
    "tv_optimality": "variation",
    "gcv_weight": "choose",
    "evidence_weight": "choose",
    "noise_reached": "choose",
    "sure_weight": "sure",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module 'algorithms' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"algorithms.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
