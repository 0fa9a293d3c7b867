"""Requests of every kind, valid and hostile, and their expected outcome."""

from __future__ import annotations

import base64
import collections
import contextlib
import gzip
import json
import random
import socket
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import yolort

MIB = 2**20
BODY = 20 * MIB - 4096
SAMPLE = yolort.demo_image().read_bytes()
FILE = struct.pack("<I", len(SAMPLE)) + SAMPLE
INFER = "/v2/models/yolo/infer"
REFUSED = b"POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
Kind = Callable[[socket.socket], None]
left_open: collections.deque[socket.socket] = collections.deque(maxlen=60)  # connections whose responses are not read


def post(path: str, body: bytes, *headers: str) -> Kind:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return raw("\r\n".join(head).encode(), body)


def raw(*parts: bytes) -> Kind:
    def send(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return send


def noise_after_the_answer(connection: socket.socket) -> None:
    connection.sendall(REFUSED)
    connection.recv(1, socket.MSG_PEEK)
    connection.sendall(b"zz\r\n")


def get(path: str, method: str = "GET") -> Kind:
    return raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def tensor(**about: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], **about}]}).encode()


def binary(data: bytes, **about: Any) -> Kind:
    text = tensor(parameters={"binary_data_size": len(data)}, **about)
    return post(INFER, text + data, f"Inference-Header-Content-Length: {len(text)}")


def form(*parts: tuple[str, bytes]) -> Kind:
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (about.encode(), data)
        for about, data in parts
    )
    return post("/detect", body + b"--x--\r\n", "Content-Type: multipart/form-data; boundary=x")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *before: bytes, interlaced: bool = False) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def big(extension: str, *flags: int) -> bytes:
    """49 million pixels."""
    done, data = cv2.imencode(extension, np.zeros((7000, 7000, 3), np.uint8), flags)
    assert done
    return bytes(data)


def many_scans() -> bytes:
    """A progressive JPEG file of 49 million pixels that repeats its last scan."""
    data = big(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + scan * 90 + data[-2:]


def chunked(*chunks: bytes) -> Kind:
    head = b"POST /detect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return raw(head, b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks), b"0\r\n\r\n")


def hang_up(connection: socket.socket) -> None:
    connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(5000))
    connection.close()


def leave_open(*sent: bytes) -> Kind:
    def send(connection: socket.socket) -> None:
        kept = connection.dup()
        for part in sent:
            kept.sendall(part)
        left_open.append(kept)
        connection.close()

    return send


def valid_requests() -> dict[str, Kind]:
    text = base64.b64encode(SAMPLE).decode()
    pixels = yolort.images.decode(SAMPLE)
    outputs = json.dumps({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [32], "data": [text] * 32}],
                          "parameters": {"conf": 0, "iou": 1, "max_det": 3000}}).encode()  # fmt: skip
    return {
        "valid: file": post("/detect", SAMPLE),
        "valid: form": form(('conf"; x="', b"0.5"), ('file"; filename="a.jpg', SAMPLE)),
        "valid: base64": post(INFER, tensor(data=[text])),
        "valid: base64, large": post(
            INFER, tensor(shape=[9], data=[base64.b64encode(SAMPLE + bytes(MIB)).decode()] * 9)
        ),
        "valid: binary files": binary(FILE * 4, shape=[4]),
        "valid: pixels": binary(pixels.tobytes(), datatype="UINT8", shape=list(pixels.shape)),
        "valid: gzip": post(INFER, gzip.compress(tensor(data=[text])), "Content-Encoding: gzip"),
        "valid: all boxes, 32 images": post(INFER, outputs),
        "valid: all boxes, gzip": post(INFER, outputs, "Accept-Encoding: gzip"),
        "valid: all boxes of one": post("/detect?conf=0&iou=1&max_det=100000", SAMPLE),
        "valid: metadata": get("/v2/models/yolo/versions/1"),
        "valid: metrics": get("/metrics"),
        "valid: page": get("/"),
        "valid: picture": get("/sample.jpg"),
        "valid: openapi": get("/openapi.json"),
    }


