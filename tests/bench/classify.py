"""Compares the classes and scores of Classifier with Ultralytics' predict. classify.py --images FOLDER WEIGHTS...

    python tests/bench/classify.py --images imagenet/images yolo26n-cls.pt yolov8n-cls.pt

Ultralytics exports each checkpoint to ONNX and NCNN. The scores are compared with its predict on the ONNX file, in
fp32. run.py tasks compares the time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import yolort
from worker import import_torchvision

ENGINES = {"onnxruntime": "onnx", "openvino": "onnx", "ncnn": "ncnn"}


def exported(weights: Path, folder: Path) -> dict[str, Path]:
    """By format."""
    from ultralytics import YOLO

    copy = shutil.copy(weights, folder)
    return {format: Path(YOLO(copy).export(format=format, verbose=False)) for format in ("onnx", "ncnn")}


def scores(models: dict[str, Path], images: list[np.ndarray]) -> None:
    """Prints one row per engine: number of images with the same five best classes in the same order, and the largest
    difference.
    """
    from ultralytics import YOLO

    rival = YOLO(models["onnx"], task="classify")
    results = [rival.predict(image, verbose=False, save=False)[0].probs for image in images]
    for engine, format in ENGINES.items():
        classifier = yolort.Classifier(
            models[format], engine=engine, precision=None if engine == "onnxruntime" else "fp32"
        )
        found = [classifier(image) for image in images]
        same = sum(ours.top5 == list(theirs.top5) for ours, theirs in zip(found, results, strict=True))
        away = max(
            float(np.abs(ours.probs - theirs.data.numpy()).max()) for ours, theirs in zip(found, results, strict=True)
        )
        print(f"| {models[format].name} | {engine} | {same} of {len(images)} | {away:.5f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", type=Path, help="checkpoints (.pt) that classify")
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--count", type=int, default=120, help="images that are compared")
    arguments = parser.parse_args()
    import_torchvision()
    paths = sorted(path for path in arguments.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    images = [yolort.images.read(path) for path in paths[: arguments.count]]
    with tempfile.TemporaryDirectory() as folder:
        models = [exported(weights, Path(folder)) for weights in arguments.weights]
        print("| model | engine | best five the same | largest difference of a score |\n|---|---|---|---|", flush=True)
        for one in models:
            scores(one, images)


if __name__ == "__main__":
    main()
