"""Requests for the server's tests, and parsing of responses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2", reason="fastapi's test client needs httpx2")
cv2 = pytest.importorskip("cv2")
TestClient = pytest.importorskip("fastapi.testclient").TestClient

SAMPLE = yolort.demo_image().read_bytes()
PIXELS = {"name": "images", "datatype": "UINT8", "shape": [2, 3, 3], "data": [0] * 18}
NOTHING = {"name": "images", "datatype": "BYTES", "shape": [0]}


def png(height: int, width: int) -> bytes:
    data: bytes = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    return data


def error_of(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    message: str = answer.json()["error"]
    return message


def infer(client: Any, tensor: dict[str, Any], binary: bytes = b"", **more: Any) -> Any:
    body = json.dumps({"inputs": [tensor], **more}).encode()
    headers = {"Inference-Header-Content-Length": str(len(body))} if binary else {}
    return client.post("/v2/models/scenes/infer", content=body + binary, headers=headers)


def columns(answer: Any) -> dict[str, np.ndarray]:
    """The outputs, in JSON or as binary data after it."""
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
