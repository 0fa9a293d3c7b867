"""Export to TensorRT."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yolort
from yolort import _core

pytest.importorskip("torch")
pytest.importorskip("ultralytics")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("onnxruntime")

from yolort.tools.export.pipeline import export  # noqa: E402

exporting = importlib.import_module("yolort.tools.export.pipeline")  # the module, not the function of its name


def test_engine(checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is Ultralytics', and TensorRT receives the ONNX export; building the plan itself needs a GPU."""
    given: dict[str, Any] = {}

    def build(onnx_file: str, **options: Any) -> tuple[bytes, bytes, str]:
        given.update(options, nodes=len(onnx.load(onnx_file).graph.node))
        if options["onnx_fp16"]:
            given["half"] = onnx.load(options["onnx_fp16"]).graph.initializer[0].data_type
        return b"ftrt plan", b"", "10.16.0"

    here = type(yolort.engines()[0])("tensorrt", True, "")
    monkeypatch.setattr(yolort, "engines", lambda: [here])
    monkeypatch.setattr(_core, "build_engine", build)
    monkeypatch.setattr(exporting, "verify", lambda *_: "not run here")
    made = export(checkpoint("yolov8n"), format="engine", precision="fp16", imgsz=64, output=tmp_path / "m.engine")
    data = made.read_bytes()
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    assert data[4 + length :] == b"ftrt plan"
    assert header["names"] == {"0": "driver's cab", "1": 'a "sign"', "2": "naïve: #1"}
    assert header["yolort"]["tensorrt"] == "10.16.0"
    assert header["yolort"]["precision"] == "fp16"
    assert given["nodes"] > 50
    assert given["half"] == onnx.TensorProto.FLOAT16
    assert given["sizes"] == ((1, 32, 32), (1, 64, 64), (16, 128, 128))
    monkeypatch.undo()
    if not next(one for one in yolort.engines() if one.name == "tensorrt").available:
        with pytest.raises(yolort.EngineError, match="tensorrt"):
            yolort.Detector(made)


def test_engine_without_tensorrt(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    if next(one for one in yolort.engines() if one.name == "tensorrt").available:
        pytest.skip("TensorRT is here")
    with pytest.raises(yolort.EngineError, match="built on the GPU that runs it"):
        export(checkpoint("yolov8n"), format="engine", output=tmp_path / "m.engine")
    assert list(tmp_path.iterdir()) == []
