"""Functions in processes of their own.

    with Child() as child:
        ranges = child.call(measure, "yolo26n.onnx", seconds=60)

A `Child` runs functions one after the other until it is closed. `jobs` runs one function on many arguments, each in a
child: here, one after the other, or side by side on a Ray cluster.

    with jobs(ray="auto", workers=2) as pool:
        results = pool.run(measure, [("a",), ("b",)], seconds=3600)

A job returns a dict. If it fails or takes too long, the dict is `{"failed": True, "note": why}`; every dict gets
`"seconds"`, what it took. What jobs make lies in folders that all nodes of the cluster see.
Nodes need the same packages.
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

_PATIENCE = 5.0  # seconds in which a child that has done its job may end by itself


class ChildError(RuntimeError):
    """A function failed in a child, or took too long, or its process ended; the message is the reason."""


class Child:
    """A process, in a session of its own, that runs functions; close it, or use it as a context manager.

    It ends with all it started when it is closed, and when the process that started it ends. Not multiprocessing's
    Process, which runs the caller's script again and neither opens a session nor ends with its parent.
    """

    def __init__(self, *, quiet: bool = False, environment: Mapping[str, str] | None = None) -> None:
        """Starts it.

        Args:
            quiet: keeps what it prints from the terminal; an error quotes the end of it if the process ends by itself.
            environment: variables that it has beside those of this process.
        """
        self._printed: IO[bytes] | None = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115, close() does
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
        """What a function of a module returns in the child; ChildError if it raises or takes more than `seconds`.

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
        """Ends the process and all it started; it may first end by itself within `patience` seconds."""
        if self._connection.closed:
            return
        if patience:
            with suppress(OSError):
                self._connection.send(None)
                self._connection.poll(patience)  # until the process has ended, or longer than it may take
        self._connection.close()
        with suppress(ProcessLookupError, PermissionError):  # there is no one left
            os.killpg(self._process.pid, signal.SIGKILL)  # the id is its own until it is waited for
        self._process.wait()
        if self._printed:
            self._last_lines = _last_lines(self._printed)
            self._printed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _last_lines(printed: IO[bytes]) -> str:
    """The last two lines of a file that are not empty, as one."""
    printed.seek(-min(printed.seek(0, os.SEEK_END), 2000), os.SEEK_END)
    lines = printed.read().decode(errors="replace").splitlines()
    return " ".join([line.strip() for line in lines if line.strip()][-2:])[-500:]


def _serve(handle: int) -> None:
    """Runs in the child: calls what `Child.call` sends until None comes."""
    os.set_inheritable(handle, False)
    connection = Connection(handle)
    sys.path[:], sys.argv[:] = connection.recv()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    while request := pickle.loads(requests.get()):
        try:
            function, arguments = request
            answer = pickle.dumps((True, function(*arguments)))
        except Exception as error:  # whatever it is, it is told to the other end
            answer = pickle.dumps((False, str(error) or type(error).__name__))
        connection.send_bytes(answer)


def _receive(connection: Connection, requests: queue.SimpleQueue[bytes]) -> None:
    """Waits for requests, and ends the process with all it started when the other end is gone."""
    try:
        while True:
            requests.put(connection.recv_bytes())
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


class Jobs:
    """This machine, one process at a time."""

    workers = 1  # processes at a time

    def run(self, work: Work, arguments: Sequence[tuple[Any, ...]], seconds: float) -> list[Result]:
        """What `work` returns for each tuple of arguments, in their order; each may take so many seconds (or inf)."""
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
        """As above, `workers` at a time."""
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
        workers: processes at a time, of Ray; None: one for each node.

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
    """Gives an interrupt (Ctrl-C, SIGTERM) the outcome so far, as its attribute `outcome`, for the report."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.outcome = outcome()  # type: ignore[union-attr]
        raise


def _in_child(work: Work, arguments: tuple[Any, ...], seconds: float, cpus: int | None = None) -> Result:
    """What `work` returns in a child, which trains with so many threads; None: one for each core."""
    start = time.monotonic()
    threads = {} if cpus is None else {"YOLORT_THREADS": str(min(cpus, _core.max_threads()))}  # Ray may claim more
    with Child(environment=threads) as child:
        try:
            result = child.call(work, *arguments, seconds=seconds)
            child.close(_PATIENCE)
        except ChildError as error:
            result = _failed(error)
    return {**result, "seconds": time.monotonic() - start}


def _failed(error: Exception) -> Result:
    return {"failed": True, "note": f"failed: {' '.join(str(error).split())[:500]}"}
