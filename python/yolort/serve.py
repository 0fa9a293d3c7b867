"""A Detector behind HTTP: the Open Inference Protocol (KServe v2), `POST /detect`, metrics, and a page to try it.

app = yolort.serve.create_app(yolort.Detector("yolo26n.onnx"))  # any ASGI server runs it; `run` does with uvicorn
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import io
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import prometheus_client as prometheus
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import yolort
from yolort import images
from yolort.batcher import Batcher, QueueFullError
from yolort.detections import Detections
from yolort.detector import Detector, Settings

_PAGE = Path(__file__).parent / "assets" / "serve.html"
_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' blob:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_VERSION = "1"


@dataclass(frozen=True)
class Limits:
    """What one server takes on; the memory of requests stays below `requests` x `body`, and a batch of images a worker.

    Attributes:
        body: bytes of a request; more is 413.
        pixels: of an image, told by its header before it is decoded; more is 413.
        images: of one inference request; more is 413.
        requests: in the server at a time, waiting or running; more is 429.
        seconds: for a request's body to arrive; longer is 408.
    """

    body: int = 20 * 2**20
    pixels: int = 50_000_000
    images: int = 32
    requests: int = 64
    seconds: float = 30.0


class Options(BaseModel):
    """Thresholds of one request; those left out are the server's."""

    model_config = ConfigDict(extra="forbid")

    conf: float | None = Field(None, ge=0, le=1)
    iou: float | None = Field(None, ge=0, le=1)
    max_det: int | None = Field(None, ge=1, le=100_000)
    classes: str | None = Field(None, pattern=r"^\d{1,6}(,\d{1,6})*$", description="class indices: 0,2,5")
    agnostic: bool | None = None

    def settings(self) -> Settings:
        given: dict[str, Any] = self.model_dump(exclude_none=True)
        if self.classes:
            given["classes"] = [int(index) for index in self.classes.split(",")]
        return cast(Settings, given)


class Tensor(BaseModel):
    """An input of the Open Inference Protocol."""

    name: Literal["images"]
    datatype: Literal["UINT8", "BYTES"]
    shape: list[Annotated[int, Field(ge=0, le=2**31 - 1)]] = Field(min_length=1, max_length=4)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class InferRequest(BaseModel):
    """A request of the Open Inference Protocol."""

    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    parameters: dict[str, Any] = {}


class _Metrics:
    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "yolort_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "yolort_request_seconds", "Time of requests that were accepted.", buckets=_SECONDS, registry=registry
        )
        self.images = prometheus.Counter("yolort_images", "Images detected in.", registry=registry)
        self.detections = prometheus.Counter("yolort_detections", "Objects found.", registry=registry)
        self.active = prometheus.Gauge("yolort_requests_active", "Requests in the server.", registry=registry)
        prometheus.Gauge("yolort_images_waiting", "Images in the queue.", registry=registry).set_function(waiting)


