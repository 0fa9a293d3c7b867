"""Builds INT8 models from a calibration, and checks and measures them before writing the result.

    from yolort.tools import quantize
    quantize("yolo26n.onnx", "calibration.json", target="openvino", data="coco128.yaml", max_drop=0.3)

One calibration serves every format: `onnx` with Q/DQ pairs placed for the target's engine, `ncnn`, and TensorRT's
calibration `cache`. The convolutions that produce the raw maps stay float.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import platform
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yolort
from yolort import _atomic, _core
from yolort.tools import _system
from yolort.tools._formats import FORMATS, QUANTIZED, TARGETS
from yolort.tools._stages import stage
from yolort.tools.data.dataset import sample_image
from yolort.tools.evaluate.benchmark import Case, benchmark, disturbed
from yolort.tools.evaluate.detectors import task_of
from yolort.tools.evaluate.evaluator import Evaluator
from yolort.tools.evaluate.paired import Ratio
from yolort.tools.evaluate.raw_maps import MOST_CHANGED, changed
from yolort.tools.models.onnx_graph import Graph
from yolort.tools.quantize.builders import Builder, NcnnBuilder, OnnxBuilder
from yolort.tools.quantize.calibrate import Calibration, float_graph
from yolort.tools.quantize.comparison import Comparison
from yolort.tools.quantize.onnx_qdq import PLACEMENTS
from yolort.tools.quantize.sensitivity import keep_float

__all__ = ["MODES", "QuantizeError", "Quantized", "quantize"]

_log = logging.getLogger(__name__)

MODES = ("static", "dynamic", "weights")
_RUNS = 100  # number of timed detections per model
_DYNAMIC = (
    "dynamic INT8 is slow: YOLO26n took 2.6 times the time of the float model on OpenVINO, and 6.5 times on ONNX "
    "Runtime (docs/benchmarks/int8.md); calibration makes INT8 fast, and weights alone (--weights-only) the file small"
)
_SENSITIVITY_IMAGES = 4  # images for measuring the sensitivity of layers


class QuantizeError(yolort.Error):
    """The INT8 model gives wrong results, or the allowed drop cannot be met."""


@dataclass
class Quantized:
    """The outcome of `quantize`."""

    path: Path
    floats: dict[str, str]  # convolutions other than the head's that stay float, and why
    megabytes: tuple[float, float]  # before, after
    changed: float = float("nan")  # share of the detections on the embedded image that changed, 0 to 1
    accuracy: tuple[float, float] | None = None  # float, INT8; 0 to 1, by `metric`
    metric: str = ""  # "mAP50-95", "mask mAP50-95", "keypoint mAP50-95" or "top-1", depending on the task
    conf: tuple[float, float] | None = None  # confidence with the best F1: float, INT8
    ms: tuple[float, float] | None = None  # p50 end to end on the target's engine: float, INT8
    ratio: Ratio | None = None  # ratio of these times, INT8 to float
    notes: list[str] = field(default_factory=list)


# Long for its documentation.
def quantize(
    model: str | Path,
    calibration: str | Path | Calibration | None = None,
    *,
    format: str = "onnx",
    target: str | None = None,
    mode: str = "static",
    per_channel: bool = True,
    reduce_range: bool | None = None,
    exclude: Sequence[str] = (),
    int8_stem: bool | None = None,
    stock: bool = False,
    data: str | Path | None = None,
    split: str = "val",
    max_drop: float | None = None,
    allow_overlap: bool = False,
    measure: bool = True,
    output: str | Path | None = None,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Quantized:
    """Builds an INT8 model.

    Args:
        model: the calibrated FP32 export (.onnx); for `ncnn` the *_ncnn_model folder of the same checkpoint; or the
            checkpoint, which is exported in the same way as for the calibration.
        calibration: result of `calibrate`; None for the modes "dynamic" and "weights".
        format: "onnx", "ncnn", or "cache", a calibration cache for implicit INT8 of TensorRT 8 and 10.
        target: for ONNX, the engine that the model is optimized for: "openvino", "onnxruntime", "arm" (ONNX Runtime on
            ARM, signed activations), "gpu" (TensorRT, symmetric). None: "arm" on ARM; on x86 "openvino", or
            "onnxruntime" if `mode` is not "static". Any engine can run the file; times are measured only on the target
            engine and kind of processor.
        mode: "static"; for ONNX also "dynamic" (activation ranges at run time) and "weights" (stored in INT8, computed
            in float).
        per_channel: use one weight scale per output channel.
        reduce_range: for ONNX on x86, round weights to 7 bits; None: only if this machine lacks VNNI, because INT8
            products then saturate.
        exclude: names of convolutions that stay float; * and ? are wildcards.
        int8_stem: for mode "static", whether the first three convolutions are INT8; None: only on OpenVINO, TensorRT
            and NCNN with our own layers (there not without NMS), where it is worth it; never of classifiers.
        stock: NCNN only: write only layers that every build of ncnn can run, and a table for ncnn's own tools.
            Otherwise maps stay INT8 between convolutions, with layers that only yolort has.
        data: labeled images for measuring accuracy before and after, see `load_dataset`.
        split: split of `data`, see `load_dataset`.
        max_drop: allowed loss of accuracy in points, by the metric of the task; needs `data`. The convolutions that
            cost the most accuracy per millisecond saved stay float, until the loss is within it.
        allow_overlap: allow scoring on images that were used for calibration.
        measure: time both models on the target engine, if it is available.
        output: path of the artifact; None: `<stem>-int8<ending>` beside the model.
        progress: wraps the steps of the search for `max_drop`, for a progress bar.

    The artifact is written atomically, and only if its maps of an image are close to those of the float model. Its
    metadata records the target, the calibration, the convolutions kept in float and, with `data`, the recommended
    `conf`.

    Raises:
        FileNotFoundError, ValueError, OSError: see `export`.
        GraphError: the model cannot be quantized.
        CalibrationError: the calibration is damaged, belongs to another model, or contains images of `data`.
        QuantizeError: the result is wrong, or `max_drop` cannot be met.
        LabelError, ImageError: see `load_dataset` and `validate`.
    """
    _check_arguments(format, mode, target, calibration is not None, data is not None, max_drop)
    if format != "ncnn" and stock:
        raise ValueError(f"stock is for ncnn, not for {format}")
    if mode == "dynamic":
        _log.warning(_DYNAMIC)
    known = Calibration.load(calibration) if isinstance(calibration, (str, Path)) else calibration
    destination = _destination(Path(model), format, output)
    read = [path for path in (model, calibration, data) if isinstance(path, (str, Path))]
    _atomic.check(destination, sources=read, folder=FORMATS[format].is_folder)
    evaluator = None
    if data is not None:
        evaluator = Evaluator(data, split, task=task_of(model))
        if known is not None and not allow_overlap:
            known.check_images([sample.path for sample in evaluator.dataset.samples], str(data))
    if format == "cache":
        assert known
        with float_graph(model, known.head, known.imgsz) as graph:
            known.check_graph(graph)
        _atomic.write(destination, _cache(known), sources=read)
        return Quantized(destination, {}, (0.0, destination.stat().st_size / 1e6))
    with _atomic.workspace(destination) as folder, contextlib.ExitStack() as stack:
        builder: Builder
        if format == "onnx":
            head, size = (known.head, known.imgsz) if known else ("raw", None)
            graph = stack.enter_context(float_graph(model, head, size))
            builder = _onnx_builder(graph, known, target, mode, per_channel, reduce_range, folder)
        else:
            assert known
            builder = NcnnBuilder(_ncnn_folder(Path(model), known, folder), known, per_channel, stock)
        excluded = _excluded(builder, exclude, mode, int8_stem)
        return _make(builder, excluded, destination, folder, evaluator, max_drop, measure, progress)


def _check_arguments(
    format: str, mode: str, target: str | None, calibrated: bool, has_data: bool, max_drop: float | None
) -> None:
    """Raises ValueError for arguments that cannot be combined."""
    if format not in QUANTIZED:
        hint = "; TensorRT builds engines from --format onnx --target gpu" if format == "engine" else ""
        raise ValueError(f"format must be one of {', '.join(QUANTIZED)}, not {format!r}{hint}")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if target is not None and (target not in TARGETS or format != "onnx"):
        raise ValueError(f"target is for onnx, and one of {', '.join(TARGETS)}, not {target!r}")
    if mode != "static" and format != "onnx":
        raise ValueError(f"mode {mode!r} is for onnx")
    if max_drop is not None and (not has_data or not 0 <= max_drop <= 100):
        raise ValueError(
            "max_drop is in points of the task's metric, such as mAP50-95, 0 to 100, and needs data to measure it on"
        )
    if mode == "static" and not calibrated:
        raise ValueError("static INT8 needs a calibration; yolort calibrate makes one")


def _onnx_builder(
    graph: Graph,
    calibration: Calibration | None,
    target: str | None,
    mode: str,
    per_channel: bool,
    reduce_range: bool | None,
    folder: Path,
) -> OnnxBuilder:
    """Creates the builder; target and weight range default to those suitable for this machine."""
    if calibration is not None:
        calibration.check_graph(graph)
    arm = _on_arm()
    usual = "arm" if arm else "openvino" if mode == "static" else "onnxruntime"
    chosen = target or usual
    placement = PLACEMENTS[chosen]
    if reduce_range is None:
        reduce_range = not placement.signed and not arm and not _system.has_vnni()
    return OnnxBuilder(graph, calibration, TARGETS[chosen], placement, mode, per_channel, reduce_range, folder)


def _excluded(builder: Builder, patterns: Sequence[str], mode: str, int8_stem: bool | None) -> dict[str, str]:
    """The convolutions that stay float regardless of accuracy, and why."""
    excluded = dict.fromkeys(_matching(builder.layers, patterns), "excluded")
    if mode == "static":
        excluded |= dict.fromkeys(builder.attention, "attention")
        excluded |= dict.fromkeys(builder.scores, "scores without NMS")
        if not (builder.int8_stem if int8_stem is None else int8_stem):
            excluded |= dict.fromkeys(builder.stem & set(builder.layers), "stem")
    return excluded


def _make(
    builder: Builder,
    excluded: dict[str, str],
    destination: Path,
    folder: Path,
    evaluator: Evaluator | None,
    max_drop: float | None,
    measure: bool,
    progress: Callable[[Sequence[Any]], Iterable[Any]],
) -> Quantized:
    """Builds, checks and measures the model, and moves it to its destination."""
    engine = _runner(builder)
    if engine is None and evaluator is not None:
        raise yolort.EngineError(f"{builder.engine} cannot run here, so accuracy cannot be measured")
    comparison = Comparison(builder, folder, engine or builder.engine, evaluator)
    floats = excluded
    result = Quantized(destination, {}, (megabytes(builder.source), 0.0))
    note: dict[str, Any] = {}
    stage("building the INT8 model")
    if engine:
        result.changed = _changed(comparison, excluded)
    if evaluator is not None:
        if max_drop is not None:
            floats = _within(comparison, excluded, max_drop, progress)
        stage("measuring the accuracy of the float and the INT8 model")
        before, after = comparison.source_score, comparison.score(floats)
        result.accuracy, result.metric = (before[0], after[0]), evaluator.metric
        note |= {"data": Path(evaluator.data).name, "metric": evaluator.metric}
        note["accuracy"] = [round(before[0], 5), round(after[0], 5)]
        if before[1] is not None and after[1] is not None:
            result.conf = before[1], after[1]
            note["conf"] = round(after[1], 3)
    result.floats = {name: floats[key] for key, name in builder.layers.items() if key in floats}
    note["float"] = list(result.floats)
    built = comparison.build(floats)
    builder.annotate(built, note)
    result.megabytes = (result.megabytes[0], megabytes(built))
    if engine and measure:
        stage("timing the float and the INT8 model")
        _time(result, builder, built)
    elif not engine:
        result.notes.append(f"{builder.engine} cannot run here: the result was neither checked nor measured")
    _atomic.place(built, destination)
    return result


def _changed(comparison: Comparison, floats: Collection[str]) -> float:
    """The share of the float model's detections on the embedded image that changed; QuantizeError if nearly all did."""
    image = [sample_image(comparison.source.channels)]
    share = changed(comparison.maps(comparison.source, image), comparison.maps(comparison.open(floats), image))
    if not share <= MOST_CHANGED:
        raise QuantizeError(
            "the INT8 model gives wrong results: none of its detections on an image equals the float model's. Was it "
            "calibrated on training images?"
        )
    return share


