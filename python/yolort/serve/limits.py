"""What one server takes on: bodies, images, requests and connections; refused before they cost memory or time."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import prometheus_client as prometheus
from fastapi import HTTPException
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from yolort import _image_header
from yolort.images import ImageError

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_READ = 32_768  # bytes of a connection that are parsed at once: other connections have their turn between
_SLICE = 1 << 20  # bytes that are decompressed at once
_FORMATS = {"bmp": "BMP", "jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
_MAX_SCANS = 100  # of a progressive JPEG file, each of which is decoded over the whole image


@dataclass(frozen=True)
class Limits:
    """What one server takes on; docs/serving.md says what memory that is.

    Attributes:
        body: bytes of a request, compressed or not; more is 413.
        pixels: of an image, told by its header before it is decoded; more is 413.
        images: of one inference request; more is 413.
        values: numbers, lists and objects in the JSON of a request; more is 413. Pixels are sent as binary data.
        requests: in the server at a time, waiting, running or being answered; more is 429.
        connections: at a time; more is 503.
        seconds: for the head of a request, its body, and the answer to be read, each; longer is 408, or the end of the
            connection.
    """

    body: int = 20 * 2**20
    pixels: int = 50_000_000
    images: int = 32
    values: int = 100_000
    requests: int = 64
    connections: int = 1000
    seconds: float = 30.0


class Metrics:
    """What Prometheus is told."""

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


def error(status: int, message: str) -> Response:
    """An answer of the form {"error": ...}."""
    headers = {429: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return Response(json.dumps({"error": message}), status, headers, "application/json")


def whole(text: str, most: int) -> int | None:
    """A number of a header, 0 to `most`; None for any other text."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else -1
    return number if 0 <= number <= most else None


class Guard:
    """What every request passes before a route sees it: the key, the number of requests, the size of the body."""

    open_paths = ("/", "/sample.jpg", "/healthz", "/v2/health/live", "/v2/health/ready")

    def __init__(self, app: ASGIApp, limits: Limits, api_key: str | None, metrics: Metrics) -> None:
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
                return error(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY")
        if scope["method"] != "POST":
            return None
        if self._active >= self._limits.requests:
            return error(429, f"{self._active} requests are in the server already; try again later")
        if whole(headers.get("content-length", "0"), self._limits.body) is None:
            return error(413, self._too_long())
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


def connection(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol, with a time in which a client must send the head of a request and read its answer.

    Connections are looked at twice in that time: one that waits for the same in the third look is ended.
    """

    class Connection(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.max_size = _READ
            self._seen: tuple[object, int] | None = None
            self._look = self.loop.call_later(limits.seconds / 2, self._check)

        def connection_lost(self, exc: Exception | None) -> None:
            self._look.cancel()
            super().connection_lost(exc)

        def _check(self) -> None:
            unread = self.transport.get_write_buffer_size() > 0
            working = self.cycle is not None and not self.cycle.response_complete and not unread
            before, times = self._seen or (None, 0)
            now = (id(self.cycle), unread)
            self._seen = None if working else (now, times + 1 if before == now else 0)
            if self._seen is not None and self._seen[1] >= 2:
                sock = self.transport.get_extra_info("socket")
                if sock is not None:  # what the kernel still holds for the client goes too
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
            else:
                self._look = self.loop.call_later(limits.seconds / 2, self._check)

    return Connection


async def decompressed(body: bytes, encoding: str, limits: Limits) -> bytes:
    """A body in its Content-Encoding, in another thread; no larger than a body may be."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise HTTPException(415, f"Content-Encoding is {encoding[:40]!r}, expected gzip or deflate")
    return await asyncio.to_thread(_inflate, body, limits.body)


def _inflate(body: bytes, most: int) -> bytes:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # zlib and gzip, told apart by their headers
    out = bytearray()
    try:
        rest = body
        while rest and not inflate.eof:
            out += inflate.decompress(rest, _SLICE)
            rest = inflate.unconsumed_tail
            if len(out) > most:
                raise HTTPException(413, f"the body is longer than {most} bytes")
    except zlib.error as reason:
        raise HTTPException(400, f"the body is not compressed as its Content-Encoding says: {reason}") from None
    if not inflate.eof:
        raise HTTPException(400, "the compressed body ends too early")
    return bytes(out)


class TooLargeError(ImageError):
    """An image of more pixels than the server decodes."""


def check_pixels(data: bytes, limits: Limits) -> None:
    """Refuses by the header what is no image, or too large to decode. ImageError, TooLargeError."""
    header = _image_header.read(data)
    if header is None or header.format not in _FORMATS:
        raise ImageError(f"the image is empty, damaged or none of {', '.join(_FORMATS.values())}")
    check_size(header.height, header.width, limits)
    if header.format == "jpeg" and data.count(b"\xff\xda") > _MAX_SCANS:
        raise TooLargeError(f"the image has more than {_MAX_SCANS} scans")


def check_size(height: int, width: int, limits: Limits) -> None:
    """TooLargeError for more pixels than allowed."""
    if height * width > limits.pixels:
        raise TooLargeError(f"the image has {width} x {height} pixels, more than the {limits.pixels} allowed")
