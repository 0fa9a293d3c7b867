"""What one server takes on: bodies, images, requests and connections; refused before they cost memory or time."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h11
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
_READ = (1024, 16_384)  # bytes that are read from a connection at once, at first and at most
_SLOW = 0.001  # seconds of the event loop that such bytes may cost; the connection then rests
_REST = 60  # times as long
_TURNS = 2  # bodies that are read in one round of the event loop
_GRACE = 1.0  # seconds that a new connection has for its first request when there are too many
HEAD = 8192  # bytes of the head of a request
_PIECE = 65_536  # bytes of an answer that are handed to a connection at once
_SLICE = 1 << 18  # bytes that are decompressed or searched while no other thread has its turn
_FORMATS = {"bmp": "BMP", "jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
_MAX_SCANS = 100  # of a progressive JPEG file, each of which is decoded over the whole image
_MAX_SCANNED = 10**9  # pixels of all of them
_MAX_TEXTS = 32  # of a PNG file, each of which is inflated to 8 MB at most
_MAX_CHUNKS = 100_000
_MAX_MEMBERS = 1000  # of a gzip file; one that holds nothing takes 20 bytes


@dataclass(frozen=True)
class Limits:
    """What one server takes on; docs/serving.md says what memory that is.

    Attributes:
        body: bytes of a request, before and after decompression; more is 413.
        pixels: of an image, told by its header before it is decoded; more is 413.
        images: of one inference request; more is 413.
        json: bytes of the JSON of a request, not counting image files in base64; more is 413.
        values: numbers, lists and objects in the JSON of a request; more is 413. Pixels are sent as binary data.
        detections: of one answer (images x `max_det`); more asked for is 413.
        requests: POST requests in the server at a time, until their answers are read; more are 429.
        connections: at a time; a new one ends the oldest that has no request in the server.
        seconds: for the head of a request, its body, and the answer to be read, each; longer is 408, or the end of the
            connection.
    """

    body: int = 20 * 2**20
    pixels: int = 50_000_000
    images: int = 32
    json: int = 2**20
    values: int = 100_000
    detections: int = 100_000
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


def too_long(limits: Limits) -> str:
    """The reason for 413."""
    return f"the body is longer than {limits.body} bytes"


def whole(text: str, most: int) -> int | None:
    """A number of a header, 0 to `most`; None for any other text."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else -1
    return number if 0 <= number <= most else None


def _pieces(message: Message) -> Iterator[Message]:
    """A long body in pieces, each of which waits until the client has read the one before."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for at in range(0, len(body), _PIECE):
        more = at + _PIECE < len(body) or message.get("more_body", False)
        yield {**message, "body": body[at : at + _PIECE], "more_body": more}


class Guard:
    """What every request passes before a route sees it: API key, number of requests, declared size of the body."""

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
            for piece in _pieces(message):
                await send(piece)

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
                await self._app(scope, receive, count)
            except ClientDisconnect:  # in the middle of its body
                pass
            finally:
                self._active -= 1
                self._metrics.active.set(self._active)
                self._metrics.seconds.observe(time.monotonic() - start)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # of an application that is mounted
        if self._key is not None and path not in self.open_paths:
            given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._key.encode()):
                return error(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY")
        if scope["method"] != "POST":
            return None
        if self._active >= self._limits.requests:
            return error(429, f"{self._active} requests are in the server already; try again later")
        if whole(headers.get("content-length", "0"), self._limits.body) is None:
            return error(413, too_long(self._limits))
        return None


def connection(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol, with bounds on what a client costs the event loop, on connections, and on their time.

    - Bodies are read in turns, a few pieces in each round of the event loop: requests without one do not wait for them.
    - What a connection's bytes cost is measured. If they are expensive to parse (a body in chunks of one byte), it is
      read again after a multiple of that time, and one such connection after the other.
    - A connection beyond the limit ends the oldest that has no request in the server.
    - A client must send the head of a request, and read its answer, within `limits.seconds`. Connections are looked at
      twice in that time: one that waits for the same in the third look is ended.
    """
    connections: dict[Connection, None] = {}  # oldest first
    turns: deque[Connection] = deque()  # in the middle of their bodies
    rested = 0.0  # the event loop's time at which the next expensive connection is read on

    def next_turns(loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(len(turns), _TURNS)):
            turns.popleft()._read_on()
        if turns:
            loop.call_soon(next_turns, loop)

    class Connection(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.max_size = _READ[0]
            connections[self] = None
            self._since = time.monotonic()
            if len(connections) > limits.connections:
                late = self._since - _GRACE
                next((one for one in connections if one._idle() and one._since < late), self)._end()
            self._seen: tuple[object, int] | None = None
            self._look = self.loop.call_later(limits.seconds / 2, self._check)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self, None)
            self._look.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            nonlocal rested
            start = time.thread_time()
            super().data_received(data)
            cost = time.thread_time() - start
            transport: Any = self.transport
            if cost > _SLOW:
                transport.max_size = _READ[0]
                transport.pause_reading()
                rested = max(rested, self.loop.time()) + cost * _REST
                self.loop.call_at(rested, self._wait)
                return
            transport.max_size = min(2 * transport.max_size, _READ[1])
            if self.cycle is not None and self.cycle.more_body:  # also of a request that is refused already
                transport.pause_reading()
                self._wait()

        def _wait(self) -> None:
            """Queues this connection for its turn to be read."""
            turns.append(self)
            if len(turns) == 1:
                self.loop.call_soon(next_turns, self.loop)

        def _read_on(self) -> None:
            if not self.flow.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()

        def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes the connection
            """A client that only stops sending gets its answer."""
            waiting = not self._idle() and not self.cycle.more_body
            if waiting:
                self.cycle.keep_alive = False
            return waiting

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                super().send_400_response(msg)
            else:  # it is answered already
                self.transport.close()

        def _idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _end(self) -> None:
            """At once, with what the kernel still holds for the client."""
            connections.pop(self, None)
            self.connections.discard(self)
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

        def _check(self) -> None:
            unread = self.transport.get_write_buffer_size() > 0
            working = not self._idle() and not unread
            before, times = self._seen or (None, 0)
            now = (id(self.cycle), unread)
            self._seen = None if working else (now, times + 1 if before == now else 0)
            if self._seen is not None and self._seen[1] >= 2:
                self._end()
            else:
                self._look = self.loop.call_later(limits.seconds / 2, self._check)

    return Connection