def _within(
    comparison: Comparison,
    excluded: dict[str, str],
    max_drop: float,
    progress: Callable[[Sequence[Any]], Iterable[Any]],
) -> dict[str, str]:
    """The convolutions to keep in float so that accuracy drops by at most `max_drop` points, and why."""
    min_accuracy = comparison.source_score[0] - max_drop / 100
    if comparison.score(excluded)[0] >= min_accuracy:
        return excluded
    assert comparison.evaluator
    source = comparison.source
    images = comparison.evaluator.labelled(_SENSITIVITY_IMAGES, source.channels)
    floats = keep_float(comparison, excluded, min_accuracy, images, progress)
    if floats is None:
        raise QuantizeError(f"the drop of accuracy exceeds {max_drop} points even with all candidate layers in float")
    return floats


def _time(result: Quantized, builder: Builder, built: Path) -> None:
    """Adds the times of both models on the target engine, measured alternately, and a note about them."""
    engine = builder.engine
    able = {name: precisions for name, why, precisions in _core.candidates(str(builder.source)) if not why}
    if engine not in able or (builder.for_arm and not _on_arm()):
        where = "ARM processors" if builder.for_arm else engine
        result.notes.append(f"it is made for {where}, and times here would not be those there: none were taken")
        return
    precision = "fp32" if engine == "openvino" else ""  # bf16 would be faster in both
    cases = [Case(str(path), engine, precision=precision) for path in (builder.source, built)]
    before, after = benchmark(chosen=cases, runs=_RUNS, warmup=10, latency_only=True).rows
    if before.error or after.error:
        return
    result.ms, result.ratio = (before.p50, after.p50), after.ratio(before)
    if _system.Load.disturbs(before.others):
        result.notes.append(disturbed(before.others))
    elif result.ratio is None or result.ratio.verdict != "faster":
        result.notes.append(_not_faster(engine, result.ratio, able))