def images() -> dict[str, Kind]:
    """Bodies of /detect that are not images, have false headers, or are expensive."""
    iccp = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1000)))
    ztxt = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000)))
    entries = struct.pack("<HHII", 256, 4, 1, 16) + struct.pack("<HHII", 257, 4, 1, 16)
    tiles = struct.pack("<HHII", 322, 4, 1, 16368) + struct.pack("<HHII", 323, 4, 1, 16368)
    webp = b"RIFF\x52\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(60)
    return {
        "image: nothing": post("/detect", b""),
        "image: random": post("/detect", random.Random(0).randbytes(BODY)),
        "image: iCCP": post("/detect", png(16, 16, iccp * (BODY // len(iccp) - 9))),
        "image: zTXt": post("/detect", png(16, 16, ztxt * (BODY // len(ztxt) - 9))),
        "image: interlaced": post("/detect", png(7000, 7000, interlaced=True)),
        "image: comments": post("/detect", SAMPLE[:2] + b"\xff\xfe\0\2" * (BODY // 4 - 99_999) + SAMPLE[2:]),
        "image: long comments": post("/detect", SAMPLE[:2] + (b"\xff\xfe\xff\xff" + bytes(65533)) * 300 + SAMPLE[2:]),
        "image: fill bytes": post("/detect", SAMPLE[:2] + b"\xff" * (BODY - len(SAMPLE)) + SAMPLE[2:]),
        "image: scan markers": post("/detect", SAMPLE + b"\xff\xda" * 9_000_000),
        "image: many scans": post("/detect", many_scans()),
        "image: 49 MP PNG": post("/detect", big(".png")),
        "image: 49 MP WebP": post("/detect", big(".webp")),
        "image: huge PNG": post("/detect", png(2**31 - 1, 2**31 - 1)),
        "image: tiles": post("/detect", b"II*\0\x08\0\0\0\x04\0" + entries + tiles + bytes(99)),
        "image: WebP canvas": post("/detect", webp),
        "image: BMP": post("/detect", b"BM" + bytes(12) + struct.pack("<Iii", 40, -(2**31), -(2**31)) + bytes(99)),
    }


def texts() -> dict[str, Kind]:
    """JSON bodies."""
    numbers = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 3], "data": [%b]}]}'
    string = b'{"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["%b"]}]}'
    parameters = b'{"inputs": [], "parameters": {%b}}'
    huge = json.dumps({"inputs": [], "id": "x" * 10**6}).encode()
    return {
        "JSON: lists": post(INFER, b"[]," * (BODY // 3)),
        "JSON: values": post(INFER, numbers % b",".join([b"255"] * 98_000)),
        "JSON: empty lists": post(INFER, numbers % b",".join([b"[]"] * 49_000)),
        "JSON: digits": post(INFER, numbers % (b"9" * 900_000)),
        "JSON: long numbers": post(INFER, numbers % b",".join([b"9" * 4000] * 250)),
        "JSON: depth": post(INFER, b"[" * BODY),
        "JSON: spaces": post(INFER, b" " * BODY),
        "JSON: quotes": post(INFER, b'"' * BODY),
        "JSON: backslashes": post(INFER, b'"' + b"\\" * BODY),
        "JSON: escaped quotes": post(INFER, b'"' + b'\\"' * (BODY // 2)),
        "JSON: base64": post(INFER, string % (b"A" * (BODY // 4 * 4 - 400))),
        "JSON: no base64": post(INFER, string % (b"A" * (BODY - 403) + b"!")),
        "JSON: escapes": post(INFER, string % (rb"\u0041" * (BODY // 6 - 99))),
        "JSON: emoji": post(INFER, string % ("\U0001f600".encode() + b"A" * (BODY - 999))),
        "JSON: parameters": post(INFER, parameters % b",".join(b'"a%d": 1' % at for at in range(40_000))),
        "JSON: long id": post(INFER, huge),
    }


def encodings() -> dict[str, Kind]:
    """Binary tensors, forms, and compressed bodies."""
    return {
        "tensor: empty elements": binary(bytes(BODY // 8 * 4), shape=[BODY // 8]),
        "tensor: no images": binary(b"", shape=[0]),
        "tensor: shape": binary(bytes(9), datatype="UINT8", shape=[2**31, 2**31, 2**31, 3]),
        "tensor: line": binary(bytes(3_000_000), datatype="UINT8", shape=[1, 1_000_000, 3]),
        "tensor: column": binary(bytes(3_000_000), datatype="UINT8", shape=[1_000_000, 1, 3]),
        "form: parts": form(*[("conf", b"1")] * 200_000),
        "form: no end": form(('file"; filename="a.jpg', b"\r\n--" * (BODY // 4 - 999))),
        "form: false marks": form(('file"; filename="a.jpg', b"\r\n--x?" * (BODY // 6 - 999))),
        "gzip: bomb": post("/detect", gzip.compress(bytes(300 * MIB), 9), "Content-Encoding: gzip"),
        "gzip: damaged": post("/detect", gzip.compress(SAMPLE)[:-9], "Content-Encoding: gzip"),
    }


def protocol() -> dict[str, Kind]:
    """Unusual headers and unusual use of connections."""
    return {
        "HTTP: digits": post(INFER, b"{}", f"Inference-Header-Content-Length: {'9' * 4301}"),
        "HTTP: length": raw(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 4301 + b"\r\n\r\n"),
        "HTTP: headers": raw(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 3000 + b"\r\n"),
        "HTTP: query": get("/detect?" + "&".join(f"conf={at}" for at in range(800)), "POST"),
        "HTTP: chunks of a byte": chunked(*[b"x"] * 50_000),
        "HTTP: chunks": chunked(*[SAMPLE[at : at + 1000] for at in range(0, len(SAMPLE), 1000)]),
        "HTTP: refused chunks of a byte": raw(REFUSED, b"1\r\nx\r\n" * 20_000),
        "HTTP: noise after the answer": noise_after_the_answer,
        "HTTP: no chunks": raw(b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        "HTTP: pipeline": raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 50, b"GET / HTTP/1.0\r\n\r\n"),
        "HTTP: HEAD": get("/detect", "HEAD"),
        "HTTP: OPTIONS": get(INFER, "OPTIONS"),
        "HTTP: PUT": get("/%ff%00/../..;x", "PUT"),
        "HTTP: noise": raw(bytes(range(256)) * 40),
        "HTTP: hangs up": hang_up,
        "HTTP: head does not end": leave_open(b"GET / HTTP/1.1\r\nHost"),
        "HTTP: body does not come": leave_open(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"),
        "HTTP: nothing is read": leave_open(b"GET /sample.jpg HTTP/1.1\r\nHost: x\r\n\r\n" * 200),
    }


def kinds() -> dict[str, Kind]:
    return valid_requests() | images() | texts() | encodings() | protocol()


def ask(address: tuple[str, int], send: Kind) -> str:
    """The status of the response, or how the connection ended."""
    with socket.socket() as connection:
        connection.settimeout(120)
        try:
            connection.connect(address)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the response may have arrived already
                send(connection)
            if connection.fileno() < 0:
                return "left"
            start = connection.recv(65536)
            while connection.recv(65536):
                pass
        except TimeoutError:
            return "no answer"
        except OSError:
            start = locals().get("start", b"")
    return start[9:12].decode("latin-1") or "closed"
