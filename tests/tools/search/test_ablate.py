"""Ablation: reading studies, correct figures, and no repeated stages."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("ultralytics")

import training
from yolort.tools.evaluate.benchmark import Case, Row
from yolort.tools.search import pipeline as pipelines
from yolort.tools.search.ablate import Ablation, Variant, ablate
from yolort.tools.search.pipeline import Accuracy, Pipeline
from yolort.tools.search.recipe import Recipe
from yolort.tools.search.stages import Calibrate, Export, Train, Validate
from yolort.tools.search.study import Study, StudyError, read_study

QUICK = {key: value for key, value in training.QUICK.items() if key != "imgsz"}


def write_study(folder: Path, **said: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump(
            {"model": "m.pt", "data": "d.yaml", "steps": {"tta": {"augment": True}}, **said}, sort_keys=False
        )
    )
    return path


def test_a_study_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.pt").touch()
    steps = {"distil": {"teacher": "m.pt"}, "prune": {"prune": 0.2, "finetune": 2}, "int8": {"precision": "int8"}}
    study = read_study(
        write_study(
            tmp_path,
            imgsz=320,
            engine="openvino",
            train={"lr0": 0.1},
            baseline={"epochs": 3, "train": {"batch": 4}},
            steps=steps,
            seeds=[3, 4],
            sets=["each", "leave-one-out", ["int8", "distil"]],
        )
    )
    assert study.seeds == (3, 4)
    assert study.baseline.model == str(tmp_path / "m.pt")
    assert (study.baseline.imgsz, study.baseline.epochs) == (320, 3)
    assert study.baseline.train == {"lr0": 0.1, "batch": 4}
    assert study.sets == (
        *(("distil",), ("prune",), ("int8",)),
        ("distil", "prune", "int8"),
        ("distil", "int8"),
    )
    assert study.left_out == ("distil", "prune", "int8")
    assert study.without("prune") == ("distil", "int8")
    both = study.recipe(("int8", "prune"))
    assert (both.prune, both.finetune, both.precision, both.teacher) == (0.2, 2, "int8", None)
    assert both.to_dict()["engine"] == "openvino"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"colour": 1}, "unknown keys: colour; known are augment"),
        ({"steps": {}}, "steps must map"),
        ({"steps": {"x": 1}}, "step x must be a mapping"),
        ({"steps": {"x": {"colour": 1}}}, "unknown key 'colour' in a recipe"),
        ({"steps": {"x": {"precision": "int3"}}}, "precision must be one of"),
        ({"steps": {"x": {"prune": 1.5}}}, "prune must be a share"),
        ({"steps": {"x": {"teacher": "t.pt"}}}, "set epochs"),
        ({"seeds": []}, "seeds must be"),
        ({"seeds": ["a"]}, "seeds must be"),
        ({"sets": ["some"]}, "sets are each, all, leave-one-out"),
        ({"sets": [["nothing"]]}, "sets are"),
        ({"sets": ["leave-one-out"]}, "at least two"),
        ({"steps": {"x": {"class_weights": "median"}}}, "applies only to training; set epochs"),
        ({"steps": {"x": {"epochs": 1, "gamma": -1.0}}}, "gamma must be 0 or more"),
        ({"steps": {"x": {"calibration": "best"}}}, "calibration must be one of"),
        (
            {"steps": {"x": {"augment_scales": [320, 640], "engine": "ncnn"}}},
            "dynamic model, which ncnn does not support",
        ),
        ({"model": "m.yaml"}, "no weights yet"),
    ],
)
def test_studies_that_are_wrong(tmp_path: Path, said: dict[str, Any], text: str) -> None:
    with pytest.raises(StudyError, match=text):
        read_study(write_study(tmp_path, **said))


def test_files_that_are_not_studies(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such study"):
        read_study(tmp_path / "none.yaml")
    for text, message in (
        ("a: [", "not valid YAML"),
        ("7", "no keys"),
        ("{model: a}", "lacks data, steps"),
        ("#" * (2 << 20), "1 MiB"),
    ):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(StudyError, match=message):
            read_study(tmp_path / "s.yaml")


def made_up(values: dict[str, list[float]], noise: float = 0.0) -> Ablation:
    """An ablation whose variants have this mAP50-95 per seed; the draws' sampling noise is the same for all."""
    luck = np.random.default_rng(0).normal(0, 0.05, 1000)
    own = np.random.default_rng(1)
    variants = []
    for name, maps in values.items():
        steps = () if name == "baseline" else tuple(name.split(" + "))
        seeds = [
            Accuracy(value, value + 0.2, value + luck + own.normal(0, noise, 1000), value + luck) for value in maps
        ]
        row = Row(Case(f"{name}.onnx", "onnxruntime"), facts={"parameters": 2_000_000}, size_mb=4.0)
        ms = 10.0 if name == "baseline" else 5.0
        for turn in range(20):
            row.add([[ms, 1, ms - 2, 1]] * 5, turn)
        variants.append(Variant(steps, Recipe(model="m.pt"), seeds, row))
    study = Study(Path("d.yaml"), (0, 1), Recipe(model="m.pt"), {}, ())
    return Ablation(study, variants, {"processor": "<b>"})


