"""Random requests (with a fixed seed) never cause a server error."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2", reason="fastapi's test client needs httpx2")
cv2 = pytest.importorskip("cv2")

serve = pytest.importorskip("yolort.serve")
TestClient = pytest.importorskip("fastapi.testclient").TestClient

SAMPLE = yolort.demo_image().read_bytes()
TEXT = base64.b64encode(SAMPLE).decode()
IMAGE: bytes = cv2.imencode(".png", np.zeros((9, 7, 3), np.uint8))[1].tobytes()
PATHS = [
    "/detect",
    "/v2/models/m/infer",
    "/v2/models/m/versions/1/infer",
    "/v2/models/m/versions/\u0661/ready",
    "/v2/models/%00/ready",
    "/v2",
    "/detect?conf=%ff&iou=",
    "/detect?conf=0.1&conf=0.9&max_det=" + "9" * 4400,
    "/detect?classes=0,,1&agnostic=maybe",
]
HEADERS = [
    "inference-header-content-length",
    "content-encoding",
    "content-type",
    "accept-encoding",
    "expect",
    "transfer-encoding",
    "content-length",
]
TEXTS = [
    b"",
    b"0",
    b"-1",
    b"9" * 4400,
    "²".encode(),
    b"nan",
    b"1e9",
    b"\xff",
    b"gzip",
    b"gzip;q=x",
    b"chunked",
    b"identity",
]
FORM = b"multipart/form-data; boundary="
VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 0.5, 1e308, float("nan"), float("inf"), 2**31, 2**63, 10**40, "", "images", "\0\x1b[2J",
    "\x7f0", "é" * 300, "x" * 5000, TEXT, [], [[]], {}, {"": {}}, [0] * 18, ["0"], [TEXT], [TEXT, TEXT], ["A" * 8192],
    "UINT8", "BYTES", "counts", "masks",
]  # fmt: skip
KEYS = ["id", "inputs", "outputs", "parameters", "name", "datatype", "shape", "data", "binary_data_size", "conf", "iou",
        "max_det", "classes", "agnostic", "binary_data_output", "binary_data", "priority", "\ud800"]  # fmt: skip
VALID = [
    {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [2, 3, 3], "data": [0] * 18}]},
    {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": [TEXT]}], "parameters": {"conf": 0.5}},
    {
        "id": "x",
        "inputs": [
            {"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 3, 3], "parameters": {"binary_data_size": 18}}
        ],
        "outputs": [{"name": "boxes", "parameters": {"binary_data": True}}],
    },
]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    limits = serve.Limits(body=1_000_000, pixels=500_000, images=4)
    with TestClient(serve.create_app(detector, name="m", limits=limits)) as client:
        yield client


def places(value: Any) -> list[Any]:
    """The lists and objects within a value."""
    below = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, (dict, list)) else []) + [one for part in below for one in places(part)]


def changed(value: Any, random: np.random.Generator) -> Any:
    value = json.loads(json.dumps(value))
    for _ in range(random.integers(0, 4)):
        every = places(value)
        place = every[random.integers(0, len(every))]
        new = copy.deepcopy(VALUES[random.integers(0, len(VALUES))])
        if isinstance(place, list):
            place[:] = place[: random.integers(0, len(place) + 1)] + [new] * int(random.integers(0, 3))
        else:
            key = KEYS[random.integers(0, len(KEYS))] if random.random() < 0.5 or not place else next(iter(place))
            place[key] = new
    return value


def damaged(body: bytes, random: np.random.Generator) -> bytes:
    out = bytearray(body[: random.integers(0, len(body) + 1)] if random.random() < 0.3 else body)
    for at in random.integers(0, len(out), random.integers(0, 4)) if out else ():
        out[at] = random.integers(0, 256)
    return bytes(out)


def image(random: np.random.Generator) -> bytes:
    ending = (".jpg", ".png", ".webp", ".bmp")[random.integers(0, 4)]
    data: bytes = cv2.imencode(ending, random.integers(0, 256, (9, 8, 3)).astype(np.uint8))[1].tobytes()
    return data


def body_of(random: np.random.Generator) -> tuple[bytes, dict[str, bytes]]:
    kind = random.integers(0, 5)
    if kind <= 1:
        text = json.dumps(changed(VALID[random.integers(0, 3)], random)).encode()
        return text + bytes(18 * int(random.integers(0, 2))), {HEADERS[0]: str(len(text)).encode()}
    if kind == 2:
        files = b"".join(struct.pack("<I", len(one)) + one for one in [image(random)] * int(random.integers(0, 6)))
        about = {"name": "images", "datatype": "BYTES", "shape": [int(random.integers(0, 5))]}
        text = json.dumps({"inputs": [{**about, "parameters": {"binary_data_size": len(files)}}]}).encode()
        return text + damaged(files, random), {HEADERS[0]: str(len(text)).encode()}
    if kind == 3:
        names = ['conf"', 'classes"', 'x"', 'file"; filename="a"', 'max_det"', '\xff"', '"; filename*=x']
        values = [b"1", b"", b"\xff", "²".encode(), IMAGE, b"\r\n--x", b"9" * 4400]
        parts = b"".join(
            b'--x\r\nContent-Disposition: form-data; name="'
            + names[random.integers(0, len(names))].encode()
            + b"\r\n\r\n"
            + values[random.integers(0, len(values))]
            + b"\r\n"
            for _ in range(random.integers(0, 5))
        )
        return parts + b"--x--\r\n", {"content-type": FORM + [b"x", b'"x"', b"", b"y", b"\xff"][random.integers(0, 5)]}
    return image(random), {}


@pytest.mark.slow
def test_no_request_causes_a_server_error(client: Any) -> None:
    random = np.random.default_rng(0)
    statuses = set()
    for _ in range(1500):
        body, headers = body_of(random)
        if random.random() < 0.3:
            body = damaged(body, random)
        if random.random() < 0.2:
            body, headers["content-encoding"] = damaged(gzip.compress(body), random), b"gzip"
        if random.random() < 0.3:
            headers[HEADERS[random.integers(0, len(HEADERS))]] = TEXTS[random.integers(0, len(TEXTS))]
        path = PATHS[random.integers(0, len(PATHS))] if random.random() < 0.3 else PATHS[random.integers(0, 3)]
        method = ["GET", "PUT", "HEAD", "OPTIONS", "DELETE"][random.integers(0, 5)] if random.random() < 0.1 else "POST"
        answer = client.request(method, path, content=body, headers=headers)
        assert answer.status_code < 500, (method, path, headers, body[:500], answer.text)
        if answer.status_code >= 400 and method != "HEAD":
            assert isinstance(answer.json()["error"], str)
        statuses.add(answer.status_code)
    assert statuses >= {200, 400, 404, 405, 413, 415}
