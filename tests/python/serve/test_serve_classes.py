"""The server with a classifier, and with a multi-channel model."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import metadata, write_ncnn
from serving import TestClient, columns, error_of, infer, png
from yolort import serve

FILE = png(48, 60)
IMAGES = {"name": "images", "datatype": "BYTES", "shape": [2], "data": [base64.b64encode(FILE).decode()] * 2}
NAMES = ["cat", "dog", "owl", "fox", "hen", "elk"]
PROBS = np.array([0.1, 0.05, 0.5, 0.2, 0.1, 0.05], np.float32)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    said = {**metadata(NAMES), "task": "classify", "stride": 1, "imgsz": [32, 32]}
    model = write_ncnn(tmp_path_factory.mktemp("classes"), {"out0": PROBS}, said)
    with TestClient(serve.create_app(yolort.Classifier(model, engine="ncnn"), name="scenes")) as client:
        yield client


def test_detect_gives_the_best_classes(client: Any) -> None:
    answer = client.post("/detect", content=FILE).json()
    assert [row["name"] for row in answer["classes"]] == ["owl", "fox", "cat", "hen", "dog"]
    assert answer["classes"][0] == {"class": 2, "name": "owl", "score": 0.5}
    assert (answer["shape"], answer["model"]) == ([48, 60], "scenes")
    better = client.post("/detect?conf=0.15", content=FILE).json()
    assert better["classes"] == answer["classes"][:2]


def test_infer_gives_every_score(client: Any) -> None:
    described = client.get("/v2/models/scenes").json()
    assert described["parameters"]["task"] == "classify"
    assert described["outputs"] == [{"name": "probs", "datatype": "FP32", "shape": [-1, 6]}]
    answer = infer(client, IMAGES)
    np.testing.assert_allclose(columns(answer)["probs"], np.stack([PROBS, PROBS]))
    binary = infer(client, IMAGES, outputs=[{"name": "probs", "parameters": {"binary_data": True}}])
    np.testing.assert_array_equal(columns(binary)["probs"], np.stack([PROBS, PROBS]))


def test_what_a_classifier_does_not_have(client: Any) -> None:
    assert "query.iou: a classifier does not have this threshold" in error_of(
        client.post("/detect?iou=0.5", content=FILE), 400
    )
    answer = infer(client, IMAGES, parameters={"conf": 0.5})
    assert "parameters.conf: a classifier does not have this threshold" in error_of(answer, 400)
    answer = infer(client, IMAGES, outputs=[{"name": "boxes"}])
    assert "a model of task 'classify' has only probs, not boxes" in error_of(answer, 400)


def test_metrics_count_images(client: Any) -> None:
    client.post("/detect", content=FILE)
    text = client.get("/metrics").text
    assert "yolort_detections_total 0.0" in text and "yolort_images_total 0.0" not in text


def test_pixels_of_many_channels(tmp_path: Path) -> None:
    found = np.array([[8, 8, 24, 24, 0.9, 0]], np.float32)
    said = {**metadata(NAMES), "end2end": True, "imgsz": [32, 32], "channels": 6}
    detector = yolort.Detector(write_ncnn(tmp_path, {"out0": found}, said), engine="ncnn")
    with TestClient(serve.create_app(detector, name="scenes")) as client:
        assert client.get("/v2/models/scenes").json()["inputs"][1]["shape"] == [-1, -1, -1, 6]
        pixels = {"name": "pixels", "datatype": "UINT8", "shape": [32, 32, 6], "data": [0] * (32 * 32 * 6)}
        assert columns(infer(client, pixels))["counts"].tolist() == [1]
        wrong = {"name": "pixels", "datatype": "UINT8", "shape": [32, 32, 3], "data": [0] * (32 * 32 * 3)}
        assert "expected shape [(count,) height, width, 6]" in error_of(infer(client, wrong), 400)
        assert "it has 3 channel(s), but the model takes 6" in error_of(client.post("/detect", content=FILE), 400)
