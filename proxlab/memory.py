"""Memory: reading limits, what there is, measuring what a run took."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imaging.heap import settle
from proxlab.errors import MemoryLimitError, UsageError

if TYPE_CHECKING:
    import torch

LITTLE_ELSE = 0.7  # of what is needed: no smaller part of the picture helps where so much is held already
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_bytes(limit: float | str) -> int:
    """Bytes of a limit; decimal prefixes, and binary ones when written with i.

    >>> parse_bytes("2G"), parse_bytes("1.5 MB"), parse_bytes("1Ki"), parse_bytes(4096)
    (2000000000, 1500000, 1024, 4096)
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([KMGT]?)(i?)B?\s*", str(limit), re.IGNORECASE)
    if not found:
        message = f"max_memory is {limit!r}: give bytes, or a number with K, M, G or T, such as '2G'."
        raise UsageError(message)
    number, prefix, binary = found.groups()
    unit = _UNITS[prefix.upper()]
    if binary:
        unit = 1024 ** ["", "K", "M", "G", "T"].index(prefix.upper())
    amount = int(float(number) * unit)
    if amount <= 0:
        message = f"max_memory is {limit!r}: give a positive amount, such as '2G'."
        raise UsageError(message)
    return amount


def in_words(amount: int) -> str:
    """Bytes for people.

    >>> in_words(1_230_000_000)
    '1.23 GB'
    """
    for prefix, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if amount >= unit:
            return f"{amount / unit:.3g} {prefix}B"
    return f"{amount} B"


def resident() -> int:
    """Bytes of memory this process holds now (its peak so far where the system does not tell).

    What runs have freed and kept is given back before: the next one can have it.
    """
    settle(spare=0)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        from resource import getpagesize

        return pages * getpagesize()
    except (OSError, ImportError):
        return peak() or 0


def peak() -> int | None:
    """The most bytes this process has held so far, or None where the system does not tell."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:
        return None
    return int(getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def machine_memory() -> float:
    """Bytes of memory of this machine, or what its control group allows; infinite where nobody tells."""
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        pass
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return float(min(found)) if found else float("inf")


def there_is(device: torch.device) -> float:
    """Bytes that a run on this device can have at most: all of the machine's, or what is free on the card."""
    if device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    return machine_memory()


def check_limit(needed: int, limit: float | str | None, device: torch.device) -> None:
    """Raise MemoryLimitError when the estimate is above the limit, or without one above all there is.

    A limit that is given is taken at its word: it is also how a run is told to try nevertheless.
    """
    if limit is not None:
        allowed = parse_bytes(limit)
        if needed > allowed:
            held = resident()
            message = f"this needs about {in_words(needed)} but max_memory is {in_words(allowed)}: "
            if held > LITTLE_ELSE * needed:
                message += f"{in_words(held)} are held before it starts, libraries included, so allow more."
            else:
                message += (
                    "allow more, work on a part of the picture (--roi), or choose a method that needs less."
                )
            raise MemoryLimitError(message)
    elif needed > (there := there_is(device)):
        where = "of this machine" if device.type == "cpu" else f"free on {device}"
        message = (
            f"this needs about {in_words(needed)}, more than the {in_words(int(there))} {where}: work on "
            "a part of the picture (--roi) or choose a method that needs less; to try anyway, set max_memory."
        )
        raise MemoryLimitError(message)
