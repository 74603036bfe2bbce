"""What the words after an option may be: counts, positive numbers, ranges of levels, settings in JSON."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any


def count(text: str) -> int:
    """A whole number from 1.

    >>> count("8")
    8
    """
    return _whole(text, least=1)


def natural(text: str) -> int:
    """A whole number from 0.

    >>> natural("0")
    0
    """
    return _whole(text, least=0)


def _whole(text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        message = f"{text!r} is no count: give a whole number from {least}."
        raise argparse.ArgumentTypeError(message)
    return value


def positive(text: str) -> float:
    """A finite number above zero.

    >>> positive("1e-3")
    0.001
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        message = f"{text!r} is not a number above zero."
        raise argparse.ArgumentTypeError(message)
    return value


def levels(text: str) -> tuple[float, float]:
    """A range A:B of noise levels, or one level for both.

    >>> levels("0:0.2"), levels("0.1")
    ((0.0, 0.2), (0.1, 0.1))
    """
    low, _, high = text.partition(":")
    try:
        return float(low), float(high or low)
    except ValueError:
        message = (
            f"{text!r} is no range of noise levels: write A:B with fractions of the data range, as 0:0.2."
        )
        raise argparse.ArgumentTypeError(message) from None


def settings(text: str) -> dict[str, Any]:
    """A JSON object.

    >>> settings('{"widths": [4, 8]}')
    {'widths': [4, 8]}
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f'{text!r} is no JSON object: write {{"name": value, ...}}, in quotes for the shell.'
        raise argparse.ArgumentTypeError(message)
    return found
