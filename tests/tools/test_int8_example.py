"""The example "INT8 in five commands" runs, with a small checkpoint and images of blocks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yolort

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")

EXAMPLE = Path(__file__).parents[2] / "examples" / "int8.sh"


@pytest.mark.slow
def test_int8_in_five_commands(checkpoint: Callable[[str], Path], blocks: Path, tmp_path: Path) -> None:
    saved = torch.load(checkpoint("yolov8n"), weights_only=False)
    saved["model"].names = {0: "red", 1: "green", 2: "blue"}
    torch.save(saved, tmp_path / "blocks.pt")
    folder = tmp_path / "out"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [*map(str, ("sh", EXAMPLE, tmp_path / "blocks.pt", blocks, folder)), "--imgsz", "64"]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    written = {"float.onnx", "calibration.json", "int8.onnx", "conf.json", "table.html"}
    assert {entry.name for entry in folder.iterdir()} == written
    assert '"precision": "int8"' in yolort.Detector(folder / "int8.onnx", tuned=False).metadata["yolort"]
