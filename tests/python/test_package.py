"""What importing yolort costs, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_import_brings_numpy_only() -> None:
    heavy = "{'torch', 'ultralytics', 'onnxruntime', 'openvino', 'cv2', 'typer', 'ncnn', 'supervision'}"
    assert run(f"import sys, yolort; print(sorted({heavy} & sys.modules.keys()))").strip() == "[]"


def test_listing_engines_imports_none() -> None:
    assert run("import sys, yolort; yolort.engines(); print('onnxruntime' in sys.modules)").strip() == "False"


def test_simd_can_be_forced() -> None:
    program = "import os; os.environ['YOLORT_SIMD'] = 'scalar'; import yolort._core as c; print(c.simd())"
    assert run(program).strip() == "scalar"


def test_importing_prints_nothing() -> None:
    assert run("import yolort") == ""
