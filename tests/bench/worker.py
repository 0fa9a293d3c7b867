"""One rival in a process of its own: worker.py KIND MODEL IMAGE [OPTIONS as JSON].

Reads a number a line, detects that often, and prints one JSON list of {"total", "pre", "inference", "post"} in
milliseconds. Between the numbers it sleeps, so that its threads do not disturb the other rivals.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

Parts = dict[str, float]


def detector(model: str, image: np.ndarray, **options: Any) -> Callable[[], Parts]:
    """yolort end to end."""
    import yolort

    detect = yolort.Detector(model, **options)

    def run() -> Parts:
        detect(image)
        return detect.speed._asdict()

    return run


def session(model: str, _: np.ndarray) -> Callable[[], Parts]:
    """A bare `session.run` of ONNX Runtime, the input made beforehand."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    run_session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = run_session.get_inputs()[0]
    array = np.random.default_rng(0).random(given.shape, np.float32)

    def run() -> Parts:
        run_session.run(None, {given.name: array})
        return {}

    return run


def ultralytics(model: str, image: np.ndarray, imgsz: int = 640) -> Callable[[], Parts]:
    """Ultralytics' predict, end to end."""
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()
    from ultralytics import YOLO

    yolo = YOLO(model, task="detect")

    def run() -> Parts:
        speed = yolo.predict(image, imgsz=imgsz, rect=False, verbose=False)[0].speed
        return {"pre": speed["preprocess"], "inference": speed["inference"], "post": speed["postprocess"]}

    return run


def main() -> None:
    kind, model, image, options = sys.argv[1:5]
    rivals: dict[str, Callable[..., Callable[[], Parts]]] = {
        "detector": detector,
        "session": session,
        "ultralytics": ultralytics,
    }
    pixels = cv2.imread(image)
    assert pixels is not None, image
    run = rivals[kind](model, pixels, **json.loads(options))
    for line in sys.stdin:
        done = []
        for _ in range(int(line)):
            start = time.perf_counter()
            parts = run()
            done.append({**parts, "total": (time.perf_counter() - start) * 1e3})
        print("\n" + json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
