"""64-bit ARM in emulation: the C++ tests, and yolort-detect with the same results as here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from installing import ROOT, detections, run, write_pnm
from known_models import task_model, write_ncnn

pytestmark = pytest.mark.slow

BUILD = ROOT / "build" / "aarch64"
#: bytes of the stripped static program; the limit stated in the README
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
    """Rows of class, score, x1, y1, x2, y2 from yolort-detect on one image."""
    (line,) = run("qemu-aarch64", "-cpu", cpu, BUILD / "yolort-detect", *words).splitlines()
    return detections(line)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(sides.clip(0).prod())
    area = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()
    return common / (float(area) - common)


def assert_same(found: np.ndarray, expected: np.ndarray, least_iou: float, score_off: float, least: int = 6) -> None:
    """Each detection has a counterpart of the same class."""
    assert len(found) == len(expected) >= least
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
    """On a core with only NEON, one with fp16 and dotprod, and one with everything (SVE, bf16, i8mm)."""
    words = [yolort.demo_model("ncnn"), picture_file, "--precision", "fp32"]
    here = detections(run(static_prefix / "bin" / "yolort-detect", *words))
    assert_same(emulated(cpu, *words), here, least_iou=0.99, score_off=1e-3)


def assert_same_objects(line: str, expected: str) -> None:
    """Compares masks, keypoints and rotated boxes in two lines of yolort-detect."""
    objects, others = (json.loads(each)["detections"] for each in (line, expected))
    assert_same(detections(line), detections(expected), least_iou=0.99, score_off=1e-3, least=1)
    for row in objects:
        twin = max(others, key=lambda other: (other["class"] == row["class"], iou(*map(corners_of, (other, row)))))
        for key in ("keypoints", "rotated"):
            if key in row:
                np.testing.assert_allclose(row[key], twin[key], atol=0.5)
        if "mask" in row:
            coco = pytest.importorskip("pycocotools.mask")
            assert coco.iou([row["mask"]], [twin["mask"]], [False])[0, 0] >= 0.98


def corners_of(row: dict[str, Any]) -> np.ndarray:
    return np.array(row["box"])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_tasks(static_prefix: Path, picture_file: Path, task: str, tmp_path: Path) -> None:
    words = [write_ncnn(tmp_path, *task_model(task)), picture_file]
    (here,) = run(static_prefix / "bin" / "yolort-detect", *words).splitlines()
    (there,) = run("qemu-aarch64", "-cpu", "cortex-a53", BUILD / "yolort-detect", *words).splitlines()
    assert_same_objects(there, here)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@pytest.mark.skipif("YOLORT_DATA" not in os.environ, reason="YOLORT_DATA names no folder of real weights")
@pytest.mark.parametrize("weights", ["yolo26n-seg", "yolo26n-pose"])
def test_real_models_of_tasks(static_prefix: Path, weights: str, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    from yolort.tools import export

    folder = Path(os.environ["YOLORT_DATA"])
    model = export(folder / "weights" / f"{weights}.pt", format="ncnn", output=tmp_path / "x_ncnn_model")
    detector = yolort.Detector(model, precision="fp32")
    photos = sorted((folder / "data/coco-train128").rglob("*.jpg"))[:20]
    photo = max(photos, key=lambda path: len(detector(yolort.images.read(path))))
    words = [model, write_pnm(tmp_path / "photo.ppm", yolort.images.read(photo)), "--precision", "fp32"]
    (here,) = run(static_prefix / "bin" / "yolort-detect", *words).splitlines()
    (there,) = run("qemu-aarch64", "-cpu", "cortex-a76", BUILD / "yolort-detect", *words).splitlines()
    assert len(detections(here)) >= 3
    assert_same_objects(there, here)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision(static_prefix: Path, picture_file: Path, precision: str) -> None:
    words = [yolort.demo_model("ncnn"), picture_file, "--precision"]
    here = detections(run(static_prefix / "bin" / "yolort-detect", *words, "fp32"))
    assert_same(emulated("max", *words, precision), here, least_iou=0.95, score_off=0.02)


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76", "max"])
def test_int8(static_prefix: Path, picture_file: Path, int8_model: Path, cpu: str) -> None:
    """ARM's INT8 kernels round differently."""
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
