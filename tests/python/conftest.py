"""Shared fixtures; tests with `target` or `make_model` run on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import TARGETS, Make, Target, boxes_output, metadata, write_engine, write_ncnn, write_onnx
from streaming import Gated


@pytest.fixture(params=TARGETS, ids=lambda target: f"{target.engine}-{target.device}", scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """Every engine on every device it has; those that cannot run here are skipped with their reason."""
    chosen: Target = request.param
    status = {entry.name: entry for entry in yolort.engines()}[chosen.engine]
    if not status.available:
        pytest.skip(f"engine {chosen.engine}: {status.reason}")
    if chosen.device == "vulkan":
        model = write_ncnn(tmp_path_factory.mktemp("probe"), {"out0": np.zeros((5, 4), np.float32)}, metadata(["a"]))
        try:
            chosen.detector(model)
        except yolort.EngineError as error:
            pytest.skip(str(error))
    return chosen


@pytest.fixture
def make_model(target: Target, tmp_path: Path) -> Iterator[Make]:
    """make_model({"out0": array without the batch dimension, ...}, metadata) in the format of the engine."""
    count = 0

    def make(outputs: dict[str, np.ndarray], data: dict[str, Any] | None = None, **options: Any) -> Path:
        nonlocal count
        count += 1
        folder = tmp_path / f"model{count}"
        folder.mkdir()
        data = metadata() if data is None else data
        write = {"ncnn": write_ncnn, "tensorrt": write_engine}.get(target.engine, write_onnx)
        return write(folder, outputs, data, **options)

    yield make


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that finds three objects, one of each class, in every image."""
    rows = boxes_output((16, 16, 8, 8, 0.9, 0), (32, 32, 8, 8, 0.8, 1), (48, 48, 8, 8, 0.7, 2))
    return write_onnx(tmp_path_factory.mktemp("model"), rows, metadata())


@pytest.fixture(scope="module")
def detector() -> yolort.Detector:
    """The embedded model on ncnn."""
    return yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    return [np.roll(yolort.images.read(yolort.demo_image()), 5 * i, axis=1) for i in range(30)]


@pytest.fixture
def gated() -> Iterator[Gated]:
    detector = Gated()
    yield detector
    detector.gate.set()
