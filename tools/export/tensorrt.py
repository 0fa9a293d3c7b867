"""Builds TensorRT engines from ONNX files, on the GPU that will run them.

    from yolort.tools.export import EngineOptions, build_engine
    build_engine("yolo26n.onnx", precision="fp16")                # yolo26n.engine beside it
    build_engine("yolo26n-int8.onnx", precision="fp16")           # INT8 of `quantize(target="gpu")`, the rest in FP16
    build_engine("yolo26n.onnx", options=EngineOptions(calibration="yolo26n.cache"))  # implicit INT8, TensorRT 8 and 10

The file has Ultralytics' layout: the length of the metadata (four bytes), the metadata as JSON, the plan.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import yolort
from google.protobuf.message import DecodeError
from torch import nn
from yolort import _atomic, _checks, _core
from yolort.tools._stages import stage
from yolort.tools.data.dataset import letterboxed, sample_image
from yolort.tools.evaluate.raw_maps import MOST_CHANGED, changed, raw_maps
from yolort.tools.export._common import Request
from yolort.tools.export.onnx import to_fp16, to_onnx

__all__ = ["PRECISIONS", "EngineOptions", "build_engine", "need_tensorrt", "to_engine", "write_engine"]

_log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16")
_QUANTISED = {"QuantizeLinear", "DequantizeLinear"}


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of a TensorRT build.

    Attributes:
        device: a GPU by its number or name, 1 or "cuda:1"; "" is the first.
        workspace: workspace per layer in MiB, at least 1; None: all GPU memory.
        timing_cache: a file of measured times, which makes the next build faster; read if it exists, and written.
        calibration: result of `quantize(format="cache")`, for INT8 without Q/DQ pairs on TensorRT 8 and 10.
        version_compatible: later versions of TensorRT can also run it, more slowly.
        hardware_compatible: other GPUs from Ampere on can also run it, more slowly.
        level: optimization level, 0 (fast to build) to 5 (fast to run); None: TensorRT's own, 3.
        max_batch: largest batch of a dynamic model, 1 to 1024.
        max_imgsz: height, width of the largest input of a dynamic model; None: twice the usual one.
        progress: called for each step of each phase (name, step, steps), with TensorRT 10 and later; returning False
            ends the build.
    """

    device: str | int = ""
    workspace: int | None = None
    timing_cache: str | Path | None = None
    calibration: str | Path | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    level: int | None = None
    max_batch: int = 16
    max_imgsz: tuple[int, int] | None = None
    progress: Callable[[str, int, int], bool] | None = None

    def check(self) -> None:
        """Raises TypeError, ValueError, FileNotFoundError for options that TensorRT cannot build with."""
        _core.canonical_device(_checks.device(self.device))
        if self.workspace is not None:
            _checks.integer("workspace", self.workspace)
        if self.level is not None:
            _checks.integer("level", self.level, 0, 5)
        _checks.integer("max_batch", self.max_batch, 1, 1024)
        if self.calibration is not None and not Path(self.calibration).is_file():
            raise FileNotFoundError(f"no such calibration cache: {self.calibration}")
        if self.timing_cache is not None and not Path(self.timing_cache).parent.is_dir():
            raise FileNotFoundError(f"no such folder: {Path(self.timing_cache).parent}")


def need_tensorrt() -> None:
    """Raises EngineError if no engine can be built here."""
    reason = next(engine.reason for engine in yolort.engines() if engine.name == "tensorrt")
    if reason:
        raise yolort.EngineError(f"a TensorRT engine must be built on the GPU that runs it: {reason}")


def build_engine(
    model: str | Path,
    *,
    precision: str = "fp32",
    output: str | Path | None = None,
    options: EngineOptions | None = None,
) -> Path:
    """Builds an engine from an ONNX detector, ours or Ultralytics', and returns its path.

    Args:
        model: the .onnx file, whose metadata is kept. A file with Q/DQ pairs (`quantize` with target "gpu") gives INT8.
        precision: "fp32", or "fp16", which lets layers that are not INT8 compute in FP16.
        output: `*.engine`; None: `<stem>.engine` beside the model.
        options: see `EngineOptions`.

    The engine is written atomically, and for a raw head only if its maps of an image are close to those of ONNX
    Runtime.

    Raises:
        FileNotFoundError, ValueError, OSError: see `export`.
        ModelError: the file is damaged or not a detector.
        EngineError: TensorRT cannot build here, or the engine's detections differ.
    """
    options = options or EngineOptions()
    options.check()
    source = Path(model)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    target = Path(output) if output is not None else source.with_suffix(".engine")
    if target.suffix != ".engine":
        raise ValueError(f"the output must be named *.engine, not '{output}'")
    read = [source, *(path for path in (options.calibration, options.timing_cache) if path is not None)]
    _atomic.check(target, sources=read)
    if options.timing_cache is not None:
        _atomic.check(options.timing_cache, sources=[source], update=True)
    if not source.is_file():
        raise FileNotFoundError(f"no such model: {source}")
    need_tensorrt()
    graph, described = _read(source)
    quantised = any(node.op_type in _QUANTISED for node in graph.graph.node) or options.calibration is not None
    own = described.get("yolort")
    if isinstance(own, dict):
        described["yolort"] = {**own, "precision": "int8" if quantised else precision, "engine": "tensorrt"}
    with _atomic.workspace(target) as folder:
        half = None
        if precision == "fp16":
            half = folder / "half.onnx"
            onnx.save(to_fp16(graph), half)
        stage("building the engine")
        built = folder / "built.engine"
        report = [*write_engine(source, described, built, half=half, int8=quantised, options=options)]
        report.append(_compare(source, built, own if isinstance(own, dict) else {}, options.device))
        _atomic.place(built, target, sources=read)
    for line in report:
        _log.info("%s", line)
    return target


