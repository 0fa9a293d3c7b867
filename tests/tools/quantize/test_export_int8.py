"""`yolort export --precision int8` gives the same result as export, calibrate and quantize, in one step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.quantize.activations import CalibrationError
from yolort.tools.quantize.calibrate import calibrate
from yolort.tools.quantize.export_int8 import export_int8
from yolort.tools.quantize.quantize import quantize

Checkpoints = Callable[[str], Path]
ENDINGS = {"onnx": ".onnx", "openvino": "_openvino_model", "ncnn": "_ncnn_model"}


@pytest.fixture
def named(checkpoint: Checkpoints, tmp_path: Path) -> Path:
    """A checkpoint with the classes of the blocks."""
    import torch

    saved = torch.load(checkpoint("yolov8n"), weights_only=False)
    saved["model"].names = {0: "red", 1: "green", 2: "blue"}
    torch.save(saved, tmp_path / "blocks.pt")
    return tmp_path / "blocks.pt"


@pytest.mark.slow
@pytest.mark.parametrize("format", list(ENDINGS))
def test_one_step(format: str, named: Path, blocks: Path, tmp_path: Path) -> None:
    engine = "onnxruntime" if format == "onnx" else format
    if not next(one.available for one in yolort.engines() if one.name == engine):
        pytest.skip(f"no {engine} here")
    done = export_int8(named, blocks, format=format, imgsz=64, measure=False)
    assert done.path == tmp_path / f"blocks-int8{ENDINGS[format]}"
    assert done.accuracy is not None
    detector = yolort.Detector(done.path, engine=engine, tuned=False)
    assert detector.names == {0: "red", 1: "green", 2: "blue"}
    assert detector.imgsz == (64, 64)
    own = json.loads(detector.metadata["yolort"])
    assert own["precision"] == "int8"
    assert own["quantization"]["calibration"]["images"] == 12
    found = detector(yolort.demo_image(), conf=0.0)
    assert len(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == [done.path.name, "blocks.pt"]


@pytest.mark.slow
def test_the_same_as_in_three_steps(named: Path, blocks: Path, tmp_path: Path) -> None:
    from yolort.tools.export import export

    once = export_int8(named, blocks, imgsz=64, measure=False, output=tmp_path / "once.onnx")
    float_model = export(named, imgsz=64, output=tmp_path / "float.onnx")
    steps = quantize(float_model, calibrate(float_model, blocks), measure=False, output=tmp_path / "steps.onnx")
    image = yolort.images.read(yolort.demo_image())
    both = [yolort.Detector(path, engine="onnxruntime", conf=0.0)(image).boxes for path in (once.path, steps.path)]
    assert (both[0] == both[1]).all()


def test_what_is_refused(named: Path, blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format must be one of onnx, ncnn, openvino, engine"):
        export_int8(named, blocks, format="coreml")
    with pytest.raises(ValueError, match="INT8 needs head raw or raw-e2e"):
        export_int8(named, blocks, head="boxes")
    with pytest.raises(ValueError, match=r"the output must be named \*_ncnn_model"):
        export_int8(named, blocks, format="ncnn", output=tmp_path / "x.onnx")
    same = blocks.with_name("same.yaml")
    same.write_text("train: images/train\nval: images/train\nnames: [red, green, blue]\n")
    with pytest.raises(CalibrationError, match="images are also used for scoring"):
        export_int8(named, same, imgsz=64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks.pt"]


def test_the_command_refuses(named: Path) -> None:
    def error(*arguments: object) -> str:
        command = [sys.executable, "-m", "yolort", "export", str(named), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 2
        return done.stderr

    assert "needs --data, a data.yaml" in error("--precision", "int8")
    assert "to augment with several sizes, use --scales" in error("--imgsz", "64,96,128")
