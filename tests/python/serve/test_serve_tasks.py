"""The server with models for segmentation, poses and oriented boxes."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import task_model, write_ncnn
from serving import TestClient, columns, error_of, infer, png
from yolort import serve

FILE = png(48, 60)
IMAGES = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(FILE).decode()]}
ADDED = {"segment": "masks", "pose": "keypoints", "obb": "rotated"}


@pytest.fixture(scope="module", params=list(ADDED))
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def task_detector(task: str, tmp_path_factory: pytest.TempPathFactory) -> yolort.Detector:
    return yolort.Detector(write_ncnn(tmp_path_factory.mktemp(task), *task_model(task)), engine="ncnn")


@pytest.fixture(scope="module")
def client(task_detector: yolort.Detector) -> Iterator[Any]:
    with TestClient(serve.create_app(task_detector, name="scenes")) as client:
        yield client


@pytest.fixture(scope="module")
def expected(task_detector: yolort.Detector) -> yolort.Detections:
    found = task_detector(np.zeros((48, 60, 3), np.uint8))
    assert len(found) == 2
    return found


def test_detect_gives_the_same_results_as_python(client: Any, expected: yolort.Detections) -> None:
    answer = client.post("/detect", content=FILE).json()
    assert answer["detections"] == expected.to_dict()["detections"]
    assert answer["shape"] == [48, 60]


def test_infer_has_a_column_of_the_task(client: Any, task: str, expected: yolort.Detections) -> None:
    described = client.get("/v2/models/scenes").json()
    assert described["parameters"]["task"] == task
    assert described["parameters"]["skeleton"] == [list(limb) for limb in expected.skeleton]
    names = [output["name"] for output in described["outputs"]]
    assert names == ["counts", "boxes", "scores", "classes", ADDED[task]]
    answer = infer(client, IMAGES)
    assert [output["name"] for output in answer.json()["outputs"]] == names
    found = columns(answer)[ADDED[task]]
    if task == "segment":
        assert expected.masks is not None
        assert [json.loads(text) for text in found] == expected.masks.rle()
    else:
        np.testing.assert_allclose(found, getattr(expected, ADDED[task]), rtol=1e-6)


def test_infer_of_binary_columns(client: Any, task: str, expected: yolort.Detections) -> None:
    answer = infer(client, IMAGES, outputs=[{"name": ADDED[task], "parameters": {"binary_data": True}}])
    end = int(answer.headers["inference-header-content-length"])
    (head,) = json.loads(answer.content[:end])["outputs"]
    data = answer.content[end:]
    assert head["parameters"]["binary_data_size"] == len(data)
    if task != "segment":
        assert head["datatype"] == "FP32"
        np.testing.assert_array_equal(columns(answer)[ADDED[task]], getattr(expected, ADDED[task]))
        return
    assert (head["datatype"], head["shape"]) == ("BYTES", [2])
    texts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        texts.append(json.loads(data[4 : 4 + length]))
        data = data[4 + length :]
    assert expected.masks is not None and texts == expected.masks.rle()


def test_nothing_found_has_all_columns(client: Any, task: str) -> None:
    assert columns(infer(client, IMAGES, parameters={"conf": 0.99}))[ADDED[task]].shape[0] == 0
    assert client.post("/detect?conf=0.99", content=FILE).json()["detections"] == []


def test_a_column_of_another_task_is_refused(client: Any, task: str) -> None:
    other = next(column for column in ADDED.values() if column != ADDED[task])
    message = error_of(infer(client, IMAGES, outputs=[{"name": other}]), 400)
    assert f"a model of task '{task}' has only counts, boxes, scores, classes, {ADDED[task]}, not {other}" in message


def test_masks_of_an_answer_are_bounded(tmp_path: Path) -> None:
    """Counted as bits when an image is done, and as text while it is written."""
    outputs, data = task_model("segment")
    outputs["out1"][:] = np.where(np.indices((16, 16)).sum(0) % 2, 1, -1)  # a checkerboard: text is longer than bits
    detector = yolort.Detector(write_ncnn(tmp_path, outputs, data), engine="ncnn")
    masks = detector(np.zeros((48, 60, 3), np.uint8)).masks
    assert masks is not None
    text = sum(len(rle["counts"]) for rle in masks.rle())
    assert text > masks.nbytes
    for limit in (masks.nbytes - 1, text - 1):
        limits = serve.Limits(masks=limit)
        with TestClient(serve.create_app(detector, name="scenes", limits=limits)) as client:
            for answer in (client.post("/detect", content=FILE), infer(client, IMAGES)):
                assert f"more than the {limit} of one response" in error_of(answer, 413)
            assert client.post("/detect?conf=0.95", content=FILE).status_code == 200
            assert infer(client, IMAGES, outputs=[{"name": "boxes"}]).status_code == (
                200 if limit >= masks.nbytes else 413
            )
