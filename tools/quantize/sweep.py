"""Compares INT8 recipes: calibration-set size x method x granularity, weights only, dynamic, and naive.

from yolort.tools import sweep
sweep("yolo26n.pt", "coco128.yaml").save("sweep.md")
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yolort
from yolort import _core
from yolort.tools._formats import FORMATS, TARGETS
from yolort.tools.data.dataset import letterboxed, list_images, load_dataset
from yolort.tools.data.samples import check_fits
from yolort.tools.evaluate.benchmark import Benchmark, Case, Row, benchmark
from yolort.tools.evaluate.detectors import task_of
from yolort.tools.export.pipeline import export
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.quantize.calibrate import METHODS, Calibration, observe
from yolort.tools.quantize.quantize import quantize

__all__ = ["GRANULARITIES", "sweep"]

_log = logging.getLogger(__name__)

GRANULARITIES = {"channel": True, "tensor": False}
_TARGETS = {**{name: engine for name, engine in TARGETS.items() if name != "gpu"}, "ncnn": "ncnn"}
_WITHOUT_CALIBRATION = ("weights", "dynamic")


# Long for its documentation.
def sweep(
    model: str | Path,
    data: str | Path,
    *,
    images: Sequence[int] = (100, 500, 1000, 2000),
    methods: Sequence[str] = METHODS,
    granularities: Sequence[str] = tuple(GRANULARITIES),
    targets: Sequence[str] = ("openvino",),
    head: str = "raw",
    imgsz: int | tuple[int, int] | None = None,
    runs: int = 100,
    progress: Callable[[Sequence[Any], str], Iterable[Any]] = lambda items, _: items,
) -> Benchmark:
    """Builds an INT8 model for every combination, and measures accuracy and latency of all of them in one benchmark.

    Args:
        model: a checkpoint (.pt) or architecture (.yaml).
        data: a `data.yaml`, calibrated on its split "train" and scored on "val".
        images: sizes of the calibration set; if there are fewer images, all are used.
        methods: calibration methods, see `METHODS`.
        granularities: granularities of weight scales, see `GRANULARITIES`.
        targets: those of `quantize` except "gpu", and "ncnn"; each is measured on its engine.
        head: see `export`.
        imgsz: see `export`.
        runs: number of timed detections.
        progress: wraps steps, with a description, for a progress bar.

    Rows are named `<target>-<method>-<images>-<granularity>`. Further rows show the float model in every precision of
    the engine and, for ONNX, weights-only INT8, dynamic INT8 and the naive recipe: the graph with its decoder,
    quantized by onnxruntime.quantization.quantize_static with default settings. A recipe that fails has the reason in
    its
    row.

    Raises ValueError for unknown choices, LabelError for labels of another task, and the errors of `calibrate`,
    `export` and `benchmark`.
    """
    _check_choices("methods", methods, METHODS)
    _check_choices("granularities", granularities, GRANULARITIES)
    _check_choices("targets", targets, _TARGETS)
    path = Path(model)
    labels = load_dataset(data, "val", task=task_of(path))  # what is wrong is found before anything takes long
    if path.suffix == ".pt":
        check_fits(labels, load_checkpoint(path, tasks=True).model, path)
    there = len(list_images(data, "train"))
    if max(images) > there:
        _log.warning("%s has %d images to calibrate on; that is the largest set", data, there)
    sizes = sorted({min(count, there) for count in images})
    with tempfile.TemporaryDirectory(prefix="yolort-sweep-") as name:
        folder = Path(name)
        source = export(path, head=head, imgsz=imgsz, output=folder / "float.onnx")
        calibrations: dict[str, Calibration] = {}
        for size in sizes:
            seen = observe(source, data, images=size, progress=lambda steps: progress(steps, "calibrating"))
            calibrations |= {f"{method}-{size}": seen.calibration(method) for method in methods}
        rows: list[Row] = []
        for target in targets:
            floats = source
            if target == "ncnn":
                floats = export(path, format="ncnn", head=head, imgsz=imgsz, output=folder / "float_ncnn_model")
            rows += _float_rows(floats, _TARGETS[target])
            recipes = _recipes(floats, target, calibrations, granularities)
            if target != "ncnn":
                recipes["naive"] = partial(_naive, path, data, sizes[0], head, imgsz)
            for name, make in progress(list(recipes.items()), f"quantizing for {target}"):
                rows.append(_row(folder, target, name, make))
        done = benchmark(
            chosen=[row.case for row in rows if not row.error],
            data=data,
            runs=runs,
            latency_only=True,
            progress=lambda steps: progress(steps, "measuring"),
        )
    return _complete(done, rows)


def _float_rows(model: Path, engine: str) -> list[Row]:
    """The float model in every precision of its engine."""
    able = next((precisions for name, _, precisions in _core.candidates(str(model)) if name == engine), [""])
    return [Row(Case(str(model), engine, precision=precision)) for precision in able or [""]]


def _recipes(
    model: Path, target: str, calibrations: Mapping[str, Calibration], granularities: Sequence[str]
) -> dict[str, Callable[..., object]]:
    """Functions by name that build each INT8 model of a target at `output`."""
    how: dict[str, Any] = {"format": "ncnn"} if target == "ncnn" else {"target": target}
    out: dict[str, Callable[..., object]] = {
        f"{name}-{granularity}": partial(
            quantize, model, calibration, per_channel=GRANULARITIES[granularity], measure=False, **how
        )
        for name, calibration in calibrations.items()
        for granularity in granularities
    }
    if target != "ncnn":
        out |= {mode: partial(quantize, model, mode=mode, measure=False) for mode in _WITHOUT_CALIBRATION}
    return out


def _row(folder: Path, target: str, name: str, make: Callable[..., object]) -> Row:
    """Builds an INT8 model; if that fails, its row has the reason."""
    built = folder / f"{target}-{name}{FORMATS['ncnn' if target == 'ncnn' else 'onnx'].ending}"
    row = Row(Case(str(built), _TARGETS[target]))
    try:
        make(output=built)
    except yolort.Error as error:
        row.error = " ".join(str(error).split())
    return row


def _check_choices(name: str, given: Sequence[str], known: Collection[str]) -> None:
    wrong = [one for one in given if one not in known]
    if wrong or not given:
        raise ValueError(f"{name}: expected some of {', '.join(known)}, not {', '.join(wrong) or 'none'}")


def _complete(done: Benchmark, rows: list[Row]) -> Benchmark:
    """The benchmark including the failed rows, with names in place of paths."""
    measured = iter(done.rows)
    done.rows = [row if row.error else next(measured) for row in rows]
    for row in done.rows:  # the files no longer exist
        row.case = replace(row.case, model=Path(row.case.model).name)
    return done


def _naive(
    model: Path, data: str | Path, images: int, head: str, imgsz: int | tuple[int, int] | None, output: Path
) -> None:
    """The recipe of most tutorials: the complete graph, and `quantize_static` with its defaults."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    source = export(
        model, head="end2end" if head == "raw-e2e" else "boxes", imgsz=imgsz, output=output.with_name("decoded.onnx")
    )
    size = yolort.Detector(source, tuned=False).imgsz
    chosen = iter(list_images(data, "train")[:images])

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:
            path = next(chosen, None)
            return None if path is None else {"images": letterboxed([path], size)}

    quantize_static(source, output, Pictures())
    made = onnx.load(output)
    told = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    told["yolort"] = json.dumps({**json.loads(told["yolort"]), "precision": "int8"})
    onnx.helper.set_model_props(made, told)
    onnx.save(made, output)
