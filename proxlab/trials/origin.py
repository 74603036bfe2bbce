"""What made the numbers of a study: the code and its libraries, trained weights, a user's function."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from proxlab.job import versions

PACKAGES = ("imaging", "algorithms", "priors", "proxlab")
SHOWN = ("cli", "pages", "report.py")  # parts of proxlab that only read options and show results


@cache
def code_digest() -> str:
    """SHA-256 of every source file that may have a part in a number, and of versions.

    Broad on purpose: a change that alters no number costs a repetition, one that was overlooked would
    stitch a study from two versions. How a report looks and what the command says are left out, and weights,
    of which each method's digest tells, so that new ones cost the methods that use them and no other.

    >>> len(code_digest())
    64
    """
    root = Path(__file__).resolve().parents[2]
    sha = hashlib.sha256(repr(sorted(versions().items())).encode())
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            inside = path.relative_to(root / package)
            shown = package == "proxlab" and inside.parts[0] in SHOWN
            if path.suffix == ".py" and not shown:
                sha.update(f"{package}/{inside.as_posix()}".encode())
                sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def shipped_digest() -> str:
    """SHA-256 of all weights that ship, for methods that choose among them."""
    from priors.base import available, find

    files = [find(name) for name in sorted(available())]
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()


def denoiser_digest(network: Any) -> str | None:
    """SHA-256 of the denoiser in front of a network of one psf; None for any other network.

    InputError where it is gone.
    """
    from priors.deblurring import denoiser_file, recipe_behind
    from proxlab.errors import InputError

    recipe = recipe_behind(network)
    if recipe is None:
        return None
    try:
        path = denoiser_file(recipe.preprocess)
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    except (ValueError, OSError) as cause:
        message = (
            f"a network was trained behind the pre-processor {recipe.preprocess!r}, whose denoiser cannot be "
            f"read ({cause}): put it back, or start in the folder that its path is relative to."
        )
        raise InputError(message) from cause


def combined(*digests: str | None) -> str | None:
    """One digest of several; None for none, and a single one as it is.

    >>> combined(None, "ab"), combined(None), combined("a", "b") == combined("b", "a")
    ('ab', None, False)
    """
    known = [digest for digest in digests if digest is not None]
    if len(known) < 2:
        return known[0] if known else None
    return hashlib.sha256(" ".join(known).encode()).hexdigest()


def source_digest(function: Callable[..., Any]) -> str | None:
    """SHA-256 of the file that a user's callable (or its class) was written in; None where there is none.

    The whole file, so that helpers beside it count; what it imports from elsewhere is not seen.
    """
    written = function if inspect.isroutine(function) else type(function)
    try:
        path = Path(inspect.getsourcefile(written) or "")
        text = path.read_bytes() if path.is_file() else inspect.getsource(written).encode()
    except (OSError, TypeError):
        return None
    return hashlib.sha256(text).hexdigest()
