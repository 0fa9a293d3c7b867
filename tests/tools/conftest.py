"""Checkpoints of the architectures that yolort supports, small, with random weights that never change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def class_names() -> dict[int, str]:
    """Names that are hard to write down: quotes, a colon, a hash, not only ASCII."""
    return {0: "driver's cab", 1: 'a "sign"', 2: "naïve: #1"}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, class_names: dict[int, str]) -> Callable[[str], Path]:
    """From an Ultralytics architecture (`yolo26n`) to a checkpoint of it with the classes `class_names`."""
    torch = pytest.importorskip("torch")
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(architecture: str) -> Path:
        path: Path = folder / f"{architecture}.pt"
        if path.exists():
            return path
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            build = tasks.ClassificationModel if architecture.endswith("-cls") else tasks.DetectionModel
            model = build(f"{architecture}.yaml", nc=len(class_names), verbose=False)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    _disturb(module)
        model.names = class_names
        saved = {"model": model.half(), "train_args": {"task": "detect", "imgsz": 96}, "license": "CC0"}
        torch.save(saved, path)
        return path

    def _disturb(norm: Any) -> None:
        """Statistics that fusing must get right, and that tell the two branches of YOLO26 apart."""
        torch.nn.init.normal_(norm.running_mean, 0, 0.2)
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.2)

    return make
