"""The server: its protocols, its limits, and one real process that is stopped while it works."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import gzip
import http.client
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from streaming import Gated

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2", reason="fastapi's test client needs httpx2")
cv2 = pytest.importorskip("cv2")

serve = pytest.importorskip("yolort.serve")
protocol = pytest.importorskip("yolort.serve.protocol")
TestClient = pytest.importorskip("fastapi.testclient").TestClient

SAMPLE = yolort.demo_image().read_bytes()


@pytest.fixture(scope="module")
def detector() -> yolort.Detector:
    return yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")


@pytest.fixture(scope="module")
def client(detector: yolort.Detector) -> Iterator[Any]:
    limits = serve.Limits(body=2_000_000, pixels=500_000, images=4)
    with TestClient(serve.create_app(detector, name="scenes", limits=limits)) as client:
        yield client


@pytest.fixture(scope="module")
def expected(detector: yolort.Detector) -> yolort.Detections:
    return detector(yolort.demo_image())


def png(height: int, width: int) -> bytes:
    data: bytes = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    return data


def error_of(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    message: str = answer.json()["error"]
    return message


def test_detect(client: Any, expected: yolort.Detections) -> None:
    answers = [
        client.post("/detect", content=SAMPLE),
        client.post("/detect", content=SAMPLE, headers={"content-type": "image/jpeg"}),
        client.post("/detect", files={"file": ("scene.jpg", SAMPLE)}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["detections"] == expected.to_dict()["detections"]
        assert found["shape"] == [480, 640]


def test_detect_takes_thresholds(client: Any, expected: yolort.Detections) -> None:
    found = client.post("/detect?conf=0.8&classes=3,5&max_det=2", content=SAMPLE).json()["detections"]
    best = [one for one in expected.to_dict()["detections"] if one["class"] in (3, 5) and one["score"] > 0.8]
    assert found == best[:2]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("conf=2", "query.conf"),
        ("conf=nan", "query.conf"),
        ("max_det=0", "query.max_det"),
        ("classes=cat", "query.classes"),
        ("classes=999", "999"),
        ("threshold=0.5", "query.threshold"),
    ],
)
def test_thresholds_out_of_range(client: Any, query: str, message: str) -> None:
    assert message in error_of(client.post(f"/detect?{query}", content=SAMPLE), 400)


@pytest.mark.parametrize("body", [b"", b"this is no image", SAMPLE[:20], b"GIF89a" + bytes(50)])
def test_what_is_no_image(client: Any, body: bytes) -> None:
    assert "the image is empty, damaged or none of" in error_of(client.post("/detect", content=body), 400)


def test_an_image_whose_header_lies(client: Any) -> None:
    """It passes the look at its header, and fails alone in the worker."""
    assert "image is damaged" in error_of(client.post("/detect", content=png(40, 40)[:45]), 400)


def test_a_form_without_a_file(client: Any) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    assert "no file" in error_of(client.post("/detect", content=b"--x--\r\n", headers=boundary), 400)


def test_pixels_are_limited_before_decoding(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yolort.images, "decode", None)  # not called
    assert "1000 x 600 pixels, more than the 500000" in error_of(client.post("/detect", content=png(600, 1000)), 413)
    assert client.post("/detect", content=png(20000, 20000)).status_code == 413


def test_bodies_are_limited(client: Any) -> None:
    assert "longer than 2000000 bytes" in error_of(client.post("/detect", content=bytes(2_000_001)), 413)
    chunks = (bytes(100_000) for _ in range(30))  # without Content-Length
    assert "longer than 2000000 bytes" in error_of(client.post("/detect", content=chunks), 413)


def infer(client: Any, tensor: dict[str, Any], binary: bytes = b"", **more: Any) -> Any:
    body = json.dumps({"inputs": [tensor], **more}).encode()
    headers = {"Inference-Header-Content-Length": str(len(body))} if binary else {}
    return client.post("/v2/models/scenes/infer", content=body + binary, headers=headers)


def columns(answer: Any) -> dict[str, np.ndarray]:
    """The outputs, in JSON or as binary data behind it."""
    assert answer.status_code == 200, answer.text
    end = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    at, out = end, {}
    for one in json.loads(answer.content[:end])["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(one["data"])
        else:
            values = np.frombuffer(answer.content[at : at + size], {"INT32": "<i4", "FP32": "<f4"}[one["datatype"]])
            at += size
        out[one["name"]] = values.reshape(one["shape"])
    assert at == len(answer.content)
    return out


def test_infer_of_files(client: Any, expected: yolort.Detections) -> None:
    text = base64.b64encode(SAMPLE).decode()
    tensor = {"name": "images", "datatype": "BYTES", "shape": [2], "data": [text, text]}
    answer = infer(client, tensor, id="seven")
    assert answer.json()["id"] == "seven"
    assert answer.json()["model_name"] == "scenes"
    found = columns(answer)
    assert found["counts"].tolist() == [len(expected)] * 2
    np.testing.assert_allclose(found["boxes"], np.tile(expected.boxes, (2, 1)))
    np.testing.assert_allclose(found["scores"], np.tile(expected.scores, 2))
    assert found["classes"].tolist() == expected.classes.tolist() * 2


def test_infer_of_binary_data(client: Any, expected: yolort.Detections) -> None:
    image = yolort.images.read(yolort.demo_image())
    size = {"binary_data_size": image.size}
    pixels = {"name": "images", "datatype": "UINT8", "shape": [1, 480, 640, 3], "parameters": size}
    np.testing.assert_allclose(columns(infer(client, pixels, image.tobytes()))["boxes"], expected.boxes)
    files = struct.pack("<I", len(SAMPLE)) + SAMPLE
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(files)}}
    found = columns(infer(client, tensor, files, parameters={"conf": 0.85, "binary_data_output": True}))
    assert found["counts"].tolist() == [int((expected.scores > 0.85).sum())]


def test_infer_of_numbers(client: Any) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [2, 3, 3], "data": [0] * 18}
    assert columns(infer(client, tensor))["boxes"].shape == (0, 4)


def test_pixels_in_json_are_those_of_the_image(client: Any) -> None:
    image = yolort.images.read(yolort.demo_image())[::8, ::8]
    height, width = image.shape[:2]
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [height, width, 3]}
    options = {"parameters": {"conf": 0.01}}
    sent = {**tensor, "parameters": {"binary_data_size": image.size}}
    expected = columns(infer(client, sent, image.tobytes(), **options))
    assert expected["counts"][0] > 0
    for data in (image.ravel().tolist(), image.tolist()):
        found = columns(infer(client, {**tensor, "data": data}, **options))
        np.testing.assert_array_equal(found["boxes"], expected["boxes"])


PIXELS = {"name": "images", "datatype": "UINT8", "shape": [2, 3, 3], "data": [0] * 18}


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"name": "image"}, 400, "inputs.0.name"),
        ({"datatype": "FP32"}, 400, "inputs.0.datatype"),
        ({"shape": [2, 3, 4]}, 400, "expected shape"),
        ({"shape": [2, -3, 3]}, 400, "inputs.0.shape"),
        ({"shape": [2**31, 2**31, 3]}, 400, "inputs.0.shape"),
        ({"shape": [1000, 1000, 3]}, 413, "1000 x 1000 pixels"),
        ({"shape": [5, 1, 1, 3]}, 413, "5 are more than the 4"),
        ({"shape": [2, 2, 3]}, 400, "not UINT8 of shape"),
        ({"data": [300] * 18}, 400, "not UINT8"),
        ({"data": ["x"] * 18}, 400, "not UINT8"),
        ({"data": [[0] * 9, 0, *[0] * 8]}, 400, "not UINT8"),
        ({"data": [[[0] * 2] * 3] * 3}, 400, "not UINT8"),
        ({"data": [[[0] * 3, [0] * 3, [0] * 2], [[0] * 3, [0] * 3, [0] * 4]]}, 400, "not UINT8"),
        ({"data": [[[0] * 3, "abc", [0] * 3]] * 2}, 400, "not UINT8"),
        ({"data": [True, *[0] * 17]}, 400, "not UINT8"),
        ({"data": [[]] * 10_001}, 413, "lists and objects, more than the 10000"),
        ({"data": None}, 400, "expected either data, or binary_data_size"),
        ({"data": None, "parameters": {"binary_data_size": 18}}, 400, "of the 0 bytes sent"),
        ({"datatype": "BYTES", "shape": [1], "data": ["no base64!"]}, 400, "base64"),
        ({"datatype": "BYTES", "shape": [1], "data": [7]}, 400, "base64"),
        ({"datatype": "BYTES", "shape": [1], "data": ["AAAA"]}, 400, "the image is empty, damaged"),
        ({"datatype": "BYTES", "shape": [2], "data": []}, 400, "expected shape [0]"),
    ],
)
def test_infer_refuses(client: Any, change: dict[str, Any], status: int, message: str) -> None:
    assert message in error_of(infer(client, {**PIXELS, **change}), status)


def test_infer_refuses_damaged_bodies(client: Any) -> None:
    url = "/v2/models/scenes/infer"
    assert error_of(client.post(url, content=b"{"), 400)
    for length in ("99", "-1", "x"):
        headers = {"Inference-Header-Content-Length": length}
        assert "Inference-Header-Content-Length" in error_of(client.post(url, content=b"{}", headers=headers), 400)
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
    assert "ends within an element" in error_of(infer(client, tensor, b"\xff\xff\xff\xff12"), 400)
    assert "parameters: warp" in error_of(infer(client, PIXELS, parameters={"warp": 9}), 400)


def test_it_tells_what_it_is(client: Any, detector: yolort.Detector) -> None:
    for path in ("/healthz", "/v2/health/live", "/v2/health/ready", "/v2/models/scenes/ready"):
        assert client.get(path).status_code == 200
    assert client.get("/v2").json()["version"] == yolort.__version__
    model = client.get("/v2/models/scenes").json()
    assert model["parameters"]["names"] == list(detector.names.values())
    assert {one["name"] for one in model["outputs"]} == {"counts", "boxes", "scores", "classes"}
    for path in ("/v2/models/other", "/v2/models/other/ready"):
        assert "the one served is 'scenes'" in error_of(client.get(path), 404)
    assert "the one served is 'scenes'" in error_of(client.post("/v2/models/other/infer", content=b"{}"), 404)
    assert error_of(client.get("/nothing"), 404)
    assert error_of(client.get("/detect"), 405)


def test_metrics(detector: yolort.Detector, expected: yolort.Detections) -> None:
    with TestClient(serve.create_app(detector)) as client:
        client.post("/detect", content=SAMPLE)
        client.post("/detect", content=b"")
        client.get("/a/path/of/a/stranger")
        text = client.get("/metrics").text
    assert 'yolort_requests_total{path="/detect",status="200"} 1.0' in text
    assert 'yolort_requests_total{path="/detect",status="400"} 1.0' in text
    assert "stranger" not in text
    assert f"yolort_detections_total {float(len(expected))}" in text
    assert "yolort_images_total 1.0" in text
    assert "yolort_request_seconds_count 2.0" in text


def test_the_page(client: Any) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", answer.text)  # it needs nothing from elsewhere
    assert client.get("/sample.jpg").content == SAMPLE


def test_the_key(detector: yolort.Detector) -> None:
    with TestClient(serve.create_app(detector, api_key="a secret")) as client:
        for headers in (
            {},
            {"Authorization": "Bearer a secre"},
            {"X-API-Key": "ä"},
            {"Authorization": "Basic a secret"},
        ):
            encoded = {name: value.encode() for name, value in headers.items()}
            assert "API key" in error_of(client.post("/detect", content=SAMPLE, headers=encoded), 401)
        assert client.get("/metrics").status_code == client.get("/v2/models/yolo").status_code == 401
        for headers in ({"Authorization": "Bearer a secret"}, {"X-API-Key": "a secret"}):
            assert client.post("/detect", content=SAMPLE, headers=headers).status_code == 200
        assert client.get("/healthz").status_code == client.get("/").status_code == 200


@pytest.mark.parametrize(
    "options", [{"api_key": ""}, {"api_key": " x"}, {"api_key": "ä"}, {"name": "a/b"}, {"name": ""}]
)
def test_options_out_of_range(detector: yolort.Detector, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(options)).replace("_", " ").replace("api", "API")):
        serve.create_app(detector, **options)


def test_more_requests_than_allowed_are_turned_away() -> None:
    gated = Gated()
    app = serve.create_app(gated, limits=serve.Limits(requests=1))  # type: ignore[arg-type]
    with TestClient(app) as client:
        first: list[Any] = []
        waiting = threading.Thread(target=lambda: first.append(client.post("/detect", content=SAMPLE)))
        waiting.start()
        assert gated.entered.wait(60)
        refused = client.post("/detect", content=SAMPLE)
        assert "1 requests are in the server already; try again later" in error_of(refused, 429)
        assert refused.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        gated.gate.set()
        waiting.join(60)
        assert first[0].status_code == 200
        assert client.post("/detect", content=SAMPLE).status_code == 200


def post(app: Any, receive: Any) -> list[Any]:
    """What an application sends to a client that behaves in its own way."""
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
    """Nothing of it is left to the garbage collector."""
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


def test_without_workers_it_is_not_ready(detector: yolort.Detector) -> None:
    app = serve.create_app(detector)
    with TestClient(app) as client:
        app.state.batcher.close()
        assert error_of(client.get("/v2/health/ready"), 503)
        assert error_of(client.post("/detect", content=SAMPLE), 503)
        assert client.get("/v2/health/live").status_code == 200


def test_a_process_that_is_stopped_finishes_its_requests(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a secret\n")
    command = ["serve", yolort.demo_model("ncnn"), "--port", 0, "--api-key-file", tmp_path / "key", "--engine", "ncnn"]
    process = subprocess.Popen(
        [sys.executable, "-m", "yolort", *map(str, command)], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stderr
    log = ""
    while not (found := re.search(r"running on (http://\S+)", log)):
        log += process.stderr.readline()
        assert process.poll() is None, log

    def ask() -> int:
        request = urllib.request.Request(f"{found[1]}/detect", SAMPLE, {"X-API-Key": "a secret"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return len(json.load(answer)["detections"])

    def accepted() -> float:
        request = urllib.request.Request(f"{found[1]}/metrics", headers={"X-API-Key": "a secret"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return sum(
            map(float, re.findall(r'^yolort_requests(?:_active|_total{path="/detect",status="200"}) (.*)$', text, re.M))
        )

    assert ask()
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(f"{found[1]}/metrics", timeout=60)
    refused.value.close()
    results: list[Any] = []
    clients = [threading.Thread(target=lambda: results.append(ask())) for _ in range(8)]
    for client in clients:
        client.start()
    while accepted() < 1 + len(clients):
        pass
    process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join(60)
    log += process.communicate(timeout=60)[1]
    assert len(results) == len(clients)
    assert len(set(results)) == 1
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
    assert process.returncode == 143


def test_outputs_that_are_asked_for(client: Any, expected: yolort.Detections) -> None:
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(SAMPLE).decode()]}
    answer = infer(client, tensor, outputs=[{"name": "scores"}, {"name": "counts"}])
    assert [one["name"] for one in answer.json()["outputs"]] == ["scores", "counts"]
    mixed = [{"name": "boxes", "parameters": {"binary_data": True}}, {"name": "classes"}]
    answer = infer(client, tensor, outputs=mixed)
    assert answer.headers["content-type"] == "application/octet-stream"
    found = columns(answer)
    np.testing.assert_array_equal(found["boxes"], expected.boxes)
    assert found["classes"].tolist() == expected.classes.tolist()
    found = columns(infer(client, tensor, parameters={"binary_data_output": True}, outputs=mixed[1:]))
    assert found["classes"].tolist() == expected.classes.tolist()
    assert "outputs.0.name" in error_of(infer(client, tensor, outputs=[{"name": "masks"}]), 400)


def test_versions(client: Any) -> None:
    for path in ("/versions/1", "/versions/1/ready"):
        assert client.get(f"/v2/models/scenes{path}").status_code == 200
    body = json.dumps({"inputs": [PIXELS]})
    assert client.post("/v2/models/scenes/versions/1/infer", content=body).status_code == 200
    for path in ("/versions/2", "/versions/2/ready"):
        assert "has no version '2'" in error_of(client.get(f"/v2/models/scenes{path}"), 404)


def test_the_inputs_that_it_names_are_taken(client: Any) -> None:
    inputs = client.get("/v2/models/scenes").json()["inputs"]
    assert {(one["name"], one["datatype"]) for one in inputs} == {("images", "BYTES"), ("pixels", "UINT8")}
    assert infer(client, {**PIXELS, "name": "pixels"}).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(encoding: str, client: Any, expected: yolort.Detections) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
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


def test_options_of_a_form(client: Any, expected: yolort.Detections) -> None:
    best = expected.to_dict()["detections"][:1]
    parts = [("max_det", (None, "1")), ("file", ("scene.jpg", SAMPLE)), ("conf", (None, "0.3"))]
    for files in (parts, parts[::-1]):
        assert client.post("/detect", files=files).json()["detections"] == best
    assert "conf: in the query and in the form" in error_of(client.post("/detect?conf=0.1", files=parts), 400)
    for name, value in (("conf", "x"), ("warp", "9")):
        wrong = [(name, (None, value)), ("file", ("scene.jpg", SAMPLE))]
        assert f"form.{name}" in error_of(client.post("/detect", files=wrong), 400)


def test_a_name_of_several_classes() -> None:
    detector = types.SimpleNamespace(names={0: "cat", 1: "dog", 2: "cat"})
    assert protocol._classes("cat", detector, "query") == [0, 2]
    assert protocol._classes("dog,2,cat", detector, "query") == [1, 2, 0]


def test_classes_by_name(client: Any, detector: yolort.Detector) -> None:
    found = client.post(f"/detect?classes={detector.names[3]}", content=SAMPLE).json()["detections"]
    assert {one["name"] for one in found} == {detector.names[3]}


def test_a_form_is_held_in_memory(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    large = png(400, 1200) + bytes(1_200_000)
    answer = client.post("/detect", files={"file": ("a.png", large)})
    assert answer.status_code == 200, answer.text


NOTHING = {"name": "images", "datatype": "BYTES", "shape": [0]}


@pytest.mark.parametrize(
    ("tensor", "binary", "status", "message"),
    [
        ({**NOTHING, "data": []}, b"", 400, "expected one image or more"),
        ({**NOTHING, "parameters": {"binary_data_size": 0}}, b"", 400, "expected one image or more"),
        ({**NOTHING, "shape": [9], "parameters": {"binary_data_size": 36}}, bytes(36), 413, "more than the 4"),
        ({**NOTHING, "shape": [4], "parameters": {"binary_data_size": 36}}, bytes(36), 413, "more than the 4 elements"),
        ({**PIXELS, "shape": [0, 4, 4, 3], "data": []}, b"", 400, "expected shape"),
        ({**PIXELS, "shape": [0, 3, 3], "data": []}, b"", 400, "expected shape"),
        ({**PIXELS, "shape": [True, 6, 3]}, b"", 400, "inputs.0.shape"),
        ({**PIXELS, "shape": [2.0, 3, 3]}, b"", 400, "inputs.0.shape"),
        ({**PIXELS, "data": None, "parameters": {"binary_data_size": True}}, b"x", 400, "binary_data_size"),
        ({**PIXELS, "data": None, "parameters": {"binary_data_size": -18}}, bytes(18), 400, "binary_data_size"),
        ({**PIXELS, "data": None, "parameters": {"binary_data_size": 10**30}}, bytes(18), 400, "binary_data_size"),
    ],
)
def test_odd_tensors(client: Any, tensor: dict[str, Any], binary: bytes, status: int, message: str) -> None:
    assert message in error_of(infer(client, tensor, binary), status)


@pytest.mark.parametrize("length", ["9" * 4301, "²", "\u0661", "-0", "0x10", " "])
def test_odd_lengths(client: Any, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length.encode()}
    assert error_of(client.post("/v2/models/scenes/infer", content=b"{}", headers=headers), 400)


def test_much_json_is_refused_before_it_is_parsed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.InferRequest, "model_validate_json", None)  # not called
    for text in (b"[]," * 100_000, b"[" * 100_001, b'{"a":' * 60_000, b"1," * 100_001):
        assert "send binary data" in error_of(client.post("/v2/models/scenes/infer", content=text), 413)


@pytest.mark.parametrize("body", [b"[" * 5000, b'{"id": "\\ud800"}', b'{"id": "\xff"}', b"\xff", b"null", b"1e999"])
def test_odd_json(client: Any, body: bytes) -> None:
    assert error_of(client.post("/v2/models/scenes/infer", content=body), 400)


def jpeg(*segments: bytes) -> bytes:
    return SAMPLE[:2] + b"".join(segments) + SAMPLE[2:]


COMMENT = b"\xff\xfe\x00\x02"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (jpeg(COMMENT * 5000), 400, "damaged or none of"),
        (jpeg(b"\xff" * 100_000), 400, "damaged or none of"),
        (SAMPLE + b"\xff\xda" * 101, 413, "more than 100 scans"),
        (b"II*\0\x08\0\0\0" + bytes(100), 400, "none of BMP, JPEG, PNG, WebP"),
    ],
)
def test_images_that_cost_time(client: Any, body: bytes, status: int, message: str) -> None:
    assert message in error_of(client.post("/detect", content=body), status)


def test_images_with_much_before_the_pixels(client: Any, expected: yolort.Detections) -> None:
    for body in (jpeg(COMMENT * 50), jpeg(b"\xff\xfe\xff\xff" + bytes(65533))):
        assert len(client.post("/detect", content=body).json()["detections"]) == len(expected)


def test_a_request_counts_until_its_answer_is_read(detector: yolort.Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    long = bytes(200_000)
    monkeypatch.setattr(protocol, "one_answer", lambda *_: long)
    app = serve.create_app(detector, limits=serve.Limits(requests=1))
    scope = {"type": "http", "method": "POST", "path": "/detect", "query_string": b"", "headers": []}

    async def ask(reading: asyncio.Event, begun: asyncio.Event) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": SAMPLE, "more_body": False}

        async def send(message: Any) -> None:
            if sent:
                begun.set()
                await reading.wait()
            sent.append(message)

        await app(dict(scope), receive, send)
        return sent

    async def scenario() -> None:
        read, unread, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
        read.set()
        async with app.router.lifespan_context(app):
            first = asyncio.create_task(ask(unread, begun))
            await asyncio.wait_for(begun.wait(), 60)
            assert (await ask(read, asyncio.Event()))[0]["status"] == 429
            unread.set()
            sent = await asyncio.wait_for(first, 60)
            assert sent[0]["status"] == 200
            assert [len(one["body"]) for one in sent[1:]] == [65_536, 65_536, 65_536, 3_392]
            assert (await ask(read, asyncio.Event()))[0]["status"] == 200

    asyncio.run(scenario())


def escaped(text: str, *pairs: tuple[str, str]) -> bytes:
    body = json.dumps({"inputs": [{**NOTHING, "shape": [1], "data": [text]}]})
    for plain, written in pairs:
        body = body.replace(plain, written)
    return body.encode()


def test_base64_as_others_write_it_in_json(client: Any, expected: yolort.Detections) -> None:
    """PHP escapes slashes, .NET plus signs; both stand across the slices that are decoded at once."""
    text = base64.b64encode(SAMPLE + bytes(200_000)).decode()
    filler = base64.b64encode(b"\xff" * 200_000).decode()  # slashes only: every slice ends in an escape
    url = "/v2/models/scenes/infer"
    for pairs in ([("/", r"\/")], [("+", r"\u002b")], [("/", r"\u002F"), ("+", r"\u002B")]):
        assert columns(client.post(url, content=escaped(text, *pairs)))["counts"].tolist() == [len(expected)]
        refused = client.post(url, content=escaped(filler, *pairs))
        assert "the image is empty, damaged" in error_of(refused, 400)
    for wrong in ("\n", '"', "\\", "é", "\U0001f600"):
        message = error_of(client.post(url, content=escaped(text[:100_001] + wrong + text)), 400)
        assert "base64" in message or "Invalid JSON" in message or "inputs" in message


def test_base64_is_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for length in (0, 1, 2, 3, 99_999, 300_001):
        data = np.random.default_rng(length).bytes(length)
        text = json.dumps(base64.b64encode(data).decode()).replace("/", r"\/")[1:-1].encode()
        assert protocol._from_base64(memoryview(text)) == data


def test_long_strings_elsewhere_are_refused(client: Any) -> None:
    long = "x" * 10_000
    assert "id: longer than 256" in error_of(infer(client, PIXELS, id=long), 400)
    assert "parameters.classes" in error_of(infer(client, PIXELS, parameters={"classes": long}), 400)
    assert "inputs.0.name" in error_of(infer(client, {**PIXELS, "name": long}), 400)
    assert "send binary data" in error_of(infer(client, PIXELS, note={"x" * 100: ["y" * 4000] * 300}), 413)


@pytest.mark.parametrize("value", [1.5, "5", True, None, -1, 256, 10**30, [], {}])
def test_pixels_are_whole_numbers(client: Any, value: Any) -> None:
    assert "not UINT8" in error_of(infer(client, {**PIXELS, "data": [value] * 18}), 400)
    assert error_of(infer(client, {**PIXELS, "data": [value] + [0] * 16}), 400)


def test_answers_are_bounded(client: Any) -> None:
    tensor = {**PIXELS, "shape": [4, 3, 2, 3], "data": [0] * 72}
    assert "400000 detections" in error_of(infer(client, tensor, parameters={"max_det": 100_000}), 413)
    assert infer(client, tensor, parameters={"max_det": 25_000}).status_code == 200
    many = {f"a{at}": 1 for at in range(65)}
    assert "parameters: Dictionary should have at most 64" in error_of(infer(client, PIXELS, parameters=many), 400)


def test_scans_are_bounded_by_their_pixels(client: Any) -> None:
    data: bytes = cv2.imencode(".jpg", np.zeros((7000, 7000, 3), np.uint8))[1].tobytes() + b"\xff\xda" * 30
    with pytest.raises(yolort.serve.limits.TooLargeError, match="more than 20 scans"):
        protocol.decode(data, serve.Limits())


def test_texts_of_png_files_are_bounded(client: Any) -> None:
    """A decoder inflates 8 MB for each of these, for a minute in all."""
    packed = b"a\0\0" + zlib.compress(bytes(7_900_000), 9)
    text = struct.pack(">I", len(packed)) + b"zTXt" + packed + struct.pack(">I", zlib.crc32(b"zTXt" + packed))
    empty = bytes(4) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    plain = png(40, 40)
    assert client.post("/detect", content=plain[:33] + text * 2 + empty * 99 + plain[33:]).status_code == 200
    for chunks in (text * 33, empty * 100_001):
        assert "more than 32 texts" in error_of(client.post("/detect", content=plain[:33] + chunks + plain[33:]), 413)


def test_forms_as_clients_write_them(client: Any, expected: yolort.Detections) -> None:
    def form(*parts: bytes, mark: str = "x", encoding: str = "") -> Any:
        headers = {"content-type": f"multipart/form-data; charset=utf-8; boundary={mark}", "content-encoding": encoding}
        body = b"".join(parts)
        return client.post("/detect", content=gzip.compress(body) if encoding else body, headers=headers)

    def part(about: str, data: bytes) -> bytes:
        return (
            b"--x\r\nContent-Type: x\r\nContent-Disposition: form-data; "
            + about.encode()
            + b"\r\n\r\n"
            + data
            + b"\r\n"
        )

    file, end = part('name="file"; filename="Bär; \\"1\\".jpg"', SAMPLE), b"--x--\r\n"
    for answer in (
        form(file, end),
        form(b"preamble\r\n", file, end, b"epilogue"),
        form(file, end, mark='"x"'),
        form(file, end, encoding="gzip"),
        form(part("name=file; filename*=UTF-8''b.jpg", SAMPLE + b"\r\n--\r\n-x\r\n--y"), end),
    ):
        assert len(answer.json()["detections"]) == len(expected)
    field = part('name="conf"', b"0.5")
    for parts, message in (
        ((file, field, field, end), "form.conf: given twice"),
        ((file, file, end), "more than one file"),
        ((field, end), "no file"),
        ((file,), "no file"),
        ((part('filename="a"; name="conf"', b"x")[:40],), "no file"),
        ((file, b"--x\r\nno head\r\n", end), "does not end"),
        ((field * 20, file, end), "more than 16 parts"),
        ((part('name="conf"', bytes(5000)), file, end), "longer than 4096"),
        ((b"",), "no file"),
    ):
        assert message in error_of(form(*parts), 400)
    assert "no boundary" in error_of(form(file, end, mark=""), 400)
    assert "no boundary" in error_of(form(file, end, mark="x" * 71), 400)


def test_gzip_that_is_not_wanted(client: Any) -> None:
    tensor = {**NOTHING, "shape": [1], "data": [base64.b64encode(SAMPLE).decode()]}
    for accepted, packed in (("gzip;q=0", False), ("deflate, gzip;q=0.5", True), ("br", False), ("GZIP", True)):
        answer = client.post(
            "/v2/models/scenes/infer", json={"inputs": [tensor]}, headers={"accept-encoding": accepted}
        )
        assert (answer.headers.get("content-encoding") == "gzip") == packed


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """A process that serves, with a short time for clients to read."""
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


@pytest.mark.parametrize("sent", [b"", b"POST /detect HTTP/1.1\r\nhost: x\r\n", b"GET /healthz HTTP/1.1\r\n\r"])
def test_a_head_that_does_not_come(server: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(server, timeout=60) as client:
        client.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(4096):
                pass


def test_an_answer_that_nobody_reads(server: tuple[str, int]) -> None:
    """The server ends the connection, which would be held for ever."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(server)
        client.sendall(b"GET /sample.jpg HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)  # more than all buffers hold
        ended = select.poll()
        ended.register(client, 0)
        assert ended.poll(60_000)


def test_requests_as_a_triton_client_sends_them(server: tuple[str, int], expected: yolort.Detections) -> None:
    """The bytes of tritonclient 2.73, for where it is not installed."""
    connection = http.client.HTTPConnection(*server, timeout=60)

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, int]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.read(), int(answer.headers.get("inference-header-content-length", -1))

    for path in ("/v2/health/live", "/v2/models/yolo/versions/1/ready", "/v2/models/yolo/versions/1", "/v2"):
        assert ask("GET", path)[0] == 200
    head = (
        b'{"id":"7","inputs":[{"name":"images","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":%d}}],'
        b'"outputs":[{"name":"counts","parameters":{"binary_data":false}},{"name":"boxes","parameters":{"binary_data":true}}],'
        b'"parameters":{"sequence_id":3,"sequence_start":true,"sequence_end":false,"priority":1,"timeout":1000,"conf":0.5}}'
    ) % (len(SAMPLE) + 4)
    body = head + struct.pack("<I", len(SAMPLE)) + SAMPLE
    length = str(len(head))
    kept = expected[expected.scores > 0.5]
    for data, headers in (
        (body, {}),
        (gzip.compress(body), {"Content_Encoding": "gzip", "Accept_Encoding": "deflate"}),
    ):
        status, answer, end = ask(
            "POST", "/v2/models/yolo/versions/1/infer", data, Inference_Header_Content_Length=length, **headers
        )
        assert status == 200, answer
        about = json.loads(answer[:end])
        assert about["id"] == "7"
        assert [one["name"] for one in about["outputs"]] == ["counts", "boxes"]
        assert about["outputs"][0]["data"] == [len(kept)]
        assert about["outputs"][1]["parameters"]["binary_data_size"] == len(answer) - end
        np.testing.assert_array_equal(np.frombuffer(answer[end:], "<f4").reshape(-1, 4), kept.boxes)
    pixels = (
        b'{"inputs":[{"name":"pixels","shape":[1,1,1,3],"datatype":"UINT8","data":[0,0,0]}],'
        b'"parameters":{"binary_data_output":true}}'
    )
    status, answer, end = ask("POST", "/v2/models/yolo/infer", pixels)
    assert status == 200
    assert answer[end:] == bytes(4)  # counts; the other outputs are empty
    connection.close()


