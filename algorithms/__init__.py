"""Algorithms as generators of states, one driver, rules that choose weights; names resolve on first use."""

from imaging.lazy import lazy_names

_HOME = {
    "State": "state",
    "Status": "state",
    "Result": "state",
    "solve": "driver",
    "last": "driver",
    "every": "driver",
    "gd": "proximal",
    "pgd": "proximal",
    "fista": "proximal",
    "drs": "splitting",
    "admm": "splitting",
    "hqs": "splitting",
    "chambolle_pock": "splitting",
    "LinearMap": "splitting",
    "red_gradient": "red",
    "red_fixed_point": "red",
    "AsReconstructor": "interop",
    "AtLevel": "interop",
    "wiener": "classical",
    "tikhonov": "classical",
    "richardson_lucy": "lucy",
    "TotalVariation": "variation",
    "split_variation": "splitting_variation",
    "primal_dual_variation": "primal_dual",
    "tv_optimality": "variation",
    "gcv_weight": "choose",
    "evidence_weight": "choose",
    "noise_reached": "choose",
    "sure_weight": "sure",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
