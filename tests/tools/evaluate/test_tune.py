"""`yolort tune`: its record, and that `Detector` uses it, in this process and in others."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from yolort import _atomic, _core

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools import _system
from yolort.tools.evaluate.benchmark import Case, Row
from yolort.tools.evaluate.tune import BusyError, Tuning, accurate, cost, tune
from yolort.tools.export.pipeline import export

tuning = importlib.import_module("yolort.tools.evaluate.tune")  # the module, not the function of its name


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(yolort.demo_model("onnx"), tmp_path))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("YOLORT_CACHE", str(folder))
    monkeypatch.delenv("YOLORT_ENGINE", raising=False)
    return folder


def record(model: Path, **changes: Any) -> Path:
    """A record as `tune` writes it, with settings that differ from the default: OpenVINO with one thread."""
    path = Path(_core.tuning_paths(str(model))[0])
    read = {
        "writer": _atomic.MARK,
        "format": 1,
        "machine": _core.machine(),
        "bytes": _core.model_bytes(str(model)),
        "engine": "openvino",
        "device": "",
        "precision": "fp32",
        "threads": 1,
        "use": "",
        **changes,
    }
    path.write_text(json.dumps(read))
    return path


@pytest.mark.slow
def test_the_fastest_is_recorded_and_runs(model: Path) -> None:
    done = tune(model, precisions=["fp32"], seconds=2, under_load=True)
    assert done.best.p50 == min(row.p50 for row in done.rows)
    assert {row.case.engine for row in done.rows} >= {"onnxruntime"}
    assert done.path == model.with_name("scenes.onnx.tuned.json")
    detector = yolort.Detector(model)
    assert detector.tuned
    assert (detector.engine, detector.precision) == (done.best.case.engine, done.best.facts["precision"])
    read = json.loads(done.path.read_text())
    assert len(read["table"]) == len(done.rows)
    assert read["p50_ms"] == pytest.approx(done.best.p50, abs=1e-3)
    assert sorted(path.name for path in model.parent.iterdir()) == ["scenes.onnx", "scenes.onnx.tuned.json"]


def test_those_as_fast_as_the_fastest_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [Row(Case(f"{name}.onnx", "ncnn")) for name in "abc"]
    for turn in range(6):
        for row, ms in zip(rows, (4.70, 4.76, 9.0), strict=True):
            row.add([[ms + rng.normal(0, 0.2), 0, ms, 0] for _ in range(5)], turn)
    assert [row.case.model for row in Tuning(rows, rows[0], tmp_path).equals] == ["b.onnx"]


@pytest.mark.slow
def test_a_file_of_another_precision(checkpoint: Any, tmp_path: Path) -> None:
    model = export(checkpoint("yolov8n"), imgsz=64, precision="fp16", output=tmp_path / "m.onnx")
    tune(model, engines=["onnxruntime"], seconds=1, under_load=True)
    detector = yolort.Detector(model)
    assert (detector.engine, detector.precision, detector.tuned) == ("onnxruntime", "fp16", True)


def test_explicit_options_override_the_record(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    record(model)
    detector = yolort.Detector(model)
    assert (detector.engine, detector.tuned) == ("openvino", True)
    assert detector.clone().tuned
    for options in ({"tuned": False}, {"threads": 2}, {"precision": "fp32"}, {"device": "cpu"}):
        assert not yolort.Detector(model, **options).tuned
    detector = yolort.Detector(model, engine="onnxruntime")
    assert (detector.engine, detector.tuned) == ("onnxruntime", False)
    monkeypatch.setenv("YOLORT_ENGINE", "onnxruntime")
    assert not yolort.Detector(model).tuned


def test_a_record_of_something_else_is_ignored(model: Path) -> None:
    for changes in ({"machine": "another"}, {"bytes": 1}, {"format": 2}, {"engine": "warp"}, {"use": "gone.onnx"}):
        record(model, **changes)
        assert not yolort.Detector(model).tuned
    path = record(model)
    path.write_text("{")
    with pytest.raises(yolort.ModelError, match="run yolort tune again"):
        yolort.Detector(model)
    assert not yolort.Detector(model, engine="onnxruntime").tuned


@pytest.mark.slow
def test_a_neighbour_runs_in_the_place_of_the_model(checkpoint: Any, tmp_path: Path) -> None:
    pytest.importorskip("pnnx")
    onnx = export(checkpoint("yolo26n"), imgsz=64, output=tmp_path / "m.onnx")
    ncnn = export(checkpoint("yolo26n"), format="ncnn", imgsz=64, output=tmp_path / "m_ncnn_model")
    other = export(checkpoint("yolo11n"), format="ncnn", imgsz=64, output=tmp_path / "o_ncnn_model")
    record(onnx, engine="ncnn", use=ncnn.name)
    detector = yolort.Detector(onnx)
    assert (detector.engine, detector.tuned) == ("ncnn", True)
    assert not yolort.Detector(onnx, imgsz=64).tuned
    record(onnx, engine="ncnn", use=other.name)  # of another checkpoint
    assert not yolort.Detector(onnx).tuned
    done = tune(onnx, [ncnn], engines=["ncnn"], precisions=["fp32"], seconds=1, under_load=True)
    assert json.loads(done.path.read_text())["use"] == ncnn.name
    assert yolort.Detector(onnx).engine == "ncnn"
    with pytest.raises(ValueError, match="not the same model"):
        tune(onnx, [other], seconds=1, under_load=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(ValueError, match="is not in the folder of"):
        tune(onnx, [shutil.copytree(ncnn, elsewhere / ncnn.name)], seconds=1, under_load=True)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = _atomic.check

    def refuse(path: Path, **options: Any) -> None:
        if path.parent == model.parent:
            raise PermissionError(13, "Permission denied")
        check(path, **options)

    monkeypatch.setattr(_atomic, "check", refuse)
    done = tune(model, engines=["onnxruntime"], seconds=1, under_load=True)
    assert done.path.is_relative_to(cache)
    assert yolort.Detector(model).tuned


def test_nothing_to_tune(model: Path, checkpoint: Any) -> None:
    with pytest.raises(ValueError, match="export the checkpoint first"):
        tune(checkpoint("yolov8n"))
    with pytest.raises(ValueError, match="seconds is 0"):
        tune(model, seconds=0)
    with pytest.raises(FileNotFoundError):
        tune(model.with_name("none.onnx"))
    bad = model.with_name("bad.onnx")
    bad.write_bytes(model.read_bytes()[:5000])
    with pytest.raises((yolort.EngineError, yolort.ModelError)):
        tune(bad, seconds=1, under_load=True)
    assert not list(model.parent.glob("*.json"))


@pytest.mark.slow
def test_command(model: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "yolort",
        "tune",
        str(model),
        "--precision",
        "fp32",
        "--seconds",
        "1",
        "--under-load",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "fastest: scenes.onnx" in done.stdout
    assert (model.parent / "scenes.onnx.tuned.json").is_file()


@pytest.mark.slow
def test_the_slow_get_less_time(model: Path) -> None:
    done = tune(model, engines=["onnxruntime"], image=np.zeros((40, 40, 3), np.uint8), seconds=3, under_load=True)
    assert all(len(row.samples) >= 12 for row in done.rows)


@pytest.mark.slow
def test_nothing_is_recorded_under_load(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits, says so, and refuses; processes that start meanwhile count, too."""
    said: list[str] = []
    monkeypatch.setattr(tuning, "_PATIENCE", 0.0)
    monkeypatch.setattr(_system.Load, "others", lambda _: 1.7 * _system.cores() / 2)
    with pytest.raises(BusyError, match=r"other processes take .* nothing is recorded; .*--under-load"):
        tune(model, engines=["onnxruntime"], seconds=1, say=said.append)
    found = iter([0.0, 1.7 * _system.cores()])  # quiet at first
    monkeypatch.setattr(_system.Load, "others", lambda _: next(found))
    with pytest.raises(BusyError):
        tune(model, engines=["onnxruntime"], seconds=1, say=said.append)
    assert sorted(path.name for path in model.parent.iterdir()) == ["scenes.onnx"]
    assert said == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_its_own_workers_do_not_count_as_other_load(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_system, "wait_until_quiet", lambda *_: 0.0)
    monkeypatch.setattr(
        _system.Load, "others", lambda self: 0.0 if all(Path(f"/proc/{pid}").exists() for pid in self._own) else 2.0
    )
    assert tune(model, engines=["onnxruntime"], precisions=["fp32"], seconds=1).path.is_file()