def test_a_triton_client(server: tuple[str, int], expected: yolort.Detections) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    client = triton.InferenceServerClient(f"{server[0]}:{server[1]}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("yolo", "1")
    assert client.get_model_metadata("yolo", "1")["versions"] == ["1"]
    image = yolort.images.read(yolort.demo_image())
    files = triton.InferInput("images", [1], "BYTES")
    files.set_data_from_numpy(np.array([SAMPLE], object))
    pixels = triton.InferInput("pixels", [1, *image.shape], "UINT8")
    pixels.set_data_from_numpy(image[None])
    for given in (files, pixels):
        for compression in (None, "gzip", "deflate"):
            answer = client.infer(
                "yolo", [given], model_version="1", request_compression_algorithm=compression,
                response_compression_algorithm=compression and "gzip",
            )  # fmt: skip
            np.testing.assert_allclose(answer.as_numpy("boxes"), expected.boxes)
    only = client.infer("yolo", [files], outputs=[triton.InferRequestedOutput("counts", binary_data=False)])
    assert only.as_numpy("counts").tolist() == [len(expected)]
    assert only.as_numpy("boxes") is None
    assert client.async_infer("yolo", [files]).get_result().as_numpy("counts").tolist() == [len(expected)]
    client.close()


def test_a_mounted_application(detector: yolort.Detector) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = serve.create_app(detector, name="m", api_key="k")
    outer = TestClient(Starlette(routes=[Mount("/yolo", inner)]))
    assert "lifespan" in error_of(outer.post("/yolo/detect", content=SAMPLE, headers={"X-API-Key": "k"}), 503)
    with TestClient(inner):
        assert outer.get("/yolo/healthz").status_code == 200
        assert outer.get("/yolo/").status_code == 200
        assert outer.get("/yolo/metrics").status_code == 401
        assert outer.post("/yolo/detect", content=SAMPLE, headers={"X-API-Key": "k"}).status_code == 200


def test_outputs_are_named_once(client: Any) -> None:
    outputs = [{"name": "boxes"}, {"name": "boxes"}]
    assert "named twice" in error_of(infer(client, PIXELS, outputs=outputs), 400)


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
    """The exception, which holds the frame of the reader, may be garbage for a while."""
    from starlette.requests import ClientDisconnect, Request
    from yolort.serve import app

    messages = [{"type": "http.request", "body": b"x" * 10_000, "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    request = Request({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive)
    with pytest.raises(ClientDisconnect) as raised:
        asyncio.run(app._body(request, serve.Limits()))
    frames = [frame.frame for frame in raised.traceback if frame.name == "_body"]
    assert [len(frame.f_locals["body"]) for frame in frames] == [0]


def test_what_an_answer_does_not_need_is_not_kept(detector: yolort.Detector) -> None:
    from yolort.serve import protocol

    asked = {
        "inputs": [PIXELS],
        "parameters": {"timeout": [{"a": [0]}] * 100, "binary_data_output": True},
        "outputs": [{"name": "boxes", "parameters": {"binary_data": False, "other": [[]] * 100}}],
    }
    parsed = protocol.parse(json.dumps(asked).encode(), None, detector, serve.Limits())[0]
    assert (parsed.inputs, parsed.parameters) == ([], {"binary_data_output": True})
    assert parsed.outputs
    assert parsed.outputs[0].parameters == {"binary_data": False}
