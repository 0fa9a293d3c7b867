"""Ultralytics' detectors: published figures, and times measured on this machine."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolort import _checks
from yolort.tools.evaluate.benchmark import Benchmark, Case, benchmark

__all__ = ["MODELS", "REFERENCE", "T4", "Model", "Timings", "measure"]


@dataclass(frozen=True)
class Model:
    """An Ultralytics detector trained on COCO at 640 pixels: mAP50-95 on COCO val2017 in points (with NMS, and for
    YOLO26 also without), million parameters, GFLOPs, and milliseconds on an NVIDIA T4 with TensorRT 10 (None if not
    published).

    Source: docs.ultralytics.com/models, pages yolov8, yolo11 and yolo26.
    """

    name: str
    map50_95: float
    nms_free: float | None
    parameters: float
    gflops: float
    t4_ms: float | None


MODELS = {
    model.name: model
    for model in (
        Model("yolov8n", 37.3, None, 3.2, 8.7, None),
        Model("yolov8s", 44.9, None, 11.2, 28.6, None),
        Model("yolov8m", 50.2, None, 25.9, 78.9, None),
        Model("yolov8l", 52.9, None, 43.7, 165.2, None),
        Model("yolov8x", 53.9, None, 68.2, 257.8, None),
        Model("yolo11n", 39.5, None, 2.6, 6.5, 1.5),
        Model("yolo11s", 47.0, None, 9.4, 21.5, 2.5),
        Model("yolo11m", 51.5, None, 20.1, 68.0, 4.7),
        Model("yolo11l", 53.4, None, 25.3, 86.9, 6.2),
        Model("yolo11x", 54.7, None, 56.9, 194.9, 11.3),
        Model("yolo26n", 40.9, 40.1, 2.4, 5.4, 1.7),
        Model("yolo26s", 48.6, 47.8, 9.5, 20.7, 2.5),
        Model("yolo26m", 53.1, 52.5, 20.4, 68.2, 4.7),
        Model("yolo26l", 55.0, 54.4, 24.8, 86.4, 6.2),
        Model("yolo26x", 57.5, 56.9, 55.7, 193.9, 11.8),
    )
}
_SIZES = "nsmlx"
_RUNS, _WARMUP = 30, 5  # number of detections per model


@dataclass(frozen=True)
class Timings:
    """Milliseconds per image by model name, and their source."""

    ms: Mapping[str, float]
    imgsz: int  # side of the input in pixels
    precision: str
    source: str
    page: str  # page in docs/; "-" if there is none

    @classmethod
    def of(cls, measured: Benchmark, imgsz: int) -> Timings:
        """From a result of `measure`: the fastest row of each model."""
        best: dict[str, float] = {}
        for row in measured.by_speed():
            if len(row.samples):
                best.setdefault(Path(row.case.model).stem, row.p50)
        precisions = {str(row.facts.get("precision")) for row in measured.rows if len(row.samples)}
        return cls(best, imgsz, "/".join(sorted(precisions)), "measured on this machine, random weights", "-")

    @classmethod
    def read(cls, path: str | Path) -> Timings:
        """From a .json report of `yolort advise --measure`.

        Raises FileNotFoundError; ValueError for a file that is not such a report.
        """
        try:
            report = json.loads(Path(path).read_text(encoding="utf-8"))
            rows = [row for row in report["rows"] if row["p50_ms"] is not None]
            ms: dict[str, float] = {}
            for row in sorted(rows, key=lambda row: float(row["p50_ms"])):
                ms.setdefault(Path(row["model"]).stem, float(row["p50_ms"]))
            (imgsz,) = {int(row["imgsz"].partition("x")[0]) for row in rows}
            precision = "/".join(sorted({str(row["precision"]) for row in rows}))
            setup = f"{report['setup']['processor']}, {report['setup']['date'][:10]}"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} is not a .json report of yolort advise --measure ({type(error).__name__}: {error})"
            ) from error
        if not all(math.isfinite(value) and value > 0 for value in ms.values()):
            raise ValueError(f"{path} has times that are not above 0")
        return cls(ms, imgsz, precision, f"{path}: {setup}, random weights", "-")


#: From the page: the slower of OpenVINO and ONNX Runtime in fp32.
REFERENCE = Timings(
    {"yolov8n": 37.7, "yolo11n": 32.1, "yolo26n": 28.6},
    640,
    "fp32",
    "2 cores of an Intel Xeon with AVX512-VNNI",
    "docs/benchmarks/int8.md",
)
T4 = Timings(
    {model.name: model.t4_ms for model in MODELS.values() if model.t4_ms},
    640,
    "fp16",
    "NVIDIA T4, TensorRT 10, published by Ultralytics",
    "docs/benchmarks/versions.md",
)


def measure(
    sizes: Sequence[str] = ("n", "s"),
    *,
    imgsz: int = 640,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Benchmark:
    """Times YOLOv8, YOLO11 and YOLO26 with random weights on the default engine for ONNX, in turns.

    Weights do not change how long the network takes. Each model is built from Ultralytics' YAML file and exported with
    the raw head into a temporary folder.

    Args:
        sizes: some of "n", "s", "m", "l" and "x". All five take about 6 GB of memory.
        imgsz: side of the network's input in pixels, a multiple of 32.
        progress: wraps the steps of exporting and of measuring, for a progress bar.

    Raises ValueError for an unknown size, and what `export` raises.
    """
    from yolort.tools.export.pipeline import export

    unknown = [size for size in sizes if size not in _SIZES or len(size) != 1]
    if unknown or not sizes:
        raise ValueError(f"sizes are {', '.join(_SIZES)}, not {', '.join(unknown) or 'empty'}")
    _checks.integer("imgsz", imgsz, 32, 8192)
    names = [name for name in MODELS if name[-1] in sizes]
    with tempfile.TemporaryDirectory(prefix="yolort-") as folder:
        cases = []
        for name in progress(names):
            path = export(f"{name}.yaml", format="onnx", imgsz=imgsz, output=Path(folder) / f"{name}.onnx")
            cases.append(Case(str(path), ""))
        return benchmark(chosen=cases, runs=_RUNS, warmup=_WARMUP, workers=1, latency_only=True, progress=progress)
