"""Memory that a run frees is kept for the run: what is new from the system is slow.

A picture of 16 megapixels is 64 MB a plane. glibc asks the system for each array of that size and gives it
back when it is freed; the system then clears every page anew. benchmarks/README.md says what that costs.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # names of malloc.h
NEVER = -1
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}  # what glibc settles at
SPARE = 128 << 20  # bytes that may stay

_lock, _users = Lock(), 0


@contextmanager
def kept_heap() -> Iterator[None]:
    """Freed memory stays with the process inside, and all but SPARE of it goes back when the last one leaves.

    What glibc chooses by itself as a process goes on is then set to what it ends at. Nothing happens without
    glibc, or where the allocator's settings were made in the environment. Results that were made inside lie
    on the heap: deleting one need not give its memory back to the system.
    """
    global _users
    with _lock:
        _users += 1
    try:
        if _users == 1:
            _set({MMAP_MAX: 0, TRIM_THRESHOLD: NEVER})
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(USUAL)
                _give_back()


def settle(spare: int = SPARE) -> None:
    """Give back what is free now where it was kept, if it is more than `spare` bytes.

    Before work whose arrays are of other sizes, and after it, or the process would hold the arrays of both.
    """
    if _users:
        _give_back(spare)


def _forget() -> None:
    """In the child of a fork: no run of the parent's goes on here."""
    global _lock, _users
    _lock, inside, _users = Lock(), _users, 0
    if inside:
        _set(USUAL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@cache
def _glibc() -> ctypes.CDLL | None:
    decided = any(name.startswith("MALLOC_") and "ARENA" not in name for name in os.environ)
    if sys.platform != "linux" or decided or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def _set(options: dict[int, int]) -> None:
    library = _glibc()
    if library is not None:
        for name, value in options.items():
            library.mallopt(name, value)


def _give_back(spare: int = SPARE) -> None:
    """Only where it is much: little is asked for again by the next run."""
    library = _glibc()
    if library is not None and _free(library) > spare:
        library.malloc_trim(0)


class _Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    )


def _free(library: ctypes.CDLL) -> int:
    """Bytes of the heap that nobody uses; all there may be where an older glibc does not tell."""
    if not hasattr(library, "mallinfo2"):
        return sys.maxsize
    library.mallinfo2.restype = _Mallinfo2
    return int(library.mallinfo2().fordblks)
