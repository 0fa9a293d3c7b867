"""Pruning and fine-tuning of models of every task: widths stay, Ultralytics alone loads them, exports agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch_pruning")
pytest.importorskip("ultralytics")
pytest.importorskip("cv2")

import torch
import training
from yolort.tools._ultralytics import need_torchvision
from yolort.tools.data.dataset import load_dataset
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.export import export
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.prune.prunable import widths
from yolort.tools.prune.prune import prune
from yolort.tools.train.adapt import set_classes, set_keypoints

Checkpoints = Callable[[str], Path]
Scenes = Callable[[str], Path]
TASKS = {"yolo26n-seg": "segment", "yolo11n-pose": "pose", "yolo26n-obb": "obb", "yolo26n-cls": "classify"}


def model_of(path: Path) -> Any:
    return load_checkpoint(path, tasks=True).model


def fitted(source: Path, task: str, data: Path, target: Path) -> Path:
    """A checkpoint with the classes and keypoints of the data, as a teacher must have them."""
    model, dataset = model_of(source), load_dataset(data, "train", task=task)
    set_classes(model, dataset.names)
    if dataset.kpt_shape is not None:
        set_keypoints(model, dataset.kpt_shape)
    torch.save({"model": model, "train_args": {"task": task, "imgsz": 64}}, target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("distill", [False, True])
@pytest.mark.parametrize("architecture", TASKS)
def test_a_pruned_model_is_trained_loaded_and_exported(
    architecture: str, distill: bool, checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path
) -> None:
    task = TASKS[architecture]
    if task == "classify":
        try:
            need_torchvision()
        except ModuleNotFoundError as error:
            pytest.skip(str(error))
        write_dataset(data := tmp_path / "classes", 16, 10, training.SCENES, task=task, progress=False)
    else:
        data = scenes(task)
    source = fitted(checkpoint(architecture), task, data, tmp_path / "source.pt")
    first = prune(source, ratio=0.2, imgsz=64, measure=False, output=tmp_path / "untrained.pt")
    options = {**training.QUICK, "finetune": 1, "data": data, "distill": distill}
    done = prune(source, ratio=0.2, measure=False, output=tmp_path / "pruned.pt", **options)
    check(source, first.path, done.path, task)


@pytest.mark.slow
def test_a_pruned_classifier(checkpoint: Checkpoints, tmp_path: Path) -> None:
    """Without training, which needs torchvision."""
    source = checkpoint("yolo26n-cls")
    done = prune(source, ratio=0.2, imgsz=64, measure=False, output=tmp_path / "pruned.pt")
    check(source, done.path, done.path, "classify")


def check(source: Path, untrained: Path, path: Path, task: str) -> None:
    """Narrower than the source, as wide as before the training, and the same in Ultralytics and in an export."""
    dense, kept, now = (widths(model_of(one)) for one in (source, untrained, path))
    assert now == kept == model_of(path).yaml["pruning"]["widths"]
    assert sum(now.values()) < 0.9 * sum(dense.values())
    count = sum(value.numel() for value in model_of(path).parameters())
    told = "yolo.task, sum(value.numel() for value in yolo.model.parameters())"
    assert training.without_yolort(path, told) == f"{task} {count}"
    export(path, imgsz=64, output=path.with_suffix(".onnx"))  # which compares, and raises where they differ
