"""Functions in processes of their own: here, one after the other, or side by side on a Ray cluster.

    with jobs(ray="auto", workers=2) as pool:
        results = pool.run(measure, [("a",), ("b",)], seconds=3600)

A function returns a dict. One that fails, or takes longer than it may, is ended with all that it started, and its dict
is `{"failed": True, "note": why}`; every dict gets `"seconds"`, what it took. What they make lies in folders that all
nodes of the cluster see; nodes need the same packages.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from yolort import _checks, _core

__all__ = ["Jobs", "interruptible", "jobs"]

Result: TypeAlias = dict[str, Any]
Work: TypeAlias = Callable[..., Result]


class Jobs:
    """This machine, one process at a time."""

    workers = 1  # processes at a time

    def run(self, work: Work, given: Sequence[tuple[Any, ...]], seconds: float) -> list[Result]:
        """What `work` returns for each of `given`, in their order; each may take so many seconds (or math.inf)."""
        return [_in_process(work, one, seconds) for one in given]


class _Cluster(Jobs):
    """Ray."""

    def __init__(self, address: str, workers: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError(f'{error}; work on a cluster needs Ray: pip install "yolort-runtime[ray]"') from None
        self._ray = ray
        ray.init(address=None if address == "local" else address, include_dashboard=False, logging_level="warning")
        self.workers = sum(1 for node in ray.nodes() if node["Alive"]) if workers is None else workers
        self._cpus = max(int(ray.cluster_resources().get("CPU", 1)) // self.workers, 1)

    def run(self, work: Work, given: Sequence[tuple[Any, ...]], seconds: float) -> list[Result]:
        """As above, `workers` at a time."""
        # A task starts a process of its own, as here, that ends with its time.
        task = self._ray.remote(num_cpus=self._cpus, max_retries=1)(_in_process)
        waiting = [task.remote(work, one, seconds, self._cpus) for one in given]
        return [self._result(one) for one in waiting]

    def _result(self, task: Any) -> Result:
        try:
            found: Result = self._ray.get(task)
            return found
        except self._ray.exceptions.RayError as error:  # the node is gone
            return {"failed": True, "note": f"failed: {' '.join(str(error).split())[:500]}", "seconds": 0.0}

    def close(self) -> None:
        self._ray.shutdown()


@contextmanager
def jobs(ray: str | None = None, workers: int | None = None) -> Iterator[Jobs]:
    """Where jobs run.

    Args:
        ray: address of a Ray cluster; "auto" is the running one, "local" starts one on this machine; None: no Ray.
        workers: processes at a time, of Ray; None: one a node.

    Raises ImportError where Ray is not installed, ConnectionError where no cluster answers, ValueError for workers
    below 1 or without Ray.
    """
    if workers is not None:
        workers = _checks.integer("workers", workers)
        if ray is None:
            raise ValueError("workers are those of a Ray cluster; give its address")
    if ray is None:
        yield Jobs()
        return
    pool = _Cluster(ray, workers)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def interruptible(outcome: Callable[[], Any]) -> Iterator[None]:
    """Gives an interrupt (Ctrl-C, SIGTERM) the outcome so far, as its attribute `outcome`, for the report."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.outcome = outcome()  # type: ignore[union-attr]
        raise


def _in_process(work: Work, given: tuple[Any, ...], seconds: float, cpus: int | None = None) -> Result:
    """What `work` returns, in a process that ends with all it started when it takes too long.

    A training in it takes so many threads; None: one a core.
    """
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, given, theirs, cpus))
    process.start()
    theirs.close()
    try:
        if not ours.poll(None if seconds == math.inf else seconds):
            out = {"failed": True, "note": f"ended: it took more than {seconds / 60:.0f} minutes"}
        else:
            out = ours.recv()
    except EOFError:
        process.join()
        out = {"failed": True, "note": f"the process ended with status {process.exitcode}"}
    finally:
        if process.is_alive():
            _end(process)
        process.join()
    return {**out, "seconds": time.monotonic() - start}


def _child(work: Work, given: tuple[Any, ...], result: Connection, cpus: int | None) -> None:
    os.setsid()  # so that what it starts can be ended with it
    if cpus is not None:
        os.environ["YOLORT_THREADS"] = str(min(cpus, _core.max_threads()))  # Ray may be told of more than there are
    try:
        result.send(work(*given))
    except Exception as error:
        text = " ".join(str(error).split())[:500] or type(error).__name__
        result.send({"failed": True, "note": f"failed: {text}"})


def _end(process: Any) -> None:
    process.join(5)  # it may be about to end by itself
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.is_alive():
            try:
                os.killpg(process.pid, how)
            except ProcessLookupError:
                process.kill()
            process.join(5)
