"""Ultralytics' settings: those that it would ignore or fail on later are refused before anything is read or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics")

from ultralytics.cfg import DEFAULT_CFG_PATH
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import DetectionModel
from yolort.cli._options import train_settings
from yolort.tools.prune.prune import prune
from yolort.tools.search.recipe import Recipe
from yolort.tools.train.distill import distill
from yolort.tools.train.settings import OPTIMIZERS, check_settings
from yolort.tools.train.train import train
from yolort.tools.train.trainer import train_module


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.1}, "Ultralytics' train has no argument 'learning_rate'"),
        ({"lr": 3}, r"has no argument 'lr'; did you mean .*lr0"),
        ({"mosaik": 0.1}, "has no argument 'mosaik'; did you mean mosaic"),
        ({"project": "x"}, "project is not available in this trainer; use output"),
        ({"model": "x.pt"}, "model is not available in this trainer; use model"),
        ({"data": "x.yaml"}, "data is not available in this trainer; use the argument data"),
        ({"resume": True}, "resume is not available in this trainer; use the argument resume"),
        ({"split": "test"}, "use the split val, which is always evaluated"),
        ({"distill_model": "x.pt"}, r"use the teacher to distill\(\)"),
        ({"optimizer": "Foo"}, "optimizer must be one of Adam, .* not 'Foo'"),
        ({"batch": 0}, "batch must be images of one step"),
        ({"batch": 1.5}, "batch must be images of one step"),
        ({"lr0": "fast"}, "'lr0=fast' is of invalid type str"),
        ({"mosaic": 3}, "'mosaic=3' is an invalid value"),
        ({"multi_scale": True}, "multi_scale=True: expected a number; it is a share of imgsz, such as 0.5"),
        ({"lr0": True}, "lr0=True: expected a number"),
        ({"box": -1}, "box=-1: the gain of a loss is 0 or more"),
        ({"cache": "maybe"}, "cache=maybe: expected True, False, ram or disk"),
        ({"freeze": "abc"}, "freeze=abc: expected how many layers"),
        ({"freeze": [0, "1"]}, r"freeze=\[0, '1'\]: expected how many layers"),
        ({"freeze": -1}, "freeze=-1: expected"),
        ({"box": float("nan")}, "box=nan: expected a finite number"),
        ({"warmup_epochs": float("inf")}, "warmup_epochs=inf: expected a finite number"),
        ({"device": "0,1"}, "a given module is trained on one device"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_settings(settings)


def test_a_device_that_is_not_here() -> None:
    with pytest.raises(ValueError, match="device=63"):
        check_settings({"device": 63})
    assert check_settings({"device": 63}, here=False) == {"device": 63}


def test_settings_of_a_file(tmp_path: Path) -> None:
    """They are used, explicit settings override them, and defaults in the file are ignored."""
    file = tmp_path / "hyp.yaml"
    file.write_text(
        DEFAULT_CFG_PATH.read_text().replace("lr0: 0.01", "lr0: 0.002").replace("mosaic: 1.0", "mosaic: 0.5")
    )
    assert check_settings({"cfg": file}) == {"lr0": 0.002, "mosaic": 0.5}
    assert check_settings({"cfg": str(file), "lr0": 0.01, "box": 3.0}) == {"lr0": 0.01, "mosaic": 0.5, "box": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 5", "hyp.yaml: epochs is not available in this trainer; use the argument epochs"),
        ("batch: 8", "hyp.yaml: batch=8 is a separate argument of this function; use batch"),
        ("lr: 3", "hyp.yaml: Ultralytics' train has no argument 'lr'"),
        ("lr0: fast", "'lr0=fast' is of invalid type"),
        ("cfg: other.yaml", "no argument 'cfg'"),
        ("- lr0", "hyp.yaml has no settings"),
        ("1: 2", "hyp.yaml has no settings"),
        ("lr0: [", "hyp.yaml is not valid YAML"),
    ],
)
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "hyp.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        train_settings([f"cfg={tmp_path / 'hyp.yaml'}"], batch=16)
    with pytest.raises(FileNotFoundError, match="cfg: no such file"):
        check_settings({"cfg": tmp_path / "none.yaml"})


def test_settings_are_checked_before_the_data(tmp_path: Path) -> None:
    """For every command that trains; the dataset does not even exist."""
    wrong: dict[str, Any] = {"optimizer": "Foo"}
    run = tmp_path / "run"
    for start in (train, train_module):
        with pytest.raises(ValueError, match="optimizer must be"):
            start("yolo26n.yaml", tmp_path / "data.yaml", epochs=1, imgsz=64, output=run, **wrong)
    with pytest.raises(ValueError, match="optimizer must be"):
        distill("yolo26n.yaml", "yolo26n.yaml", tmp_path / "data.yaml", epochs=1, imgsz=64, output=run, **wrong)
    with pytest.raises(ValueError, match="optimizer must be"):
        Recipe(model="yolo26n.pt", train=wrong)
    with pytest.raises(ValueError, match="optimizer must be"):
        prune("none.pt", ratio=0.2, data=tmp_path / "data.yaml", finetune=1, **wrong)
    for options, message in (
        ({"class_weights": "mean"}, "class weights must be median"),
        ({"class_weights": "median", "clip": (2, 3)}, "clip must be"),
        ({"clip": (5, 1)}, "clip must be"),  # also without weighting
        ({"class_weights": "median", "single_cls": True}, "single_cls leaves one class"),
        ({"sampling": "balanced", "single_cls": True}, "single_cls leaves one class"),
        ({"gamma": -1}, "gamma must be"),
    ):
        with pytest.raises(ValueError, match=message):
            train("yolo26n.yaml", tmp_path / "data.yaml", epochs=1, imgsz=64, output=run, **options)
    with pytest.raises(FileNotFoundError, match=r"no such model file: .*none\.pt"):
        train(tmp_path / "none.pt", tmp_path / "data.yaml", epochs=1, imgsz=64, output=run)
    assert not run.exists()


def test_the_optimizers_are_those_of_ultralytics() -> None:
    trainer: Any = BaseTrainer.__new__(BaseTrainer)
    with pytest.raises(NotImplementedError) as caught:
        trainer.build_optimizer(DetectionModel("yolo26n.yaml", verbose=False), "Foo")
    listed = str(caught.value).partition("{")[2].partition("}")[0]
    assert {name.strip(" '") for name in listed.split(",")} == set(OPTIMIZERS)
