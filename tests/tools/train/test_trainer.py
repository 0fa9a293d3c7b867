"""`train_module` trains the given network itself, and saved files load without yolort."""

from __future__ import annotations

import copy
import csv
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics")

import numpy as np
import torch
import training
from PIL import Image
from yolort.images import ImageError
from yolort.tools import _system
from yolort.tools.data.class_balance import class_report
from yolort.tools.data.dataset import load_dataset
from yolort.tools.data.samples import LabelError
from yolort.tools.models.checkpoints import CheckpointError, load_checkpoint
from yolort.tools.train.train import train
from yolort.tools.train.trainer import Trainer, WidthError, set_classes, train_module

Checkpoints = Callable[[str], Path]


def model_of(path: Path) -> Any:
    return load_checkpoint(path).model


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["yolov8n", "yolo26n"])
def test_a_narrow_network_stays_narrow(
    architecture: str, checkpoint: Checkpoints, blocks: Path, tmp_path: Path
) -> None:
    given = training.narrowed(model_of(checkpoint(architecture)))
    before = copy.deepcopy(given.state_dict())
    best = train_module(given, blocks, epochs=1, output=tmp_path / "run", **training.QUICK)
    assert best == tmp_path / "run" / "weights" / "best.pt"
    trained = model_of(best)
    assert training.shapes(trained) == training.shapes(given)
    assert trained.names == {0: "red", 1: "green", 2: "blue"}
    assert not torch.equal(trained.state_dict()["model.0.conv.weight"], before["model.0.conv.weight"])
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())  # a copy was trained
    seen = "yolo.names, yolo.model.model[0].conv.weight.shape[0], len(yolo.model(torch.zeros(1, 3, 64, 64))[0])"
    assert training.without_yolort(best, seen) == "{0: 'red', 1: 'green', 2: 'blue'} 12 1"


