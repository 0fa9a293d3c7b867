"""Transfer of bodies and responses: limits, compression, slow and disconnecting clients, memory."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import gzip
import json
import select
import socket
import types
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import yolort
from serving import NOTHING, PIXELS, SAMPLE, TestClient, columns, error_of, png
from yolort import serve
from yolort.serve.service import read_body


def test_bodies_are_limited(client: Any) -> None:
    assert "longer than 2000000 bytes" in error_of(client.post("/detect", content=bytes(2_000_001)), 413)
    chunks = (bytes(100_000) for _ in range(30))  # without Content-Length
    assert "longer than 2000000 bytes" in error_of(client.post("/detect", content=chunks), 413)


def post(app: Any, receive: Any) -> list[Any]:
    """The messages that an application sends to a client with unusual behavior."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/detect", "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent


def test_a_body_that_does_not_come(detector: yolort.Detector) -> None:
    async def receive() -> Any:
        await asyncio.sleep(60)

    app = serve.create_app(detector, limits=serve.Limits(seconds=0.01))
    with TestClient(app):
        assert post(app, receive)[0]["status"] == 408


def test_a_client_that_hangs_up(client: Any) -> None:
    messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    assert post(client.app, receive) == []
    assert client.post("/detect", content=SAMPLE).status_code == 200


@pytest.mark.parametrize("body", [b"\xff" * 9999, png(40, 40)[:45], SAMPLE])
def test_the_memory_of_a_request_goes_with_it(client: Any, body: bytes) -> None:
    """No memory of the request is left to the garbage collector."""
    client.post("/detect", content=body)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        client.post("/detect", content=body)
        gc.collect()
        held = [one.f_code.co_name for one in gc.garbage if isinstance(one, types.FrameType)]
        assert "decode" not in held
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(encoding: str, client: Any, expected: yolort.Detections) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if encoding == "gzip" else zlib.compress
    headers = {"content-encoding": encoding}
    found = client.post("/detect", content=pack(SAMPLE), headers=headers).json()
    assert len(found["detections"]) == len(expected)
    body = json.dumps({"inputs": [PIXELS]}).encode()
    url = "/v2/models/scenes/infer"
    assert client.post(url, content=pack(body), headers=headers).status_code == 200
    assert "longer than" in error_of(client.post(url, content=pack(bytes(50_000_000)), headers=headers), 413)
    assert "ends too early" in error_of(client.post(url, content=pack(body)[:-5], headers=headers), 400)
    assert "not compressed as" in error_of(client.post(url, content=b"{}", headers=headers), 400)
    other = client.post(url, content=body, headers={"content-encoding": "br"})
    assert "expected gzip or deflate" in error_of(other, 415)


def test_compressed_answers(client: Any, expected: yolort.Detections) -> None:
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(SAMPLE).decode()]}
    answer = client.post(
        "/v2/models/scenes/infer", content=json.dumps({"inputs": [tensor]}), headers={"accept-encoding": "gzip"}
    )
    assert answer.headers["content-encoding"] == "gzip"
    assert columns(answer)["counts"].tolist() == [len(expected)]


def test_gzip_that_is_not_wanted(client: Any) -> None:
    tensor = {**NOTHING, "shape": [1], "data": [base64.b64encode(SAMPLE).decode()]}
    for accepted, packed in (("gzip;q=0", False), ("deflate, gzip;q=0.5", True), ("br", False), ("GZIP", True)):
        answer = client.post(
            "/v2/models/scenes/infer", json={"inputs": [tensor]}, headers={"accept-encoding": accepted}
        )
        assert (answer.headers.get("content-encoding") == "gzip") == packed


@pytest.mark.parametrize("sent", [b"", b"POST /detect HTTP/1.1\r\nhost: x\r\n", b"GET /healthz HTTP/1.1\r\n\r"])
def test_a_head_that_does_not_come(server: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(server, timeout=60) as client:
        client.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(4096):
                pass


def test_an_answer_that_nobody_reads(server: tuple[str, int]) -> None:
    """The server closes the connection instead of holding it forever."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(server)
        client.sendall(b"GET /sample.jpg HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)  # more than fits in all buffers
        ended = select.poll()
        ended.register(client, 0)
        assert ended.poll(60_000)


def test_gzip_of_several_members(client: Any) -> None:
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(SAMPLE[:1000]) + gzip.compress(SAMPLE[1000:])
    assert client.post("/detect", content=body, headers=headers).status_code == 200
    assert error_of(client.post("/detect", content=body + b"more", headers=headers), 400)
    assert error_of(client.post("/detect", content=gzip.compress(b"") * 2000, headers=headers), 413)


def test_a_client_that_only_stops_sending_gets_its_answer(server: tuple[str, int]) -> None:
    head = f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(SAMPLE)}\r\n\r\n".encode()
    with socket.create_connection(server, timeout=60) as connection:
        connection.sendall(head + SAMPLE)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_that_is_cut_off_is_not_kept() -> None:
    """The exception, which references the reader's frame, may not be collected yet."""
    from starlette.requests import ClientDisconnect, Request

    messages = [{"type": "http.request", "body": b"x" * 10_000, "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    request = Request({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive)
    with pytest.raises(ClientDisconnect) as raised:
        asyncio.run(read_body(request, serve.Limits()))
    frames = [frame.frame for frame in raised.traceback if frame.name == "read_body"]
    assert [len(frame.f_locals["body"]) for frame in frames] == [0]