def _not_faster(engine: str, ratio: Ratio | None, able: Mapping[str, Sequence[str]]) -> str:
    """Advice if INT8 does not save time on an engine; `able`: the available engines and their precisions."""
    slower = ratio is not None and ratio.verdict == "slower"
    text = f"INT8 is {'slower' if slower else 'not measurably faster'} than the float model here on {engine}"
    hints = [f"--target {other}" for other in ("openvino", "onnxruntime") if other in able and other != engine]
    hints += [f"the float model in {name}" for name in able[engine] if name in ("bf16", "fp16")]
    return f"{text}; try {' or '.join(hints)}" if hints else text


def _on_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")


def _runner(builder: Builder) -> str | None:
    """The artifact's target engine, or if it is not available, another one that computes the same."""
    able = [engine for engine, why, _ in _core.candidates(str(builder.source)) if not why]
    return builder.engine if builder.engine in able else None if builder.engine == "ncnn" else next(iter(able), None)


def _matching(layers: dict[str, str], patterns: Sequence[str]) -> set[str]:
    out: set[str] = set()
    for pattern in patterns:
        found = {key for key, name in layers.items() if fnmatch.fnmatchcase(name, pattern)}
        if not found:
            some = ", ".join(list(layers.values())[:3])
            raise ValueError(f"exclude: no convolution is named '{pattern}'; they are named like {some}")
        out |= found
    return out


