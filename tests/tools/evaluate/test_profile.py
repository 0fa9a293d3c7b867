"""`yolort profile`: layers, their sum, traces."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.evaluate.profile import Profile, nsys, profile


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn", pytest.param("torch", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_layers(engine: str, checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace.json"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    try:
        if engine == "torch":
            done = profile(checkpoint("yolo26n"), runs=3, trace=trace, imgsz=64)
        else:
            model = yolort.demo_model("ncnn" if engine == "ncnn" else "onnx")
            done = profile(model, engine=engine, precision="fp32", runs=3, trace=trace)
    except yolort.EngineError as error:
        pytest.skip(str(error))
    assert done.described["engine"] == engine
    assert len(done.layers) > 30
    assert len({layer.name for layer in done.layers}) == len(done.layers)
    assert all(layer.ms >= 0 for layer in done.layers)
    total = sum(layer.ms for layer in done.layers)
    assert total > 0
    assert any("conv" in layer.type.lower() for layer in done.top(10))
    kinds = done.by_type()
    assert sum(count for _, count, _ in kinds) == len(done.layers)
    assert sum(ms for _, _, ms in kinds) == pytest.approx(total)
    assert "conv" in kinds[0][0].lower()
    if engine == "torch":
        assert {kind: count for kind, count, _ in kinds}["SiLU"] > 50  # one shared module in Ultralytics' model
    read = json.loads(trace.read_text())
    events = read["traceEvents"] if isinstance(read, dict) else read
    assert any("conv" in str(event.get("name")).lower() for event in events)
    assert len(json.loads(json.dumps(done.to_dict()))["layers"]) == len(done.layers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary", "trace.json"]
    assert not list(temporary.glob("yolort-*"))  # torch writes its own cache there


@pytest.mark.skipif("not any(engine.name == 'onnxruntime' and engine.available for engine in yolort.engines())")
def test_profile_that_is_never_asked_for_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    detector = yolort.Detector(yolort.demo_model(), engine="onnxruntime", profile=True)
    detector(yolort.demo_image())
    del detector
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_profiled_detections_are_the_same() -> None:
    image = yolort.images.read(yolort.demo_image())
    for engine in yolort.engines():
        if not engine.available:
            continue
        model = yolort.demo_model("ncnn" if engine.name == "ncnn" else "onnx")
        plain, timed = (yolort.Detector(model, engine=engine.name, profile=how) for how in (False, True))
        assert (plain(image).boxes == timed(image).boxes).all()
        assert plain.layer_times() == []
        assert len(timed.layer_times()) > 30
        assert timed.clone()(image).scores.tolist() == plain(image).scores.tolist()


def test_layers_that_run_at_the_same_time_are_explained() -> None:
    layers = [yolort.LayerTime(name, "Conv", 3.0) for name in "ab"]
    assert Profile({}, 0.1, 7.0, 0.1, layers).outside == pytest.approx(1.0)
    done = Profile({}, 0.1, 5.0, 0.1, layers)
    assert done.outside is None
    assert done.to_dict()["outside_ms"] is None


@pytest.mark.slow
def test_operators_of_a_checkpoint(checkpoint: Any, tmp_path: Path) -> None:
    how: dict[str, Any] = {"runs": 1, "imgsz": 64}
    plain = profile(checkpoint("yolov8n"), **how)
    assert plain.operators == "" and "operators" not in plain.to_dict()
    table = profile(checkpoint("yolov8n"), operators=True, **how).operators
    assert "conv" in table and "Self CPU" in table and "Input Shapes" not in table
    trace = tmp_path / "trace.json"
    full = profile(checkpoint("yolov8n"), shapes=True, memory=True, stacks=True, trace=trace, **how).operators
    assert "Input Shapes" in full and "[[1, " in full and "CPU Mem" in full
    assert "Input Dims" in trace.read_text()
    with pytest.raises(ValueError, match="for a checkpoint"):
        profile(yolort.demo_model("ncnn"), shapes=True)


def test_errors(tmp_path: Path) -> None:
    model = yolort.demo_model("ncnn")
    with pytest.raises(ValueError, match="runs is 0"):
        profile(model, runs=0)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        profile(model, trace=tmp_path / "a" / "t.json")
    with pytest.raises(yolort.EngineError, match=r"times layers only on the CPU|no Vulkan device"):
        profile(model, device="vulkan")


def test_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="not installed"):
        nsys(["yolort"], tmp_path / "report")
    program = tmp_path / "nsys"
    program.write_text('#!/bin/sh\necho "nsys $@"\n')
    program.chmod(0o755)
    assert nsys(["yolort", "x"], tmp_path / "report")[-3:] == [f"--output={tmp_path / 'report'}", "yolort", "x"]


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolort", "profile", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(yolort.demo_model("ncnn"), "--runs", 2, "--top", 3, "--trace", tmp_path / "t.json").stdout
    assert "Convolution" in out
    assert "inference" in out
    assert (tmp_path / "t.json").is_file()
    read = json.loads(run(yolort.demo_model("ncnn"), "--runs", 2, "--json").stdout)
    assert read["engine"] == "ncnn"
    program = tmp_path / "nsys"
    program.write_text('#!/bin/sh\necho "nsys $@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    out = run(yolort.demo_model("ncnn"), "--runs", 2, "--nsys", tmp_path / "report").stdout
    assert f"--output={tmp_path / 'report'}" in out
    assert out.rstrip().endswith("--runs 2")
    assert "nsys" in run(tmp_path / "none.onnx", "--runs", 2, "--nsys", tmp_path / "report").stdout
