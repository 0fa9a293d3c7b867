"""Requests that are made to hold up a server, from many clients at once: does it stay well?

    python tests/bench/serve_attack.py --requests 5000 --clients 20

Starts `yolort serve` on the embedded model, sends requests of every kind below in random order, and asks /healthz every
50 ms all the while. Prints what was answered, how long /healthz took, and memory and open files of the server after the
first 500 requests and at the end.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import http.client
import json
import multiprocessing
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yolort

SAMPLE = yolort.demo_image().read_bytes()
MIB = 1 << 20
INFER = "/v2/models/scenes/infer"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_head(side: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))


def png_of_chunks(size: int) -> bytes:
    """A PNG with colour profiles one after the other."""
    profile = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 128))
    return png_head(8) + profile * (size // len(profile))


def infer(tensor: dict[str, object], binary: bytes = b"", **more: object) -> tuple[str, bytes, dict[str, str]]:
    body = json.dumps({"inputs": [{"name": "images", **tensor}], **more}).encode()
    return INFER, body + binary, {"Inference-Header-Content-Length": str(len(body))} if binary else {}


def of_numbers() -> tuple[str, bytes, dict[str, str]]:
    return infer({"datatype": "UINT8", "shape": [640, 640, 3], "data": [0] * (640 * 640 * 3)})


def of_pixels(side: int) -> tuple[str, bytes, dict[str, str]]:
    pixels = bytes(side * side * 3)
    size = {"binary_data_size": len(pixels)}
    return infer({"datatype": "UINT8", "shape": [side, side, 3], "parameters": size}, pixels)


def of_elements(count: int) -> tuple[str, bytes, dict[str, str]]:
    empty = bytes(4 * count)
    return infer({"datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": len(empty)}}, empty)


def of_files(count: int) -> tuple[str, bytes, dict[str, str]]:
    files = (struct.pack("<I", len(SAMPLE)) + SAMPLE) * count
    return infer({"datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": len(files)}}, files)


def form(*parts: tuple[str, bytes]) -> tuple[str, bytes, dict[str, str]]:
    """`file` is the file of the form, the others are fields."""
    body = b""
    for name, data in parts:
        kind = '; filename="a.jpg"' if name == "file" else ""
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n'.encode() + data + b"\r\n"
    return "/detect", body + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


Request = tuple[str, bytes, dict[str, str]]
#: Each is made once: making them costs more than answering them.
KINDS: dict[str, Callable[[], Request]] = {
    "an image": lambda: ("/detect", SAMPLE, {}),
    "images in base64": lambda: infer({"datatype": "BYTES", "shape": [1], "data": [base64.b64encode(SAMPLE).decode()]}),
    "a batch": lambda: of_files(8),
    "pixels": lambda: of_pixels(640),
    "no image": lambda: ("/detect", b"x" * MIB, {}),
    "a PNG of profiles, 1 MiB": lambda: ("/detect", png_of_chunks(MIB), {}),
    "a PNG of profiles, 19 MiB": lambda: ("/detect", png_of_chunks(19 * MIB), {}),
    "a JPEG of comments": lambda: ("/detect", SAMPLE[:2] + b"\xff\xfe\0\x02" * (4 * MIB), {}),
    "a JPEG of fill bytes": lambda: ("/detect", SAMPLE[:2] + b"\xff" * (19 * MIB), {}),
    "a JPEG of scans": lambda: ("/detect", SAMPLE + b"\xff\xda" * MIB, {}),
    "a PNG of 30000 x 30000": lambda: ("/detect", png_head(30_000), {}),
    "a TIFF": lambda: ("/detect", b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(MIB), {}),
    "JSON of lists": lambda: (INFER, b"[],[],"[:6] * (3 * MIB), {}),
    "JSON in depth": lambda: (INFER, b"[" * (19 * MIB), {}),
    "JSON of objects": lambda: (INFER, b'{"a":' * (3 * MIB), {}),
    "JSON of a long text": lambda: (INFER, b'{"id":"' + b"x" * (19 * MIB), {}),
    "base64 of zeros": lambda: infer({"datatype": "BYTES", "shape": [1], "data": ["AAAA" * (4 * MIB)]}),
    "JSON of pixels": of_numbers,
    "empty elements": lambda: of_elements(4 * MIB),
    "no images": lambda: infer({"datatype": "BYTES", "shape": [0], "data": []}),
    "a header of digits": lambda: (INFER, b"{}", {"Inference-Header-Content-Length": "9" * 4301}),
    "a bomb of gzip": lambda: ("/detect", gzip.compress(bytes(400 * MIB), 9), {"Content-Encoding": "gzip"}),
    "a form": lambda: form(("file", SAMPLE), ("conf", b"0.5")),
    "a form of 2 MiB": lambda: form(("file", SAMPLE + bytes(2 * MIB))),
    "a form of boundaries": lambda: form(("file", b"\r\n--" * (2 * MIB))),
    "a form of fields": lambda: form(*[("f", b"x")] * 100_000),
    "a query": lambda: ("/detect?conf=nan&iou=2&max_det=0&classes=,,,&x=" + "y" * 1000, SAMPLE, {}),
    "another model": lambda: ("/v2/models/x/infer", b"{}", {}),
}  # fmt: skip


def send(port: int, request: Request) -> str:
    path, body, headers = request
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (ConnectionError, http.client.HTTPException):  # it was refused before its body was read
        return "closed"
    finally:
        connection.close()


STALLS = (b"", b"POST /detect HTTP/1.1\r\n", b"GET /sample.jpg HTTP/1.1\r\nhost: x\r\n\r\n" * 200)


def stall(port: int) -> str:
    """A client that asks and does not read, or does not even ask."""
    with socket.create_connection(("127.0.0.1", port)) as client, contextlib.suppress(OSError):
        client.sendall(
            random.choice([b"", b"POST /detect HTTP/1.1\r\n", b"GET /sample.jpg HTTP/1.1\r\nhost: x\r\n\r\n" * 200])
        )
        time.sleep(0.5)
    return "left"


def watch(port: int, stop: Any, out: Any) -> None:
    """Asks /healthz every 50 ms on a connection that stays, in a process that does nothing else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ms, failures = [], 0
    while not stop.is_set():
        start = time.perf_counter()
        try:
            connection.request("GET", "/healthz")
            failures += b'"ready":true' not in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            failures += 1
            connection.close()
        ms.append((time.perf_counter() - start) * 1e3)
        time.sleep(0.05)
    out.put((ms, failures))


