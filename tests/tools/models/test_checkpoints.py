"""Checkpoints, runs and data sets of strangers: nothing in them runs, also where Ultralytics reads them itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")

import training  # noqa: E402
from torch import nn  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.distill_model import DistillationModel  # noqa: E402
from ultralytics.utils.torch_utils import strip_optimizer  # noqa: E402
from yolort.tools.models.checkpoints import CheckpointError, load_checkpoint, restricted  # noqa: E402
from yolort.tools.train.trainer import Trainer, train_module  # noqa: E402

Checkpoints = Callable[[str], Path]


class Call:
    """Unpickled, it is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "pwned"


@pytest.fixture
def evil(tmp_path: Path, marker: Path) -> Path:
    """A checkpoint that runs code where it is unpickled without care."""
    path = tmp_path / "evil.pt"
    torch.save({"model": Call(os.mkdir, str(marker))}, path)
    return path


def student() -> nn.Module:
    module = nn.Identity()
    module.yaml = {}
    return module


def stored(source: Path, target: Path, **arguments: Any) -> Path:
    """A checkpoint with other arguments of its training."""
    saved = torch.load(source, weights_only=False)
    saved["train_args"] |= arguments
    torch.save(saved, target)
    return target


def test_the_classes_of_a_checkpoint_are_not_called(
    checkpoint: Checkpoints, evil: Path, marker: Path, tmp_path: Path
) -> None:
    """Ultralytics' allow-list has them, and they read files: a checkpoint named by an argument, without care."""
    small = {"nc": 3, "backbone": [[-1, 1, "Conv", [64, 3, 2]]], "head": []}
    for call, name in (
        (Call(DistillationModel, str(evil), student()), "DistillationModel"),
        (Call(tasks.DetectionModel, small), "DetectionModel"),
        (Call(nn.Linear, 1 << 16, 1 << 16), "Linear"),
        (Call(torch.Tensor, 1 << 40), "Tensor"),
        (Call(Call, "x"), "Call"),
        (Call(os.mkdir, str(marker)), "mkdir"),
    ):
        path = stored(checkpoint("yolov8n"), tmp_path / "calls.pt", x=call)
        with pytest.raises(CheckpointError, match=rf"calls\.pt cannot be used: it calls .*{name}.*, which no"):
            load_checkpoint(path)
    assert not marker.exists()


def test_the_pickle_that_is_judged_is_the_one_that_is_read(checkpoint: Checkpoints, evil: Path, tmp_path: Path) -> None:
    import zipfile

    path = stored(checkpoint("yolov8n"), tmp_path / "two.pt", x=Call(DistillationModel, str(evil), student()))
    with zipfile.ZipFile(checkpoint("yolov8n")) as good, zipfile.ZipFile(path, "a") as both:
        harmless = next(name for name in good.namelist() if name.endswith("data.pkl"))
        both.writestr("aaa/data.pkl", good.read(harmless))
        both.writestr("AAA/DATA.PKL", good.read(harmless))
    with pytest.raises(CheckpointError, match="it calls .*DistillationModel"):
        load_checkpoint(path)


def test_what_a_checkpoint_may_call(checkpoint: Checkpoints, tmp_path: Path) -> None:
    harmless = {"path": Path("x"), "size": torch.Size([1]), "value": np.float64(1.5), "set": {1}, "bytes": b"x"}
    loaded = load_checkpoint(stored(checkpoint("yolov8n"), tmp_path / "good.pt", **harmless))
    assert loaded.train_args["path"] == Path("x")


def test_what_ultralytics_reads_itself(evil: Path, marker: Path) -> None:
    with restricted():
        with pytest.raises(CheckpointError, match=r"evil\.pt cannot be used: it calls"):
            tasks.load_checkpoint(evil)
        assert strip_optimizer(str(evil)) == {}
    assert not marker.exists()
    assert tasks.SAFE_LOAD is False


def test_a_run_of_a_stranger_is_resumed(
    checkpoint: Checkpoints, blocks: Path, evil: Path, marker: Path, tmp_path: Path
) -> None:
    """Its last.pt names a teacher, its best.pt is no checkpoint, and the data set holds a cache of labels."""
    data = shutil.copytree(blocks.parent, tmp_path / "data")
    for split in ("train", "val"):
        cache: Any = np.empty((), object)
        cache[()] = Call(os.mkdir, str(marker))
        (data / "labels" / f"{split}.cache").unlink(missing_ok=True)
        with (data / "labels" / f"{split}.cache").open("wb") as file:
            np.save(file, cache)
    run = tmp_path / "run"
    given = load_checkpoint(checkpoint("yolov8n")).model
    with pytest.raises(KeyboardInterrupt):
        trainer = training.interrupted(Trainer, 1)
        train_module(given, data / "data.yaml", epochs=2, output=run, trainer=trainer, **training.QUICK)
    assert not marker.exists()
    last = run / "weights" / "last.pt"
    stored(last, last, distill_model=str(evil), data=str(evil), pretrained=str(evil))
    shutil.copy(evil, run / "weights" / "best.pt")
    train_module(given, data / "data.yaml", epochs=2, output=run, resume=True, **training.QUICK)
    assert not marker.exists()
    shutil.copy(evil, last)
    with pytest.raises(CheckpointError):
        train_module(given, data / "data.yaml", epochs=2, output=run, resume=True, **training.QUICK)
    assert not marker.exists()
