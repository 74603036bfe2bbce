"""Units of a study begun on workers before their turn comes; the order and the numbers stay the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxlab.cluster import Workers
    from proxlab.trials.store import Store

Unit = tuple[tuple[str, ...], Any, float, Callable[[], Any]]
DEEP = 8  # times what else is worth having under way: an attack takes a hundred times as long as other units
LATE = "transfer"  # units of this part need what units before them found


class Ahead:
    """Gives the units in their order, each one's work being to wait for what a worker does."""

    def __init__(self, workers: Workers, store: Store) -> None:
        self._workers, self._store = workers, store
        self._shared: dict[
            int, tuple[Any, Any]
        ] = {}  # id -> the value, which so stays alive, and its promise

    def units(self, todo: Iterable[Unit]) -> Iterator[Unit]:
        """The same keys, inputs and costs; the caller takes in a unit before it asks for the next one."""
        source, waiting = iter(todo), deque[list[Any]]()
        try:
            while True:
                while len(waiting) < DEEP * self._workers.ahead and (unit := next(source, None)):
                    waiting.append([unit, None])
                    if unit[0][0] != LATE:
                        waiting[-1][1] = self._begun(unit)
                if not waiting:
                    return
                for entry in waiting:  # all that was waited for has been taken in
                    if entry[0][0][0] != LATE:
                        break
                    entry[1] = entry[1] or self._begun(entry[0])
                (key, inputs, cost, work), promise = waiting.popleft()
                yield key, inputs, cost, work if promise is None else promise.result
        finally:
            for _, promise in waiting:
                if promise is not None:
                    promise.cancel()

    def _begun(self, unit: Unit) -> Any:
        """A promise of its result, None where that lies in the store already."""
        key, inputs, _, work = unit
        if self._store.done(key, inputs):
            return None
        assert isinstance(work, partial)
        return self._workers.submit(work.func, *(self._sent(value) for value in work.args))

    def _sent(self, value: Any) -> Any:
        """Pictures, methods with their weights and what all share go once; the rest is small."""
        if isinstance(value, dict):
            return dict(value)  # as it is now
        if not hasattr(value, "__dataclass_fields__"):
            return value
        if id(value) not in self._shared:
            self._shared[id(value)] = (value, self._workers.share(value))
        return self._shared[id(value)][1]