def inflated(body: bytearray, encoding: str, limits: Limits) -> bytearray:
    """A body without its Content-Encoding. HTTPException for another than gzip and deflate, and for too much."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise HTTPException(415, f"Content-Encoding is {encoding[:40]!r}, expected gzip or deflate")
    wbits = zlib.MAX_WBITS | 32  # zlib and gzip, told apart by their headers
    inflate = zlib.decompressobj(wbits)
    out = bytearray()
    members = 1
    try:
        for at in range(0, len(body), _PIECE):
            rest = bytes(body[at : at + _PIECE])
            while rest:
                if inflate.eof:  # gzip files may follow each other
                    members += 1
                    inflate = zlib.decompressobj(wbits)
                out += inflate.decompress(rest, _SLICE)
                rest = inflate.unused_data or inflate.unconsumed_tail
                if len(out) > limits.body or members > _MAX_MEMBERS:
                    raise HTTPException(413, too_long(limits))
    except zlib.error as reason:
        raise HTTPException(400, f"the body is not compressed as its Content-Encoding says: {reason}") from None
    if not inflate.eof:
        raise HTTPException(400, "the compressed body ends too early")
    return out


class TooLargeError(ImageError):
    """An image of more pixels than the server decodes."""


def check_pixels(data: bytes | bytearray | memoryview, limits: Limits) -> None:
    """Refuses by the header what is no image, or too large to decode. ImageError, TooLargeError."""
    header = _image_header.read(memoryview(data))
    if header is None or header.format not in _FORMATS:
        raise ImageError(f"the image is empty, damaged or none of {', '.join(_FORMATS.values())}")
    check_size(header.height, header.width, limits)
    if header.format == "jpeg":
        most = min(_MAX_SCANS, _MAX_SCANNED // max(header.height * header.width, 1))
        scans = 0
        for at in range(0, len(data), _SLICE):
            scans += bytes(data[at : at + _SLICE + 1]).count(b"\xff\xda")
            if scans > most:
                raise TooLargeError(f"the image has more than {most} scans")
    if header.format == "png":
        texts = 0  # each of which decoders inflate to megabytes
        for count, (kind, _) in enumerate(_image_header.png_chunks(data)):
            texts += kind in (b"zTXt", b"iTXt", b"tEXt")
            if texts > _MAX_TEXTS or count > _MAX_CHUNKS:
                raise TooLargeError(f"the image has more than {_MAX_TEXTS} texts, or {_MAX_CHUNKS} chunks")


def check_size(height: int, width: int, limits: Limits) -> None:
    """TooLargeError for more pixels than allowed."""
    if height * width > limits.pixels:
        raise TooLargeError(f"the image has {width} x {height} pixels, more than the {limits.pixels} allowed")
