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

_COLLECT = 1.0  # seconds between collections of garbage

T = TypeVar("T")


class Service:
    """One model and what it takes on; the workers run during `lifespan`."""

    def __init__(self, detector: Model, name: str, limits: Limits, start: Callable[[], Batcher[Any]]) -> None:
        self.detector = detector
        self.name = name
        self.limits = limits
        self.has_process = False  #: no other code runs in this process
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
        """In the one thread for what takes long, which shares the interpreter with the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._helper, function, *arguments)

    def running(self) -> Batcher[Any]:
        """The workers. HTTPException if they do not run."""
        if self.batcher is None:
            raise HTTPException(503, "the lifespan of this application was not started: see docs/guide/serving.md")
        if not self.batcher.running:
            raise HTTPException(503, "the workers are not running: the server is shutting down")
        return self.batcher

    async def body_of(self, request: Request) -> bytearray:
        """The body, without its Content-Encoding. HTTPException for one that is too long or too slow."""
        try:
            body = await asyncio.wait_for(read_body(request, self.limits), self.limits.seconds)
        except asyncio.TimeoutError:  # before Python 3.11 no TimeoutError
            raise HTTPException(408, "the body took too long") from None
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return body if encoding in ("", "identity") else await self.aside(inflated, body, encoding, self.limits)

    async def detect(self, fetchers: list[Callable[[], npt.NDArray[np.uint8]]], settings: Settings) -> list[Any]:
        """Detections in what the fetchers give, or Classifications of it. TooLargeError, HTTPException."""
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
        except RuntimeError as reason:  # closed since it was looked at
            raise HTTPException(503, str(reason)) from reason
        finally:
            while futures:  # they hold the exception, which holds this frame: a request's memory goes with it
                futures.pop().cancel()
        self.metrics.images.inc(len(found))
        self.metrics.detections.inc(sum(len(one) for one in found if isinstance(one, Detections)))
        return found


class _MaskCount:
    """Bytes of the masks of a request, as its images are done."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    async def counted(self, future: Future[Any]) -> Any:
        """What was found. TooLargeError for more masks than one answer has."""
        try:
            found = await asyncio.wrap_future(future)
        finally:
            del future  # it holds the exception, which holds this frame
        if isinstance(found, Detections) and found.masks is not None:
            self._bytes += found.masks.nbytes
            check_masks(self._bytes, self._limits)
        return found


async def _collect() -> None:
    """Collects garbage once a second. Automatic collections would stop all threads, often while JSON is parsed."""
    gc.collect()
    gc.freeze()  # exclude everything imported and loaded so far from collections
    gc.disable()
    while True:
        await asyncio.sleep(_COLLECT)
        await asyncio.to_thread(gc.collect)


async def read_body(request: Request, limits: Limits) -> bytearray:
    """In one piece; `Request.body` would hold it twice for a while. HTTPException for one that is too long."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.body:
                raise HTTPException(413, too_long(limits))
    except BaseException:
        body.clear()  # the exception holds this frame, perhaps until the next collection of garbage
        raise
    return body
