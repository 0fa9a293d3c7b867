"""Requests of every kind, valid and hostile, in random order from many clients, against a server of its own.

Prints what the clients saw, the latency of /healthz on new connections throughout, and the server's memory and file
descriptors after the first tenth and at the end.

python tests/bench/serve_attack.py --requests 5000 --clients 20
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import gzip
import http.client
import json
import multiprocessing
import queue
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
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
left_open: collections.deque[socket.socket] = collections.deque(maxlen=60)  # that no answer is read from


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


def kinds() -> dict[str, Kind]:
    text = base64.b64encode(SAMPLE).decode()
    pixels = yolort.images.decode(SAMPLE)
    iccp = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1000)))
    ztxt = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000)))
    entries = struct.pack("<HHII", 256, 4, 1, 16) + struct.pack("<HHII", 257, 4, 1, 16)
    tiles = struct.pack("<HHII", 322, 4, 1, 16368) + struct.pack("<HHII", 323, 4, 1, 16368)
    webp = b"RIFF\x52\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(60)
    numbers = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 3], "data": [%b]}]}'
    string = b'{"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["%b"]}]}'
    parameters = b'{"inputs": [], "parameters": {%b}}'
    outputs = json.dumps({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [32], "data": [text] * 32}],
                          "parameters": {"conf": 0, "iou": 1, "max_det": 3000}}).encode()  # fmt: skip
    huge = json.dumps({"inputs": [], "id": "x" * 10**6}).encode()
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


def ask(address: tuple[str, int], send: Kind) -> str:
    """The status of the answer, or how it ended."""
    with socket.socket() as connection:
        connection.settimeout(120)
        try:
            connection.connect(address)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer may be there already
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


def attack(address: tuple[str, int], requests: int, clients: int, seed: int, done: Any, seen: Any) -> None:
    every = kinds()
    order = [name for _ in range(requests // len(every) + 1) for name in every][:requests]
    random.Random(seed).shuffle(order)
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in order:
        todo.put(name)
    lock = threading.Lock()

    def work() -> None:
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            start = time.perf_counter()
            status = ask(address, every[name])
            with lock:
                seen.put((name, status, time.perf_counter() - start))
                done.value += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen.put(None)


def probe(address: tuple[str, int], stop: Any, out: Any) -> None:
    """Milliseconds of /healthz on a new connection, every 50 ms; 1e6 for any other answer than 200."""
    times = []
    while not stop.is_set():
        start = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(*address, timeout=60)
            connection.request("GET", "/healthz")
            ok = connection.getresponse().status == 200
            connection.close()
        except (OSError, http.client.HTTPException):
            ok = False
        took = time.perf_counter() - start
        times.append(took * 1e3 if ok else 1e6)
        time.sleep(max(0.05 - took, 0))
    out.put(times)


def state(pid: int) -> tuple[float, int]:
    """Resident MiB, and open files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="Model to serve; default: the embedded one.")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", metavar="REGEX", help="One kind after the other, those that match; 4 seconds each.")
    options = parser.parse_args()

    command = [sys.executable, "-m", "yolort", "serve", str(options.model or yolort.demo_model()), "--port", "0"]
    server = subprocess.Popen([*command, "--name", "yolo", "--log-level", "info"], stderr=subprocess.PIPE, text=True)
    assert server.stderr
    log: list[str] = []
    for line in server.stderr:
        log.append(line)
        if found := re.search(r"running on http://(\S+):(\d+)", line):
            break
    address = (found[1], int(found[2]))  # type: ignore[index]
    threading.Thread(target=lambda: log.extend(server.stderr), daemon=True).start()  # type: ignore[arg-type]
    for _ in range(20):
        ask(address, post("/detect", SAMPLE))

    context = multiprocessing.get_context("spawn")
    if options.each:
        each(context, address, options)
    else:
        everything(context, address, options, server.pid)
    print(f"server: {'runs' if server.poll() is None else f'ended with {server.poll()}'}")
    server.terminate()
    print(f"server ended with {server.wait(60)}; tracebacks in its log: {sum('Traceback' in line for line in log)}")


def everything(context: Any, address: tuple[str, int], options: argparse.Namespace, pid: int) -> None:
    stop, times, seen, done = context.Event(), context.Queue(), context.Queue(), context.Value("i", 0)
    prober = context.Process(target=probe, args=(address, stop, times))
    clients = context.Process(
        target=attack, args=(address, options.requests, options.clients, options.seed, done, seen)
    )
    begin = time.time()
    prober.start()
    clients.start()
    memory: list[tuple[int, float, int]] = []
    statuses: collections.Counter[str] = collections.Counter()
    by_kind: collections.defaultdict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    running = True
    while running:
        time.sleep(0.25)
        memory.append((done.value, *state(pid)))
        while not seen.empty():
            if (one := seen.get()) is None:
                running = False
                break
            statuses[one[1]] += 1
            by_kind[one[0]][one[1]] += 1
    clients.join()
    time.sleep(1)
    at_end = state(pid)
    stop.set()
    latency = np.array(times.get())
    prober.join()
    for name, counts in by_kind.items():
        print(f"  {name:30} {dict(counts)}")
    print(
        f"{sum(statuses.values())} requests, {options.clients} clients, {time.time() - begin:.0f} s: {dict(statuses)}"
    )
    p50, p99 = np.percentile(latency, [50, 99])
    print(f"/healthz, {len(latency)} times: p50 {p50:.1f}, p99 {p99:.1f}, max {latency.max():.1f} ms")
    first = next((row for row in memory if row[0] >= options.requests // 10), memory[-1])
    rest = [row for row in memory if row[0] >= options.requests // 10]
    quarters = [round(float(np.median(part))) for part in np.array_split([row[1] for row in rest], 4)]
    print(
        f"MiB: {first[1]:.0f} after a tenth, {at_end[0]:.0f} at the end, {max(row[1] for row in memory):.0f} at most; "
        f"medians of the quarters between {quarters}"
    )
    print(f"files: {first[2]} after a tenth, {at_end[1]} at the end, {max(row[2] for row in memory)} at most")


def each(context: Any, address: tuple[str, int], options: argparse.Namespace) -> None:
    every = kinds()
    for name in filter(re.compile(options.each).search, every):
        send = every[name]
        stop, times = context.Event(), context.Queue()
        prober = context.Process(target=probe, args=(address, stop, times))
        prober.start()
        time.sleep(1)
        end = time.time() + 4
        counts: collections.Counter[str] = collections.Counter()

        def work(send: Kind = send, end: float = end, counts: collections.Counter[str] = counts) -> None:
            while time.time() < end:
                counts[ask(address, send)] += 1

        threads = [threading.Thread(target=work) for _ in range(options.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        latency = np.array(times.get())
        prober.join()
        while left_open:
            left_open.pop().close()
        p50, p99 = np.percentile(latency, [50, 99])
        failed = int((latency == 1e6).sum())
        print(f"{name:30} p50 {p50:6.1f} p99 {p99:7.1f} max {latency.max():7.1f} ms, failed {failed}; {dict(counts)}")


if __name__ == "__main__":
    main()
