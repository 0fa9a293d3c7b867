"""Detections equal Ultralytics' own on real images, on every engine.

    YOLORT_DATA=<folder> pytest tests/tools/evaluate/test_parity.py

The folder holds weights/*.pt and data/*/images/**/*.jpg; YOLORT_PARITY_IMAGES takes fewer of them. Every detection of
the one side above 0.25 has one on the other of the same class, IoU >= 0.99, score within 0.01; those within 0.01 of the
threshold may be missing, and those that NMS keeps or drops by less than the rounding of Ultralytics, which adds 7680 x
class to float32 coordinates before it computes IoU. A table of what matched is printed at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yolort

CONF, MARGIN = 0.25, 0.01
IOU, IOU_MARGIN = 0.7, 0.0005
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes, scores, classes

pytestmark = pytest.mark.skipif("YOLORT_DATA" not in os.environ, reason="YOLORT_DATA names no folder of real data")


class Case(NamedTuple):
    weights: str
    branch: str  # "raw": one-to-many, "raw-e2e": one-to-one


class Run(NamedTuple):
    name: str
    format: str
    options: dict[str, Any]
    ultralytics: bool = False  # Ultralytics' own export instead of ours


CASES = [Case("yolov8n", "raw"), Case("yolo11n", "raw"), Case("yolo26n", "raw"), Case("yolo26n", "raw-e2e")]
RUNS = [
    Run("onnxruntime", "onnx", {"engine": "onnxruntime"}),
    Run("openvino", "onnx", {"engine": "openvino", "precision": "fp32"}),
    Run("ncnn", "ncnn", {"engine": "ncnn", "precision": "fp32"}),
    Run("ncnn-vulkan", "ncnn", {"engine": "ncnn", "device": "vulkan", "precision": "fp32"}),
    Run("ultralytics-onnx", "onnx", {"engine": "onnxruntime"}, True),
    Run("ultralytics-onnx-openvino", "onnx", {"engine": "openvino", "precision": "fp32"}, True),
    Run("ultralytics-ncnn", "ncnn", {"engine": "ncnn", "precision": "fp32"}, True),
]


@pytest.fixture(scope="session")
def data() -> Path:
    return Path(os.environ["YOLORT_DATA"])


@pytest.fixture(scope="session")
def image_paths(data: Path) -> list[Path]:
    paths = sorted((data / "data" / "coco-train128" / "images").rglob("*.jpg"))
    return paths[: int(os.environ.get("YOLORT_PARITY_IMAGES", len(paths)))]


@pytest.fixture(scope="session")
def reference(data: Path, image_paths: list[Path]) -> Callable[[Case], list[Rows]]:
    """Ultralytics' predict on a checkpoint, run once per case."""
    pytest.importorskip("torch")
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()
    YOLO = pytest.importorskip("ultralytics").YOLO
    known: dict[Case, list[Rows]] = {}

    def detect(case: Case) -> list[Rows]:
        if case not in known:
            model = YOLO(data / "weights" / f"{case.weights}.pt")
            options = {"nms": False} if case.branch == "raw-e2e" else {}
            results = [
                model.predict(path, conf=CONF - MARGIN, iou=IOU, rect=False, imgsz=640, verbose=False, **options)[0]
                for path in image_paths
            ]
            known[case] = [
                (r.boxes.xyxy.numpy(), r.boxes.conf.numpy(), r.boxes.cls.numpy().astype(int)) for r in results
            ]
        return known[case]

    return detect


@pytest.fixture(scope="session")
def artefact(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case, Run], Path]:
    """The model of a case in the run's format, exported once."""
    from yolort.tools.export.pipeline import export

    folder = tmp_path_factory.mktemp("artefacts")
    known: dict[tuple[str, ...], Path] = {}

    def make(case: Case, run: Run) -> Path:
        key = (case.weights, case.branch, run.format, str(run.ultralytics))
        if key not in known:
            weights = data / "weights" / f"{case.weights}.pt"
            own = folder / "-".join(key)
            own.mkdir()
            if run.ultralytics:
                known[key] = _ultralytics_export(weights, own, run.format, case.branch == "raw-e2e")
            else:
                ending = ".onnx" if run.format == "onnx" else "_ncnn_model"
                known[key] = export(
                    weights, format=run.format, head=case.branch, imgsz=640, output=own / f"{case.weights}{ending}"
                )
        return known[key]

    return make