class _Guard:
    """What every request passes before a route sees it: the key, the number of requests, the size of the body."""

    open_paths = ("/", "/sample.jpg", "/healthz", "/v2/health/live", "/v2/health/ready")

    def __init__(self, app: ASGIApp, limits: Limits, api_key: str | None, metrics: _Metrics) -> None:
        self._app = app
        self._limits = limits
        self._key = api_key
        self._metrics = metrics
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "refused")  # a route, not what a stranger sends
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, count)
        elif scope["method"] != "POST":
            await self._app(scope, receive, count)
        else:
            start = time.monotonic()
            self._active += 1
            self._metrics.active.set(self._active)
            try:
                await self._app(scope, self._limited(receive), count)
            except ClientDisconnect:  # in the middle of its body
                pass
            finally:
                self._active -= 1
                self._metrics.active.set(self._active)
                self._metrics.seconds.observe(time.monotonic() - start)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if self._key is not None and scope["path"] not in self.open_paths:
            given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._key.encode()):
                return _error(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY")
        if scope["method"] != "POST":
            return None
        if self._active >= self._limits.requests:
            return _error(429, f"{self._active} requests are in the server already; try again later")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limits.body:
            return _error(413, self._too_long())
        return None

    def _too_long(self) -> str:
        return f"the body is longer than {self._limits.body} bytes"

    def _limited(self, receive: Receive) -> Receive:
        length = 0
        deadline = time.monotonic() + self._limits.seconds
        complete = False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal length, complete
            if complete:  # waiting for the client to hang up
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(deadline - time.monotonic(), 0))
            except asyncio.TimeoutError:  # before Python 3.11 no TimeoutError
                raise HTTPException(408, "the body took too long") from None
            length += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if length > self._limits.body:
                raise HTTPException(413, self._too_long())
            return message

        return limited


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
    limits = limits or Limits()
    queue = limits.requests * limits.images
    start = partial(Batcher, detector, queue=queue, workers=workers, max_batch=max_batch, max_wait=max_wait)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = start()
        try:
            yield
        finally:
            app.state.batcher.close()

    app = FastAPI(title="yolort", version=yolort.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.batcher = None
    metrics = _Metrics(lambda: app.state.batcher.waiting if app.state.batcher else 0)
    app.add_middleware(_Guard, limits=limits, api_key=api_key, metrics=metrics)
    app.add_exception_handler(StarletteHTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)

    def check_running() -> None:
        if not app.state.batcher.running:
            raise HTTPException(503, "the workers do not run: the server is stopping")

    async def detect_all(fetchers: list[Callable[[], npt.NDArray[np.uint8]]], settings: Settings) -> list[Detections]:
        check_running()
        futures = []
        try:
            for fetch in fetchers:
                futures.append(app.state.batcher.submit_lazily(fetch, **settings))
            found = await asyncio.gather(*map(asyncio.wrap_future, futures))
        except (images.ImageError, TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from error
        except QueueFullError as error:
            raise HTTPException(429, str(error)) from error
        except yolort.Error as error:
            raise HTTPException(500, str(error)) from error
        finally:
            for future in futures:
                future.cancel()
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
    async def ready(model: str = name) -> dict[str, Any]:
        check_name(model)
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

    def check_name(model: str) -> None:
        if model != name:
            raise HTTPException(404, f"there is no model {model!r} here; the one served is {name!r}")

    @app.get("/v2/models/{model}")
    async def describe(model: str) -> dict[str, Any]:
        check_name(model)
        return {
            "name": name,
            "versions": [_VERSION],
            "platform": f"yolort_{detector.engine}",
            "inputs": [{"name": "images", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": "counts", "datatype": "INT32", "shape": [-1]},
                {"name": "boxes", "datatype": "FP32", "shape": [-1, 4]},
                {"name": "scores", "datatype": "FP32", "shape": [-1]},
                {"name": "classes", "datatype": "INT32", "shape": [-1]},
            ],
            "parameters": {
                "names": list(detector.names.values()),
                "imgsz": list(detector.imgsz),
                "device": detector.device,
                "precision": detector.precision,
            },
        }

    @app.post("/v2/models/{model}/infer")
    async def infer(model: str, request: Request) -> dict[str, Any]:
        check_name(model)
        asked, binary = _parse_infer(await request.body(), request.headers.get("inference-header-content-length"))
        given = {key: value for key, value in asked.parameters.items() if key != "binary_data_output"}
        try:
            settings = Options.model_validate(given).settings()
        except ValidationError as error:
            raise HTTPException(400, f"parameters: {_explain(error.errors())}") from None
        found = await detect_all(_fetchers(asked.inputs[0], binary, limits), settings)
        answer = {"model_name": name, "model_version": _VERSION, "outputs": _outputs(found)}
        return {**answer, "id": asked.id} if asked.id is not None else answer

    @app.post("/detect")
    async def detect(request: Request, options: Annotated[Options, Query()]) -> dict[str, Any]:
        """An image file as the body, or as a form's file."""
        start = time.perf_counter()
        data = await _image_body(request)
        _check_pixels(data, limits)
        (found,) = await detect_all([partial(images.decode, data)], options.settings())
        answer = found.to_dict()
        del answer["path"]
        return {**answer, "model": name, "ms": round((time.perf_counter() - start) * 1e3, 2)}

    return app


def run(app: FastAPI, host: str = "127.0.0.1", port: int = 8000, *, log_level: str = "info") -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests that are in (for 30 seconds at most)."""
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level=log_level,
        access_log=False,
        server_header=False,
        limit_concurrency=1000,
        timeout_graceful_shutdown=30,
    )


def _error(status: int, message: str) -> JSONResponse:
    headers = {429: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return JSONResponse({"error": message}, status, headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return _error(error.status_code, error.detail)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _error(400, _explain(error.errors()))


def _explain(errors: Any) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in list(errors)[:5])


async def _image_body(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=0) as form:
        for item in form.values():
            if isinstance(item, UploadFile):
                return await item.read()
    raise HTTPException(400, "the form holds no file")


def _check_pixels(data: bytes, limits: Limits) -> None:
    """Refuse by the header what is no image or too large to decode."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as header:
            width, height = header.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise HTTPException(413, str(error)) from error
    except Exception as error:  # Pillow's readers raise many kinds
        raise HTTPException(400, f"the image is empty, damaged or none of {', '.join(_FORMATS)}") from error
    _check_size(height, width, limits)


def _check_size(height: int, width: int, limits: Limits) -> None:
    if height * width > limits.pixels:
        raise HTTPException(413, f"the image has {width} x {height} pixels, more than the {limits.pixels} allowed")


def _parse_infer(body: bytes, header: str | None) -> tuple[InferRequest, bytes]:
    """The JSON of a request, and the binary data after it."""
    if header is not None and not (header.isdecimal() and int(header) <= len(body)):
        raise HTTPException(400, f"Inference-Header-Content-Length is {header[:20]!r} in a body of {len(body)} bytes")
    end = len(body) if header is None else int(header)
    try:
        return InferRequest.model_validate_json(body[:end]), body[end:]
    except ValidationError as error:
        raise HTTPException(400, _explain(error.errors())) from None


def _fetchers(tensor: Tensor, binary: bytes, limits: Limits) -> list[Callable[[], npt.NDArray[np.uint8]]]:
    """What gives each image of an input, when its turn has come."""
    size = tensor.parameters.get("binary_data_size")
    if (tensor.data is None) == (size is None) or (size is not None and size != len(binary)):
        raise HTTPException(400, f"images: expected either data, or binary_data_size of the {len(binary)} bytes sent")
    count = tensor.shape[0] if tensor.datatype == "BYTES" or len(tensor.shape) == 4 else 1
    if count > limits.images:
        raise HTTPException(413, f"images: {count} are more than the {limits.images} of one request")
    if tensor.datatype == "BYTES":
        files = list(_split_bytes(binary)) if tensor.data is None else [_from_base64(item) for item in tensor.data]
        if tensor.shape != [len(files)]:
            raise HTTPException(400, f"images: expected shape [{len(files)}], got {tensor.shape}")
        for file in files:
            _check_pixels(file, limits)
        return [partial(images.decode, file) for file in files]
    if len(tensor.shape) < 3 or tensor.shape[-1] != 3:
        raise HTTPException(400, f"images: expected shape [(count,) height, width, 3], got {tensor.shape}")
    height, width = tensor.shape[-3:-1]
    _check_size(height, width, limits)
    try:
        flat = np.frombuffer(binary, np.uint8) if tensor.data is None else np.asarray(tensor.data, np.uint8)
        pixels = flat.reshape(count, height, width, 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise HTTPException(400, f"images: data is not UINT8 of shape {tensor.shape}: {error}") from None
    return [partial(_itself, image) for image in pixels]


def _itself(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return image


def _split_bytes(binary: bytes) -> Iterator[bytes]:
    """Elements of a BYTES tensor: each behind its length, 4 bytes little-endian."""
    at = 0
    while at < len(binary):
        (length,) = struct.unpack_from("<I", binary, at) if at + 4 <= len(binary) else (len(binary),)
        at += 4 + length
        if at > len(binary):
            raise HTTPException(400, "images: the binary data ends within an element")
        yield binary[at - length : at]


def _from_base64(item: Any) -> bytes:
    try:
        return base64.b64decode(item, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise HTTPException(400, "images: BYTES in JSON are image files in base64") from None


def _outputs(found: list[Detections]) -> list[dict[str, Any]]:
    """Columns of all images one behind the other; `counts` tells how many rows are of each."""
    columns = {
        "counts": ("INT32", np.array([len(one) for one in found], np.int32)),
        "boxes": ("FP32", np.concatenate([one.boxes for one in found])),
        "scores": ("FP32", np.concatenate([one.scores for one in found])),
        "classes": ("INT32", np.concatenate([one.classes for one in found])),
    }
    return [
        {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()}
        for name, (datatype, values) in columns.items()
    ]
