"""Choice of the convolutions kept in float: effect, time, and the budget `max_drop`."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.models.onnx_graph import read_graph
from yolort.tools.quantize.activations import Range
from yolort.tools.quantize.calibrate import Calibration
from yolort.tools.quantize.quantize import QuantizeError, quantize
from yolort.tools.quantize.sensitivity import times

ONNX = Path(yolort.demo_model("onnx"))


@pytest.mark.slow
def test_max_drop(calibration: Calibration, scenes: Path, tmp_path: Path) -> None:
    """If the ranges of one convolution are wrong, keeping only that one in float is enough."""
    node = read_graph(ONNX).convolutions[4]
    spoilt = replace(calibration, ranges={**calibration.ranges, node.input[0]: Range(-0.01, 0.01, 0.01)})
    done = quantize(
        ONNX, spoilt, data=scenes, max_drop=3, measure=False, output=tmp_path / "int8.onnx", target="onnxruntime"
    )
    assert done.accuracy
    assert done.accuracy[0] - done.accuracy[1] <= 0.03
    taking = [one.name.partition(":")[2] for one in read_graph(ONNX).convolutions if one.input[0] == node.input[0]]
    assert set(taking) & set(done.floats)
    assert 0 < len(done.floats) < 20
    assert {why for why in done.floats.values() if "alone in INT8" not in why} == {"attention", "stem"}


def test_a_budget_that_cannot_be_met(
    calibration: Calibration, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantizing = importlib.import_module("yolort.tools.quantize.quantize")  # the module, not the function of its name
    monkeypatch.setattr(quantizing, "keep_float", lambda *_, **__: None)
    ruined = replace(calibration, ranges={**calibration.ranges, "images": Range(-0.3, 0.3, 0.3)})
    with pytest.raises(QuantizeError, match="exceeds 0 points"):
        quantize(ONNX, ruined, data=scenes, max_drop=0, measure=False, output=tmp_path / "int8.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not next(one for one in yolort.engines() if one.name == "openvino").available, reason="engine openvino is not here"
)
def test_times_are_those_of_the_engine() -> None:
    names = [node.name for node in onnx.load(ONNX).graph.node if node.op_type == "Conv"]
    assert len(set(times(ONNX, "openvino", names).values())) > len(names) // 4