@pytest.mark.slow
def test_a_dense_rebuild_is_an_error(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    class Rebuilding(Trainer):
        """Ultralytics' own use of a checkpoint."""

        def wrap(self, student: Any) -> Any:
            rebuilt = self.get_model(cfg=student.yaml, weights=student, verbose=False)
            rebuilt.args = self.args
            return rebuilt

    given = training.narrowed(model_of(checkpoint("yolo26n")))
    message = r"after the first step .*model.0.conv.weight is \(16, 3, 3, 3\) and was \(12, 3, 3, 3\).*pruning is lost"
    with pytest.raises(WidthError, match=message):
        train_module(given, blocks, epochs=1, output=tmp_path / "run", trainer=Rebuilding, **training.QUICK)
    assert not (tmp_path / "run" / "weights" / "best.pt").exists()


def test_other_classes_change_the_class_convolutions_alone(checkpoint: Checkpoints) -> None:
    given = model_of(checkpoint("yolo26n"))  # driver's cab, a "sign", naïve: #1
    before = copy.deepcopy(given)
    set_classes(given, {0: "cone", 1: 'A "Sign" ', 2: "tree", 3: "star", 4: "driver's cab"})
    old, new = before.state_dict(), given.state_dict()
    changed = {name for name in old if old[name].shape != new[name].shape}
    assert changed == {
        f"model.23.{branch}.{level}.2.{part}"
        for branch in ("cv3", "one2one_cv3")
        for level in range(3)
        for part in ("weight", "bias")
    }
    assert all(torch.equal(old[name], new[name]) for name in old if name not in changed)
    for name in changed:  # the two classes that it knows by name keep their rows
        assert torch.equal(new[name][[1, 4]], old[name][[1, 0]])
        assert not torch.equal(new[name][0], old[name][0])
    assert given.model[-1].nc == given.yaml["nc"] == 5
    assert given.model[-1].no == 5 + 4 * given.model[-1].reg_max
    assert given.eval()(torch.zeros(1, 3, 64, 64))[0].shape == (1, 9, 84)
    assert before.yaml["nc"] == 3


def test_as_many_classes_by_other_names_keep_their_place(checkpoint: Checkpoints) -> None:
    given = model_of(checkpoint("yolov8n"))
    before = copy.deepcopy(given.state_dict())
    set_classes(given, {0: "red", 1: "green", 2: "blue"})
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    assert given.names == {0: "red", 1: "green", 2: "blue"}


@pytest.mark.slow
def test_seeds(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    def trained(name: str, seed: int) -> torch.Tensor:
        best = train_module(
            checkpoint("yolov8n"), blocks, epochs=1, seed=seed, output=tmp_path / name, **training.QUICK
        )
        return torch.cat([value.flatten().float() for value in model_of(best).state_dict().values()])

    first, again, other = trained("first", 3), trained("again", 3), trained("other", 4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_every_core_trains(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics leaves one core unused, which is half of two."""
    seen: list[int] = []

    class Counting(Trainer):
        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            seen.append(torch.get_num_threads())
            return super().preprocess_batch(batch)

    def threads(name: str) -> set[int]:
        seen.clear()
        train_module(
            checkpoint("yolov8n"), blocks, epochs=1, output=tmp_path / name, trainer=Counting, **training.QUICK
        )
        return set(seen)

    monkeypatch.setattr(_system, "cores", lambda: 3)
    assert threads("all") == {3}
    monkeypatch.setenv("YOLORT_THREADS", "2")
    assert threads("some") == {2}


@pytest.mark.slow
def test_an_interrupted_run_is_resumed(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given, run = training.narrowed(model_of(checkpoint("yolo26n"))), tmp_path / "run"
    with caplog.at_level(logging.WARNING, "yolort"), pytest.raises(KeyboardInterrupt):
        train_module(given, blocks, epochs=3, output=run, trainer=training.interrupted(Trainer, 1), **training.QUICK)
    assert f"the last whole epoch is in {run / 'weights' / 'last.pt'}" in caplog.text
    assert training.without_yolort(run / "weights" / "last.pt", "yolo.model.model[0].conv.weight.shape[0]") == "12"
    with pytest.raises(FileExistsError, match="contains a run; resume it, or choose another output"):
        train_module(given, blocks, epochs=3, output=run, **training.QUICK)
    best = train_module(given, blocks, epochs=3, output=run, resume=True, **training.QUICK)
    assert training.shapes(model_of(best)) == training.shapes(given)
    with (run / "results.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    with pytest.raises(ValueError, match="nothing to resume: the run of .*last.pt is finished"):
        train_module(given, blocks, epochs=3, output=run, resume=True, **training.QUICK)
    with pytest.raises(FileNotFoundError, match="nothing to resume: there is no"):
        train_module(given, blocks, epochs=3, output=tmp_path / "none", resume=True, **training.QUICK)


@pytest.mark.slow
def test_an_interrupt_while_saving_leaves_the_checkpoint_before(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    save = DetectionTrainer.save_model

    def halfway(self: Any) -> Any:
        if self.epoch == 0:
            return save(self)
        self.last.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(DetectionTrainer, "save_model", halfway)
    with pytest.raises(KeyboardInterrupt):
        train_module(checkpoint("yolov8n"), blocks, epochs=2, output=tmp_path / "run", **training.QUICK)
    weights = tmp_path / "run" / "weights"
    assert sorted(file.name for file in weights.iterdir()) == ["best.pt", "last.pt"]
    assert model_of(weights / "last.pt").names == {0: "red", 1: "green", 2: "blue"}


@pytest.mark.slow
def test_curves_are_saved(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    train_module(checkpoint("yolov8n"), blocks, epochs=1, output=tmp_path / "run", **{**training.QUICK, "plots": True})
    assert (tmp_path / "run" / "results.png").stat().st_size > 1000
    assert (tmp_path / "run" / "args.yaml").is_file()


def test_bad_labels(blocks: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (tmp_path / "images").symlink_to(blocks.parent / "images")
    (tmp_path / "labels" / "val").symlink_to(blocks.parent / "labels" / "val")
    (labels / "3.txt").write_text("0 0.5 0.5 0.2 0.2\n3 0.5 0.5 0.2 0.2\n")
    data = tmp_path / "data.yaml"
    data.write_text(blocks.read_text())
    with pytest.raises(LabelError, match=r"3.txt, line 2: class 3 is not one of the 3 classes"):
        train_module("yolo26n.yaml", data, epochs=1, imgsz=64, output=tmp_path / "run")
    (labels / "3.txt").write_text("0 0.5 0.5 1.2 0.2\n")
    with pytest.raises(LabelError, match=r"3.txt, line 1: coordinates must be"):
        train_module("yolo26n.yaml", data, epochs=1, imgsz=64, output=tmp_path / "run")


def test_images_that_cannot_be_read_are_left_out(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reported in the counts and by Ultralytics, which does not install anything to read them."""
    shutil.copytree(blocks.parent, tmp_path / "set")
    damaged = tmp_path / "set" / "images" / "train" / "3.png"
    damaged.write_bytes(b"no image")
    monkeypatch.setattr("ultralytics.utils.checks.check_requirements", lambda *_: pytest.fail("installs packages"))
    seen: list[int] = []

    class Looking(Trainer):
        def prepare_criterion(self) -> None:
            loader: Any = self.train_loader
            seen.append(len(loader.dataset.labels))
            raise InterruptedError

    with pytest.raises(InterruptedError), pytest.warns(UserWarning, match=r"skipped: .*3\.png cannot be read") as told:
        train(
            checkpoint("yolov8n"),
            tmp_path / "set" / "data.yaml",
            epochs=1,
            output=tmp_path / "run",
            trainer=Looking,
            **training.QUICK,
        )
    assert len([one for one in told if "skipped" in str(one.message)]) == 1
    assert seen == [11]
    for image in (tmp_path / "set" / "images" / "val").iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(LabelError, match=r"none of the 4 images of val can be trained on; the first: .*0\.png"):
        train_module("yolo26n.yaml", tmp_path / "set" / "data.yaml", epochs=1, imgsz=64, output=tmp_path / "run2")
    for image in damaged.parent.iterdir():
        image.write_bytes(b"no image")
    Image.new("RGB", (16, 16)).save(damaged.with_name("empty.png"))
    with pytest.warns(UserWarning), pytest.raises(LabelError, match="no image of train that has labels can be read"):
        class_report(tmp_path / "set" / "data.yaml", 64)
    assert not (tmp_path / "run2").exists()


@pytest.mark.slow
def test_an_image_that_opencv_does_not_read_is_named(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    """Pillow, which Ultralytics checks images with, reads it."""
    shutil.copytree(blocks.parent, tmp_path / "set")
    image = tmp_path / "set" / "images" / "train" / "3.png"
    Image.open(image).convert("F").save(image.with_suffix(".tif"))
    image.unlink()
    with pytest.raises(ImageError, match=r"3\.tif: OpenCV, with which Ultralytics trains, does not"):
        train_module(
            checkpoint("yolov8n"), tmp_path / "set" / "data.yaml", epochs=1, output=tmp_path / "run", **training.QUICK
        )


def test_a_label_file_with_boxes_and_polygons(blocks: Path, tmp_path: Path) -> None:
    """Ultralytics skips it and only logs that; `val` uses the box of each polygon."""
    shutil.copytree(blocks.parent, tmp_path / "set")
    (tmp_path / "set" / "labels" / "train" / "3.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.9 0.1 0.5 0.9\n")
    data = tmp_path / "set" / "data.yaml"
    with pytest.raises(LabelError, match=r"3\.txt contains boxes and polygons"):
        train_module("yolo26n.yaml", data, epochs=1, imgsz=64, output=tmp_path / "run")
    np.testing.assert_allclose(load_dataset(data, "train").samples[5].boxes[1], [0.1, 0.1, 0.9, 0.9])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": 99}, "freeze=99 freezes all 23 layers; nothing is left to train"),
        ({"classes": [0, 3]}, r"classes=\[0, 3\]: the data has the classes 0 to 2, not 3"),
        ({"classes": 7}, "classes=7: the data has the classes 0 to 2, not 7"),
    ],
)
def test_settings_that_leave_nothing(settings: dict[str, Any], message: str, blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        train_module("yolov8n.yaml", blocks, epochs=1, imgsz=64, output=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_labels_beside_the_images_are_trained_on(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks.parent / "images", tmp_path / "images")
    shutil.copytree(blocks.parent / "labels", tmp_path / "images", dirs_exist_ok=True)
    (tmp_path / "data.yaml").write_text(blocks.read_text())
    seen: list[int] = []

    class Looking(Trainer):
        def prepare_criterion(self) -> None:
            loader: Any = self.train_loader
            seen.append(sum(len(label["cls"]) for label in loader.dataset.labels))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_module(
            checkpoint("yolov8n"),
            tmp_path / "data.yaml",
            epochs=1,
            output=tmp_path / "run",
            trainer=Looking,
            **training.QUICK,
        )
    assert seen == [26]


def test_an_output_that_is_not_utf_8(blocks: Path, tmp_path: Path) -> None:
    """Ultralytics would fail on it with a codec error after reading the data."""
    run = tmp_path / os.fsdecode(b"run\xff")
    with pytest.raises(ValueError, match=r"output: Ultralytics takes no path that is not UTF-8: .*run\\udcff"):
        train_module("yolo26n.yaml", blocks, epochs=1, imgsz=64, output=run)
    assert not run.exists()


@pytest.mark.parametrize("imgsz", [0, -64, 1_000_000])
def test_impossible_training_sizes(imgsz: int, blocks: Path, tmp_path: Path) -> None:
    for run in (train_module, train):
        with pytest.raises(ValueError, match=f"imgsz is {imgsz}, expected 32 to 8192"):
            run("yolo26n.yaml", blocks, epochs=1, imgsz=imgsz, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_output_with_an_apostrophe(blocks: Path, tmp_path: Path) -> None:
    """Ultralytics removes it from the checkpoint's path, and then tries to download the file."""
    with pytest.raises(ValueError, match="Ultralytics does not support paths with an apostrophe"):
        train_module("yolo26n.yaml", blocks, epochs=1, imgsz=64, output=tmp_path / "bob's run")
    assert not (tmp_path / "bob's run").exists()


def test_images_that_are_too_small(blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(blocks.parent, tmp_path / "set")
    data = tmp_path / "set" / "data.yaml"
    images = sorted((tmp_path / "set" / "images" / "train").iterdir())
    Image.new("RGB", (1, 1)).save(images[0])
    with pytest.warns(UserWarning, match="skipped: .* has 1 x 1 pixels"):
        assert class_report(data, 64).total_images == 11
    for path in images:
        Image.new("RGB", (400, 3)).save(path)
    with pytest.raises(LabelError, match="none of the 12 images of train can be trained on; .* has 400 x 3 pixels"):
        train_module("yolo26n.yaml", data, epochs=1, imgsz=64, output=tmp_path / "run")


def test_images_that_are_black_to_ultralytics(blocks: Path, tmp_path: Path) -> None:
    """8-bit values in 16 bits: OpenCV keeps the upper bits."""
    import cv2

    shutil.copytree(blocks.parent, tmp_path / "set")
    for path in (tmp_path / "set" / "images" / "train").iterdir():
        cv2.imwrite(str(path), np.asarray(Image.open(path).convert("L")).astype(np.uint16))
    with pytest.raises(LabelError, match="none of the 12 images of train can be trained on; .*save it with 8 bits"):
        train_module("yolo26n.yaml", tmp_path / "set" / "data.yaml", epochs=1, imgsz=64, output=tmp_path / "run")


def test_gray_data(blocks: Path, tmp_path: Path) -> None:
    data = blocks.with_name("gray.yaml")
    data.write_text(f"{blocks.read_text()}channels: 1\n")
    with pytest.raises(LabelError, match="'channels' is 1, but training supports only images with 3 channels"):
        train_module("yolo26n.yaml", data, epochs=1, imgsz=64, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert len(load_dataset(data, "val").samples) == 4


def test_a_fused_model(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="fused for inference and cannot be trained"):
        train_module(
            model_of(checkpoint("yolo26n")).fuse(verbose=False), blocks, epochs=1, imgsz=64, output=tmp_path / "run"
        )
