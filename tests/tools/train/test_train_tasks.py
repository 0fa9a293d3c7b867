"""Training for segmentation, poses and oriented boxes: custom widths; losses and sampling as for boxes."""

from __future__ import annotations

import copy
import csv
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics")
pytest.importorskip("cv2")

import torch
import training
from batch_losses import batch_losses
from yolort.tools import _ultralytics
from yolort.tools.data.class_balance import class_report
from yolort.tools.data.samples import LabelError
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.train.adapt import set_classes, set_keypoints
from yolort.tools.train.losses import ClassificationLoss
from yolort.tools.train.train import train
from yolort.tools.train.trainer import Trainer, train_module

Checkpoints = Callable[[str], Path]
TASKS = {"seg": "segment", "pose": "pose", "obb": "obb"}


def model_of(path: Path) -> Any:
    return load_checkpoint(path, tasks=True).model


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("architecture", ["yolov8n", "yolo11n", "yolo26n"])
def test_a_narrow_network_of_a_task_stays_narrow(
    architecture: str, kind: str, checkpoint: Checkpoints, scenes: Callable[[str], Path], tmp_path: Path
) -> None:
    """With every option for loss and sampling."""
    data, run = scenes(TASKS[kind]), tmp_path / "run"
    given = training.narrowed(model_of(checkpoint(f"{architecture}-{kind}")))
    seen: list[dict[str, float]] = []

    class Looking(Trainer):
        def optimizer_step(self) -> None:
            super().optimizer_step()
            losses: Any = self.loss_items
            seen.append({name: float(value) for name, value in losses.items()})

    options: dict[str, Any] = {"gamma": 1.5, "class_weights": "effective", "sampling": "repeat", "scales": (1.0, 1.5)}
    best = train(given, data, epochs=1, output=run, trainer=Looking, **options, **training.QUICK)
    trained = model_of(best)
    assert type(trained.model[-1]) is type(given.model[-1])
    assert trained.model[0].conv.weight.shape == given.model[0].conv.weight.shape == (12, 3, 3, 3)
    set_classes(given, trained.names)
    if kind == "pose":
        set_keypoints(given, [4, 3])
        assert list(trained.kpt_shape) == list(trained.model[-1].kpt_shape) == [4, 3]
    assert training.shapes(trained) == training.shapes(given)
    assert all(math.isfinite(value) for losses in seen for value in losses.values())
    own = {"seg": "seg_loss", "pose": "pose_loss", "obb": "angle_loss"}[kind]
    assert len(seen) == 2 and all(losses["cls_loss"] > 0 and losses[own] >= 0 for losses in seen)
    counts = json.loads((run / "class_weights.json").read_text())["counts"]
    assert sum(counts.values()) == len(list_of_objects(data))
    expected = f"{TASKS[kind]} 12 {len(trained.names)}"
    assert (
        training.without_yolort(best, "yolo.task, yolo.model.model[0].conv.weight.shape[0], len(yolo.names)")
        == expected
    )
    with (run / "results.csv").open() as file:
        row = next(csv.DictReader(file))
    assert {"seg": "metrics/mAP50(M)", "pose": "metrics/mAP50(P)", "obb": "metrics/mAP50(B)"}[kind] in row


