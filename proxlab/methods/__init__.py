"""The methods by name: the only place where a method's name becomes code.

A module of this package offers its method as the object `METHOD`; a line in `METHODS` makes it known to the
front door, the command line, the refusals and the planner.
"""

from importlib import import_module

from proxlab.errors import UsageError, listed, unknown
from proxlab.methods.base import Method, Need

METHODS = {
    "auto": "proxlab.methods.auto",
    "identity": "proxlab.methods.identity",
    "wiener": "proxlab.methods.wiener",
    "tikhonov": "proxlab.methods.tikhonov",
    "tv": "proxlab.methods.tv",
    "richardson-lucy": "proxlab.methods.richardson_lucy",
    "pnp": "proxlab.methods.pnp",
    "red": "proxlab.methods.red",
    "certified": "proxlab.methods.certified",
    "unrolled": "proxlab.methods.unrolled",
    "stnn": "proxlab.methods.stnn",
}


def check_name(name: str) -> None:
    """Raise UsageError with the nearest name when there is no such method."""
    if name not in METHODS:
        error = unknown("method", str(name), METHODS)
        raise error


def load_method(name: str) -> Method:
    """The method object of that name.

    >>> load_method("identity").name
    'identity'
    """
    check_name(name)
    method: Method = import_module(METHODS[name]).METHOD
    return method


def require(name: str, need: Need) -> Method:
    """The method of that name if it can do what is needed; raises UsageError naming those that can."""
    method = load_method(name)
    missing = need.missing(method.supports)
    if not missing:
        return method
    others = [other for other in METHODS if other not in ("auto", "identity", name)]
    able = [other for other in others if not need.missing(load_method(other).supports)]
    remedy = f"use {listed(able, 'or')}" if able else "no method can, so leave something out"
    message = f"method {name!r} cannot do {' with '.join(missing)}: {remedy}."
    raise UsageError(message)
