"""A C++ program finds the installed package and detects with it, here and on 64-bit ARM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yolort

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOOLCHAIN = ROOT / "cpp" / "cmake" / "aarch64-linux-gnu.cmake"


def run(*command: object, fails: bool = False) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def build_consumer(folder: Path, build: Path, *options: str) -> Path:
    """The program that uses the installed package; `build` is kept: a second run compiles nothing."""
    if not shutil.which("cmake") or not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("needs cmake and a C++ compiler")
    run("cmake", "-G", "Ninja", "-S", ROOT, "-B", build, *options)
    run("cmake", "--build", build, "--target", "yolort")
    prefix = folder / "prefix"
    run("cmake", "--install", build, "--prefix", prefix)
    assert sorted(path.name for path in (prefix / "include").rglob("*.h")) == ["yolort.h"]
    here = folder / "build"
    run("cmake", "-G", "Ninja", "-S", HERE / "consumer", "-B", here, f"-DCMAKE_PREFIX_PATH={prefix}", *options)
    run("cmake", "--build", here)
    return here / "consumer"


def test_find_package(tmp_path: Path) -> None:
    consumer = build_consumer(tmp_path, ROOT / "build" / "install")
    assert "ncnn available" in run(consumer)
    assert "detections by ncnn" in run(consumer, yolort.demo_model("ncnn"))
    assert "does not exist" in run(consumer, tmp_path / "nothing", fails=True)
    assert "no engine here can run" in run(consumer, yolort.demo_model("onnx"), fails=True)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_aarch64(precision: str, tmp_path: Path) -> None:
    """The same detections as here, by emulation."""
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool} (Debian: g++-aarch64-linux-gnu, qemu-user)")
    consumer = build_consumer(tmp_path, ROOT / "build" / "aarch64", f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}")
    model = yolort.demo_model("ncnn")
    if precision == "int8":
        model = int8_of(Path(model), tmp_path)
    image = yolort.images.read(yolort.demo_image())
    frame = tmp_path / "frame.bgr"
    frame.write_bytes(image.tobytes())
    height, width = image.shape[:2]
    told = run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", consumer, model, frame, width, height)
    rows = [line.split()[1:] for line in told.splitlines() if line.startswith("detection")]
    found = np.array(rows, np.float64)
    here = yolort.Detector(model, precision="fp32", tuned=False)(image)
    assert len(here) == len(found) > 0
    close = {"fp32": (1e-3, 0.1), "int8": (0.03, 3.0)}[precision]  # ARM's INT8 kernels round otherwise
    for label, score, box in zip(here.classes, here.scores, here.boxes, strict=True):
        off = np.abs(found[:, 2:] - box).max(1) + 1e3 * (found[:, 0] != label)
        match = found[off.argmin()]
        assert off.min() <= close[1]
        assert match[1] == pytest.approx(float(score), abs=close[0])


def int8_of(model: Path, folder: Path) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("ultralytics")
    from yolort.tools.calibrate import calibrate
    from yolort.tools.quantize import quantize
    from yolort.tools.scenes import write_dataset

    data = write_dataset(folder / "scenes", train=8, val=1, progress=False)
    known = calibrate(yolort.demo_model("onnx"), data)
    return quantize(model, known, format="ncnn", measure=False, output=folder / "int8_ncnn_model").path
