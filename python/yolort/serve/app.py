"""The routes of the server, as an ASGI application."""

from __future__ import annotations

import gzip
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import prometheus_client as prometheus
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

import yolort
from yolort import _checks
from yolort._open import Model
from yolort.batcher import Batcher
from yolort.classification import Classification
from yolort.classifier import Classifier
from yolort.serve import answers, protocol
from yolort.serve.connection import HEAD, connection
from yolort.serve.form import parse_form
from yolort.serve.guard import Guard, error
from yolort.serve.limits import Limits, TooLargeError
from yolort.serve.options import DetectOptions, explain
from yolort.serve.service import Service

_PAGE = Path(__file__).parents[1] / "assets" / "serve.html"
_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
_HEADER = "inference-header-content-length"
_FILES = 256  # open files other than connections
_SWITCH = 0.0002  # seconds after which a thread yields to the event loop
_WORTH_COMPRESSING = 500  # bytes


def create_app(
    detector: Model,
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
        detector: a `Detector` or `Classifier`, cloned for the workers while the application runs.
        name: name of the model in `/v2/models/NAME`.
        limits: limits of requests; default: `Limits()`.
        api_key: key required for everything except the health checks and the page, as `Authorization: Bearer KEY` or
            `X-API-Key`.
        workers, max_batch, max_wait: as of `Batcher`.

    Raises:
        ValueError: the API key is empty or not ASCII, or the name has characters other than letters, digits and "._-".
    """
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key != ""):
        raise ValueError("the API key must be non-empty printable ASCII without leading or trailing spaces")
    if not name or not all(character.isalnum() or character in "._-" for character in name):
        raise ValueError(f'name is {name!r}, expected letters, digits and "._-"')
    workers = _checks.count("workers", workers)
    limits = limits or Limits()
    queue = limits.requests * limits.images
    start = partial(Batcher[Any], detector, queue=queue, workers=workers, max_batch=max_batch, max_wait=max_wait)

    service = Service(detector, name, limits, start)
    app = FastAPI(title="yolort", version=yolort.__version__, lifespan=service.lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_middleware(Guard, limits=limits, api_key=api_key, metrics=service.metrics)
    app.add_exception_handler(StarletteHTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(TooLargeError, _on_too_large)
    _add_page(app)
    _add_status(app, service)
    _add_inference(app, service)
    _add_detect(app, service)
    return app


def _add_page(app: FastAPI) -> None:
    """The page to try the server, and its image."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE, headers={"Content-Security-Policy": _PAGE_POLICY})

    @app.get("/sample.jpg", include_in_schema=False)
    async def sample() -> FileResponse:
        return FileResponse(yolort.demo_image())


def _check_name(service: Service, model: str, version: str) -> None:
    if model != service.name:
        raise HTTPException(404, f"there is no model {model[:80]!r} here; this server runs {service.name!r}")
    if version != protocol.VERSION:
        raise HTTPException(404, f"model {model!r} has no version {version[:80]!r}; it has {protocol.VERSION!r}")


def _add_status(app: FastAPI, service: Service) -> None:
    """Health, metrics and metadata."""

    @app.get("/healthz")
    @app.get("/v2/health/ready")
    @app.get("/v2/models/{model}/ready")
    @app.get("/v2/models/{model}/versions/{version}/ready")
    async def ready(model: str = service.name, version: str = protocol.VERSION) -> dict[str, Any]:
        _check_name(service, model, version)
        service.running()
        return {"name": service.name, "ready": True}

    @app.get("/v2/health/live")
    async def live() -> dict[str, Any]:
        return {"live": True}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(prometheus.generate_latest(service.metrics.registry), media_type=prometheus.CONTENT_TYPE_LATEST)

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": "yolort", "version": yolort.__version__, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/models/{model}")
    @app.get("/v2/models/{model}/versions/{version}")
    async def describe(model: str, version: str = protocol.VERSION) -> dict[str, Any]:
        _check_name(service, model, version)
        return protocol.describe(service.name, service.detector)