def _ncnn_folder(model: Path, calibration: Calibration, folder: Path) -> Path:
    """The FP32 model; a checkpoint is exported into `folder`."""
    if model.is_dir():
        return model
    if model.suffix.lower() not in (".pt", ".yaml", ".yml"):
        raise ValueError(f"{model}: for ncnn pass the FP32 *_ncnn_model folder of the checkpoint, or the checkpoint")
    from yolort.tools.export.pipeline import export

    target = folder / f"{model.stem}_ncnn_model"
    return export(model, format="ncnn", head=calibration.head, imgsz=calibration.imgsz, output=target)


def _cache(calibration: Calibration) -> str:
    """The format of TensorRT 8.6: a header, and for each tensor the bits of its scale, peak / 127, in hexadecimal."""
    kind = "MinMaxCalibration" if calibration.method == "minmax" else "EntropyCalibration2"
    rows = [
        f"{name}: {struct.pack('>f', max(found.peak, 1e-6) / 127).hex()}" for name, found in calibration.ranges.items()
    ]
    return "\n".join([f"TRT-8600-{kind}", *rows, ""])


def _destination(model: Path, format: str, output: str | Path | None) -> Path:
    ending = FORMATS[format].ending
    stem = model.name.removesuffix("_ncnn_model") if model.is_dir() else model.stem
    target = Path(output) if output is not None else model.parent / f"{stem}-int8{ending}"
    if not target.name.endswith(ending) or target.name == ending:
        raise ValueError(f"the output must be named *{ending}, not '{output}'")
    return target


def megabytes(path: Path) -> float:
    files: Iterator[Path] = iter([path]) if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files if file.suffix != ".table") / 1e6
