"""`optimize` and `ablate` on models of every task: the task and its metric come from the checkpoint."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics")
pytest.importorskip("optuna")
pytest.importorskip("cv2")

import numpy as np
import onnx
import training
from yolort.tools import _ultralytics
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.models.checkpoints import CheckpointError, load_checkpoint
from yolort.tools.search.ablate import ablate
from yolort.tools.search.optimize import optimize
from yolort.tools.search.outcome import Budget
from yolort.tools.search.recipe import Recipe
from yolort.tools.search.stages import Data
from yolort.tools.search.study import Study, StudyError
from yolort.tools.train.adapt import set_classes

Checkpoints = Callable[[str], Path]
Scenes = Callable[[str], Path]
QUICK = {key: value for key, value in training.QUICK.items() if key != "imgsz"}


def weights_of(path: Path) -> list[np.ndarray]:
    return [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]


def classifier(checkpoint: Checkpoints, folder: Path) -> tuple[Path, Path]:
    """A checkpoint with the classes of generated images, and their folder."""
    import torch

    data = folder / "classes"
    write_dataset(data, 16, 10, training.SCENES, task="classify", progress=False)
    model = load_checkpoint(checkpoint("yolo26n-cls"), tasks=True).model
    set_classes(model, dict(enumerate(sorted(one.name for one in (data / "train").iterdir()))))
    torch.save({"model": model, "train_args": {"task": "classify", "imgsz": 64}}, folder / "classifier.pt")
    return folder / "classifier.pt", data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "task", "metric"),
    [("yolo26n-seg", "segment", "mask mAP50-95"), ("yolo11n-pose", "pose", "keypoint mAP50-95")],
)
def test_optimize_ends_with_an_artifact_that_its_commands_make(
    architecture: str, task: str, metric: str, checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path
) -> None:
    done = optimize(
        checkpoint(architecture),
        scenes(task),
        Budget(max_drop=100.0),
        folder=tmp_path / "search",
        engines=["onnxruntime"],
        imgsz=64,
        epochs=1,
        finetune=0,
        trials=2,
        **QUICK,
    )
    assert [one.note for one in done.trials] == ["", ""]
    assert [one.recipe.precision for one in done.trials] == ["fp32", "int8"]
    assert done.metric == metric
    assert done.artifact is not None
    for command in done.commands():
        parts = [sys.executable, "-m", "yolort", *shlex.split(command)[1:]]
        ran = subprocess.run(parts, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0, ran.stderr
    made = next(tmp_path.glob(f"{done.artifact.stem}*.onnx"))
    ours, theirs = weights_of(made), weights_of(done.artifact)
    assert ours and all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))
    for ending in (".html", ".md", ".json"):
        done.save(tmp_path / f"report{ending}")
    assert metric in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["metric"] == metric
    page = (tmp_path / "report.html").read_text()
    assert metric in page and "data:image/jpeg" in page


@pytest.mark.slow
def test_optimize_and_ablate_a_classifier(checkpoint: Checkpoints, tmp_path: Path) -> None:
    """As it is: what trains needs torchvision."""
    model, data = classifier(checkpoint, tmp_path)
    options: dict[str, Any] = {"folder": tmp_path / "search", "engines": ["onnxruntime"], "finetune": 0, "trials": 1}
    done = optimize(model, data, Budget(max_drop=100.0), **options)
    assert done.metric == "top-1"
    assert done.artifact is not None
    assert "top-1" in done.to_html()
    study = Study(data, (0,), Recipe(model=str(model), imgsz=64), {"half": {"imgsz": 32}}, (("half",),))
    ablation = ablate(study, tmp_path / "ablation", runs=3)
    assert [one.error for one in ablation.variants] == ["", ""]
    assert ablation.table()[0][2:4] == ["top-1", "top-5"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "task", "metrics"),
    [
        ("yolo11n-seg", "segment", ("mask mAP50-95", "mask mAP50")),
        ("yolo26n-obb", "obb", ("mAP50-95", "mAP50")),
    ],
)
def test_ablate_compares_by_the_metric_of_the_task(
    architecture: str, task: str, metrics: tuple[str, str], checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path
) -> None:
    base = Recipe(model=str(checkpoint(architecture)), imgsz=64, epochs=1, train=QUICK)
    steps: dict[str, dict[str, Any]] = {"prune": {"prune": 0.3, "finetune": 1}}
    done = ablate(Study(scenes(task), (0,), base, steps, (("prune",),)), tmp_path / "a", runs=3)
    assert [one.error for one in done.variants] == ["", ""]
    assert tuple(done.table()[0][2:4]) == metrics
    assert json.loads(done.to_json())["metric"] == metrics[0]
    assert metrics[0] in done.to_html()


def test_the_hash_of_data_is_that_of_the_labels_of_the_task(scenes: Scenes) -> None:
    """Boxes of polygons are another data set than the polygons."""
    boxes, polygons = (Data(scenes("segment"), task) for task in ("detect", "segment"))
    assert boxes.sha256 != polygons.sha256
    assert (boxes.metric, polygons.metric) == ("mAP50-95", "mask mAP50-95")


# --- what is refused


def test_models_of_several_tasks(checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path) -> None:
    segmenting, detecting = checkpoint("yolo11n-seg"), checkpoint("yolo11n")
    options: dict[str, Any] = {"folder": tmp_path / "search", "trials": 1}
    with pytest.raises(ValueError, match=r"sibling .*yolo11n.pt is for detect, the model for segment"):
        optimize(segmenting, scenes("segment"), Budget(max_drop=1), siblings=[detecting], **options)
    study = Study(scenes("segment"), (0,), Recipe(model=str(segmenting)), {"a": {"model": str(detecting)}}, (("a",),))
    with pytest.raises(StudyError, match=r"yolo11n.pt is for detect, the baseline .* for segment"):
        ablate(study, tmp_path / "ablation")
    with pytest.raises((FileNotFoundError, CheckpointError)):
        optimize(tmp_path / "none.pt", scenes("segment"), Budget(max_drop=1), **options)
    assert not list(tmp_path.iterdir())


def test_a_classifier_is_not_trained_without_torchvision(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ultralytics, "_why_unusable", lambda: "not installed")
    with pytest.raises(ModuleNotFoundError, match="pip install torchvision"):
        optimize(checkpoint("yolo26n-cls"), tmp_path, Budget(max_drop=1), folder=tmp_path / "a", trials=1)
    assert not (tmp_path / "a").exists()