def test_it_waits_until_others_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([2.0, 2.0, 0.0])
    monkeypatch.setattr(_system.Load, "others", lambda _: next(found))
    said: list[str] = []
    assert _system.wait_until_quiet(60, said.append) == 0.0
    assert len(said) == 1
    assert "other processes take 2.0" in said[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_load_by_other_processes_is_measured() -> None:
    program = "import time\nwhile True: pass"
    load = _system.Load()
    with subprocess.Popen([sys.executable, "-c", program]) as spinner:
        try:
            time.sleep(1.5)
            others, own = load.others(), _system.Load([spinner.pid])
            time.sleep(1.0)
            assert others is not None
            assert others > 0.4
            assert own.others() < others  # type: ignore[operator]
        finally:
            spinner.kill()


def test_precisions_that_cost_accuracy_are_left_out(tmp_path: Path, checkpoint: Any) -> None:
    decoded = export(checkpoint("yolov8n"), head="boxes", imgsz=64, output=tmp_path / "boxes.onnx")
    raw = export(checkpoint("yolov8n"), imgsz=64, output=tmp_path / "raw.onnx")
    for path, kept in ((decoded, False), (raw, True)):
        assert accurate(Case(str(path), "onnxruntime", precision="bf16")) is kept
        assert accurate(Case(str(path), "onnxruntime", precision="fp32"))
    assert "0.14 points" in cost("bf16")
    assert cost("fp32") == ""
