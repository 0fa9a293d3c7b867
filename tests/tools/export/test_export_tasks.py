"""Exports of models for segmentation, poses and oriented boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
for package in ("onnx", "onnxslim", "onnxruntime"):
    pytest.importorskip(package)

from yolort.tools.export.keypoints import known_keypoints  # noqa: E402
from yolort.tools.export.pipeline import export  # noqa: E402
from yolort.tools.models.checkpoints import CheckpointError, detect_head, load_checkpoint  # noqa: E402
from yolort.tools.models.heads import ExportError, with_head  # noqa: E402

pytestmark = pytest.mark.slow

Make = Callable[[str], Path]
IMAGE = np.random.default_rng(3).integers(0, 255, (64, 96, 3), np.uint8)
TASKS = {"seg": "segment", "pose": "pose", "obb": "obb"}


def found_by(model: Path, engine: str) -> yolort.Detections:
    """Random weights give low scores, so this takes the best few, without NMS."""
    precision = None if engine == "onnxruntime" else "fp32"
    return yolort.Detector(model, engine=engine, precision=precision, conf=0.0, iou=1.0, max_det=20)(IMAGE)


def numbers(found: yolort.Detections) -> np.ndarray:
    """A row for each detection."""
    more = found.rotated if found.keypoints is None else found.keypoints.reshape(len(found), -1)
    return np.column_stack([found.boxes, found.scores, found.classes, *(() if more is None else (more,))])


def assert_same(a: yolort.Detections, b: yolort.Detections) -> None:
    """Equal except for the order of nearly equal scores."""
    b = b[[int(np.abs(numbers(b) - row).sum(1).argmin()) for row in numbers(a)]]
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.05)
    if a.masks is not None and b.masks is not None:
        assert (a.masks.to_dense() != b.masks.to_dense()).mean() < 1e-3
    elif a.keypoints is not None and b.keypoints is not None:
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=0.05)
    else:
        assert a.rotated is not None and b.rotated is not None
        np.testing.assert_allclose(a.rotated, b.rotated, atol=0.05)


@pytest.mark.parametrize("architecture", ["yolov8n-seg", "yolo26n-seg", "yolov8n-pose", "yolo26n-pose", "yolo26n-obb"])
def test_every_head_finds_the_same(checkpoint: Make, architecture: str, tmp_path: Path) -> None:
    """The core decodes raw maps like Ultralytics' own head in the graph."""
    path = checkpoint(architecture)
    heads = ("raw", "boxes") if "v8" in architecture else ("raw-e2e", "end2end")
    made = [export(path, head=head, imgsz=(64, 96), output=tmp_path / f"{head}.onnx") for head in heads]
    for model, head in zip(made, heads, strict=True):
        detector = yolort.Detector(model, engine="onnxruntime")
        assert (detector.head, detector.task) == (head, TASKS[architecture.partition("-")[2]])
    first, second = (found_by(model, "onnxruntime") for model in made)
    assert len(first) >= 10
    assert_same(first, second)


@pytest.mark.parametrize("format", ["ncnn", "openvino"])
@pytest.mark.parametrize("architecture", ["yolo26n-seg", "yolo26n-pose", "yolo26n-obb"])
def test_other_formats_find_the_same(checkpoint: Make, architecture: str, format: str, tmp_path: Path) -> None:
    pytest.importorskip("pnnx" if format == "ncnn" else "openvino")
    path = checkpoint(architecture)
    model = export(path, format=format, imgsz=(64, 96), output=tmp_path / f"x_{format}_model")
    onnx = export(path, imgsz=(64, 96), output=tmp_path / "x.onnx")
    assert_same(found_by(model, format), found_by(onnx, "onnxruntime"))


def test_a_dynamic_export_takes_other_sizes(checkpoint: Make, tmp_path: Path) -> None:
    model = export(checkpoint("yolo26n-seg"), dynamic=True, imgsz=64, output=tmp_path / "x.onnx")
    found = yolort.Detector(model, engine="onnxruntime", imgsz=(96, 128), conf=0.0, max_det=3)([IMAGE, IMAGE])
    assert [len(each) for each in found] == [3, 3]


def metadata(model: Path) -> dict[str, str]:
    return yolort.Detector(model, engine="onnxruntime").metadata


