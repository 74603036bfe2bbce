"""What pictures of one psf and one size share is made once: the last few of each kind are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


class Recent:
    """Values by key, at most so many, the one that was not asked for the longest given up first.

    >>> squares = Recent(2)
    >>> [squares.get(n, lambda: n * n) for n in (3, 4, 3, 5)], len(squares)
    ([9, 16, 9, 25], 2)
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._known: OrderedDict[Hashable, object] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of that key, made now if it is not known; nothing is kept of what raises."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]  # type: ignore[return-value]
        value = make()
        with self._lock:
            self._known[key] = value
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return value