def test_differences_are_paired() -> None:
    done = made_up({"baseline": [0.50, 0.52], "a": [0.53, 0.55], "b": [0.50, 0.52]})
    a, b = (done.difference(one) for one in done.variants[1:])
    assert a is not None and b is not None
    assert a.mean == pytest.approx(3)
    assert a.high - a.low < 0.01  # the images' sampling noise, 5 points, is common to both
    assert a.certain
    assert b.mean == pytest.approx(0)
    assert not b.certain
    noisy = made_up({"baseline": [0.50, 0.52], "a": [0.53, 0.55]}, noise=0.03).difference
    assert noisy(made_up({"baseline": [0.5], "a": [0.5]}).variants[0]) is not None


def test_seeds_that_disagree_widen_the_interval() -> None:
    close = made_up({"baseline": [0.50, 0.50], "a": [0.53, 0.53]})
    apart = made_up({"baseline": [0.50, 0.50], "a": [0.50, 0.56]})
    widths = []
    for done in (close, apart):
        found = done.difference(done.variants[1])
        assert found is not None
        assert found.mean == pytest.approx(3)
        widths.append(found.high - found.low)
    assert widths[1] > 100 * widths[0]
    assert widths[1] == pytest.approx(2 * 1.96 * 100 * 0.06 / np.sqrt(8), rel=0.1)  # for the mean of two draws of two


def test_interactions_and_reports(tmp_path: Path) -> None:
    done = made_up({"baseline": [0.5], "a": [0.52], "b": [0.47], "a + b": [0.51]})
    together = done.interaction(done.variants[3])
    assert together is not None
    assert together.mean == pytest.approx(2)  # +1 together; +2 and -3 alone
    assert done.interaction(done.variants[1]) is None
    assert done.findings() == [
        "a gains 2.00 mAP50-95 and is 2.00x as fast.",
        "b costs 3.00 mAP50-95 and is 2.00x as fast.",
        "a + b gains 1.00 mAP50-95 and is 2.00x as fast; its steps together give +2.00 beyond their sum.",
    ]
    for ending in (".md", ".csv", ".json", ".html"):
        done.save(tmp_path / f"report{ending}")
    assert "| a + b | baseline | 51.00 | 71.00 | +1.00" in (tmp_path / "report.md").read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert [row["variant"] for row in rows] == ["baseline", "a", "b", "a + b"]
    assert float(rows[3]["interaction"]) == pytest.approx(2)
    assert json.loads((tmp_path / "report.json").read_text())["rows"][1]["speedup"] == 2
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 4  # two charts, for wide and for narrow screens
    assert "<b>" not in page


def test_leave_one_out_is_compared_with_all_steps() -> None:
    """ "all - a" measures the effect of a on top of the others, not compared with the baseline."""
    done = made_up({"baseline": [0.5, 0.5], "a": [0.52, 0.52], "a + b": [0.6, 0.6], "b": [0.57, 0.57]})
    done.study.steps.update(a={}, b={})
    done.variants[3].left_out = "a"
    lacking = done.variants[3]
    assert lacking.name == "all - a"
    found = done.difference(lacking)
    assert found is not None and found.mean == pytest.approx(-3)
    assert done.interaction(lacking) is None
    assert done.interaction(done.variants[2]) is None  # b alone was not measured
    rows = done.rows()
    assert [row["compared_with"] for row in rows] == [None, "baseline", "baseline", "all"]
    assert done.findings()[2] == (
        "all - a costs 3.00 mAP50-95 and takes the same time, within the noise, against all: the effect of a on top "
        "of the others."
    )
    assert done.table()[1][3][:2] == ["all - a", "all"]


def test_one_seed_is_warned_of() -> None:
    done = made_up({"baseline": [0.5], "a": [0.52]})
    assert done.doubts() == []  # nothing is trained
    done.variants[1].recipe = Recipe(model="m.pt", epochs=1)
    assert done.doubts() == []  # two seeds
    done.study = replace(done.study, seeds=(0,))
    assert done.findings()[0].startswith("One seed:")


