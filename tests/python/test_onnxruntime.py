"""Features specific to the ONNX Runtime engine; test_engines.py tests the contract of all engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import boxes_output, metadata, write_onnx

IMAGE = np.full((64, 64, 3), 50, np.uint8)

if not {engine.name: engine.available for engine in yolort.engines()}["onnxruntime"]:
    pytest.skip("ONNX Runtime is not here", allow_module_level=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_onnx(tmp_path, boxes_output((32, 32, 16, 8, 0.9, 1)), metadata())


def status_with(**environment: str) -> dict[str, Any]:
    """The engine's line in `yolort.engines()` of another process."""
    program = """
import json, yolort
print(json.dumps(next(engine._asdict() for engine in yolort.engines() if engine.name == "onnxruntime")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def test_the_library_of_the_python_package_is_found() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    status = status_with(LD_LIBRARY_PATH="", YOLORT_LIBRARY_PATH="", YOLORT_ONNXRUNTIME="")
    assert status["available"]
    assert status["version"] == onnxruntime.__version__
    assert Path(status["library"]).parent == Path(onnxruntime.__file__).parent / "capi"


def test_a_library_that_cannot_be_used(tmp_path: Path) -> None:
    reason = status_with(YOLORT_ONNXRUNTIME=str(tmp_path))["reason"]
    assert str(tmp_path) in reason
    assert "it is the path of the library" in reason or "cannot read file data" in reason
    reason = status_with(YOLORT_ONNXRUNTIME="libc.so.6")["reason"]
    assert reason == "libc.so.6 is not ONNX Runtime: it has no OrtGetApiBase"


def test_same_outputs_as_the_package() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(yolort.demo_model("onnx"), providers=["CPUExecutionProvider"])
    detector = yolort.Detector(yolort.demo_model("onnx"), engine="onnxruntime", tuned=False)
    tensor = np.random.default_rng(0).random((1, 3, *detector.imgsz), np.float32)
    expected = session.run(None, {session.get_inputs()[0].name: tensor})
    for output, wanted in zip(detector.infer(tensor), expected, strict=True):
        np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-5)


def test_options_of_the_session(model: Path) -> None:
    for value in (False, 0, "0"):
        detector = yolort.Detector(
            model, engine="onnxruntime", engine_options={"session.intra_op.allow_spinning": value}
        )
        assert len(detector(IMAGE)) == 1
    with pytest.raises(ValueError, match=r'engine_options: "session\.xsession'):  # ONNX Runtime: longer than a name
        yolort.Detector(model, engine="onnxruntime", engine_options={"session.x" * 1000: "1"})
    with pytest.raises(ValueError, match='"device_id" is an option of .*, but the CPU provider has no options'):
        yolort.Detector(model, engine="onnxruntime", engine_options={"device_id": 1})
    with pytest.raises(ValueError, match='engine "ncnn" has no options'):
        yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn", engine_options={"a": 1})
    unfit: list[Any] = [[], "a", {"a": None}, {1: "a"}]
    for wrong in unfit:
        with pytest.raises(TypeError, match="engine_options"):
            yolort.Detector(model, engine_options=wrong)


def test_a_path_that_is_not_utf8(model: Path) -> None:
    path = os.fsencode(model.parent) + b"/\xff.onnx"
    model.rename(os.fsdecode(path))
    assert len(yolort.Detector(path, engine="onnxruntime")(IMAGE)) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_loads_its_own(model: Path) -> None:
    program = f"""
import os, sys, numpy, warnings, yolort
warnings.simplefilter("ignore", DeprecationWarning)
image = numpy.full((64, 64, 3), 50, numpy.uint8)
detector = yolort.Detector({str(model)!r}, engine="onnxruntime")
child = os.fork()
if child == 0:
    del detector
    os._exit(6 + len(yolort.Detector({str(model)!r}, engine="onnxruntime")(image)))
assert len(detector(image)) == 1
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 7)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