def state(process: subprocess.Popen[str]) -> str:
    folder = Path(f"/proc/{process.pid}")
    found = dict(re.findall(r"(VmRSS|VmHWM):\s*(\d+)", (folder / "status").read_text()))
    files = len(os.listdir(folder / "fd"))
    return f"{int(found['VmRSS']) >> 10} MiB (peak {int(found['VmHWM']) >> 10}), {files} open files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "yolort",
        "serve",
        str(yolort.demo_model("ncnn")),
        "--name",
        "scenes",
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    log = ""
    while not (found := re.search(r"running on http://\S+:(\d+)", log)):
        log += process.stderr.readline()
        assert process.poll() is None, log
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True).start()
    port = int(found[1])
    made = {name: make() for name, make in KINDS.items()}
    order = [*np.random.default_rng(given.seed).choice([*made, "stalled"], given.requests)]
    answers: dict[str, Counter[str]] = {name: Counter() for name in [*made, "stalled"]}
    lock = threading.Lock()
    context = multiprocessing.get_context("spawn")
    stop, out = context.Event(), context.Queue()
    watching = context.Process(target=watch, args=(port, stop, out))
    watching.start()
    sent = 0

    def client() -> None:
        nonlocal sent
        while True:
            with lock:
                if not order:
                    return
                name = order.pop()
            status = stall(port) if name == "stalled" else send(port, made[name])
            with lock:
                answers[name][status] += 1
                sent += 1
                if sent == 500 or sent % 1000 == 0:
                    print(f"after {sent}: {state(process)}", flush=True)

    start = time.monotonic()
    clients = [threading.Thread(target=client) for _ in range(given.clients)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    stop.set()
    ms, failures = out.get(timeout=60)
    watching.join()
    print(f"at the end: {state(process)}; {sent} requests in {time.monotonic() - start:.0f} s")
    print(f"alive: {process.poll() is None}; answers of 500: {sum(count['500'] for count in answers.values())}")
    p50, p99 = np.percentile(ms, [50, 99])
    print(f"/healthz, {len(ms)} times: p50 {p50:.1f} ms, p99 {p99:.1f}, longest {max(ms):.1f}; {failures} failed")
    for name, count in answers.items():
        print(f"  {name}: {', '.join(f'{status} x {times}' for status, times in count.most_common())}")
    print("".join(line for line in lines if "Traceback" in line or "Error" in line), end="")
    process.terminate()
    process.wait(60)


if __name__ == "__main__":
    main()
