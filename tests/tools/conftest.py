"""Small checkpoints of the supported architectures, with fixed random weights; small datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def class_names() -> dict[int, str]:
    """Names that need escaping: quotes, a colon, a hash, non-ASCII characters."""
    return {0: "driver's cab", 1: 'a "sign"', 2: "naïve: #1"}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, class_names: dict[int, str]) -> Callable[[str], Path]:
    """Function that returns a checkpoint of an Ultralytics architecture (`yolo26n`) with the classes `class_names`."""
    torch = pytest.importorskip("torch")
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(architecture: str) -> Path:
        path: Path = folder / f"{architecture}.pt"
        if path.exists():
            return path
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            kinds = {"cls": "Classification", "seg": "Segmentation", "pose": "Pose", "obb": "OBB"}
            build = getattr(tasks, f"{kinds.get(architecture.partition('-')[2], 'Detection')}Model")
            model = build(f"{architecture}.yaml", nc=len(class_names), verbose=False)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    _disturb(module)
        model.names = class_names
        saved = {"model": model.half(), "train_args": {"task": "detect", "imgsz": 96}, "license": "CC0"}
        torch.save(saved, path)
        return path

    def _disturb(norm: Any) -> None:
        """BatchNorm statistics that fusing must handle, and that distinguish the two branches of YOLO26."""
        torch.nn.init.normal_(norm.running_mean, 0, 0.2)
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.2)

    return make


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 12 + 4 images of 64 pixels with a red and a green square, and in every sixth image a blue one."""
    import cv2
    import numpy as np

    root = tmp_path_factory.mktemp("blocks")
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        images, labels = root / "images" / split, root / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            picture = random.integers(90, 110, (64, 64, 3), np.uint8)
            rows = []
            for cls in (0, 1, 2) if index % 6 == 0 else (0, 1):
                x, y = (int(random.integers(0, 10)) + 32 * part for part in (cls % 2, cls // 2))
                picture[y : y + 20, x : x + 20] = [(0, 0, 255), (0, 255, 0), (255, 0, 0)][cls]
                rows.append(f"{cls} {(x + 10) / 64} {(y + 10) / 64} {20 / 64} {20 / 64}")
            cv2.imwrite(str(images / f"{index}.png"), picture)
            (labels / f"{index}.txt").write_text("\n".join(rows))
    data = root / "data.yaml"
    data.write_text("train: images/train\nval: images/val\nnames: [red, green, blue]\n")
    return data


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a task to the data.yaml of 8 + 4 generated scenes of it."""
    pytest.importorskip("cv2")
    import training
    from yolort.tools.demo.dataset import write_dataset

    root = tmp_path_factory.mktemp("scenes")

    def make(task: str) -> Path:
        if not (root / task).exists():
            write_dataset(root / task, 8, 4, training.SCENES, task=task, progress=False)
        return root / task / "data.yaml"

    return make
