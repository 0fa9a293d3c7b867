"""Labels that do not fit the task of a model: every tool says what is wrong, where, and writes nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yolort

pytest.importorskip("ultralytics")
pytest.importorskip("cv2")

import training
from yolort.tools._ultralytics import need_torchvision
from yolort.tools.evaluate.benchmark import benchmark
from yolort.tools.evaluate.validate import validate
from yolort.tools.export import export
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.prune.prune import prune
from yolort.tools.quantize.quantize import quantize
from yolort.tools.quantize.sweep import sweep
from yolort.tools.search.ablate import ablate
from yolort.tools.search.optimize import optimize
from yolort.tools.search.outcome import Budget
from yolort.tools.search.recipe import Recipe
from yolort.tools.search.study import Study
from yolort.tools.train.adapt import set_classes, set_keypoints
from yolort.tools.train.distill import distill
from yolort.tools.train.train import train

Scenes = Callable[[str], Path]
KINDS = {"segment": "seg", "pose": "pose", "obb": "obb", "classify": "cls"}
BOX = "0 0.5 0.5 0.2 0.2"
#: A line of labels that is wrong for a task, and what the error must say.
FAULTS: dict[str, tuple[str, str, str]] = {
    "boxes for polygons": ("segment", BOX, r"line 1: it is a box; the task segment needs .*, a polygon"),
    "an empty mask": ("segment", "0 0.5 0.5 0.5 0.5 0.5 0.5", "line 1: the mask is empty"),
    "a line for a mask": ("segment", "0 0.1 0.1 0.2 0.2 0.3 0.3", "line 1: the mask is empty"),
    "boxes for poses": ("pose", BOX, "line 1: 5 numbers do not fit kpt_shape; .*4 keypoints of 3 numbers"),
    "too many keypoints": ("pose", BOX + " 0.5 0.5 2" * 5, "line 1: .*4 keypoints of 3 numbers, 17 numbers in all"),
    "a keypoint outside": ("pose", BOX + " 0.5 0.5 2" * 3 + " 3 0.5 2", "line 1: coordinates must be relative"),
    "boxes for oriented boxes": ("obb", BOX, "line 1: it is a box; the task obb needs .*the corners"),
    "an angle for corners": ("obb", BOX + " 7.5", "line 1: expected .*the corners of an oriented box"),
    "an empty oriented box": ("obb", "0" + " 0.5 0.5" * 4, "line 1: the oriented box is empty"),
    "an oriented box outside": ("obb", "0 3 3 4 3 4 4 3 4", "line 1: coordinates must be relative"),
}


@pytest.fixture(scope="module")
def models(checkpoint: Callable[[str], Path], scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """From a task to a checkpoint with the classes and keypoints of the generated data, and its ONNX export."""
    import torch

    folder = tmp_path_factory.mktemp("models")

    def make(task: str) -> tuple[Path, Path]:
        path = folder / f"{task}.pt"
        if not path.exists():
            model: Any = load_checkpoint(checkpoint(f"yolo11n-{KINDS[task]}"), tasks=True).model
            if task != "classify":
                from yolort.tools.data.dataset import load_dataset

                set_classes(model, load_dataset(scenes(task), task=task).names)
            if task == "pose":
                set_keypoints(model, [4, 3])
            torch.save({"model": model, "train_args": {"task": task, "imgsz": 64}}, path)
            export(path, format="onnx", imgsz=64, output=path.with_suffix(".onnx"))
        return path, path.with_suffix(".onnx")

    return make


def with_line(source: Path, folder: Path, line: str) -> Path:
    """A copy of data in which the first labels of each split are this line."""
    shutil.copytree(source.parent, folder)
    for split in ("train", "val"):
        first = sorted((folder / "labels" / split).glob("*.txt"))[0]
        first.write_text(line + "\n")
    return folder / source.name


#: Each takes a checkpoint and its export, data and a folder for what it writes.
TOOLS: dict[str, Callable[[tuple[Path, Path], Path, Path], object]] = {
    "val": lambda models, data, _: validate(models[1], data),
    "quantize": lambda models, data, out: quantize(models[1], data=data, mode="dynamic", output=out / "int8.onnx"),
    "sweep": lambda models, data, _: sweep(models[0], data, images=(4,), methods=("minmax",), runs=1),
    "train": lambda models, data, out: train(models[0], data, epochs=1, output=out / "run", **training.QUICK),
    "distill": lambda models, data, out: distill(
        models[0], models[0], data, epochs=1, output=out / "run", **training.QUICK
    ),
    "prune": lambda models, data, out: prune(
        models[0], ratio=0.2, method="taylor", data=data, output=out / "pruned.pt"
    ),
    "optimize": lambda models, data, out: optimize(
        models[0], data, Budget(max_drop=1), folder=out / "a", trials=1, finetune=0
    ),
    "ablate": lambda models, data, out: ablate(
        Study(data, (0,), Recipe(model=str(models[0])), {"a": {"imgsz": 32}}, (("a",),)), out / "a"
    ),
}


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_labels(tool: str, fault: str, models: Any, scenes: Scenes, tmp_path: Path) -> None:
    task, line, message = FAULTS[fault]
    data = with_line(scenes(task), tmp_path / "data", line)
    (tmp_path / "out").mkdir()
    before = files_in(tmp_path)
    with pytest.raises(yolort.Error, match=rf"labels.*\.txt, {message}"):
        TOOLS[tool](models(task), data, tmp_path / "out")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("fault", ["boxes for polygons", "boxes for poses", "boxes for oriented boxes"])
def test_a_benchmark_says_it_too(fault: str, models: Any, scenes: Scenes, tmp_path: Path) -> None:
    task, line, message = FAULTS[fault]
    data = with_line(scenes(task), tmp_path / "data", line)
    with pytest.raises(yolort.Error, match=message):
        benchmark([models(task)[1]], data=data, runs=1, warmup=0)


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("task", "given"), [("segment", "detect"), ("pose", "segment"), ("obb", "detect")])
def test_data_of_another_task(tool: str, task: str, given: str, models: Any, scenes: Scenes, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(yolort.Error, match=r"the task (segment|obb) needs|poses need 'kpt_shape'"):
        TOOLS[tool](models(task), scenes(given), tmp_path / "out")
    assert not files_in(tmp_path)


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool != "train"])  # which adapts the model, and says so
def test_keypoints_of_another_number(tool: str, models: Any, scenes: Scenes, tmp_path: Path) -> None:
    """Than the model finds, in data that are right."""
    data = tmp_path / "data"
    shutil.copytree(scenes("pose").parent, data)
    for file in data.glob("labels/*/*.txt"):
        rows = [line.split() for line in file.read_text().splitlines()]
        file.write_text("\n".join(" ".join(row[:14]) for row in rows))  # three keypoints
    description = data / scenes("pose").name
    text = re.sub(r"flip_idx:.*\n", "", description.read_text())
    description.write_text(re.sub(r"kpt_shape:.*", "kpt_shape: [3, 3]", text))
    (tmp_path / "out").mkdir()
    before = files_in(tmp_path)
    with pytest.raises((yolort.Error, ValueError), match=r"(?s)\b3\b.*keypoints|keypoints.*\b3\b"):
        TOOLS[tool](models("pose"), description, tmp_path / "out")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("tool", TOOLS)
def test_labels_of_boxes_for_a_classifier(tool: str, models: Any, scenes: Scenes, tmp_path: Path) -> None:
    """A data.yaml, where a folder for each class is needed."""
    if tool in ("train", "distill", "prune"):
        try:
            need_torchvision()
        except ModuleNotFoundError as error:
            pytest.skip(str(error))
    (tmp_path / "out").mkdir()
    with pytest.raises((yolort.Error, FileNotFoundError, ValueError), match="folder"):
        TOOLS[tool](models("classify"), scenes("detect"), tmp_path / "out")
    assert not files_in(tmp_path)


def test_commands_end_with_a_line(models: Any, scenes: Scenes, tmp_path: Path) -> None:
    """Without a traceback."""
    task, line, message = FAULTS["boxes for polygons"]
    data = with_line(scenes(task), tmp_path / "data", line)
    command = [sys.executable, "-m", "yolort", "val", str(models(task)[1]), "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert re.search(message, " ".join(done.stderr.split()))
    assert "Traceback" not in done.stderr