def list_of_objects(data: Path) -> list[str]:
    files = (data.parent / "labels" / "train").glob("*.txt")
    return [line for file in files for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_an_interrupted_run_of_poses_is_resumed(
    checkpoint: Checkpoints, scenes: Callable[[str], Path], tmp_path: Path
) -> None:
    given, data, run = training.narrowed(model_of(checkpoint("yolo26n-pose"))), scenes("pose"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_module(given, data, epochs=2, output=run, trainer=training.interrupted(Trainer, 1), **training.QUICK)
    best = train_module(given, data, epochs=2, output=run, resume=True, **training.QUICK)
    assert model_of(best).model[0].conv.out_channels == 12
    with (run / "results.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("architecture", ["yolo11n", "yolo26n"])
def test_class_options_change_the_class_loss_of_a_task_only(
    architecture: str, kind: str, checkpoint: Checkpoints
) -> None:
    model = model_of(checkpoint(f"{architecture}-{kind}")).train()
    random = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 4, generator=random) * 0.2 + 0.4
    batch = {
        "img": torch.rand(2, 3, 64, 64, generator=random),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [2.0]]),
        "bboxes": boxes if kind != "obb" else torch.cat([boxes, torch.rand(3, 1, generator=random)], 1),
        "masks": (torch.rand(2, 16, 16, generator=random) * 3).floor(),
        "sem_masks": (torch.rand(2, 16, 16, generator=random) * 3).long(),
        "keypoints": torch.rand(3, 17, 3, generator=random),
    }
    losses = batch_losses(model, batch)
    stock, focal = losses(), losses(gamma=1.5)
    parts = [losses(class_weights=weights)["cls_loss"] for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    weighted = losses(class_weights=(2, 0.5, 3))
    assert 0 < focal["cls_loss"] < 0.9 * stock["cls_loss"]
    assert weighted["cls_loss"] == pytest.approx(2 * parts[0] + 0.5 * parts[1] + 3 * parts[2], rel=1e-5)
    for name in stock.keys() - {"cls_loss", "total"}:
        assert focal[name] == weighted[name] == stock[name]


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo26n"])
def test_other_keypoints_change_their_last_layers_only(architecture: str, checkpoint: Checkpoints) -> None:
    given = model_of(checkpoint(f"{architecture}-pose"))
    before = copy.deepcopy(given)
    set_keypoints(given, [17, 3])
    assert training.shapes(given) == training.shapes(before)
    set_keypoints(given, [4, 2])
    old, new = before.state_dict(), given.state_dict()
    changed = {name for name in old if old[name].shape != new[name].shape}
    last = {"yolov8n": r"cv4.0.2.weight", "yolo26n": r"one2one_cv4_kpts.0.weight"}[architecture]
    assert f"model.{len(given.model) - 1}.{last}" in changed
    assert {name.split(".")[2].removeprefix("one2one_") for name in changed} <= {"cv4", "cv4_kpts", "cv4_sigma"}
    assert all(torch.equal(old[name], new[name]) for name in old if name not in changed)
    assert given.eval()(torch.zeros(1, 3, 64, 64))[0].shape == (1, 4 + 3 + 4 * 2, 84)


def test_other_classes_of_masks_change_their_last_layers_only(checkpoint: Checkpoints) -> None:
    given = model_of(checkpoint("yolo26n-seg"))
    before = copy.deepcopy(given.state_dict())
    set_classes(given, {0: "cone", 1: 'a "sign"'})
    after = given.state_dict()
    changed = {name for name in before if before[name].shape != after[name].shape}
    assert any("semseg" in name for name in changed)  # per-pixel classes, which exist only in training
    for name in changed:
        assert after[name].shape[0] == 2
        assert torch.equal(after[name][1], before[name][1])
    assert given.eval()(torch.zeros(1, 3, 64, 64)) is not None


def test_labels_of_another_task(checkpoint: Checkpoints, scenes: Callable[[str], Path], tmp_path: Path) -> None:
    for architecture, labelled in (("yolo11n-pose", "segment"), ("yolo11n-seg", "detect")):
        with pytest.raises(LabelError):
            train(checkpoint(architecture), scenes(labelled), epochs=1, output=tmp_path / "run", **training.QUICK)
    assert not (tmp_path / "run").exists()


def test_the_report_of_a_task_counts_its_objects(scenes: Callable[[str], Path]) -> None:
    reports = {task: class_report(scenes(task), 96, task=task) for task in TASKS.values()}
    for task, report in reports.items():
        rows = [int(line.split()[0]) for line in list_of_objects(scenes(task))]
        assert report.instances.tolist() == [rows.count(cls) for cls in report.names]


# --- refused settings


def test_a_classifier_without_torchvision_is_refused_before_data_are_read(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ultralytics, "_why_unusable", lambda: "not installed")
    for run in (train, train_module):
        with pytest.raises(ModuleNotFoundError, match=r"torchvision.*pip install torchvision torch=="):
            run(checkpoint("yolo26n-cls"), tmp_path / "absent", epochs=1, output=tmp_path / "run", **training.QUICK)
    assert not (tmp_path / "run").exists()


def test_options_that_classifiers_lack(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("yolort.tools.train.trainer"), "need_torchvision", lambda: None)
    options: list[tuple[str, dict[str, Any]]] = [("alpha", {"alpha": 0.5}), ("scales", {"scales": (0.5, 1.0)})]
    for name, option in options:
        with pytest.raises(ValueError, match=f"{name} is not for classifiers"):
            train(checkpoint("yolo11n-cls"), tmp_path, epochs=1, output=tmp_path / "run", **option, **training.QUICK)


def test_the_loss_of_classifiers_by_hand() -> None:
    logits, target = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), torch.tensor([1, 0])
    batch = {"cls": target}
    cross = [math.log(4 / 3), math.log(2)]

    def loss(gamma: float, weights: tuple[float, ...] | None) -> float:
        return ClassificationLoss(gamma, weights, torch.device("cpu"))(logits, batch)[0].item()

    assert loss(0, None) == pytest.approx(sum(cross) / 2)
    assert loss(2, None) == pytest.approx((cross[0] / 16 + cross[1] / 4) / 2)
    assert loss(0, (3.0, 1.0)) == pytest.approx((cross[0] + 3 * cross[1]) / 4)


@pytest.mark.slow
def test_a_narrow_classifier_stays_narrow(checkpoint: Checkpoints, tmp_path: Path) -> None:
    try:
        _ultralytics.need_torchvision()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    data = tmp_path / "classes"
    write_dataset(data, 16, 10, training.SCENES, task="classify", progress=False)
    given = training.narrowed(model_of(checkpoint("yolo26n-cls")))
    options: dict[str, Any] = {"gamma": 1.5, "class_weights": "inverse", "sampling": "balanced", "dropout": 0.2}
    best = train(given, data, epochs=1, output=tmp_path / "run", **options, **training.QUICK)
    trained = model_of(best)
    assert trained.model[0].conv.weight.shape == (12, 3, 3, 3)
    assert trained.model[-1].linear.out_features == len(trained.names) == len(list((data / "train").iterdir()))
    assert [part.p for part in trained.modules() if isinstance(part, torch.nn.Dropout)] == [0.2]
    assert training.without_yolort(best, "yolo.task, len(yolo.names)") == f"classify {len(trained.names)}"
