"""The search: simple options first, nothing twice, failures are listed, and the best trial fits the budget."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yolort

pytest.importorskip("ultralytics")
pytest.importorskip("optuna")

import numpy as np
import onnx
import optuna
import training
from yolort.tools._processes import Jobs, jobs
from yolort.tools.evaluate.benchmark import Case
from yolort.tools.search import space
from yolort.tools.search.optimize import optimize
from yolort.tools.search.outcome import Budget, Optimized
from yolort.tools.search.pipeline import Pipeline
from yolort.tools.search.recipe import Recipe
from yolort.tools.train.trainer import train_module

module = importlib.import_module("yolort.tools.search.optimize")  # the module, not the function of its name

Checkpoints = Callable[[str], Path]


trained: list[Recipe] = []  # scored trials among the measured ones


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Replaces measurements: smaller inputs and OpenVINO are faster, and pruning at the cost of accuracy. Returns the
    tried recipes.
    """
    seen: list[Recipe] = []
    trained.clear()

    def measure(work: Any, recipe: Recipe) -> dict[str, Any]:
        if work is module.measure_time:
            seen.append(recipe)
        if recipe.engine == "ncnn":
            return {"failed": True, "note": "failed: no", "seconds": 1.0}
        ms = 20 * (recipe.imgsz / 64) ** 2 * (1 - recipe.prune) * (0.5 if recipe.engine == "openvino" else 1)
        accuracy = 50 - 4 * recipe.prune - (3 if recipe.precision == "int8" else 0)
        accuracy -= 10 * (1 - recipe.imgsz / 64) * (0.3 if recipe.teacher else 1)
        if work is module.measure_accuracy:
            trained.append(recipe)
            return {"accuracy": accuracy, "seconds": 1.0}
        return {"ms": ms, "size_mb": 6 * (1 - recipe.prune), "seconds": 1.0}

    monkeypatch.setattr(Jobs, "run", lambda _, work, given, __: [measure(work, one[3]) for one in given])
    monkeypatch.setattr(
        space,
        "able_engines",
        lambda: {"onnxruntime": ["fp32", "int8"], "openvino": ["fp32", "bf16"], "ncnn": ["fp32"]},
    )
    # Fake artifacts detect the same as the embedded model.
    monkeypatch.setattr(Pipeline, "case", lambda *_: Case(str(yolort.demo_model()), "onnxruntime"))
    return seen


def search(checkpoint: Checkpoints, blocks: Path, folder: Path, **options: Any) -> Optimized:
    given = {"imgsz": 64, "finetune": 2, "trials": 25, **options}
    budget = given.pop("budget", Budget(max_drop=2.0))
    return optimize(checkpoint("yolov8n"), blocks, budget, folder=folder, **given)


def test_the_search(checkpoint: Checkpoints, blocks: Path, tmp_path: Path, measured: list[Recipe]) -> None:
    done = search(checkpoint, blocks, tmp_path / "a", siblings=[checkpoint("yolo11n")])
    assert len(done.trials) == len(measured) == 25
    assert len({repr(one) for one in measured}) == 25  # nothing twice
    first = measured[0]
    assert (first.engine, first.precision, first.prune, first.imgsz) == ("onnxruntime", "fp32", 0, 64)
    assert done.reference.accuracy == 50
    plain = [one.recipe for one in done.trials if one.plain]
    assert {Path(one.model).stem for one in plain} == {"yolov8n", "yolo11n"}
    assert {one.imgsz for one in plain} == {64, 32}
    assert {f"{one.engine} {one.precision}" for one in plain} >= {"openvino bf16", "onnxruntime int8", "ncnn fp32"}
    others = {one.engine for one in plain if one.imgsz == 32 or Path(one.model).stem == "yolo11n"}
    assert others == {"onnxruntime", "openvino"}  # the reference's, and the fastest
    assert next(one.note for one in done.trials if one.recipe.engine == "ncnn") == "failed: no"
    best = done.best
    assert best is not None
    assert best.recipe.engine == "openvino"
    assert best.accuracy is not None and best.accuracy >= 48
    assert all(one.ms >= best.ms for one in done.trials if (one.accuracy or 0) >= 48)
    front = done.pareto_front
    assert [one.ms for one in front] == sorted(one.ms for one in front)
    assert [one.accuracy for one in front] == sorted(one.accuracy or 0 for one in front)
    for ending in (".md", ".json", ".html"):
        done.save(tmp_path / f"report{ending}")
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["best"] == best.number
    assert len(told["trials"]) == 25
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page and f"<pre>{done.commands()[0]}" in page
    shown = re.findall(r'src="data:image/jpeg;base64,[^"]+" alt="([^"]+)"', page)
    assert shown and shown[0::2] == shown[1::2]  # the same images, before and after
    assert 0 < page.index(f"Before: {done.reference.name}") < page.index(f"After: {best.name}")
    assert done.commands()[-1].startswith("yolort ")


