"""Sizes of a study as they are given: made plain, and refused where no study can come of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from numbers import Real
from typing import Any

from proxlab.trials.scenes import LEAST

COUNTS = {  # and the least of each: 0 leaves a part out
    "pictures": 1,
    "side": LEAST,
    "draws": 1,
    "attacked": 0,
    "iterations": 1,
    "restarts": 1,
    "shifted": 0,
    "detailed": 0,
    "lipschitz": 0,
    "resamples": 1,
}
FINEST = 1e-6  # of the tolerance of exact gains: below, rounding decides


def plain_sizes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Protocol as int, float, bool and tuples of float, whatever kinds of them came.

    Raises ValueError, in a sentence, for a value of which no study can be made.
    """
    sizes = dict(given)
    for name, least in COUNTS.items():
        sizes[name] = _count(name, given[name], least)
    for name in ("levels", "attack_levels", "boxes"):
        sizes[name] = _numbers(name, given[name])
    sizes["exact"] = _tolerance(given["exact"])
    if given["short_shifts"] not in (True, False):
        message = f"size short_shifts is {given['short_shifts']!r}: wanted True (the short list) or False."
        raise ValueError(message)
    sizes["short_shifts"] = bool(given["short_shifts"])
    sizes["minutes"] = _minutes(given["minutes"])
    _check_levels(sizes)
    return sizes


def _count(name: str, value: Any, least: int) -> int:
    """A whole number that is not too small."""
    try:
        count = int(operator.index(value))
    except TypeError:
        count = least - 1
    if count < least:
        message = f"size {name} is {value!r}: give a whole number of at least {least}."
        raise ValueError(message)
    return count


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Finite numbers from 0 on, no two of them the same to six digits, by which results are named."""
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(0 <= number < math.inf for number in numbers):
        message = f"size {name} is {values!r}: give a list of finite numbers, none below 0."
        raise ValueError(message)
    if len({f"{number:g}" for number in numbers}) < len(numbers):
        message = f"size {name} is {values!r}: give each number once, apart in their first six digits."
        raise ValueError(message)
    return numbers


def _tolerance(value: Any) -> float:
    try:
        tolerance = float(value)
    except (TypeError, ValueError):
        tolerance = math.nan
    if not (tolerance == 0 or FINEST <= tolerance < math.inf):
        message = f"size exact is {value!r}: give a relative tolerance of at least {FINEST:g}, or 0 for none."
        raise ValueError(message)
    return tolerance


def _minutes(value: Any) -> float | None:
    if value is None or (isinstance(value, Real) and float(value) > 0):
        return None if value is None else float(value)
    message = f"minutes is {value!r}: give how long the study may take, above 0."
    raise ValueError(message)


def _check_levels(sizes: Mapping[str, Any]) -> None:
    """Budgets to attack are some of the levels, and nothing is attacked within a budget of nothing."""
    levels = sizes["levels"]
    if not levels:
        message = "size levels is empty: give at least one noise level, relative to the data, such as 0.03."
        raise ValueError(message)
    listed = ", ".join(f"{level!r}" for level in levels)
    for level in sizes["attack_levels"]:
        if level not in levels:
            message = (
                f"size attack_levels has {level!r}, which is none of the levels ({listed}): give some of "
                "these, or add it to the levels."
            )
            raise ValueError(message)
    for name in ("attack_levels", "boxes"):
        if 0 in sizes[name]:
            message = f"size {name} has 0, a budget in which nothing can be attacked: leave it out."
            raise ValueError(message)
    if sizes["attacked"] and sizes["lipschitz"] and not levels[len(levels) // 2]:
        message = (
            f"the middle one of the levels ({listed}) is 0, and local Lipschitz constants are sought around "
            "it: give more levels above 0, or lipschitz 0."
        )
        raise ValueError(message)