def test_a_variant_that_failed() -> None:
    done = made_up({"baseline": [0.5], "a": [0.52], "b": [0.47], "a + b": [0.51]})
    done.variants[1].error, done.variants[1].accuracy = "out of memory", []
    assert done.difference(done.variants[1]) is None
    assert done.interaction(done.variants[3]) is None
    assert done.findings()[0] == "a: no figures (out of memory)"
    assert done.table()[1][1][2] == "-"
    assert "<svg" in done.to_html()


@pytest.mark.slow
def test_the_whole_way(
    checkpoint: Callable[[str], Path], blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains, prunes, exports and measures; after an interruption it resumes and repeats nothing."""
    study = Study(
        blocks,
        (0,),
        Recipe(model=str(checkpoint("yolov8n")), imgsz=64, epochs=1, train=QUICK),
        {"prune": {"prune": 0.5}, "int8": {"precision": "int8"}, "bad": {"model": str(tmp_path / "none.pt")}},
        (("prune",), ("int8",), ("prune", "int8"), ("bad",)),
    )
    calls: list[str] = []

    def counted(owner: Any, name: str, what: str, interrupt: int = 0) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            calls.append(what)
            if interrupt and calls.count(what) == interrupt:
                raise KeyboardInterrupt
            return real(*args, **options)

        monkeypatch.setattr(owner, name, call)

    counted(pipelines, "benchmark", "latency")
    for stage, interrupt in ((Export, 0), (Calibrate, 0), (Validate, 3)):
        counted(stage, "run", stage.name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        ablate(study, tmp_path / "store", runs=5)
    assert calls.count("accuracy") == 3
    before = {path.name for path in (tmp_path / "store").glob("[!.]*")}
    done = ablate(study, tmp_path / "store", runs=5)
    assert calls.count("accuracy") == 5  # four variants, and the one that was interrupted
    assert calls.count("calibrate") == 2
    assert calls.count("export") == 2  # the float model is also used for calibration
    assert before < {path.name for path in (tmp_path / "store").glob("[!.]*")}
    assert len(list((tmp_path / "store").glob("train-*"))) == 1
    assert [one.name for one in done.variants] == ["baseline", "prune", "int8", "prune + int8", "bad"]
    assert "none.pt" in done.variants[4].error
    parameters = [one.row.facts["parameters"] for one in done.variants if one.row]
    assert parameters[1] < 0.5 * parameters[0]
    calls.clear()
    again = ablate(study, tmp_path / "store", runs=5)
    assert calls == []
    assert again.rows() == done.rows()
    if importlib.util.find_spec("ray"):  # its processes do not have this test's patches
        accuracy = next((tmp_path / "store").glob("accuracy-*"))
        shutil.rmtree(accuracy)
        on_ray = ablate(study, tmp_path / "store", runs=5, ray="local", ray_workers=2)
        assert accuracy.is_dir() and "accuracy" not in calls
        assert [row["accuracy"] for row in on_ray.rows()] == [row["accuracy"] for row in done.rows()]
        assert "none.pt" in on_ray.variants[4].error


@pytest.mark.slow
def test_a_training_that_is_interrupted(
    checkpoint: Callable[[str], Path], blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the last epoch and after it, the stage still completes."""
    from yolort.tools.train import trainer as module

    training = Recipe(model=str(checkpoint("yolov8n")), imgsz=64, epochs=2, train=QUICK).checkpoint(0)
    assert isinstance(training, Train)
    real = module.Trainer.save_model

    for after in (1, 2):
        saved = 0

        def save(self: Any, after: int = after) -> bool:
            nonlocal saved
            saved += 1
            done = real(self)
            if saved == after:
                raise KeyboardInterrupt
            return done

        pipeline = Pipeline(tmp_path / str(after), blocks)
        with monkeypatch.context() as patched:
            patched.setattr(module.Trainer, "save_model", save)
            with pytest.raises(KeyboardInterrupt):
                pipeline.make(training)
        assert not list((tmp_path / str(after)).glob("train-*"))
        assert pipeline.make(training).is_file()


def test_command(tmp_path: Path) -> None:
    wrong = write_study(tmp_path, sets=["some"])
    command = [sys.executable, "-m", "yolort", "ablate", str(wrong)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert "sets are each, all, leave-one-out" in done.stderr
    assert "Traceback" not in done.stderr
