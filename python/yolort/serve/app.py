"""The routes of the server, as an ASGI application."""

from __future__ import annotations

import asyncio
import gc
import gzip
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
import prometheus_client as prometheus
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

import yolort
from yolort import _checks, images
from yolort._types import Settings
from yolort.batcher import Batcher, QueueFullError
from yolort.detections import Detections
from yolort.detector import Detector
from yolort.serve import protocol
from yolort.serve.limits import (
    HEAD,
    Guard,
    Limits,
    Metrics,
    TooLargeError,
    connection,
    error,
    inflated,
    too_long,
)
from yolort.serve.protocol import Options, explain

_PAGE = Path(__file__).parents[1] / "assets" / "serve.html"
_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' blob:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
_HEADER = "inference-header-content-length"
_FILES = 256  # that are open beside connections
_COLLECT = 1.0  # seconds between collections of garbage
_SWITCH = 0.0002  # seconds after which a thread gives way to the event loop
_WORTH_COMPRESSING = 500  # bytes

T = TypeVar("T")


def create_app(
    detector: Detector,
    *,
    name: str = "yolo",
    limits: Limits | None = None,
    api_key: str | None = None,
    workers: int = 2,
    max_batch: int | None = None,
    max_wait: float = 0.0,
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        detector: is cloned for the workers while the application runs.
        name: of the model in `/v2/models/NAME`.
        limits: what it takes on; default: `Limits()`.
        api_key: required of all but the health checks and the page, as `Authorization: Bearer KEY` or `X-API-Key`.
        workers, max_batch, max_wait: as of `Batcher`.

    Raises:
        ValueError: an empty or non-ASCII API key, a name with other than letters, digits, and "._-".
    """
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key != ""):
        raise ValueError("the API key must be printable ASCII, one character or more, without spaces around it")
    if not name or not all(character.isalnum() or character in "._-" for character in name):
        raise ValueError(f'name is {name!r}, expected letters, digits and "._-"')
    workers = _checks.count("workers", workers)
    limits = limits or Limits()
    queue = limits.requests * limits.images
    start = partial(Batcher, detector, queue=queue, workers=workers, max_batch=max_batch, max_wait=max_wait)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = start()
        app.state.helper = ThreadPoolExecutor(1, "yolort-helper")
        collecting = asyncio.create_task(collect()) if app.state.alone else None
        try:
            yield
        finally:
            if collecting:
                collecting.cancel()
            app.state.batcher.close()
            app.state.helper.shutdown(cancel_futures=True)

    async def aside(function: Callable[..., T], *arguments: Any) -> T:
        """In the one thread for what takes long, which shares the interpreter with the event loop."""
        return await asyncio.get_running_loop().run_in_executor(app.state.helper, function, *arguments)

    async def collect() -> None:
        """Collects garbage once a second. Automatic collections would stop all threads, often while JSON is parsed."""
        gc.collect()
        gc.freeze()  # what was imported and loaded is not looked at again
        gc.disable()
        while True:
            await asyncio.sleep(_COLLECT)
            await asyncio.to_thread(gc.collect)

    async def body_of(request: Request) -> bytearray:
        try:
            body = await asyncio.wait_for(_body(request, limits), limits.seconds)
        except asyncio.TimeoutError:  # before Python 3.11 no TimeoutError
            raise HTTPException(408, "the body took too long") from None
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return body if encoding in ("", "identity") else await aside(inflated, body, encoding, limits)

    app = FastAPI(title="yolort", version=yolort.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.batcher = None
    app.state.alone = False  # in its process
    app.state.limits = limits
    metrics = Metrics(lambda: app.state.batcher.waiting if app.state.batcher else 0)
    app.add_middleware(Guard, limits=limits, api_key=api_key, metrics=metrics)
    app.add_exception_handler(StarletteHTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(TooLargeError, _on_too_large)

    def check_running() -> None:
        if app.state.batcher is None:
            raise HTTPException(503, "the lifespan of this application has not begun: see docs/serving.md")
        if not app.state.batcher.running:
            raise HTTPException(503, "the workers do not run: the server is stopping")

    async def detect_all(fetchers: list[Callable[[], npt.NDArray[np.uint8]]], settings: Settings) -> list[Detections]:
        check_running()
        futures = []
        try:
            for fetch in fetchers:
                futures.append(app.state.batcher.submit_lazily(fetch, **settings))
            found = await asyncio.gather(*map(asyncio.wrap_future, futures))
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
        metrics.images.inc(len(found))
        metrics.detections.inc(sum(map(len, found)))
        return found

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE, headers={"Content-Security-Policy": _PAGE_POLICY})

    @app.get("/sample.jpg", include_in_schema=False)
    async def sample() -> FileResponse:
        return FileResponse(yolort.demo_image())

    @app.get("/healthz")
    @app.get("/v2/health/ready")
    @app.get("/v2/models/{model}/ready")
    @app.get("/v2/models/{model}/versions/{version}/ready")
    async def ready(model: str = name, version: str = protocol.VERSION) -> dict[str, Any]:
        check_name(model, version)
        check_running()
        return {"name": name, "ready": True}

    @app.get("/v2/health/live")
    async def live() -> dict[str, Any]:
        return {"live": True}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(prometheus.generate_latest(metrics.registry), media_type=prometheus.CONTENT_TYPE_LATEST)

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": "yolort", "version": yolort.__version__, "extensions": ["binary_tensor_data"]}

    def check_name(model: str, version: str) -> None:
        if model != name:
            raise HTTPException(404, f"there is no model {model[:80]!r} here; the one served is {name!r}")
        if version != protocol.VERSION:
            raise HTTPException(404, f"model {name!r} has no version {version[:80]!r}; it has {protocol.VERSION!r}")

    @app.get("/v2/models/{model}")
    @app.get("/v2/models/{model}/versions/{version}")
    async def describe(model: str, version: str = protocol.VERSION) -> dict[str, Any]:
        check_name(model, version)
        return protocol.describe(name, detector)

    @app.post("/v2/models/{model}/infer")
    @app.post("/v2/models/{model}/versions/{version}/infer")
    async def infer(model: str, request: Request, version: str = protocol.VERSION) -> Response:
        check_name(model, version)
        check_running()
        body = await body_of(request)
        asked, fetchers, settings = await aside(protocol.parse, body, request.headers.get(_HEADER), detector, limits)
        found = await detect_all(fetchers, settings)
        del body, fetchers  # before there is an answer
        content, header = await aside(protocol.answer, name, asked, found)
        headers = {} if header is None else {_HEADER: str(header)}
        if _takes_gzip(request) and len(content) > _WORTH_COMPRESSING:
            content = await aside(gzip.compress, content, 1)
            headers["content-encoding"] = "gzip"
        media_type = "application/json" if header is None else "application/octet-stream"
        return Response(content, headers=headers, media_type=media_type)

    @app.post("/detect")
    async def detect(request: Request, options: Annotated[Options, Query()]) -> Response:
        """An image file as the body, or as a form's file; the form's other fields are options as those of the query."""
        start = time.perf_counter()
        check_running()
        data: bytearray | memoryview = await body_of(request)
        fields: dict[str, str] = {}
        content_type = request.headers.get("content-type", "")
        if content_type.lower().startswith("multipart/form-data"):
            data, fields = await aside(protocol.parse_form, data, content_type)
            options = _with_fields(options, fields)
        settings = options.settings(detector, "form" if "classes" in fields else "query")
        (found,) = await detect_all([partial(protocol.decode, data, limits)], settings)
        del data
        ms = (time.perf_counter() - start) * 1e3
        return Response(await aside(protocol.one_answer, found, name, ms), media_type="application/json")

    return app


def run(app: FastAPI, host: str = "127.0.0.1", port: int = 8000, *, log_level: str = "info") -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests that are in (for 30 seconds at most)."""
    import uvicorn

    limits: Limits = app.state.limits
    _allow_files(limits.connections + _FILES)
    app.state.alone = True
    sys.setswitchinterval(_SWITCH)
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="asyncio",
        http=connection(limits),
        ws="none",
        h11_max_incomplete_event_size=HEAD,
        log_level=log_level,
        access_log=False,
        server_header=False,
        limit_concurrency=limits.connections + 1,  # of which the protocol ends the idle ones
        timeout_graceful_shutdown=30,
    )


