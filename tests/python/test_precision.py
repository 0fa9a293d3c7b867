"""Precisions: a Detector computes in the precision it reports, or refuses."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import yolort
from known_models import Make, Target, boxes_output, metadata, write_onnx


def test_ncnn_computes_in_the_reported_precision(target: Target, make_model: Make) -> None:
    if target.engine != "ncnn":
        pytest.skip("the other engines compute in what the file holds, or refuse by themselves")
    model = make_model({"output0": np.full((5, 4), 0.75, np.float32)}, metadata(["a"]))
    refused = []
    for precision in ("fp32", "bf16", "fp16", "fp16-storage"):
        try:
            detector = target.detector(model, precision=precision)
        except yolort.EngineError as error:
            assert f"cannot compute in {precision} on {target.device or 'cpu'}" in str(error)
            refused.append(precision)
        else:
            assert detector.precision == precision
            assert len(detector(np.zeros((8, 8, 3), np.uint8))) > 0
    assert "fp32" not in refused
    assert target.detector(model).precision not in refused
    if target.device != "vulkan" and platform.machine() == "x86_64":  # ncnn would silently compute in fp32
        assert refused == ["fp16", "fp16-storage"]


@pytest.mark.parametrize("device", ["cpu", "AUTO", "AUTO:CPU"])
def test_openvino_computes_in_the_reported_precision(device: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    if device != "cpu" and core.available_devices != ["CPU"]:
        pytest.skip("it may run elsewhere")
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    model = write_onnx(tmp_path, boxes_output(), metadata())
    for precision in ("fp32", "bf16", "fp16"):
        if precision.upper() in able:
            assert yolort.Detector(model, engine="openvino", device=device, precision=precision).precision == precision
        else:  # OpenVINO would silently compute in another
            with pytest.raises(yolort.EngineError, match=f"cannot compute in {precision} on cpu; supported here: fp32"):
                yolort.Detector(model, engine="openvino", device=device, precision=precision)
