"""Shared by the routes: the workers, a thread for long work, and request bodies."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, HTTPException, Request

import yolort
from yolort import images
from yolort._open import Model
from yolort._types import Settings
from yolort.batcher import Batcher, QueueFullError
from yolort.detections import Detections
from yolort.serve.guard import Metrics
from yolort.serve.limits import Limits, TooLargeError, check_masks, inflated, too_long

_COLLECT = 1.0  # seconds between garbage collections

T = TypeVar("T")


class Service:
    """One model and its limits; the workers run during `lifespan`."""

    def __init__(self, detector: Model, name: str, limits: Limits, start: Callable[[], Batcher[Any]]) -> None:
        self.detector = detector
        self.name = name
        self.limits = limits
        self.has_process = False  #: nothing else runs in this process
        self.batcher: Batcher[Any] | None = None
        self.metrics = Metrics(lambda: self.batcher.waiting if self.batcher else 0)
        self._start = start
        self._helper: ThreadPoolExecutor | None = None

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """The workers live as long as the application runs."""
        self.batcher = self._start()
        self._helper = ThreadPoolExecutor(1, "yolort-helper")
        collecting = asyncio.create_task(_collect()) if self.has_process else None
        try:
            yield
        finally:
            if collecting:
                collecting.cancel()
            self.batcher.close()
            self._helper.shutdown(cancel_futures=True)

    async def aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs long work in the single thread for it, which shares the interpreter with the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._helper, function, *arguments)

    def running(self) -> Batcher[Any]:
        """The workers. HTTPException if they are not running."""
        if self.batcher is None:
            raise HTTPException(503, "the lifespan of this application was not started: see docs/guide/serving.md")
        if not self.batcher.running:
            raise HTTPException(503, "the workers are not running: the server is shutting down")
        return self.batcher

    async def body_of(self, request: Request) -> bytearray:
        """The decoded body. HTTPException if it is too long or too slow."""
        try:
            body = await asyncio.wait_for(read_body(request, self.limits), self.limits.seconds)
        except asyncio.TimeoutError:  # not a TimeoutError before Python 3.11
            raise HTTPException(408, "the body took too long") from None
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return body if encoding in ("", "identity") else await self.aside(inflated, body, encoding, self.limits)

    async def detect(self, fetchers: list[Callable[[], npt.NDArray[np.uint8]]], settings: Settings) -> list[Any]:
        """Detects in or classifies the images that the fetchers return. TooLargeError, HTTPException."""
        batcher = self.running()
        futures = []
        try:
            for fetch in fetchers:
                futures.append(batcher.submit_lazily(fetch, **settings))
            masks = _MaskCount(self.limits)
            found = await asyncio.gather(*map(masks.counted, futures))
        except TooLargeError:
            raise
        except (images.ImageError, TypeError, ValueError) as reason:
            raise HTTPException(400, str(reason)) from reason
        except QueueFullError as reason:
            raise HTTPException(429, str(reason)) from reason
        except yolort.Error as reason:
            raise HTTPException(500, str(reason)) from reason
        except RuntimeError as reason:  # closed in the meantime
            raise HTTPException(503, str(reason)) from reason
        finally:
            while futures:  # frees the request's memory, which they keep alive
                futures.pop().cancel()
        self.metrics.images.inc(len(found))
        self.metrics.detections.inc(sum(len(one) for one in found if isinstance(one, Detections)))
        return found


class _MaskCount:
    """Counts the bytes of a request's masks as its images are finished."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    async def counted(self, future: Future[Any]) -> Any:
        """Checks a result. TooLargeError if the masks exceed the limit of a response."""
        try:
            found = await asyncio.wrap_future(future)
        finally:
            del future  # it references the exception, and that references this frame
        if isinstance(found, Detections) and found.masks is not None:
            self._bytes += found.masks.nbytes
            check_masks(self._bytes, self._limits)
        return found


async def _collect() -> None:
    """Collects garbage once a second, because automatic collections would stop all threads, often during JSON
    parsing.
    """
    gc.collect()
    gc.freeze()  # exclude everything imported and loaded so far from collections
    gc.disable()
    while True:
        await asyncio.sleep(_COLLECT)
        await asyncio.to_thread(gc.collect)


async def read_body(request: Request, limits: Limits) -> bytearray:
    """Reads the body into one buffer; `Request.body` would briefly hold two copies. HTTPException if it is too long."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.body:
                raise HTTPException(413, too_long(limits))
    except BaseException:
        body.clear()  # the exception keeps this frame alive, perhaps until the next garbage collection
        raise
    return body
