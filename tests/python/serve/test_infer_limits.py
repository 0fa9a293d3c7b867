"""POST /v2/models/.../infer: tensors, lengths and JSON that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yolort
from serving import NOTHING, PIXELS, error_of, infer
from yolort import serve
from yolort.serve import protocol


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"name": "image"}, 400, "inputs.0.name"),
        ({"datatype": "FP32"}, 400, "inputs.0.datatype"),
        ({"shape": [2, 3, 4]}, 400, "expected shape"),
        ({"shape": [2, -3, 3]}, 400, "inputs.0.shape"),
        ({"shape": [2**31, 2**31, 3]}, 400, "inputs.0.shape"),
        ({"shape": [1000, 1000, 3]}, 413, "1000 x 1000 pixels"),
        ({"shape": [5, 1, 1, 3]}, 413, "5 exceed the limit of 4"),
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
    assert "is truncated" in error_of(infer(client, tensor, b"\xff\xff\xff\xff12"), 400)
    assert "parameters: warp" in error_of(infer(client, PIXELS, parameters={"warp": 9}), 400)


@pytest.mark.parametrize(
    ("tensor", "binary", "status", "message"),
    [
        ({**NOTHING, "data": []}, b"", 400, "expected at least one image"),
        ({**NOTHING, "parameters": {"binary_data_size": 0}}, b"", 400, "expected at least one image"),
        ({**NOTHING, "shape": [9], "parameters": {"binary_data_size": 36}}, bytes(36), 413, "exceed the limit of 4"),
        (
            {**NOTHING, "shape": [4], "parameters": {"binary_data_size": 36}},
            bytes(36),
            413,
            "exceeds the limit of 4 elements",
        ),
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


def test_data_that_a_response_does_not_need_is_not_kept(detector: yolort.Detector) -> None:
    asked = {
        "inputs": [PIXELS],
        "parameters": {"timeout": [{"a": [0]}] * 100, "binary_data_output": True},
        "outputs": [{"name": "boxes", "parameters": {"binary_data": False, "other": [[]] * 100}}],
    }
    parsed = protocol.parse(json.dumps(asked).encode(), None, detector, serve.Limits())[0]
    assert (parsed.inputs, parsed.parameters) == ([], {"binary_data_output": True})
    assert parsed.outputs
    assert parsed.outputs[0].parameters == {"binary_data": False}
