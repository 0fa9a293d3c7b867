"""Shared by the tests of Batcher and Stream."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
import yolort


class Gated:
    """A fake Detector: each call waits for `gate`, finds nothing, and records its images and settings."""

    batch = 0
    device = "cpu"
    names: ClassVar = {0: "a"}

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.calls: list[tuple[int, dict[str, Any]]] = []

    def clone(self) -> Gated:
        return self

    def __call__(self, images: list[np.ndarray], **settings: Any) -> list[yolort.Detections]:
        self.calls.append((len(images), settings))
        self.entered.set()
        assert self.gate.wait(60)
        if any(image.dtype != np.uint8 for image in images):
            raise TypeError("one of them is no image")
        empty = np.zeros(0, np.float32)
        return [yolort.Detections(np.zeros((0, 4), np.float32), empty, np.zeros(0, np.int32)) for _ in images]


def threads() -> list[str]:
    """Names of yolort's running threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("yolort-")]
