"""Ultralytics' exports of tasks other than detection are cut at the raw maps, and give the same results as the whole
graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

onnx = pytest.importorskip("onnx")
pytest.importorskip("ultralytics")
torch = pytest.importorskip("torch")

MODELS = ["yolov8n-seg", "yolov8n-pose", "yolov8n-obb", "yolo26n-seg", "yolo26n-pose", "yolo26n-obb"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """An export with random weights, whose scores spread from 0 to 1."""
    import ultralytics.engine.exporter as exporter
    from ultralytics import YOLO
    from ultralytics.utils import checks
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()

    @cache
    def make(name: str, end2end: bool) -> Path:
        torch.manual_seed(1)
        yolo = YOLO(f"{name}.yaml")
        for module in yolo.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1  # momentum 1: the next batch determines the statistics
        yolo.model.train()(torch.rand(4, 3, 96, 96))
        head: Any = yolo.model.model[-1]
        for branches in (head.cv3, getattr(head, "one2one_cv3", [])):
            for branch in branches:
                torch.nn.init.normal_(branch[-1].weight, std=0.05)
                torch.nn.init.zeros_(branch[-1].bias)
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter
            for module in (checks, exporter):
                patch.setattr(module, "check_requirements", lambda *_, **__: True)
            folder = tmp_path_factory.mktemp(name)
            patch.chdir(folder)
            yolo.ckpt_path = yolo.model.pt_path = str(folder / f"{name}.pt")
            options = {"nms": False} if end2end else {}
            return folder / Path(yolo.export(format="onnx", imgsz=96, **options)).name

    return make


def written_by_somebody(path: Path) -> Path:
    """The same model, but unknown as an Ultralytics export."""
    model = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == "author").value = "somebody"
    copy = path.with_name("whole.onnx")
    onnx.save(model, copy)
    return copy


def lacking(found: yolort.Detections, other: yolort.Detections) -> int:
    """Number of detections that are not among the others. Random weights give boxes of a thousand pixels, clipped."""
    count = 0
    for i in range(len(found)):
        near = (other.classes == found.classes[i]) & (np.abs(other.boxes - found.boxes[i]).max(1) < 0.25)
        near &= np.abs(other.scores - found.scores[i]) < 1e-3
        if found.keypoints is not None and other.keypoints is not None:
            near &= np.abs(other.keypoints - found.keypoints[i]).max((1, 2)) < 0.01
        if found.rotated is not None and other.rotated is not None:
            near &= np.abs(other.rotated - found.rotated[i]).max(1) < 0.01
        if found.masks is not None and other.masks is not None:
            area = float(found.masks.area[i])
            near &= np.abs(other.masks.area - area) <= 2 + area / 20
        count += not near.any()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("end2end", [False, True], ids=["boxes", "end2end"])
@pytest.mark.parametrize("name", MODELS)
def test_a_head_that_is_cut_finds_the_same(
    exported: Callable[[str, bool], Path], name: str, end2end: bool, engine: str
) -> None:
    if not {entry.name: entry for entry in yolort.engines()}[engine].available:
        pytest.skip(f"engine {engine} is not available")
    if end2end and "yolo26" not in name:
        pytest.skip("it has no one-to-one branches")
    path = exported(name, end2end)
    image = np.random.default_rng(2).integers(0, 255, (90, 120, 3), np.uint8)
    whole = yolort.Detector(written_by_somebody(path), engine="onnxruntime", conf=0.1)
    scores = whole(image).scores
    conf = float(scores[len(scores) // 2])
    cut = yolort.Detector(path, engine=engine, precision="fp32", conf=conf)
    assert cut.head == whole.head == ("end2end" if end2end else "boxes")
    zeros = np.zeros((1, 3, 96, 96), np.float32)
    assert len(cut.infer(zeros)) == 9 + (cut.task == "segment")
    assert len(whole.infer(zeros)) == 1 + (cut.task == "segment")
    found, expected = cut(image), whole(image, conf=conf)
    assert len(expected) > 10 and abs(len(found) - len(expected)) <= 2
    assert lacking(found, expected) <= 2 and lacking(expected, found) <= 2
