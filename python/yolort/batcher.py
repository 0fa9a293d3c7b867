"""Dynamic batching: single images from many callers run together on a `Detector` or `Classifier`."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from yolort import _checks
from yolort._core import Error
from yolort._types import Array, DetectorLike, Result, Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

WORKERS = 2  # one letterboxes and decodes while the other's network runs


class QueueFullError(Error):
    """The queue is full: try again later."""


class _Job(NamedTuple):
    fetch: Callable[[], Array]
    settings: dict[str, Any]  # see `_checks.settings`
    future: Future[Any]


class _Queue:
    """A queue of jobs, taken in batches of equal settings."""

    def __init__(self, size: int, max_batch: int, max_wait: float) -> None:
        self._size = size
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._working = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("this Batcher is closed")
            if len(self._jobs) >= self._size:
                raise QueueFullError(
                    f"queue: {self._size} images are already waiting; try again later, or raise queue="
                )
            self._jobs.append(job)
            self._changed.notify_all()

    def take(self) -> list[_Job]:
        """The next batch; empty after the queue is closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            batch: list[_Job] = []
            deadline = time.monotonic() + self._max_wait
            while len(batch) < self._max_batch:
                if self._jobs:
                    if batch and self._jobs[0].settings != batch[0].settings:
                        break
                    batch.append(self._jobs.popleft())
                elif self._closed or not self._changed.wait(max(deadline - time.monotonic(), 0)):
                    break
            return batch

    def start(self, threads: list[threading.Thread]) -> None:
        self._working = len(threads)
        for thread in threads:
            thread.start()

    def leave(self) -> None:
        """A worker ends."""
        with self._changed:
            self._working -= 1
            self._changed.notify_all()

    def wait(self, working: int) -> None:
        """Waits until this many workers are left. Unlike Thread.join, it can be interrupted by Ctrl-C without marking
        the threads as ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._working <= working)

    def close(self, cancel: bool) -> None:
        with self._changed:
            self._closed = True
            dropped = list(self._jobs) if cancel else []
            if cancel:
                self._jobs.clear()
            self._changed.notify_all()
        for job in dropped:
            job.future.cancel()


class Batcher(Generic[Result]):
    """Detects in single images from many threads or an event loop, several per run of the network.

    Each worker has a clone of the Detector. A batch consists of the images that arrived while the workers were busy, up
    to `max_batch` images with the same settings. Close it, or use it as a context manager.

    with yolort.Batcher(detector, max_batch=8) as batcher:
        future = batcher.submit(image)                        # a thread: future.result()
        found = await asyncio.wrap_future(batcher.submit(image))  # a coroutine
    """

    def __init__(
        self,
        detector: DetectorLike[Result],
        *,
        max_batch: int | None = None,
        max_wait: float = 0.0,
        queue: int = 64,
        workers: int = WORKERS,
    ) -> None:
        """Start the workers.

        Args:
            detector: a `Detector` or `Classifier`, which is cloned for each worker.
            max_batch: maximum number of images per run, at least 1. Default: the fixed batch size of the model; for a
                dynamic model 8 on a GPU and 4 on a CPU. Results of a batch may differ from those of single images in
                the last bits.
            max_wait: maximum time in seconds that a worker waits for a batch to fill; with 0 it starts at once.
            queue: maximum number of waiting images, at least 1; `submit` refuses more.
            workers: number of threads that run the network, 1 to four per core.

        Raises:
            ValueError: an argument is out of range.
            EngineError: the engine cannot be cloned.
        """
        if max_batch is None:
            max_batch = detector.batch or (4 if detector.device == "cpu" else 8)
        max_batch = _checks.integer("max_batch", max_batch)
        queue = _checks.integer("queue", queue)
        workers = _checks.count("workers", workers)
        if not 0 <= _checks.number("max_wait", max_wait) <= 60:
            raise ValueError(f"max_wait is {max_wait}, expected 0 to 60 seconds")
        self.max_batch = max_batch
        self._names = detector.names
        self._queue = _Queue(queue, max_batch, max_wait)
        self._threads = [
            threading.Thread(target=_work, args=(self._queue, detector.clone()), name=f"yolort-worker-{i}", daemon=True)
            for i in range(workers)
        ]
        self._queue.start(self._threads)
        # The threads hold the queue, not this object, so a Batcher that was never closed is still closed when collected
        # or at exit.
        self._finalizer = weakref.finalize(self, _stop, self._queue, self._threads, True)

    def submit(self, image: Array, **settings: Unpack[Settings]) -> Future[Result]:
        """Queue one image and return at once.

        Args:
            image: an array as for `Detector`; it must not change until the future is done.
            **settings: see `Detector.__call__`; only images with equal settings run together.

        Returns:
            A future with the result or the exception for this image; `cancel()` works while the image waits.

        Raises:
            QueueFullError: `queue` images are already waiting.
            TypeError, ValueError: a setting has the wrong type, or the model lacks one of the classes.
            RuntimeError: the Batcher is closed, or the process has forked since it was created.
        """
        return self.submit_lazily(lambda: image, **settings)

    def submit_lazily(self, fetch: Callable[[], Array], **settings: Unpack[Settings]) -> Future[Result]:
        """The same for an image that a worker obtains by calling `fetch` when its turn has come."""
        if not self.running:
            raise RuntimeError("this Batcher is closed, or was created before the process forked")
        future: Future[Result] = Future()
        self._queue.put(_Job(fetch, _checks.settings(settings, self._names), future))
        return future

    @property
    def running(self) -> bool:
        """Whether the workers are running: True until closed, and False in a forked process."""
        return self._threads[0].is_alive()

    @property
    def waiting(self) -> int:
        """Number of images in the queue."""
        return len(self._queue)

    def close(self, *, cancel: bool = False) -> None:
        """Accept no more images, finish the waiting ones (or cancel them), and stop the workers.

        Ctrl-C during this call cancels the waiting images.
        """
        if self._finalizer.alive:  # a thread still running at exit would crash
            try:
                _stop(self._queue, self._threads, cancel)
            except BaseException:
                self._queue.close(cancel=True)
                raise
            self._finalizer.detach()

    def __enter__(self) -> Batcher[Result]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close(cancel=exception[0] is not None)


def _stop(queue: _Queue, threads: list[threading.Thread], cancel: bool) -> None:
    if not threads[0].is_alive():  # in a forked process, locks may be held by threads that do not exist
        return
    queue.close(cancel)
    others = [thread for thread in threads if thread is not threading.current_thread()]
    queue.wait(len(threads) - len(others))  # the last reference may be dropped by a future's callback in a worker
    for thread in others:
        thread.join()


def _work(queue: _Queue, detector: DetectorLike[Any]) -> None:
    try:
        while batch := queue.take():
            jobs: list[_Job] = []
            arrays: list[Array] = []
            for job in batch:
                if job.future.set_running_or_notify_cancel():
                    try:
                        arrays.append(job.fetch())
                        jobs.append(job)
                    except Exception as error:
                        job.future.set_exception(error)
            _run(detector, jobs, arrays)
            del batch, job, jobs, arrays  # this thread holds no image while it waits
    finally:
        queue.leave()


def _run(detector: DetectorLike[Any], jobs: list[_Job], arrays: list[Array]) -> None:
    """Set each future; an image that fails does not affect the others."""
    if not jobs:
        return
    try:
        found = detector(arrays, **jobs[0].settings)
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
            return
        for job, array in zip(jobs, arrays, strict=True):
            _run(detector, [job], [array])
        return
    for job, detections in zip(jobs, found, strict=True):
        job.future.set_result(detections)