def _ultralytics_export(weights: Path, folder: Path, format: str, end2end: bool, **more: Any) -> Path:
    """Ultralytics' own exporter, prevented from installing packages."""
    import ultralytics.engine.exporter as exporter
    from ultralytics import YOLO
    from ultralytics.utils import checks

    copy = Path(shutil.copy(weights, folder))
    with pytest.MonkeyPatch.context() as patch:
        for module in (checks, exporter):
            patch.setattr(module, "check_requirements", lambda *_, **__: True)
        patch.chdir(folder)  # pnnx writes to the working directory
        options = {"nms": False} if end2end else {}
        return folder / Path(YOLO(copy).export(format=format, imgsz=640, **options, **more)).name


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Rows of a table that is printed after the tests: counts ours / theirs."""
    rows = ["| model | run | head | matched | unmatched | at the threshold |", "|---|---|---|---|---|---|"]
    yield rows
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    terminal.write_line("\n" + "\n".join(rows))


def compare(ours: list[Rows], theirs: list[Rows]) -> tuple[int, int, int]:
    """Detections of `ours` above CONF that are matched, unmatched, and unmatched at the threshold of CONF or of NMS."""
    matched = unmatched = excepted = 0
    for (boxes, scores, classes), (other_boxes, other_scores, other_classes) in zip(ours, theirs, strict=True):
        overlap = iou(boxes, other_boxes)
        better = (other_classes == classes[:, None]) & (other_scores > scores[:, None])
        at_iou = ((abs(overlap - IOU) < IOU_MARGIN) & better).any(axis=1)
        for i in np.flatnonzero(scores > CONF):
            same = (overlap[i] >= 0.99) & (other_classes == classes[i]) & (abs(other_scores - scores[i]) <= MARGIN)
            if same.any():
                matched += 1
            elif scores[i] < CONF + MARGIN or at_iou[i]:
                excepted += 1
            else:
                unmatched += 1
    return matched, unmatched, excepted


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) x1 y1 x2 y2 to (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    shares: np.ndarray = common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)
    return shares


@pytest.mark.parametrize("case", CASES, ids="-".join)
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
@pytest.mark.filterwarnings("default")
def test_parity(
    case: Case,
    run: Run,
    image_paths: list[Path],
    reference: Callable[[Case], list[Rows]],
    artefact: Callable[[Case, Run], Path],
    report: list[str],
) -> None:
    if run.name == "ultralytics-ncnn" and case.branch == "raw-e2e":
        pytest.skip("Ultralytics exports the one-to-many branch to NCNN")
    try:
        detector = yolort.Detector(artefact(case, run), conf=CONF - MARGIN, **run.options)
    except yolort.EngineError as error:
        pytest.skip(str(error))
    results = [detector(path) for path in image_paths]
    ours = [(found.boxes, found.scores, found.classes) for found in results if isinstance(found, yolort.Detections)]
    theirs = reference(case)
    there, back = compare(theirs, ours), compare(ours, theirs)
    counts = [f"{a} / {b}" for a, b in zip(there, back, strict=True)]
    report.append(f"| {case.weights} {case.branch} | {run.name} | {detector.head} | {' | '.join(counts)} |")
    assert there[1] == back[1] == 0, report[-1]
    assert there[0] > len(image_paths) // 4


@pytest.fixture(scope="session")
def dynamic(
    data: Path, image_paths: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, list[Rows]]]:
    """Ultralytics' dynamic ONNX export, and its own predict on that file, with its padding."""
    pytest.importorskip("torch")
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()
    YOLO = pytest.importorskip("ultralytics").YOLO
    known: dict[str, tuple[Path, list[Rows]]] = {}

    def make(weights: str) -> tuple[Path, list[Rows]]:
        if weights not in known:
            source, folder = data / "weights" / f"{weights}.pt", tmp_path_factory.mktemp("dynamic")
            path = _ultralytics_export(source, folder, "onnx", False, dynamic=True)
            model = YOLO(path, task="detect")
            results = [model.predict(image, conf=CONF - MARGIN, iou=IOU, verbose=False)[0] for image in image_paths]
            rows = [(r.boxes.xyxy.numpy(), r.boxes.conf.numpy(), r.boxes.cls.numpy().astype(int)) for r in results]
            known[weights] = path, rows
        return known[weights]

    return make


@pytest.mark.parametrize("weights", ["yolov8n", "yolo11n", "yolo26n"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.filterwarnings("default")
def test_dynamic_exports_run_in_rectangles(
    weights: str,
    engine: str,
    image_paths: list[Path],
    dynamic: Callable[[str], tuple[Path, list[Rows]]],
    report: list[str],
) -> None:
    path, theirs = dynamic(weights)
    detector = yolort.Detector(path, engine=engine, precision="fp32", conf=CONF - MARGIN)
    assert detector.rect
    results = map(detector, image_paths)
    ours = [(found.boxes, found.scores, found.classes) for found in results if isinstance(found, yolort.Detections)]
    there, back = compare(theirs, ours), compare(ours, theirs)
    counts = [f"{a} / {b}" for a, b in zip(there, back, strict=True)]
    report.append(f"| {weights} | ultralytics-onnx-dynamic {engine} | {detector.head} | {' | '.join(counts)} |")
    assert there[1] == back[1] == 0, report[-1]
    assert there[0] > len(image_paths) // 4
