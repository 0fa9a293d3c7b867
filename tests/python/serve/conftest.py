"""A server with the embedded model: in this process, and in a separate one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yolort


@pytest.fixture(scope="module")
def client(detector: yolort.Detector) -> Iterator[Any]:
    from serving import TestClient
    from yolort import serve

    limits = serve.Limits(body=2_000_000, pixels=500_000, images=4)
    with TestClient(serve.create_app(detector, name="scenes", limits=limits)) as client:
        yield client


@pytest.fixture(scope="module")
def expected(detector: yolort.Detector) -> yolort.Detections:
    return detector(yolort.images.read(yolort.demo_image()))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """A server process with a short timeout for clients that read."""
    program = """
import sys, yolort
from yolort import serve
app = serve.create_app(yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn"), limits=serve.Limits(seconds=1.0))
serve.run(app, port=0)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        log = ""
        while not (found := re.search(r"running on http://(\S+):(\d+)", log)):
            log += process.stderr.readline()
            assert process.poll() is None, log
        yield found[1], int(found[2])
    finally:
        process.kill()
        process.communicate()
