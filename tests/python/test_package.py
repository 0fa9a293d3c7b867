"""The cost and side effects of importing yolort."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yolort


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_import_brings_numpy_only() -> None:
    heavy = "{'torch', 'ultralytics', 'onnxruntime', 'openvino', 'cv2', 'typer', 'ncnn', 'supervision'}"
    assert run(f"import sys, yolort; print(sorted({heavy} & sys.modules.keys()))").strip() == "[]"


def test_modules_not_needed_for_detection_are_imported_on_use() -> None:
    program = (
        "import sys, yolort; print('yolort.batcher' in sys.modules, yolort.Batcher.__name__, 'Stream' in dir(yolort))"
    )
    assert run(program).split() == ["False", "Batcher", "True"]
    assert all(hasattr(yolort, name) for name in yolort.__all__)
    with pytest.raises(AttributeError, match="module 'yolort' has no attribute 'nothing'"):
        yolort.nothing  # noqa: B018


def test_listing_engines_imports_none() -> None:
    assert run("import sys, yolort; yolort.engines(); print('onnxruntime' in sys.modules)").strip() == "False"


def test_simd_can_be_forced() -> None:
    program = "import os; os.environ['YOLORT_SIMD'] = 'scalar'; import yolort._core as c; print(c.simd())"
    assert run(program).strip() == "scalar"


def test_importing_prints_nothing() -> None:
    assert run("import yolort") == ""


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", yolort.__version__)
    assert importlib.metadata.version("yolort-runtime") == yolort.__version__


def test_the_licenses_of_what_is_linked_are_in_the_metadata() -> None:
    files = importlib.metadata.files("yolort-runtime") or []
    texts = {file.name: file.read_text() for file in files if "licenses" in file.parts}
    assert "Apache License" in texts["LICENSE"]
    assert "Wenzel Jakob" in texts["pybind11.txt"]
    assert "BSD 3-Clause License" in texts["ncnn.txt"]
    assert "The Khronos Group" in texts["glslang.txt"]


def test_a_package_of_the_same_import_name_is_reported(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / f"yolort_runtime-{yolort.__version__}.dist-info").mkdir()
    yolort._warn_of_namesake(tmp_path)
    assert not recwarn
    (tmp_path / "yolort-0.6.3.dist-info").mkdir()
    with pytest.warns(UserWarning, match="pip uninstall yolort"):
        yolort._warn_of_namesake(tmp_path)
