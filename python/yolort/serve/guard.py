"""Checks every request before it reaches a route, and counts the metrics."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Iterator

import prometheus_client as prometheus
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yolort.serve.limits import Limits, too_long, whole

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_PIECE = 65_536  # bytes of a response that are passed to a connection at once


class Metrics:
    """Prometheus metrics."""

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
    """A response of the form {"error": ...}."""
    headers = {429: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    return Response(json.dumps({"error": message}), status, headers, "application/json")


def _pieces(message: Message) -> Iterator[Message]:
    """Sends a long body in pieces; each waits until the client has read the previous one."""
    body = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for at in range(0, len(body), _PIECE):
        more = at + _PIECE < len(body) or message.get("more_body", False)
        yield {**message, "body": body[at : at + _PIECE], "more_body": more}


class Guard:
    """Checks every request before it reaches a route: API key, number of requests, declared body size."""

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
                path = getattr(scope.get("route"), "path", "refused")  # the route, not the path sent by the client
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
            except ClientDisconnect:  # before its body is complete
                pass
            finally:
                self._active -= 1
                self._metrics.active.set(self._active)
                self._metrics.seconds.observe(time.monotonic() - start)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # for a mounted application
        if self._key is not None and path not in self.open_paths:
            key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(key.encode(), self._key.encode()):
                return error(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY")
        if scope["method"] != "POST":
            return None
        if self._active >= self._limits.requests:
            return error(429, f"{self._active} requests are in the server already; try again later")
        if whole(headers.get("content-length", "0"), self._limits.body) is None:
            return error(413, too_long(self._limits))
        return None
