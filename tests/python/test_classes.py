"""Selection of classes by index and name, in a Detector, a call, a Batcher, a stream and a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import IMAGE, boxes_output, metadata, write_onnx

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def detector(model: Path) -> yolort.Detector:
    return yolort.Detector(model, engine="onnxruntime")


KINDS: list[tuple[Any, list[int]]] = [
    (0, [0]),
    (np.int64(0), [0]),
    (np.array(0), [0]),
    (np.array([0]), [0]),
    (np.array([0, 2]), [0, 2]),
    ([0, 0, 2], [0, 2]),
    ((1,), [1]),
    ({2}, [2]),
    (range(1, 3), [1, 2]),
    ("two", [2]),
    (["zero", "driver's licence"], [0, 1]),
    ([0, "two"], [0, 2]),
    (None, [0, 1, 2]),
]


@pytest.mark.parametrize(("classes", "kept"), KINDS)
def test_classes(classes: Any, kept: list[int], model: Path, detector: yolort.Detector) -> None:
    made = yolort.Detector(model, engine="onnxruntime", classes=classes)
    for one in (made, made.clone()):
        assert one(IMAGE).classes.tolist() == kept
    assert detector(IMAGE, classes=classes).classes.tolist() == kept
    with yolort.Batcher(detector) as batcher:
        found = [future.result(60) for future in [batcher.submit(IMAGE, classes=classes) for _ in range(3)]]
    assert [one.classes.tolist() for one in found] == [kept] * 3
    with detector.stream(iter([IMAGE] * 3), classes=classes) as stream:
        assert [frame.detections.classes.tolist() for frame in stream] == [kept] * 3


def test_classes_that_can_be_read_once(detector: yolort.Detector) -> None:
    with detector.stream(iter([IMAGE] * 3), classes=(index for index in (0, 2))) as stream:
        assert [frame.detections.classes.tolist() for frame in stream] == [[0, 2]] * 3
    assert detector(IMAGE, classes=(index for index in (0, 2))).classes.tolist() == [0, 2]
    with yolort.Batcher(detector) as batcher:
        assert batcher.submit(IMAGE, classes=iter([1])).result(60).classes.tolist() == [1]


def test_classes_of_a_tensor(detector: yolort.Detector) -> None:
    torch = pytest.importorskip("torch")
    assert detector(IMAGE, classes=torch.tensor([0, 2])).classes.tolist() == [0, 2]
    assert detector(IMAGE, classes=torch.tensor(1)).classes.tolist() == [1]
    with pytest.raises(TypeError, match="classes: expected a whole number"):  # a mask is not a list of indices
        detector(IMAGE, classes=torch.tensor([True, False, True]))


def test_a_name_of_several_classes(model: Path) -> None:
    names = ["cat", "dog", "cat"]
    made = yolort.Detector(model, engine="onnxruntime", names=names, classes="cat")
    assert made(IMAGE).classes.tolist() == [0, 2]
    detector = yolort.Detector(model, engine="onnxruntime", names=names)
    classes: Any
    for classes, kept in (("cat", [0, 2]), (["cat", 1, 0], [0, 1, 2]), ("dog", [1])):
        assert detector(IMAGE, classes=classes).classes.tolist() == kept
        with yolort.Batcher(detector, workers=1) as batcher:
            assert batcher.submit(IMAGE, classes=classes).result(60).classes.tolist() == kept
        with detector.stream(iter([IMAGE]), classes=classes) as stream:
            assert [frame.detections.classes.tolist() for frame in stream] == [kept]


def test_a_name_of_several_classes_in_a_command(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    rows = boxes_output((16, 16, 8, 8, 0.9, 0), (32, 32, 8, 8, 0.8, 1), (48, 48, 8, 8, 0.7, 2))
    model = write_onnx(tmp_path, rows, metadata(["cat", "dog", "cat"]))
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    command = [sys.executable, "-m", "yolort", "predict", str(tmp_path / "a.png"), "--model", str(model), "--json"]
    done = subprocess.run([*command, "--classes", "cat"], capture_output=True, text=True, timeout=120, check=True)
    assert [one["class"] for one in json.loads(done.stdout)["detections"]] == [0, 2]


@pytest.mark.parametrize("classes", [[], 3, "zebra", [0.5], True])
def test_wrong_classes_of_a_call(classes: Any, detector: yolort.Detector) -> None:
    with pytest.raises((TypeError, ValueError), match="class"):
        detector(IMAGE, classes=classes)
    with yolort.Batcher(detector) as batcher, pytest.raises((TypeError, ValueError), match="class"):
        batcher.submit(IMAGE, classes=classes).result(60)
