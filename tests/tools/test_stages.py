"""Stages of long work: one line each in a log, a bar on a terminal, and an end by SIGTERM with the partial report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("ultralytics")

from yolort.cli import _progress
from yolort.tools import _stages
from yolort.tools._stages import stage

Checkpoints = Callable[[str], Path]

#: Settings of a training that takes seconds; positional, as on the command line.
TRAINING = ["batch=4", "workers=0", "plots=False", "val=False"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolort", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done


def stages_of(text: str) -> list[str]:
    """The lines of stages on standard error."""
    return [line.removeprefix("yolort: ") for line in text.splitlines() if line.startswith("yolort: ")]


def test_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert _progress._STAGES == _stages.LOGGER
    with _progress.stages():
        stage("first")
        stage("second", done=1, total=2, prints=True)
        assert list(_progress.progress([1, 2], "within")) == [1, 2]
        _progress.say_above("text")
    stage("after")
    shown = capsys.readouterr()
    assert stages_of(shown.err) == ["first", "second"]
    assert shown.out == "text\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    import pty

    script = (
        "import time\n"
        "from yolort.cli._progress import progress, say_above, stages\n"
        "from yolort.tools._stages import stage\n"
        "with stages():\n"
        "    stage('first stage'); time.sleep(0.3)\n"
        "    for _ in progress(range(4), 'layers'): time.sleep(0.1)\n"
        "    say_above('a result')\n"
        "    stage('second stage', done=1, total=4); time.sleep(0.3)\n"
    )
    master, terminal = pty.openpty()
    with (tmp_path / "out.txt").open("wb") as file:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        process = subprocess.Popen([sys.executable, "-c", script], stdout=file, stderr=terminal, env=environment)
        os.close(terminal)
        seen = b""
        try:
            while part := os.read(master, 65536):
                seen += part
        except OSError:  # Linux: no writer is left
            pass
        assert process.wait(timeout=60) == 0
    for text in ("first stage", "layers", "second stage", "25%"):
        assert text in seen.decode()
    assert (tmp_path / "out.txt").read_text() == "a result\n"


def test_export(checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = run("export", checkpoint("yolov8n"), "--imgsz", 64, "--output", tmp_path / "a.onnx")
    assert stages_of(done.stderr) == ["loading yolov8n.pt", "converting to onnx", "comparing with torch"]
    assert done.stdout == f"written to {tmp_path / 'a.onnx'}\n"


@pytest.mark.slow
def test_int8_within_a_drop(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    int8 = ("--precision", "int8", "--data", blocks, "--max-drop", 100, "--imgsz", 64)
    done = run("export", checkpoint("yolov8n"), *int8, "--output", tmp_path / "a.onnx")
    shown = stages_of(done.stderr)
    assert shown[:3] == ["loading yolov8n.pt", "converting to onnx", "comparing with torch"]
    assert "calibrating on 12 images" in shown
    assert shown[-2:] == [
        "measuring the accuracy of the float and the INT8 model",
        "timing the float and the INT8 model",
    ]


@pytest.mark.slow
def test_prune_and_distill(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    model = checkpoint("yolov8n")
    options = ("--ratio", 0.5, "--data", blocks, "--finetune", 1, "--imgsz", 64)
    done = run("prune", model, *TRAINING[1:], *options, "--output", tmp_path / "pruned.pt")
    shown = stages_of(done.stderr)
    assert shown[0].startswith("measuring the sensitivity of ")
    assert shown[1:] == [f"training for 1 epoch on {blocks}", "measuring the accuracy before and after"]
    teacher = tmp_path / "pruned-training" / "step-1" / "weights" / "best.pt"
    how = ("--teacher", teacher, "--student", model, "--data", blocks, "--epochs", 1, "--imgsz", 64)
    done = run("distill", *TRAINING[1:], *how, "--output", tmp_path / "distilled")
    assert stages_of(done.stderr) == [f"training for 1 epoch on {blocks}"]


def stopped(arguments: list[object], file: Path, text: str, folder: Path) -> tuple[int, str, str]:
    """Runs a command, and sends it SIGTERM once `file`, its output or errors, contains `text`."""
    command = [sys.executable, "-m", "yolort", *map(str, arguments)]
    out, err = folder / "out.txt", folder / "err.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
    try:
        deadline = time.monotonic() + 240
        while text not in file.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, err.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=60), out.read_text(), err.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
def test_sigterm_ends_optimize_with_its_report(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    report = tmp_path / "report.md"
    budget = ("--max-drop", 100, "--trials", 50, "--finetune", 0, "--imgsz", 64, "--engine", "onnxruntime")
    where = ("--folder", tmp_path / "search", "--report", report)
    options = [checkpoint("yolov8n"), "--data", blocks, *budget, *where]
    code, out, err = stopped(["optimize", *options], tmp_path / "out.txt", "trial 1:", tmp_path)
    assert code == 143, err
    assert "interrupted; partial result:" in err
    assert stages_of(err)[0].startswith("trial 0: yolov8n 64 onnxruntime fp32")
    assert f"written to {report}" in out
    assert "onnxruntime" in report.read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
def test_sigterm_ends_ablate_with_its_report(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    report, study = tmp_path / "report.md", tmp_path / "study.yaml"
    study.write_text(
        f"model: {checkpoint('yolov8n')}\ndata: {blocks}\nengine: onnxruntime\nimgsz: 64\nseeds: [0]\n"
        "baseline: {}\nsteps:\n  prune: {prune: 0.5}\n  int8: {precision: int8}\nsets: [each]\n"
    )
    options = [study, "--folder", tmp_path / "stages", "--report", report]
    code, out, err = stopped(["ablate", *options], tmp_path / "err.txt", "yolort: prune:", tmp_path)
    assert code == 143, err
    assert "interrupted; partial result:" in err
    assert f"written to {report}" in out
    assert "baseline" in report.read_text()