def write_engine(
    source: Path, described: dict[str, Any], built: Path, *, half: Path | None, int8: bool, options: EngineOptions
) -> Iterator[str]:
    """Writes the engine of an ONNX file; yields lines of a report.

    Args:
        described: the metadata for the header; `yolort` may be JSON text or its parsed value.
        half: the same model in FP16, for an engine that may compute in FP16; TensorRT 11 has no other way.
        int8: whether the file has Q/DQ pairs or the options a calibration cache.
    """
    height, width = described["imgsz"]
    batch = int(described.get("batch") or 1)
    largest = options.max_imgsz or (2 * height, 2 * width)
    timings = Path(options.timing_cache) if options.timing_cache is not None else None
    plan, timing_cache, version = _core.build_engine(
        str(source),
        onnx_fp16=str(half) if half else "",
        int8=int8,
        device=_checks.device(options.device),
        calibration=Path(options.calibration).read_bytes() if options.calibration is not None else b"",
        workspace_mib=options.workspace or 0,
        timing_cache=timings.read_bytes() if timings and timings.is_file() else b"",
        version_compatible=options.version_compatible,
        hardware_compatible=options.hardware_compatible,
        level=-1 if options.level is None else options.level,
        sizes=((1, 32, 32), (batch, height, width), (max(batch, options.max_batch), *largest)),
        progress=options.progress,
    )
    own = described.get("yolort")
    own = json.loads(own) if isinstance(own, str) else own
    header = {**described, **({"yolort": {**own, "tensorrt": version}} if own else {})}
    text = json.dumps({"writer": _atomic.MARK, **header}).encode()
    built.write_bytes(len(text).to_bytes(4, "little") + text + plan)
    if timings and timing_cache:
        _atomic.write(timings, timing_cache, update=True)
    yield f"built by TensorRT {version}: {len(plan) / 1e6:.1f} MB"


def _read(source: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """An ONNX file and its metadata; ModelError if it is damaged or has none."""
    try:
        graph = onnx.load(source)
        described = {entry.key: _value(entry.value) for entry in graph.metadata_props}
    except (DecodeError, ValueError, FileNotFoundError, onnx.checker.ValidationError) as error:
        raise yolort.ModelError(f"{source} is not an ONNX file: {error}") from error
    if not described.get("imgsz"):
        raise yolort.ModelError(f"{source} has no metadata (imgsz); export it with yolort export")
    return graph, described


def _value(text: str) -> Any:
    """Parses text produced by `str()` or JSON; other text is returned unchanged."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _compare(source: Path, built: Path, own: dict[str, Any], device: str | int) -> str:
    if not str(own.get("head", "")).startswith("raw"):
        yolort.Detector(built, engine="tensorrt", device=device)
        return "it runs; only of a raw head the maps are compared"
    channels, height, width = own["input"]["shape"][1:]
    image = letterboxed([sample_image(channels)], (height, width), channels)
    detectors = (
        yolort.Detector(source, engine="onnxruntime", tuned=False),
        yolort.Detector(built, engine="tensorrt", device=device, tuned=False),
    )
    share = changed(*(raw_maps(detector, image) for detector in detectors))
    if not share <= MOST_CHANGED:
        raise yolort.EngineError(
            f"the engine changes {share:.0%} of the detections of ONNX Runtime in the embedded image; build it "
            "in another "
            "precision, or quantize with more images"
        )
    return f"changed detections on the embedded image: {share:.1%}"


def to_engine(cut: nn.Module, request: Request, described: dict[str, Any], built: Path, folder: Path) -> Iterator[str]:
    """Writes a TensorRT engine in Ultralytics' layout: the length of the metadata (four bytes), JSON, the plan."""
    onnx, half = folder / "model.onnx", folder / "half.onnx"
    yield from to_onnx(cut, replace(request, precision="fp32"), described, onnx, folder)
    if request.precision == "fp16":  # for TensorRT 11, which has no FP16 flag
        yield from to_onnx(cut, request, described, half, folder)
    options = request.engine or EngineOptions()
    yield from write_engine(
        onnx,
        described,
        built,
        half=half if half.exists() else None,
        int8=options.calibration is not None,
        options=options,
    )
