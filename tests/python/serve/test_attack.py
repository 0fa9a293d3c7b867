"""The server as a process under hostile clients: every kind of request, memory, connections."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yolort

pytest.importorskip("fastapi")
cv2 = pytest.importorskip("cv2")
serve = pytest.importorskip("yolort.serve")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

import hostile  # noqa: E402

MIB = 2**20
SAMPLE = yolort.demo_image().read_bytes()

#: Serves, and reports new maxima of two figures: the CPU time of one event-loop callback, and the number of bodies read
#: in one iteration of the loop.
PROGRAM = """
import asyncio, gc, sys, time, yolort
from yolort import serve

longest = 0.0
known, reads, most = set(), 0, 0
run = asyncio.Handle._run
def timed(handle):
    global longest
    before, what = time.thread_time(), handle._callback
    run(handle)
    if (took := time.thread_time() - before) > longest:
        longest = took
        print("longest", took, getattr(what, "__qualname__", repr(what)[:300]), file=sys.stderr, flush=True)
asyncio.Handle._run = timed

class Loop(asyncio.SelectorEventLoop):
    def _run_once(self):
        global reads, most
        reads = 0
        super()._run_once()
        if reads > most:
            most = reads
            print("reads", reads, gc.isenabled(), file=sys.stderr, flush=True)

asyncio.SelectorEventLoop = Loop

plain = serve.app.connection
def connection(limits):
    class Counted(plain(limits)):
        def data_received(self, data):
            global reads
            reads += self in known
            known.add(self)
            super().data_received(data)
    return Counted
serve.app.connection = connection
app = serve.create_app(yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn"), limits=serve.Limits(LIMITS))
serve.run(app, port=0)
"""


class Server:
    def __init__(self, limits: str) -> None:
        program = PROGRAM.replace("LIMITS", limits)
        self.process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        self.log = ""
        assert self.process.stderr
        while not (found := re.search(r"running on http://(\S+):(\d+)", self.log)):
            self.log += self.process.stderr.readline()
            assert self.process.poll() is None, self.log
        self.address = (found[1], int(found[2]))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        while line := self.process.stderr.readline():
            self.log += line

    def ask(self, send: hostile.Kind) -> str:
        return hostile.ask(self.address, send)

    def memory(self, kind: str) -> float:
        """MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{kind}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self._reader.join()
            self.process.communicate()


@contextmanager
def serving(limits: str = "") -> Iterator[Server]:
    server = Server(limits)
    try:
        yield server
    finally:
        server.end()


@pytest.mark.slow
def test_every_kind_of_request() -> None:
    """No request causes a server error or blocks the event loop, and all are answered."""
    statuses = {}
    with serving("seconds=10") as server, ThreadPoolExecutor(4) as clients:
        every = hostile.kinds()
        for name, status in zip(every, clients.map(server.ask, every.values()), strict=True):
            statuses[name] = status
        assert server.ask(hostile.get("/healthz")) == "200"
        while hostile.left_open:
            hostile.left_open.pop().close()
    for name, status in statuses.items():
        wanted = "200" if name.startswith("valid") else r"[24]\d\d|left|closed"
        assert re.fullmatch(wanted, status), (name, status)
    assert "Traceback" not in server.log, server.log
    longest = re.findall(r"longest (\S+) (.*)", server.log)[-1]
    assert float(longest[0]) < 0.1, longest[1]


@pytest.mark.slow
def test_memory_stays_below_the_documented_limit() -> None:
    """The formula of docs/guide/serving.md."""
    body, requests, pixels, batch = 8 * MIB, 16, 2_000_000, 4
    text = base64.b64encode(SAMPLE).decode()
    image = cv2.imencode(".jpg", np.zeros((1400, 1400, 3), np.uint8), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1].tobytes()
    string = b'{"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["%b"]}]}'
    numbers = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, %d, 3], "data": [%b]}]}'
    rows = {"conf": 0, "iou": 1, "max_det": 5000}
    four = {"name": "images", "datatype": "BYTES", "shape": [4], "data": [text] * 4}
    padded = base64.b64encode(image + bytes(5 * MIB))
    mix = [
        hostile.post("/detect", image + bytes(body - len(image) - 9)),
        hostile.post(hostile.INFER, string % padded),
        hostile.post(hostile.INFER, string % ("\U0001f600".encode() + b"A" * (body - 999))),
        hostile.post(hostile.INFER, numbers % (1, b",".join([b"0"] * (body // 2 - 200)))),
        hostile.post(hostile.INFER, numbers % (10_000, b",".join([b"[]"] * 49_000))),
        hostile.post(hostile.INFER, json.dumps({"inputs": [four], "parameters": rows}).encode()),
        hostile.binary(bytes(1_900_000 * 3), datatype="UINT8", shape=[1_000, 1_900, 3]),
        hostile.form(('file"; filename="a', image + bytes(body - len(image) - 999))),
    ]
    with serving(f"body={body}, requests={requests}, pixels={pixels}, detections=20_000") as server:
        for _ in range(5):
            assert server.ask(hostile.post("/detect", SAMPLE)) == "200"
        before = server.memory("VmRSS")
        with ThreadPoolExecutor(requests) as clients:
            statuses = Counter(clients.map(server.ask, [send for send in mix for _ in range(24)]))
        peak = server.memory("VmHWM")
    assert statuses["200"] >= 24, statuses
    documented = requests * (body + 16 * MIB) + 2 * (body + pixels * (16 + 3 * batch)) + 20 * 0.3 * MIB
    assert peak - before < documented / MIB, (peak, before, statuses)


def test_bodies_are_read_in_turns() -> None:
    """No garbage collection runs while a request is parsed."""
    body = b'{"inputs": [' + b" " * 4 * MIB
    with serving() as server, ThreadPoolExecutor(20) as clients:
        assert set(clients.map(server.ask, [hostile.post(hostile.INFER, body)] * 40)) == {"413"}
    reads, collects = re.findall(r"reads (\d+) (\w+)", server.log)[-1]
    assert 0 < int(reads) <= 4
    assert collects == "False"


def test_idle_connections_make_room() -> None:
    with serving("connections=20") as server:
        idle = [socket.create_connection(server.address, timeout=60) for _ in range(20)]
        time.sleep(1.5)  # long enough for a request
        for _ in range(10):
            assert server.ask(hostile.get("/healthz")) == "200"
        for one in idle:
            one.close()
