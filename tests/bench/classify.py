"""Classifier beside Ultralytics' predict: the same classes, scores and time. classify.py --images FOLDER WEIGHTS...

    python tests/bench/classify.py --images imagenet/images yolo26n-cls.pt yolov8n-cls.pt

Ultralytics exports each checkpoint to ONNX and NCNN. The scores are compared with those of its predict of the ONNX
file, in fp32. Then both take the same decoded images in turns, on the ONNX file as it is: medians of the milliseconds
before the network, and of the whole call. Run it on a quiet machine; --scores leaves the times out.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yolort

ENGINES = {"onnxruntime": "onnx", "openvino": "onnx", "ncnn": "ncnn"}
_LIBRARIES: list[Any] = []  # of operators, which live as long as the object that defined them


def import_torchvision() -> None:
    """Ultralytics' transforms are Python; a torchvision that was built for another torch lacks operators only."""
    import torch

    while True:
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if not missing:
                raise
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{missing[1]}() -> ()")
            _LIBRARIES.append(library)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
        else:
            return


def exported(weights: Path, folder: Path) -> dict[str, Path]:
    """By format."""
    from ultralytics import YOLO

    copy = shutil.copy(weights, folder)
    return {format: Path(YOLO(copy).export(format=format, verbose=False)) for format in ("onnx", "ncnn")}


def scores(models: dict[str, Path], images: list[np.ndarray]) -> None:
    """Prints a row for each engine: images whose best five classes are the same, in order; the largest difference."""
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


def times(model: Path, images: list[np.ndarray], rounds: int) -> None:
    """Prints a row: medians of yolort, of Ultralytics, and the ratio."""
    from ultralytics import YOLO

    classifier, rival = yolort.Classifier(model), YOLO(model, task="classify")
    samples: dict[str, list[tuple[float, float]]] = {"yolort": [], "Ultralytics": []}
    for turn in range(rounds + 1):
        for image in images:
            start = time.perf_counter()
            classifier(image)
            ours = ((time.perf_counter() - start) * 1e3, classifier.speed.pre)
            start = time.perf_counter()
            (result,) = rival.predict(image, verbose=False, save=False)
            theirs = ((time.perf_counter() - start) * 1e3, result.speed["preprocess"])
            if turn:  # the first warms up
                samples["yolort"].append(ours)
                samples["Ultralytics"].append(theirs)
    for position, what in ((1, "before the network"), (0, "the whole call")):
        ours_ms, theirs_ms = (statistics.median(one[position] for one in rows) for rows in samples.values())
        print(
            f"| {model.name} | {classifier.engine} {classifier.precision} | {what} | {ours_ms:.2f} | {theirs_ms:.2f} | "
            f"{ours_ms / theirs_ms:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", type=Path, help="checkpoints (.pt) that classify")
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--count", type=int, default=120, help="images that are compared")
    parser.add_argument("--timed", type=int, default=30, help="images that are timed")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each image")
    parser.add_argument("--scores", action="store_true", help="compare the scores only")
    arguments = parser.parse_args()
    import_torchvision()
    paths = sorted(path for path in arguments.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    images = [yolort.images.read(path) for path in paths[: arguments.count]]
    with tempfile.TemporaryDirectory() as folder:
        models = [exported(weights, Path(folder)) for weights in arguments.weights]
        print("| model | engine | best five the same | largest difference of a score |\n|---|---|---|---|", flush=True)
        for one in models:
            scores(one, images)
        if not arguments.scores:
            print("\n| model | yolort runs | milliseconds | yolort | Ultralytics | ratio |\n|---|---|---|---|---|---|")
            for one in models:
                times(one["onnx"], images[: arguments.timed], arguments.rounds)


if __name__ == "__main__":
    main()
