"""Runs functions in child processes.

    with Child() as child:
        ranges = child.call(measure, "yolo26n.onnx", seconds=60)

A `Child` runs functions one after another until it is closed. `jobs` runs one function with many arguments, each in its
own child process: one at a time on this machine, or in parallel on a Ray cluster.

    with jobs(ray="auto", workers=2) as pool:
        results = pool.run(measure, [("a",), ("b",)], seconds=3600)

A job returns a dict. If it fails or takes too long, the dict is `{"failed": True, "note": why}`; every dict gets
`"seconds"`, the time taken. Jobs write to folders that all nodes of the cluster can access, and nodes need the same
packages.
"""

from __future__ import annotations

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from yolort import _checks, _core

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Child", "ChildError", "Jobs", "interruptible", "jobs"]

Result: TypeAlias = dict[str, Any]
Work: TypeAlias = Callable[..., Result]

_PATIENCE = 5.0  # seconds for a finished child to exit by itself


class ChildError(RuntimeError):
    """A function failed in a child or took too long, or the process ended; the message is the reason."""


class Child:
    """A process in its own session that runs functions; close it, or use it as a context manager.

    It ends, with all its descendants, when it is closed or its parent ends. multiprocessing.Process is not used: it
    runs the caller's script again, opens no session, and does not end with its parent.
    """

    def __init__(self, *, quiet: bool = False, environment: Mapping[str, str] | None = None) -> None:
        """Starts it.

        Args:
            quiet: hide its output; if the process ends unexpectedly, the error quotes the end of it.
            environment: additional environment variables.
        """
        self._printed: IO[bytes] | None = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115, closed by close()
        self._last_lines = ""
        self._connection, theirs = Pipe()
        with theirs:
            program = f"from yolort.tools._processes import _serve; _serve({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                env={**os.environ, **(environment or {})},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._connection.send((sys.path, sys.argv))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float = math.inf) -> Any:
        """Calls a module-level function in the child and returns its result; ChildError if it raises or takes more than
        `seconds`.

        Function, arguments and result are pickled.
        """
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(None if seconds == math.inf else seconds):
                self.close()
                raise ChildError(f"it took more than {seconds / 60:.0f} minutes")
            returned, value = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            code = self._process.returncode
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            last = f"; it last printed: {self._last_lines}" if self._last_lines else ""
            raise ChildError(f"its process ended unexpectedly ({how}){last}") from None
        if not returned:
            raise ChildError(value)
        return value

    def close(self, patience: float = 0.0) -> None:
        """Ends the process and its descendants; waits up to `patience` seconds for it to exit by itself."""
        if self._connection.closed:
            return
        if patience:
            with suppress(OSError):
                self._connection.send(None)
                self._connection.poll(patience)  # until the process ends or the time is up
        self._connection.close()
        with suppress(ProcessLookupError, PermissionError):  # no process is left
            os.killpg(self._process.pid, signal.SIGKILL)  # the id is not reused before it is waited for
        self._process.wait()
        if self._printed:
            self._last_lines = _last_lines(self._printed)
            self._printed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _last_lines(printed: IO[bytes]) -> str:
    """The last two non-empty lines of a file, joined."""
    printed.seek(-min(printed.seek(0, os.SEEK_END), 2000), os.SEEK_END)
    lines = printed.read().decode(errors="replace").splitlines()
    return " ".join([line.strip() for line in lines if line.strip()][-2:])[-500:]


def _serve(handle: int) -> None:
    """Runs in the child: executes calls from `Child.call` until None arrives."""
    os.set_inheritable(handle, False)
    connection = Connection(handle)
    sys.path[:], sys.argv[:] = connection.recv()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    while request := pickle.loads(requests.get()):
        try:
            function, arguments = request
            answer = pickle.dumps((True, function(*arguments)))
        except Exception as error:  # any exception is sent to the parent
            answer = pickle.dumps((False, str(error) or type(error).__name__))
        connection.send_bytes(answer)


def _receive(connection: Connection, requests: queue.SimpleQueue[bytes]) -> None:
    """Waits for requests, and ends the process with its descendants when the parent is gone."""
    try:
        while True:
            requests.put(connection.recv_bytes())
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


class Jobs:
    """This machine, one process at a time."""

    workers = 1  # processes at a time

    def run(self, work: Work, arguments: Sequence[tuple[Any, ...]], seconds: float) -> list[Result]:
        """The result of `work` for each tuple of arguments, in order; `seconds` is the timeout per call (or inf)."""
        return [_in_child(work, job, seconds) for job in arguments]


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

    def run(self, work: Work, arguments: Sequence[tuple[Any, ...]], seconds: float) -> list[Result]:
        """As in the base class, with `workers` in parallel."""
        task = self._ray.remote(num_cpus=self._cpus, max_retries=1)(_in_child)
        waiting = [task.remote(work, job, seconds, self._cpus) for job in arguments]
        return [self._result(job) for job in waiting]

    def _result(self, task: Any) -> Result:
        try:
            result: Result = self._ray.get(task)
            return result
        except self._ray.exceptions.RayError as error:  # the node is gone
            return {**_failed(error), "seconds": 0.0}

    def close(self) -> None:
        self._ray.shutdown()


@contextmanager
def jobs(ray: str | None = None, workers: int | None = None) -> Iterator[Jobs]:
    """A runner of jobs.

    Args:
        ray: address of a Ray cluster; "auto" is the running one, "local" starts one on this machine; None: no Ray.
        workers: number of parallel Ray tasks; None: one per node.

    Raises ImportError if Ray is not installed, ConnectionError if no cluster answers, ValueError for workers below 1 or
    without Ray.
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
    """On an interrupt (Ctrl-C, SIGTERM), stores the outcome so far in the exception's attribute `outcome`, for the
    report.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.outcome = outcome()  # type: ignore[union-attr]
        raise


def _in_child(work: Work, arguments: tuple[Any, ...], seconds: float, cpus: int | None = None) -> Result:
    """The result of `work` in a child that trains with `cpus` threads; None: one per core."""
    start = time.monotonic()
    threads = {} if cpus is None else {"YOLORT_THREADS": str(min(cpus, _core.max_threads()))}  # Ray may report more
    with Child(environment=threads) as child:
        try:
            result = child.call(work, *arguments, seconds=seconds)
            child.close(_PATIENCE)
        except ChildError as error:
            result = _failed(error)
    return {**result, "seconds": time.monotonic() - start}


def _failed(error: Exception) -> Result:
    return {"failed": True, "note": f"failed: {' '.join(str(error).split())[:500]}"}
