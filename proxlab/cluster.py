"""Work in other processes and on other machines: Dask schedules, tasks are pure functions."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from proxlab.errors import ClusterError, MemoryLimitError, UsageError

if TYPE_CHECKING:
    from proxlab.tiles.piece import Piece, Setting, Solved

PATIENCE = 30  # seconds to wait for a scheduler that was named
AHEAD = 2  # tasks a worker has waiting beside the one it works on
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1GB",  # of tasks with 10 MB in them, as pictures have
    "distributed.comm.timeouts.connect": "120s",  # a busy machine is slow to answer
    "distributed.comm.timeouts.tcp": "120s",
    # Looks at the stack of every task a hundred times a second: some of a worker's time.
    "distributed.worker.profile.enabled": False,
    # One thread, and not Dask's MALLOC_TRIM_THRESHOLD_: with that every array is new memory from
    # the system. And one heap: tasks run in a second thread, whose own heap is of pieces of 64 MB that come
    # and go, which makes a picture dearer.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys((*THREADS, "MALLOC_ARENA_MAX"), "1"),
}


class Workers:
    """Processes that work, through a client of Dask; every task sees one thread and the same shared values.

    A worker that dies costs the time of what it was doing: tasks are kept by the scheduler with their inputs
    until their results are here, and so are shared values.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.count = max(1, sum(client.nthreads().values()))

    @property
    def ahead(self) -> int:
        """How many tasks are worth having under way."""
        return self.count * (1 + AHEAD)

    def share(self, value: Any) -> Any:
        """A promise of the value, to be given to `submit`: it travels to each worker once, not with each
        task.
        """
        return self._client.submit(_itself, value, pure=False)

    def submit(self, function: Callable[..., Any], *inputs: Any) -> Promise:
        """Begin function(*inputs) somewhere; promises of `share` among them become their values."""
        return Promise(self._client.submit(_alone, function, *inputs, pure=False))

    def in_order(self, function: Callable[..., Any], shared: Any, items: Iterable[Any]) -> Iterator[Any]:
        """function(shared, item) for each in their order; no more items are taken than are worth having."""
        waiting: deque[Promise] = deque()
        try:
            for item in items:
                waiting.append(self.submit(function, shared, item))
                if len(waiting) >= self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for promise in waiting:
                promise.cancel()

    def tiles(self, setting: Setting, pieces: Iterable[Piece]) -> Iterator[Solved]:
        """The tiles of a picture, as `proxlab.tiles.run.one_by_one` would do them."""
        from proxlab.tiles.piece import solve_piece

        yield from self.in_order(solve_piece, self.share(setting), pieces)