def _allow_files(count: int) -> None:
    """Raises the process's limit of open files, as far as it may."""
    try:
        import resource
    except ImportError:  # Windows, which has none
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _on_http_error(request: Request, reason: Exception) -> Response:
    assert isinstance(reason, StarletteHTTPException)
    return error(reason.status_code, str(reason.detail))


async def _on_invalid(request: Request, reason: Exception) -> Response:
    assert isinstance(reason, RequestValidationError)
    return error(400, explain(reason.errors()))


async def _on_too_large(request: Request, reason: Exception) -> Response:
    return error(413, str(reason))


def _takes_gzip(request: Request) -> bool:
    for part in request.headers.get("accept-encoding", "").lower().replace(" ", "").split(","):
        name, _, quality = part.partition(";q=")
        if name == "gzip":
            return quality.strip("0.") != "" or quality == ""
    return False


async def _body(request: Request, limits: Limits) -> bytearray:
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


def _with_fields(options: Options, fields: dict[str, str]) -> Options:
    """The options of a query with those of a form."""
    given = options.model_dump(exclude_none=True)
    if twice := sorted(given.keys() & fields.keys()):
        raise HTTPException(400, f"{', '.join(twice)}: in the query and in the form; give one")
    try:
        return Options.model_validate({**given, **fields})
    except ValidationError as reason:
        raise HTTPException(400, f"form.{explain(reason.errors())}") from None