def _add_inference(app: FastAPI, service: Service) -> None:
    """Inference requests of the Open Inference Protocol."""

    @app.post("/v2/models/{model}/infer")
    @app.post("/v2/models/{model}/versions/{version}/infer")
    async def infer(model: str, request: Request, version: str = protocol.VERSION) -> Response:
        _check_name(service, model, version)
        service.running()
        body = await service.body_of(request)
        header = request.headers.get(_HEADER)
        asked, fetchers, settings = await service.aside(protocol.parse, body, header, service.detector, service.limits)
        found = await service.detect(fetchers, settings)
        del body, fetchers  # before a response exists
        content, length = await service.aside(answers.answer, service.name, asked, found, service.limits)
        headers = {} if length is None else {_HEADER: str(length)}
        if _takes_gzip(request) and len(content) > _WORTH_COMPRESSING:
            content = await service.aside(gzip.compress, content, 1)
            headers["content-encoding"] = "gzip"
        media_type = "application/json" if length is None else "application/octet-stream"
        return Response(content, headers=headers, media_type=media_type)


def _add_detect(app: FastAPI, service: Service) -> None:
    """`POST /detect`."""

    @app.post("/detect")
    async def detect(request: Request, options: Annotated[DetectOptions, Query()]) -> Response:
        """Detects in an image file sent as the body or as a form's file; other form fields are options, like those of
        the query.

        A classifier returns its five best classes that score above `conf`.
        """
        start = time.perf_counter()
        service.running()
        data: bytearray | memoryview = await service.body_of(request)
        fields: dict[str, str] = {}
        content_type = request.headers.get("content-type", "")
        if content_type.lower().startswith("multipart/form-data"):
            data, fields = await service.aside(parse_form, data, content_type)
            options = _with_fields(options, fields)
        conf = options.conf or 0.0
        if isinstance(service.detector, Classifier):
            options.conf = None
        settings = options.settings(service.detector, "form" if "classes" in fields else "query")
        (found,) = await service.detect([partial(protocol.decode, data, service.limits)], settings)
        del data
        ms = (time.perf_counter() - start) * 1e3
        if isinstance(found, Classification):
            answer = answers.classes_answer(found, conf, service.name, ms)
        else:
            answer = await service.aside(answers.one_answer, found, service.name, ms, service.limits)
        return Response(answer, media_type="application/json")


def run(app: FastAPI, host: str = "127.0.0.1", port: int = 8000, *, log_level: str = "info") -> None:
    """Serve until SIGINT or SIGTERM, then finish pending requests (for at most 30 seconds)."""
    import uvicorn

    service: Service = app.state.service
    limits = service.limits
    _allow_files(limits.connections + _FILES)
    service.has_process = True
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
        limit_concurrency=limits.connections + 1,  # the protocol closes idle ones itself
        timeout_graceful_shutdown=30,
    )


def _allow_files(count: int) -> None:
    """Raises the process's limit of open files as far as allowed."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def _on_http_error(_: Request, reason: Exception) -> Response:
    assert isinstance(reason, StarletteHTTPException)
    return error(reason.status_code, str(reason.detail))


async def _on_invalid(_: Request, reason: Exception) -> Response:
    assert isinstance(reason, RequestValidationError)
    return error(400, explain(reason.errors()))


async def _on_too_large(_: Request, reason: Exception) -> Response:
    return error(413, str(reason))


def _takes_gzip(request: Request) -> bool:
    for part in request.headers.get("accept-encoding", "").lower().replace(" ", "").split(","):
        name, _, quality = part.partition(";q=")
        if name == "gzip":
            return quality.strip("0.") != "" or quality == ""
    return False


def _with_fields(options: DetectOptions, fields: dict[str, str]) -> DetectOptions:
    """The options of the query, merged with those of the form."""
    query = options.model_dump(exclude_none=True)
    if twice := sorted(query.keys() & fields.keys()):
        raise HTTPException(400, f"{', '.join(twice)}: given in the query and in the form; give only one")
    try:
        return DetectOptions.model_validate({**query, **fields})
    except ValidationError as reason:
        raise HTTPException(400, f"form.{explain(reason.errors())}") from None