class Promise:
    """The result of a task that was begun elsewhere."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Any:
        """Wait for it; raises what the task raised.

        MemoryLimitError where every worker that tried it died, ClusterError where the cluster went away.
        """
        from distributed.scheduler import KilledWorker

        try:
            return self._future.result()
        except KilledWorker as cause:
            message = (
                "each worker that tried a part of the work died of it, most likely for want of memory: give "
                "max_memory, which holds for each worker, a smaller tile, or fewer workers."
            )
            raise MemoryLimitError(message) from cause
        except OSError as cause:
            if type(cause).__name__ != "CommClosedError":
                raise
            message = f"the cluster went away during the work: {cause}"
            raise ClusterError(message) from cause
        except Exception as cause:
            if type(cause).__name__ not in ("CancelledError", "FutureCancelledError"):
                raise
            message = f"the cluster gave up a part of the work: {cause}"
            raise ClusterError(message) from cause

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._future.cancel()


def check_cluster(cluster: Any) -> None:
    """UsageError, in one sentence, for what names no cluster and where Dask is missing.

    >>> check_cluster("lokal:2")
    Traceback (most recent call last):
    proxlab.errors.UsageError: cluster='lokal:2' is no cluster: give 'local:N' for N processes ...
    """
    from importlib.util import find_spec

    if isinstance(cluster, str):
        known = bool(re.fullmatch(r"local:[1-9][0-9]*|(tcp|tls|ucx|ws|wss)://\S+", cluster))
    else:
        known = all(hasattr(cluster, name) for name in ("submit", "nthreads", "scheduler_info"))
    if not known:
        message = (
            f"cluster={cluster!r} is no cluster: give 'local:N' for N processes on this machine, the address "
            "of a Dask scheduler such as 'tcp://host:8786', or from Python a dask.distributed.Client."
        )
        raise UsageError(message)
    if find_spec("distributed") is None:
        message = f"cluster={cluster!r} needs Dask, which is not installed: pip install 'proxlab[cluster]'."
        raise UsageError(message)


@contextmanager
def connected(cluster: Any) -> Iterator[Workers | None]:
    """The workers of a cluster, closed at the end if they were started here; None for no cluster.

    "local:N" starts N processes of one thread, an address uses what is there, a client is used as it is.
    Raises UsageError, ClusterError where nobody answers or proxlab is missing there.
    """
    if cluster is None:
        yield None
        return
    check_cluster(cluster)
    import dask
    import distributed  # noqa: F401 (before its settings are changed: its import adds its own to them)

    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        client = _client(cluster, stack) if isinstance(cluster, str) else cluster
        _check_versions(client)
        yield Workers(client)


def _client(cluster: str, stack: ExitStack) -> Any:
    import logging

    from distributed import Client, LocalCluster

    if not cluster.startswith("local:"):
        try:
            return stack.enter_context(Client(cluster, timeout=PATIENCE, set_as_default=False))
        except (OSError, ValueError) as cause:
            message = (
                f"no Dask scheduler answers at {cluster}: start one with `dask scheduler`, and workers with "
                "`dask worker ADDRESS --nthreads 1`."
            )
            raise ClusterError(message) from cause
    from tempfile import TemporaryDirectory

    place = stack.enter_context(TemporaryDirectory(prefix="proxlab-", ignore_cleanup_errors=True))
    workers = LocalCluster(
        n_workers=int(cluster.partition(":")[2]),
        threads_per_worker=1,
        env=dict.fromkeys(THREADS, "1"),  # over those of this process, which SETTINGS do not replace
        processes=True,
        dashboard_address="127.0.0.1:0",  # any free port: two of these do not quarrel
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,  # what fits is planned before; Dask would spill, pause and kill
        local_directory=place,
        silence_logs=logging.CRITICAL,  # of a worker that dies we hear by other ways
    )
    stack.enter_context(workers)
    client = stack.enter_context(Client(workers, set_as_default=False))
    client.register_plugin(_deaf_plugin())
    return client


def _deaf_plugin() -> Any:
    """Workers of a terminal's own cluster leave Ctrl-C to the process that started them."""
    from distributed import WorkerPlugin

    class Deaf(WorkerPlugin):
        name = "proxlab-deaf"

        def setup(self, worker: Any) -> None:
            """Ignore the interrupt, in the thread that may."""
            import signal
            import threading

            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Deaf()


def _check_versions(client: Any) -> None:
    """The workers have this package, and a warning where they are not like this process."""
    import warnings

    from proxlab.errors import ProxlabWarning
    from proxlab.job import versions

    here = versions()
    try:
        found = client.run(versions)
    except ModuleNotFoundError as cause:
        message = f"the workers cannot import proxlab ({cause}): install it where they run."
        raise ClusterError(message) from cause
    if not found:
        message = "the cluster has no workers: start some with `dask worker ADDRESS --nthreads 1`."
        raise ClusterError(message)
    other = {
        f"{name} {there[name]}" for there in found.values() for name in here if there[name] != here[name]
    }
    if other:
        text = (
            f"workers have other versions than this process, results may differ: {', '.join(sorted(other))}."
        )
        warnings.warn(text, ProxlabWarning, stacklevel=4)


def _itself(value: Any) -> Any:
    return value


def _alone(function: Callable[..., Any], *inputs: Any) -> Any:
    """One thread for each task, so that results do not depend on who works and how many."""
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        return function(*inputs)
    torch.set_num_threads(1)
    try:
        return function(*inputs)
    finally:
        torch.set_num_threads(threads)
