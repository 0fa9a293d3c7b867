"""Measures the accuracy cost of bf16 for segmentation, poses and oriented boxes: task_precision.py WEIGHTS... --data
FOLDER.

mAP50-95 of the boxes and of the masks, keypoints or rotated boxes, on images with labels in Ultralytics' formats:
FOLDER
holds images/**/*.jpg and labels/**/*.txt. Matching and averaging as in Ultralytics' val: one detection per label, best
score first; masks by IoU, keypoints by OKS, rotated boxes by probabilistic IoU. By these figures the engines'
default precision is chosen (docs/development/architecture.md).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yolort

THRESHOLDS = np.linspace(0.5, 0.95, 10)


class Labels(NamedTuple):
    """Labels of one image, in its pixels."""

    classes: np.ndarray  # (n,)
    boxes: np.ndarray  # (n, 4)
    shapes: list[np.ndarray]  # (p, 2) polygons, (K, 3) keypoints or (4, 2) corners


def read_labels(path: Path, task: str, width: int, height: int) -> Labels:
    rows = [np.array(line.split(), float) for line in path.read_text().splitlines()] if path.exists() else []
    size = np.array([width, height])
    shapes, boxes = [], []
    for row in rows:
        if task == "pose":
            shapes.append(row[5:].reshape(-1, 3) * [width, height, 1])
            center, half = row[1:3] * size, row[3:5] * size / 2
            boxes.append(np.concatenate([center - half, center + half]))
        else:
            shapes.append(row[1:].reshape(-1, 2) * size)
            boxes.append(np.concatenate([shapes[-1].min(0), shapes[-1].max(0)]))
    return Labels(np.array([row[0] for row in rows]), np.array(boxes).reshape(-1, 4), shapes)


def box_overlaps(labels: Labels, found: yolort.Detections, *_: int) -> np.ndarray:
    a, b = labels.boxes[:, None], found.boxes[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    common = sides.prod(-1)
    areas = [(side[..., 2:] - side[..., :2]).prod(-1) for side in (a, b)]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-9))


def mask_overlaps(labels: Labels, found: yolort.Detections, width: int, height: int) -> np.ndarray:
    from pycocotools import mask as coco

    assert found.masks is not None
    truth = [coco.merge(coco.frPyObjects([shape.ravel()], height, width)) for shape in labels.shapes]
    return np.asarray(np.transpose(coco.iou(found.masks.rle(), truth, [0] * len(truth))))


def keypoint_overlaps(labels: Labels, found: yolort.Detections, *_: int) -> np.ndarray:
    import torch
    from ultralytics.utils.metrics import OKS_SIGMA, kpt_iou

    areas = (labels.boxes[:, 2:] - labels.boxes[:, :2]).prod(1) * 0.53  # for masks, as in Ultralytics' val
    arguments = [torch.from_numpy(np.asarray(a, np.float32)) for a in (np.stack(labels.shapes), found.keypoints, areas)]
    return np.asarray(kpt_iou(*arguments, sigma=OKS_SIGMA))


def turned_overlaps(labels: Labels, found: yolort.Detections, *_: int) -> np.ndarray:
    import torch
    from ultralytics.utils.metrics import batch_probiou
    from ultralytics.utils.ops import xyxyxyxy2xywhr

    truth = xyxyxyxy2xywhr(torch.from_numpy(np.stack(labels.shapes).reshape(-1, 8).astype(np.float32)))
    return np.asarray(batch_probiou(truth, torch.from_numpy(np.asarray(found.rotated, np.float32))))


OVERLAPS: dict[str, Callable[..., np.ndarray]] = {
    "segment": mask_overlaps,
    "pose": keypoint_overlaps,
    "obb": turned_overlaps,
}


def hits(overlaps: np.ndarray) -> np.ndarray:
    """(detections, thresholds): whether each matches a label that no better detection matched."""
    out = np.zeros((overlaps.shape[1], len(THRESHOLDS)), bool)
    taken = np.zeros((overlaps.shape[0], len(THRESHOLDS)), bool)
    for j in range(overlaps.shape[1] if len(overlaps) else 0):
        free = np.where(taken, 0, overlaps[:, j, None])
        best = free.argmax(0)
        out[j] = free[best, range(len(THRESHOLDS))] >= THRESHOLDS
        taken[best, range(len(THRESHOLDS))] |= out[j]
    return out


def accuracy(detector: yolort.Detector, images: list[Path]) -> tuple[float, float]:
    """mAP50-95 of the boxes and of the task's shapes, in percent."""
    from ultralytics.utils.metrics import ap_per_class

    columns: list[list[np.ndarray]] = [[], [], [], [], []]  # box hits, task hits, scores, classes; label classes
    for path in images:
        image = yolort.images.read(path)
        height, width = image.shape[:2]
        found = detector(image)
        labels = read_labels(
            Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt"), detector.task, width, height
        )
        same = labels.classes[:, None] == found.classes
        for column, overlaps in zip(columns, (box_overlaps, OVERLAPS[detector.task]), strict=False):
            any_there = len(found) and len(labels.classes)
            column.append(hits(same * overlaps(labels, found, width, height) if any_there else same * 0.0))
        for column, values in zip(columns[2:], (found.scores, found.classes, labels.classes), strict=True):
            column.append(values)
    boxes, of_task, scores, classes, truth = (np.concatenate(column) for column in columns)
    means = [ap_per_class(each, scores, classes, truth)[5].mean() * 100 for each in (boxes, of_task)]
    return float(means[0]), float(means[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and labels")
    parser.add_argument("--engine", choices=["openvino", "ncnn"], default="openvino")
    parser.add_argument("--end2end", action="store_true", help="export the one-to-one branches of YOLO26")
    parser.add_argument("--conf", type=float, default=0.01)
    options = parser.parse_args()
    images = sorted(path for path in (options.data / "images").rglob("*.jpg"))
    print(f"{len(images)} images of {options.data.name}, {options.engine}, conf {options.conf}")
    print("| model | boxes fp32 | bf16 | task fp32 | bf16 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for weights in options.weights:
            copy = Path(shutil.copy(weights, folder))
            format = "onnx" if options.engine == "openvino" else "ncnn"
            more = ", nms=False" if options.end2end else ""
            program = (
                "import sys; from yolort.tools._ultralytics import allow_missing_torchvision; "
                "allow_missing_torchvision(); from ultralytics import YOLO; "
                f"YOLO(sys.argv[1]).export(format='{format}', imgsz=640{more})"
            )
            command = [sys.executable, "-c", program, copy.name]
            environment = {**os.environ, "YOLO_AUTOINSTALL": "false"}
            subprocess.run(command, check=True, stdout=sys.stderr, cwd=folder, env=environment)
            model = copy.with_suffix(".onnx") if format == "onnx" else copy.with_name(f"{copy.stem}_ncnn_model")
            results = []
            for precision in ("fp32", "bf16"):
                results.append(
                    accuracy(
                        yolort.Detector(model, engine=options.engine, precision=precision, conf=options.conf), images
                    )
                )
            cells = [f"{results[column][part]:.2f}" for part in (0, 1) for column in (0, 1)]
            print(f"| {weights.stem} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
