"""POST /v2/models/.../infer: tensors in JSON, base64 and binary form, and requested outputs."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import struct
from typing import Any

import numpy as np
import pytest
import yolort
from serving import NOTHING, PIXELS, SAMPLE, columns, error_of, infer
from yolort.serve.json_files import from_base64


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
    sent = {**tensor, "parameters": {"binary_data_size": image.size}}
    expected = columns(infer(client, sent, image.tobytes(), parameters={"conf": 0.01}))
    assert expected["counts"][0] > 0
    for data in (image.ravel().tolist(), image.tolist()):
        found = columns(infer(client, {**tensor, "data": data}, parameters={"conf": 0.01}))
        np.testing.assert_array_equal(found["boxes"], expected["boxes"])


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
    assert "outputs.0.name" in error_of(infer(client, tensor, outputs=[{"name": "labels"}]), 400)
    assert "not masks" in error_of(infer(client, tensor, outputs=[{"name": "masks"}]), 400)


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


def escaped(text: str, *pairs: tuple[str, str]) -> bytes:
    body = json.dumps({"inputs": [{**NOTHING, "shape": [1], "data": [text]}]})
    for plain, written in pairs:
        body = body.replace(plain, written)
    return body.encode()


def test_base64_as_others_write_it_in_json(client: Any, expected: yolort.Detections) -> None:
    """PHP escapes slashes, .NET plus signs; both may span two of the slices that are decoded at once."""
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


def test_base64_is_decoded_whole() -> None:
    for length in (0, 1, 2, 3, 99_999, 300_001):
        data = np.random.default_rng(length).bytes(length)
        text = json.dumps(base64.b64encode(data).decode()).replace("/", r"\/")[1:-1].encode()
        assert from_base64(memoryview(text)) == data


def test_requests_as_a_triton_client_sends_them(server: tuple[str, int], expected: yolort.Detections) -> None:
    """The request bytes of tritonclient 2.73, if it is not installed."""
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


def test_outputs_are_named_once(client: Any) -> None:
    outputs = [{"name": "boxes"}, {"name": "boxes"}]
    assert "named twice" in error_of(infer(client, PIXELS, outputs=outputs), 400)