@pytest.mark.usefixtures("measured")
@pytest.mark.slow
def test_only_candidates_that_can_win_are_trained(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    done = search(checkpoint, blocks, tmp_path / "a", budget=Budget(max_drop=10.0))  # met at 32 pixels, in 2.5 ms
    pruned = [one for one in done.trials if one.recipe.finetune and not one.note.startswith("failed")]
    assert {one.note.partition(":")[0] for one in pruned if one.ms >= 2.5} == {"not trained"}
    assert any(one.note == "not trained: slower than another one within the budget" for one in pruned)
    assert {one.recipe.prune for one in done.trials if one.recipe in trained and one.ms >= 2.5} == {0}


@pytest.mark.slow
def test_candidates_that_lose_too_much_are_distilled(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, measured: list[Recipe]
) -> None:
    budget = Budget(max_drop=3.5)  # 32 pixels lose 5 points, or 1.5 if distilled
    done = search(checkpoint, blocks, tmp_path / "a", trials=40, budget=budget)
    distilled = [one for one in measured if one.teacher]
    first = distilled[0]
    assert first.imgsz == 32 and first.epochs == 2 and not first.prune
    assert isinstance(first.teacher, Recipe) and first.teacher == done.reference.recipe
    plain = measured[: measured.index(first)]
    assert {one.imgsz for one in plain} == {64, 32} and all(not one.prune for one in plain)
    best = done.best
    assert best is not None and best.recipe.imgsz == 32
    assert any(
        one.recipe == first and one.accuracy == 48.5 and done.budget.met(one, done.reference) for one in done.trials
    )
    assert next(one.name for one in done.trials if one.recipe == first).endswith("distilled")


@pytest.mark.slow
def test_which_candidates_are_pruned_first(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, measured: list[Recipe]
) -> None:
    def first(name: str, budget: Budget) -> list[tuple[str, float]]:
        measured.clear()
        search(checkpoint, blocks, tmp_path / name, budget=budget, trials=40, siblings=[checkpoint("yolo11n")])
        start = next(at for at, one in enumerate(measured) if one.prune)
        return [(f"{one.imgsz} {one.engine} {one.precision}", one.prune) for one in measured[start : start + 3]]

    ratios = (0.1, 0.2, 0.3)
    # Prunes the fastest of those that are accurate enough; with a latency target, one that is too slow.
    assert first("drop", Budget(max_drop=2.0)) == [("64 openvino fp32", ratio) for ratio in ratios]
    assert first("all", Budget(max_drop=6.0)) == [("32 openvino fp32", ratio) for ratio in ratios]
    assert first("ms", Budget(max_latency=5.0)) == [("64 openvino fp32", ratio) for ratio in ratios]


@pytest.mark.usefixtures("measured")
@pytest.mark.slow
def test_candidates_that_cannot_recover_are_not_trained(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    done = search(checkpoint, blocks, tmp_path / "a", trials=40, budget=Budget(max_drop=2.0))
    assert {
        one.note for one in done.trials if one.recipe.imgsz == 32 and not one.plain and "failed" not in one.note
    } == {"not trained: already loses too much before training"}
    assert not [one for one in trained if one.imgsz == 32 and (one.teacher or one.finetune)]


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("kind", ["text", "database", "same name", "link", "folder", "pipe"])
def test_a_foreign_record_is_left_alone(kind: str, checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    import os
    import sqlite3

    folder = tmp_path / "runs"
    folder.mkdir()
    file = folder / "study.db"
    if kind == "text":
        file.write_text("my study of databases, which I would like to keep\n" * 20)
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "link":
        search(checkpoint, blocks, tmp_path / "other", trials=1)
        file.symlink_to(tmp_path / "other" / "study.db")
    else:
        with sqlite3.connect(file) as opened:
            opened.execute(f"create table {'notes' if kind == 'database' else 'studies'} (text)")
        opened.close()
    before = file.read_bytes() if file.is_file() else b""
    says = (
        r"study\.db is not the record of a search" if kind != "same name" else r"study\.db cannot be used: .*; move it"
    )
    with pytest.raises(OSError, match=says) as caught:
        search(checkpoint, blocks, folder, trials=1)
    assert "\n" not in str(caught.value)
    if kind != "same name":
        assert (file.read_bytes() if file.is_file() else b"") == before


def test_it_goes_on(checkpoint: Checkpoints, blocks: Path, tmp_path: Path, measured: list[Recipe]) -> None:
    search(checkpoint, blocks, tmp_path / "a", trials=5)
    (name,) = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'a' / 'study.db'}")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path / 'a' / 'study.db'}")
    study.ask(study.get_trials()[0].distributions)  # as left by a killed process
    done = search(checkpoint, blocks, tmp_path / "a", trials=9)
    assert len(measured) == 9
    assert len({repr(one) for one in measured}) == 9
    assert len(done.trials) == 9
    assert search(checkpoint, blocks, tmp_path / "a", trials=9).best == done.best
    assert len(search(checkpoint, blocks, tmp_path / "a", trials=3).trials) == 9
    assert len(measured) == 9
    other = search(checkpoint, blocks, tmp_path / "a", trials=2, finetune=3)  # another search in the same folder
    assert len(other.trials) == 2


@pytest.mark.usefixtures("measured")
def test_the_reference_is_first_after_a_run_that_ended_in_it(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Jobs, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            search(checkpoint, blocks, tmp_path / "a")
    done = search(checkpoint, blocks, tmp_path / "a", trials=4)
    assert done.reference.name == "yolov8n 64 onnxruntime fp32"
    assert len(done.trials) == 4


@pytest.mark.usefixtures("measured")
@pytest.mark.slow
def test_a_space_that_is_small_has_an_end(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    done = search(checkpoint, blocks, tmp_path / "a", engines=["onnxruntime"], finetune=0, trials=100)
    assert len(done.trials) == 4  # two inputs, two precisions


@pytest.mark.usefixtures("measured")
def test_an_interrupted_search_reports_the_finished_trials(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path
) -> None:
    def stop(text: str) -> None:
        if text.startswith("trial 2:"):
            raise SystemExit(143)

    with pytest.raises(SystemExit) as stopped:
        search(checkpoint, blocks, tmp_path / "a", progress=stop)
    found = stopped.value.outcome  # type: ignore[attr-defined]
    assert len(found.trials) >= 3
    assert found.to_markdown()


@pytest.mark.slow
def test_the_commands_make_the_artifact(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    quick = {key: value for key, value in training.QUICK.items() if key != "imgsz"}
    how = {"epochs": 1, "prune": 0.25, "method": "taylor", "finetune": 1}
    recipe = Recipe(model=str(checkpoint("yolov8n")), imgsz=64, train=quick, **how)  # type: ignore[arg-type]
    for command in recipe.commands(str(blocks), 0):
        parts = [sys.executable, "-m", "yolort", *shlex.split(command)[1:]]
        done = subprocess.run(parts, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    pipeline = Pipeline(tmp_path / "lab", blocks)
    ours, theirs = (
        [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
        for path in (tmp_path / "model.onnx", pipeline.make(recipe.artifact(0)))
    )
    assert ours and all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))
    assert f"{100 * pipeline.accuracy(recipe, 0).value:.2f}" in done.stdout


def test_arguments(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    model = checkpoint("yolov8n")
    with pytest.raises(ValueError, match="give at least one of max_latency"):
        Budget()
    with pytest.raises(ValueError, match="max_latency must be above 0"):
        Budget(max_latency=-1)
    options: dict[str, Any]
    for options, text in (
        ({}, "set hours or trials"),
        ({"trials": 0}, "trials must be above 0"),
        ({"trials": 1, "engines": ["warp"]}, "engines are"),
    ):
        with pytest.raises(ValueError, match=text):
            optimize(model, blocks, Budget(max_drop=1), folder=tmp_path, **options)
    if not next(one for one in yolort.engines() if one.name == "tensorrt").available:
        with pytest.raises(yolort.EngineError, match="'tensorrt' is not available"):
            optimize(model, blocks, Budget(max_drop=1), folder=tmp_path, trials=1, engines=["tensorrt"])


@pytest.mark.slow
def test_the_whole_way(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    """Really measured, in child processes."""
    quick = {key: value for key, value in training.QUICK.items() if key != "imgsz"}
    done = optimize(
        checkpoint("yolov8n"),
        blocks,
        Budget(max_drop=100.0),
        folder=tmp_path / "a",
        engines=["onnxruntime"],
        imgsz=64,
        epochs=1,
        finetune=0,
        trials=3,
        **quick,
    )
    assert [one.note for one in done.trials] == ["", "", ""]
    assert all(one.ms > 0 and one.size_mb > 0 and one.accuracy is not None for one in done.trials)
    assert done.artifact is not None and done.artifact.exists()


@pytest.mark.slow
def test_two_ray_workers_give_the_results_of_one_process(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ValueError, match="workers are those of a Ray cluster"), jobs(workers=2):
        pass
    quick = {key: value for key, value in training.QUICK.items() if key != "imgsz"}
    model = train_module(checkpoint("yolov8n"), blocks, epochs=1, imgsz=64, output=tmp_path / "run", **quick)
    fronts = []
    for name, how in (("one", {}), ("two", {"ray": "local", "ray_workers": 2})):
        done = optimize(
            model,
            blocks,
            Budget(max_drop=100.0),
            folder=tmp_path / name,
            engines=["onnxruntime"],
            imgsz=64,
            finetune=0,
            trials=4,
            **how,  # type: ignore[arg-type]
        )
        assert [one.note for one in done.trials] == ["", "", "", ""]
        fronts.append({one.name: one.accuracy for one in done.trials})
    assert fronts[0] == fronts[1]
