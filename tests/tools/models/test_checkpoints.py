"""Untrusted checkpoints, runs and datasets: no code in them runs, even if Ultralytics reads them itself."""

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
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "pwned"


@pytest.fixture
def evil(tmp_path: Path, marker: Path) -> Path:
    """A checkpoint that runs code if it is unpickled unsafely."""
    path = tmp_path / "evil.pt"
    torch.save({"model": Call(os.mkdir, str(marker))}, path)
    return path


def student() -> Any:
    module: Any = nn.Identity()
    module.yaml = {}
    return module


def stored(source: Path, target: Path, **arguments: Any) -> Path:
    """A checkpoint with other training arguments."""
    saved = torch.load(source, weights_only=False)
    saved["train_args"] |= arguments
    torch.save(saved, target)
    return target


def test_the_classes_of_a_checkpoint_are_not_called(
    checkpoint: Checkpoints, evil: Path, marker: Path, tmp_path: Path
) -> None:
    """They are on Ultralytics' allowlist, but read files: they unpickle a checkpoint named by an argument unsafely."""
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


def test_the_checked_pickle_is_the_one_that_is_read(checkpoint: Checkpoints, evil: Path, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_an_untrusted_run_is_resumed_safely(
    checkpoint: Checkpoints, blocks: Path, evil: Path, marker: Path, tmp_path: Path
) -> None:
    """Its last.pt names a teacher, its best.pt is not a checkpoint, and the dataset has a label cache."""
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


def damage(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """An entry of the checkpoint's dictionary."""
    return lambda saved: saved.update(changes)


def layers(saved: dict[str, Any]) -> Any:
    return saved["model"].model


def unnamed(saved: dict[str, Any]) -> None:
    del saved["model"].names


def cycle(saved: dict[str, Any]) -> None:
    layers(saved)[0]._modules["self"] = layers(saved)[0]


def without_convolution(saved: dict[str, Any]) -> None:
    layers(saved)[1].conv = None


def other_widths(saved: dict[str, Any]) -> None:
    layers(saved)[1].conv = nn.Conv2d(7, 7, 1).half()


def short_head(saved: dict[str, Any]) -> None:
    layers(saved)[-1].cv3 = layers(saved)[-1].cv3[:2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (damage(ema=torch.ones(2)), "expected an Ultralytics detection model, not Tensor"),
        (damage(modelopt=torch.ones(3)), "quantisation-aware"),
        (damage(train_args=5), "'train_args' are a int"),
        (damage(train_args=[1, 2]), "'train_args' are a list"),
        (damage(train_args=torch.ones(3)), "'train_args' are a Tensor"),
        (unnamed, "'names' are a NoneType"),
        (lambda saved: setattr(saved["model"], "names", 5), "'names' are a int"),
        (lambda saved: setattr(saved["model"], "names", {0: "a", "b": "b", None: "c"}), r"3 names \(0, b, None\)"),
        (lambda saved: setattr(saved["model"], "yaml", 7), "'yaml' is a int"),
        (lambda saved: setattr(saved["model"], "save", 7), "damaged"),
        (lambda saved: setattr(saved["model"], "save", []), "layer 11 is not connected to layer 10|not connected"),
        (lambda saved: setattr(layers(saved)[-1], "stride", None), "the strides None"),
        (lambda saved: setattr(layers(saved)[-1], "stride", torch.zeros(3)), "whole numbers of pixels"),
        (lambda saved: setattr(layers(saved)[-1], "stride", torch.tensor([8.0, float("nan"), 32.0])), "whole numbers"),
        (lambda saved: setattr(layers(saved)[-1], "nc", 10**9), "1000000000 classes, expected 1 to 65536"),
        (lambda saved: setattr(layers(saved)[-1], "nc", "3"), "3 classes, expected 1 to 65536"),
        (lambda saved: setattr(layers(saved)[-1], "reg_max", 7), "its head gives .* expected 28 channels"),
        (lambda saved: setattr(layers(saved)[-1], "reg_max", None), "a reg_max of None"),
        (lambda saved: setattr(layers(saved)[-1], "f", 15), "its head takes 15"),
        (lambda saved: setattr(layers(saved)[0], "f", 99), "layer 0 takes 99"),
        (lambda saved: setattr(layers(saved)[4], "f", None), "layer 4 takes None"),
        (lambda saved: setattr(layers(saved)[4], "f", [-9]), r"layer 4 takes \[-9\]"),
        (lambda saved: setattr(layers(saved)[4], "i", 7), "layer 4 is not connected"),
        (cycle, "damaged .RecursionError"),
        (without_convolution, "damaged .TypeError"),
        (other_widths, "damaged .RuntimeError"),
        (short_head, "damaged .ValueError"),
    ],
)
def test_damaged_objects_are_one_sentence(
    change: Callable[[dict[str, Any]], None], says: str, checkpoint: Checkpoints, tmp_path: Path
) -> None:
    saved = torch.load(checkpoint("yolov8n"), weights_only=False)
    change(saved)
    torch.save(saved, tmp_path / "damaged.pt")
    with pytest.raises(CheckpointError, match=says) as caught:
        load_checkpoint(tmp_path / "damaged.pt")
    assert "damaged.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, -32, 100, 10**30])
def test_the_size_that_a_checkpoint_says(size: int, checkpoint: Checkpoints, tmp_path: Path) -> None:
    source = load_checkpoint(stored(checkpoint("yolov8n"), tmp_path / "size.pt", imgsz=size))
    with pytest.raises(CheckpointError, match=rf"size\.pt says that it was trained at an imgsz of {size}, .*set imgsz"):
        source.side  # noqa: B018
    assert load_checkpoint(stored(checkpoint("yolov8n"), tmp_path / "size.pt", imgsz=True)).side == 640
    assert load_checkpoint(checkpoint("yolov8n")).side == 96


def test_a_name_that_is_not_utf_8(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """It is written into metadata, which must be text."""
    path = tmp_path / os.fsdecode(b"y\xff.pt")
    path.write_bytes(checkpoint("yolov8n").read_bytes())
    assert load_checkpoint(path).name == r"y\udcff.pt"
