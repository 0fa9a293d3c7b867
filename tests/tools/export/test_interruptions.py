"""Exports that are interrupted, killed or hit a full disk leave no partial model."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("ultralytics")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("onnxruntime")

from exported_models import left_in  # noqa: E402
from yolort.tools._formats import FORMATS  # noqa: E402
from yolort.tools.export.pipeline import export  # noqa: E402
from yolort.tools.models.heads import ExportError  # noqa: E402

exporting = importlib.import_module("yolort.tools.export.pipeline")  # the module, not the function of its name

Checkpoint = Callable[[str], Path]


@pytest.mark.slow
@pytest.mark.parametrize("interruption", [ExportError, KeyboardInterrupt])
@pytest.mark.parametrize(("format", "name"), [("onnx", "m.onnx"), ("ncnn", "m_ncnn_model")])
def test_interrupted_export_changes_nothing(
    interruption: type[BaseException],
    format: str,
    name: str,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if format == "ncnn":
        pytest.importorskip("pnnx")

    def interrupt(*_: Any) -> None:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "verify", interrupt)
        with pytest.raises(interruption):
            export(checkpoint("yolov8n"), format=format, imgsz=64, output=tmp_path / name)
        assert left_in(tmp_path) == []
    made = export(checkpoint("yolov8n"), format=format, imgsz=64, output=tmp_path / name)
    files = [made] if made.is_file() else sorted(made.iterdir())
    before = [file.read_bytes() for file in files]
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "verify", interrupt)
        with pytest.raises(interruption):
            export(checkpoint("yolo11n"), format=format, imgsz=64, output=tmp_path / name)
    assert [file.read_bytes() for file in files] == before
    assert left_in(tmp_path) == [name]


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails as one to a full disk does
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from yolort.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "ncnn", "openvino"])
@pytest.mark.parametrize("limit", [100_000, 6_000_000])
def test_full_disk(format: str, limit: int, checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxslim", "ncnn": "pnnx", "openvino": "openvino"}[format])
    target = tmp_path / f"m{FORMATS[format].ending}"
    arguments = [limit, "export", checkpoint("yolov8n"), "--format", format, "--imgsz", 64, "--output", target]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "yolort: error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(tmp_path) == []


def test_kill_removes_what_was_begun(checkpoint: Checkpoint, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "yolort",
        "export",
        str(checkpoint("yolov8n")),
        "--output",
        str(tmp_path / "m.onnx"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not left_in(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == 143
    assert left_in(tmp_path) == []
