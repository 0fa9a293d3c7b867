"""A C++ program finds the installed package and detects with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yolort

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(*command: object, fails: bool = False) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_find_package(tmp_path: Path) -> None:
    if not shutil.which("cmake") or not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("needs cmake and a C++ compiler")
    build = ROOT / "build" / "install"  # kept: a second run compiles nothing
    run("cmake", "-G", "Ninja", "-S", ROOT, "-B", build)
    run("cmake", "--build", build, "--target", "yolort")
    prefix = tmp_path / "prefix"
    run("cmake", "--install", build, "--prefix", prefix)
    assert sorted(path.name for path in (prefix / "include").rglob("*.h")) == ["yolort.h"]

    run(
        "cmake",
        "-G",
        "Ninja",
        "-S",
        HERE / "consumer",
        "-B",
        tmp_path / "build",
        f"-DCMAKE_PREFIX_PATH={prefix}",
    )
    run("cmake", "--build", tmp_path / "build")
    consumer = tmp_path / "build" / "consumer"
    assert "ncnn available" in run(consumer)
    assert "detections by ncnn" in run(consumer, yolort.demo_model("ncnn"))
    assert "does not exist" in run(consumer, tmp_path / "nothing", fails=True)
    assert "no engine here can run" in run(consumer, yolort.demo_model("onnx"), fails=True)
