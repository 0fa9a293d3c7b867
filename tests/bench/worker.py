"""Runs one rival in its own process: `load`, then `measure`.

It sleeps between measurements, so that its threads do not disturb other rivals.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Parts = dict[str, float]
_LIBRARIES: list[Any] = []  # operator definitions; valid as long as this object exists


def detector(model: str, image: np.ndarray, **options: Any) -> Callable[[], Parts]:
    """yolort end to end."""
    import yolort

    detect = yolort.Detector(model, **options)

    def run() -> Parts:
        objects = len(detect(image))
        return {**detect.speed._asdict(), "objects": objects}

    return run


def classifier(model: str, image: np.ndarray, **options: Any) -> Callable[[], Parts]:
    """yolort end to end, for a classifier."""
    import yolort

    classify = yolort.Classifier(model, **options)

    def run() -> Parts:
        classify(image)
        return classify.speed._asdict()

    return run


def session(model: str, _: np.ndarray) -> Callable[[], Parts]:
    """A bare `session.run` of ONNX Runtime with a prepared input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    run_session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tensor = run_session.get_inputs()[0]
    array = np.random.default_rng(0).random(tensor.shape, np.float32)

    def run() -> Parts:
        run_session.run(None, {tensor.name: array})
        return {}

    return run


def ultralytics(model: str, image: np.ndarray, task: str = "detect", **options: Any) -> Callable[[], Parts]:
    """Ultralytics' predict with these options, end to end."""
    if task == "classify":
        import_torchvision()
    else:
        from yolort.tools._ultralytics import allow_missing_torchvision

        allow_missing_torchvision()
        options = {"imgsz": 640, "rect": False, **options}
    from ultralytics import YOLO

    yolo = YOLO(model, task=task)

    def run() -> Parts:
        result = yolo.predict(image, verbose=False, save=False, **options)[0]
        pre, inference, post = (result.speed[part] for part in ("preprocess", "inference", "postprocess"))
        found = {"objects": len(result)} if task != "classify" else {}
        return {"pre": pre, "inference": inference, "post": post, **found}

    return run


def import_torchvision() -> None:
    """Ultralytics' classifier transforms are written in Python; a torchvision built for another torch lacks only
    operators.
    """
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


KINDS: dict[str, Callable[..., Callable[[], Parts]]] = {
    "detector": detector,
    "classifier": classifier,
    "session": session,
    "ultralytics": ultralytics,
}
_run: Callable[[], Parts]  # the rival of this process


def load(kind: str, model: str, image: np.ndarray, options: dict[str, Any]) -> None:
    global _run
    _run = KINDS[kind](model, image, **options)


def measure(count: int) -> list[Parts]:
    """Milliseconds of each detection: "total" and, if reported, "pre", "inference", "post"; and the number of
    "objects".
    """
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        parts = _run()
        samples.append({**parts, "total": (time.perf_counter() - start) * 1e3})
    return samples
