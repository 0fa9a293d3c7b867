"""64-bit ARM by emulation: the C++ tests, and yolort-detect finds what it finds here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yolort
from installing import ROOT, detections, run

pytestmark = pytest.mark.slow

BUILD = ROOT / "build" / "aarch64"
#: bytes of the stripped static program; the limit that README tells
MOST_BYTES = 8_000_000


@pytest.fixture(scope="module", autouse=True)
def build() -> Path:
    """Core, minimal ncnn, yolort-detect and the C++ tests, static: they need nothing of the target."""
    for tool in ("cmake", "aarch64-linux-gnu-g++", "qemu-aarch64"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool} (Debian: g++-aarch64-linux-gnu, qemu-user)")
    run("cmake", "--preset", "aarch64", "-S", ROOT)
    run("cmake", "--build", BUILD)
    return BUILD


def emulated(cpu: str, *words: object) -> np.ndarray:
    """Of yolort-detect on one picture: rows of class, score, x1, y1, x2, y2."""
    (line,) = run("qemu-aarch64", "-cpu", cpu, BUILD / "yolort-detect", *words).splitlines()
    return detections(line)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(sides.clip(0).prod())
    area = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()
    return common / (float(area) - common)


def assert_same(found: np.ndarray, expected: np.ndarray, least_iou: float, score_off: float) -> None:
    """Each detection has its twin, of the same class."""
    assert len(found) == len(expected) >= 6
    for row in expected:
        twins = found[found[:, 0] == row[0]]
        overlaps = [iou(twin[2:], row[2:]) for twin in twins]
        assert max(overlaps) >= least_iou
        assert twins[np.argmax(overlaps)][1] == pytest.approx(row[1], abs=score_off)


def test_cpp_tests() -> None:
    done = subprocess.run(["ctest", "--test-dir", BUILD, "--output-on-failure"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed" in done.stdout


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76", "max"])
def test_yolort_detect(static_prefix: Path, picture_file: Path, cpu: str) -> None:
    """On a core with NEON alone, one with fp16 and dotprod, and one with everything (SVE, bf16, i8mm)."""
    words = [yolort.demo_model("ncnn"), picture_file, "--precision", "fp32"]
    here = detections(run(static_prefix / "bin" / "yolort-detect", *words))
    assert_same(emulated(cpu, *words), here, least_iou=0.99, score_off=1e-3)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision(static_prefix: Path, picture_file: Path, precision: str) -> None:
    words = [yolort.demo_model("ncnn"), picture_file, "--precision"]
    here = detections(run(static_prefix / "bin" / "yolort-detect", *words, "fp32"))
    assert_same(emulated("max", *words, precision), here, least_iou=0.95, score_off=0.02)


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76", "max"])
def test_int8(static_prefix: Path, picture_file: Path, int8_model: Path, cpu: str) -> None:
    """ARM's INT8 kernels round otherwise."""
    words = [int8_model, picture_file, "--precision", "fp32"]
    here = detections(run(static_prefix / "bin" / "yolort-detect", *words))
    assert_same(emulated(cpu, *words), here, least_iou=0.9, score_off=0.03)


@pytest.fixture(scope="module")
def int8_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("ultralytics")
    from yolort.tools.demo.dataset import write_dataset
    from yolort.tools.quantize.calibrate import calibrate
    from yolort.tools.quantize.quantize import quantize

    folder = tmp_path_factory.mktemp("int8")
    data = write_dataset(folder / "scenes", train=8, val=1, progress=False)
    known = calibrate(yolort.demo_model("onnx"), data)
    output = folder / "int8_ncnn_model"
    return quantize(yolort.demo_model("ncnn"), known, format="ncnn", measure=False, output=output).path


def test_size(tmp_path: Path) -> None:
    program = tmp_path / "yolort-detect"
    run("aarch64-linux-gnu-strip", "-o", program, BUILD / "yolort-detect")
    assert program.stat().st_size < MOST_BYTES
    assert b"yolort-detect MODEL SOURCE" in program.read_bytes()
    needed = run("aarch64-linux-gnu-readelf", "-d", program)
    assert "NEEDED" not in needed


def test_a_minimal_build_has_no_vulkan(picture_file: Path) -> None:
    words = ["qemu-aarch64", BUILD / "yolort-detect", yolort.demo_model("ncnn"), picture_file, "--device", "vulkan"]
    assert "was built without Vulkan" in run(*words, status=1)