def test_keypoints_of_a_data_set_are_written(checkpoint: Make, tmp_path: Path) -> None:
    path = checkpoint("yolo26n-pose")
    data = tmp_path / "data.yaml"
    flip = [*range(1, -1, -1), *range(2, 17)]
    data.write_text(json.dumps({"flip_idx": flip, "skeleton": [[0, 2], [1, 2]], "kpt_shape": [17, 3]}))
    model = export(path, imgsz=64, data=data, output=tmp_path / "x.onnx")
    own = json.loads(metadata(model)["yolort"])
    assert (own["flip_idx"], own["skeleton"]) == (flip, [[0, 2], [1, 2]])
    assert metadata(model)["head"] == "Pose26"
    detector = yolort.Detector(model, engine="onnxruntime", augment=True)
    assert detector.skeleton == ((0, 2), (1, 2))
    assert len(detector.views) == 2


def test_the_data_set_of_the_training_is_known_if_ultralytics_ships_it(checkpoint: Make, tmp_path: Path) -> None:
    source = load_checkpoint(checkpoint("yolo26n-pose"), tasks=True)
    assert known_keypoints(source, None) == {}
    for name, known in [("coco-pose.yaml", True), ("hand-keypoints.yaml", False), ("../coco-pose.yaml", False)]:
        source.train_args["data"] = name
        assert ("flip_idx" in known_keypoints(source, None)) == known
    own: Any
    for own in ({"flip_idx": [0]}, {"flip_idx": [1] * 17}, {"skeleton": [[0, 17]]}, {"skeleton": [[0]]}, [1]):
        (tmp_path / "data.yaml").write_text(json.dumps(own))
        with pytest.raises(ValueError, match=r"data: .*data\.yaml"):
            known_keypoints(source, tmp_path / "data.yaml")
    with pytest.raises(FileNotFoundError):
        known_keypoints(source, tmp_path / "nothing.yaml")
    with pytest.raises(ValueError, match="only pose models"):
        known_keypoints(load_checkpoint(checkpoint("yolo26n-obb"), tasks=True), tmp_path / "data.yaml")


@pytest.mark.parametrize("format", ["onnx", "ncnn", "openvino"])
@pytest.mark.parametrize("architecture", ["yolov8n-cls", "yolo11n-cls", "yolo26n-cls"])
def test_a_classifier_gives_the_scores_of_torch(
    checkpoint: Make, architecture: str, format: str, tmp_path: Path
) -> None:
    pytest.importorskip({"ncnn": "pnnx", "onnx": "onnx"}.get(format, format))
    path = checkpoint(architecture)
    ending = {"onnx": ".onnx"}.get(format, f"_{format}_model")
    model = export(path, format=format, imgsz=64, output=tmp_path / f"x{ending}")
    engine = {"onnx": "onnxruntime"}.get(format, format)
    classifier = yolort.Classifier(model, engine=engine, precision=None if format == "onnx" else "fp32")
    image = np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8)
    network: Any = load_checkpoint(path, tasks=True).model
    given = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))[None]).float() / 255
    with torch.inference_mode():
        expected = network.eval()(given)[0][0].numpy()
    np.testing.assert_allclose(classifier(image).probs, expected, atol=1e-4)
    assert np.ptp(expected) > 1e-3
    assert classifier.names[0] == "driver's cab"


def test_a_classifier_has_one_head(checkpoint: Make, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='a classifier ends in its scores, and has no head "end2end"; leave it out'):
        export(checkpoint("yolov8n-cls"), head="end2end", output=tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_dynamic_classifier_takes_batches(checkpoint: Make, tmp_path: Path) -> None:
    model = export(checkpoint("yolo26n-cls"), dynamic=True, imgsz=64, output=tmp_path / "x.onnx")
    assert len(yolort.Classifier(model, engine="onnxruntime", imgsz=96)([IMAGE, IMAGE, IMAGE])) == 3


def test_other_tools_take_detectors_only(checkpoint: Make) -> None:
    with pytest.raises(CheckpointError, match="SegmentationModel; only detection checkpoints can"):
        load_checkpoint(checkpoint("yolo26n-seg"))
    with pytest.raises(CheckpointError, match="ClassificationModel; only detection checkpoints can"):
        load_checkpoint(checkpoint("yolo26n-cls"))


def test_raw_maps_of_a_model_that_segments(checkpoint: Make) -> None:
    model = load_checkpoint(checkpoint("yolo26n-seg"), tasks=True).model
    outputs = with_head(model, "raw-e2e")(torch.zeros(1, 3, 64, 96))
    shapes = [tuple(output.shape[1:]) for output in outputs]
    assert shapes[:3] == [(4, 8, 12), (detect_head(model, tasks=True).nc, 8, 12), (32, 8, 12)]
    assert shapes[-1] == (32, 16, 24) and len(shapes) == 10
