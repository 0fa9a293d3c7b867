"""The contract over the ONNX Runtime engine of the core, which C++ programs run; Python has another of that name."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yolort

HERE = Path(__file__).parent


def native(*words: str, **environment: str) -> str:
    """Output of Python where the core's own engine stands."""
    environment = {**os.environ, "YOLORT_NATIVE": "onnxruntime", **environment}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reason(**environment: str) -> str:
    program = "import yolort; print({e.name: e.reason for e in yolort.engines()}['onnxruntime'])"
    return native("-c", program, **environment).strip()


@pytest.fixture(scope="module")
def library() -> str:
    """The library that the Python package brings."""
    package = importlib.util.find_spec("onnxruntime")
    folders = package.submodule_search_locations if package else None
    found = [file for folder in folders or () for file in Path(folder, "capi").glob("libonnxruntime.so.*")]
    if not found:
        pytest.skip("needs the library of the package onnxruntime")
    told = reason(YOLORT_ONNXRUNTIME=str(found[0]))
    if "without ONNX Runtime's headers" in told:
        pytest.skip(told)
    assert told == ""
    return str(found[0])


def test_the_contract(library: str) -> None:
    chosen = "onnxruntime-cpu or onnxruntime] or dynamic_batch"
    files = ("test_engines.py", "test_views.py", "test_batches.py")
    told = native("-m", "pytest", "-q", "-k", chosen, *files, YOLORT_ONNXRUNTIME=library)
    assert "skipped" not in told
    assert int(told.split(" passed")[0].split()[-1]) >= 27


def test_it_finds_what_the_python_engine_finds(library: str) -> None:
    pytest.importorskip("cv2")
    program = """
import json, yolort
detector = yolort.Detector(yolort.demo_model("onnx"), engine="onnxruntime")
found = detector([yolort.demo_image()] * 3)[2]
print(json.dumps([found.boxes.tolist(), found.scores.tolist(), found.classes.tolist()]))
"""
    boxes, scores, classes = json.loads(native("-c", program, YOLORT_ONNXRUNTIME=library))
    expected = yolort.Detector(yolort.demo_model("onnx"), engine="onnxruntime")(yolort.images.read(yolort.demo_image()))
    assert len(expected) >= 6
    np.testing.assert_allclose(boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    assert classes == expected.classes.tolist()


@pytest.mark.usefixtures("library")
def test_a_library_that_is_none(tmp_path: Path) -> None:
    assert f'YOLORT_ONNXRUNTIME is "{tmp_path}", which cannot be opened' in reason(YOLORT_ONNXRUNTIME=str(tmp_path))
    assert reason(YOLORT_ONNXRUNTIME="libc.so.6") == "libc.so.6 is no ONNX Runtime of version 1.11 or later"
