"""Masks, keypoints and oriented boxes equal those of Ultralytics' predict on its own ONNX export, on real images.

    YOLORT_DATA=<folder> pytest tests/tools/evaluate/test_parity_tasks.py

The folder holds weights/*-{seg,pose,obb}.pt and data/*/images/**/*.jpg; YOLORT_PARITY_IMAGES takes fewer of them. Every
detection of the one side above 0.25 has one on the other of the same class, IoU >= 0.99 (of turned boxes the
probabilistic one), score within 0.01; those within 0.01 of the threshold may be missing. Masks have an IoU >= 0.98 or
differ by 2 pixels (median of all >= 0.995), keypoints are within 0.5 pixels and 0.01.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yolort

CONF, MARGIN = 0.25, 0.01

pytestmark = pytest.mark.skipif("YOLORT_DATA" not in os.environ, reason="YOLORT_DATA names no folder of real data")


class Case(NamedTuple):
    weights: str
    images: str
    end2end: bool = False


CASES = [
    Case("yolov8n-seg", "coco-train294"),
    Case("yolo11n-seg", "coco-train294"),
    Case("yolo26n-seg", "coco-train294"),
    Case("yolo26n-seg", "coco-train294", True),
    Case("yolov8n-pose", "coco-train294"),
    Case("yolo11n-pose", "coco-train294"),
    Case("yolo26n-pose", "coco-train294"),
    Case("yolo26n-pose", "coco-train294", True),
    Case("yolo26n-obb", "dota8"),
    Case("yolo26n-obb", "dota8", True),
]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case, str], Path]:
    """Ultralytics' own export of a case, made once, without installing packages."""
    pytest.importorskip("ultralytics")
    import ultralytics.engine.exporter as exporter
    from ultralytics import YOLO
    from ultralytics.utils import checks
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()

    @cache
    def make(case: Case, format: str) -> Path:
        folder = tmp_path_factory.mktemp("exports")
        copy = Path(shutil.copy(Path(os.environ["YOLORT_DATA"]) / "weights" / f"{case.weights}.pt", folder))
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter
            for module in (checks, exporter):
                patch.setattr(module, "check_requirements", lambda *_, **__: True)
            patch.chdir(folder)  # pnnx writes to the working directory
            options = {"nms": False} if case.end2end else {}
            return folder / Path(YOLO(copy).export(format=format, imgsz=640, **options)).name

    return make


def overlaps(found: yolort.Detections, result: Any) -> np.ndarray:
    """IoU of each of Ultralytics' detections and each of ours, 0 if the classes differ."""
    from ultralytics.utils.metrics import batch_probiou, box_iou

    theirs = result.boxes if result.obb is None else result.obb
    same = theirs.cls.numpy()[:, None] == found.classes
    if found.rotated is not None:
        return np.asarray(same * batch_probiou(theirs.xywhr.numpy(), found.rotated).numpy())
    import torch

    return np.asarray(same * box_iou(theirs.xyxy, torch.from_numpy(found.boxes)).numpy())


def compare(found: yolort.Detections, result: Any, mask_overlaps: list[float]) -> list[str]:
    """The differences between the detections of an image."""
    theirs = (result.boxes if result.obb is None else result.obb).conf.numpy()
    faults, free = [], set(range(len(found)))
    table = overlaps(found, result) if len(found) and len(theirs) else np.zeros((len(theirs), 0))
    for i, score in enumerate(theirs):
        j = max(free, key=lambda row: table[i, row], default=-1)
        if j < 0 or table[i, j] < 0.99 or abs(found.scores[j] - score) > 0.01:
            faults += [f"theirs of {score:.3f}"] if score > CONF + MARGIN else []
            continue
        free.discard(j)
        if found.masks is not None:
            left, top, pixels = found.masks.crop(j)
            theirs_there = result.masks.data[i].numpy().astype(bool)
            part = theirs_there[top : top + pixels.shape[0], left : left + pixels.shape[1]]
            common, whole = (pixels & part).sum(), pixels.sum() + theirs_there.sum() - (pixels & part).sum()
            mask_overlaps.append(common / whole)
            if common / whole < 0.98 and whole - common > 2:
                faults.append(f"mask of {score:.3f}: IoU {common / whole:.3f}")
        if found.keypoints is not None:
            apart = np.abs(found.keypoints[j] - result.keypoints.data[i].numpy()).max(0)
            faults += [f"keypoints of {score:.3f}: {apart}"] if (apart > [0.5, 0.5, 0.01]).any() else []
    return faults + [f"ours of {found.scores[j]:.3f}" for j in free if found.scores[j] > CONF + MARGIN]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.weights + "-end2end" * case.end2end)
def test_tasks_give_the_same_results_as_ultralytics(
    exported: Callable[[Case, str], Path], case: Case, engine: str
) -> None:
    from ultralytics import YOLO

    status = {entry.name: entry for entry in yolort.engines()}[engine]
    if not status.available:
        pytest.skip(f"engine {engine}: {status.reason}")
    if engine == "ncnn" and case.end2end:
        pytest.skip("the top-k of an end-to-end head does not convert to ncnn")
    onnx = exported(case, "onnx")
    precision = None if engine == "onnxruntime" else "fp32"
    detector = yolort.Detector(exported(case, "ncnn") if engine == "ncnn" else onnx, engine=engine, precision=precision)
    model = YOLO(onnx, task=detector.task)
    paths = sorted((Path(os.environ["YOLORT_DATA"]) / "data" / case.images / "images").rglob("*.jpg"))
    faults, mask_overlaps, count = [], [], 0  # type: ignore[var-annotated]
    for path in paths[: int(os.environ.get("YOLORT_PARITY_IMAGES", len(paths)))]:
        image = yolort.images.read(path)
        result = model.predict(image, conf=CONF, imgsz=640, rect=False, retina_masks=True, verbose=False)[0]
        found = detector(image)
        count += len(found)
        faults += [f"{path.name}: {fault}" for fault in compare(found, result, mask_overlaps)]
    assert count > 0
    assert faults == []
    assert not mask_overlaps or np.median(mask_overlaps) >= 0.995
