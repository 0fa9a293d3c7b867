"""Time of one image per layer and per layer type, from each engine's own profiler.

from yolort.tools import profile
profile("yolo26n.onnx", engine="openvino").by_type()
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import LayerTime, _atomic, _checks
from yolort.tools.data.dataset import of_channels, sample_image

__all__ = ["Profile", "described", "nsys", "profile", "speeds", "write_trace"]


@dataclass(frozen=True)
class Profile:
    """Milliseconds of one image, with layers in order of execution. Timing the layers adds a small overhead."""

    described: dict[str, Any]  # model, engine, device, precision, runs
    pre: float  # medians
    inference: float
    post: float
    layers: list[LayerTime]
    operators: str = ""  # torch.profiler's table, if requested

    @property
    def outside(self) -> float | None:
        """Time of the network outside its layers: copies, casts, scheduling.

        None if the layers add up to more than the network, because layers that run in parallel are each counted in
        full.
        """
        outside = self.inference - sum(layer.ms for layer in self.layers)
        return outside if outside >= 0 else None

    def by_type(self) -> list[tuple[str, int, float]]:
        """(type, number of layers, ms), longest first."""
        sums: dict[str, tuple[int, float]] = {}
        for layer in self.layers:
            count, ms = sums.get(layer.type, (0, 0.0))
            sums[layer.type] = (count + 1, ms + layer.ms)
        return sorted(((kind, *values) for kind, values in sums.items()), key=lambda row: -row[2])

    def top(self, count: int) -> list[LayerTime]:
        """The slowest layers."""
        return sorted(self.layers, key=lambda layer: -layer.ms)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **self.described,
            "pre_ms": self.pre,
            "inference_ms": self.inference,
            "post_ms": self.post,
            "outside_ms": self.outside,
            "layers": [layer._asdict() for layer in self.layers],
            **({"operators": self.operators} if self.operators else {}),
        }


def profile(
    model: str | Path,
    *,
    image: np.ndarray | None = None,
    runs: int = 50,
    trace: str | Path | None = None,
    operators: bool = False,
    shapes: bool = False,
    memory: bool = False,
    stacks: bool = False,
    **options: Any,
) -> Profile:
    """Times every layer of a model.

    Args:
        model: a model for `Detector`, or a checkpoint (.pt), whose modules are timed in PyTorch.
        image: (height, width, 3) BGR uint8; None: the embedded image.
        runs: number of timed runs, after a tenth as many for warm-up.
        trace: path for a Chrome trace (chrome://tracing, Perfetto): the profile of ONNX Runtime or torch.profiler; for
            other engines the layers of a mean run, one after the other.
        operators: for a checkpoint, fill `Profile.operators` with torch.profiler's table: the operators of one run, the
            longest first.
        shapes: the same, grouped by input shape, also in the trace.
        memory: the same, with allocated memory.
        stacks: the same, grouped by source location.
        **options: options of `Detector`: engine, device, threads, precision, imgsz.

    Raises ValueError for `runs` and for operators of an artifact, EngineError if the engine cannot time layers, OSError
    if the trace cannot be written, and the errors of `Detector`.
    """
    _checks.integer("runs", runs, 1, 100_000)
    if image is None:
        image = sample_image()
    target = Path(trace) if trace else None
    if target:
        _atomic.check(target, sources=[model])
    if Path(model).suffix == ".pt":
        from yolort.tools.evaluate.torch_profile import OperatorOptions, profile_checkpoint

        wanted = OperatorOptions(operators, shapes, memory, stacks)
        return profile_checkpoint(Path(model), image, runs, target, wanted, options)
    if operators or shapes or memory or stacks:
        raise ValueError("operators, shapes, memory and stacks are of torch.profiler, for a checkpoint (.pt)")
    timed = _onnxruntime if _engine_of(model, options) == "onnxruntime" else _detector
    return timed(Path(model), image, runs, target, options)


def _engine_of(model: str | Path, options: dict[str, Any]) -> str:
    return yolort.Detector(model, tuned=False, **options).engine


def speeds(detector: Any, image: np.ndarray, runs: int) -> tuple[float, float, float]:
    """Medians of the milliseconds before the network, in it and after it."""
    image = of_channels(image, detector.channels)
    samples = []
    for _ in range(runs):
        detector(image)
        samples.append(detector.speed)
    pre, inference, post = np.median(samples, axis=0).tolist()
    return pre, inference, post


def described(detector: Any, model: Path, runs: int) -> dict[str, Any]:
    """The profiled model and machine."""
    facts = {key: getattr(detector, key) for key in ("engine", "device", "precision")}
    return {"model": str(model), **facts, "imgsz": list(detector.imgsz), "runs": runs}


def _detector(model: Path, image: np.ndarray, runs: int, trace: Path | None, options: dict[str, Any]) -> Profile:
    detector = yolort.Detector(model, tuned=False, profile=True, **options)
    speeds(detector, image, max(runs // 10, 1))
    detector.layer_times()
    times = speeds(detector, image, runs)
    layers = detector.layer_times()
    if trace:
        at, events = 0.0, []
        for layer in layers:  # microseconds
            events.append({"name": layer.name, "cat": layer.type, "ph": "X", "pid": 1, "tid": 1, "ts": at})
            events[-1]["dur"] = layer.ms * 1e3
            at += layer.ms * 1e3
        write_trace(trace, events)
    return Profile(described(detector, model, runs), *times, layers)


def _onnxruntime(model: Path, image: np.ndarray, runs: int, trace: Path | None, options: dict[str, Any]) -> Profile:
    """ONNX Runtime reports only once, skips the first run itself, and writes its own trace."""
    detector = yolort.Detector(model, tuned=False, **options)
    times = speeds(detector, image, runs)
    with tempfile.TemporaryDirectory(prefix="yolort-") as folder:
        given = {**(options.get("engine_options") or {}), "profile_file_prefix": f"{folder}/trace"}
        timed = yolort.Detector(model, tuned=False, profile=True, **{**options, "engine_options": given})
        speeds(timed, image, runs)
        layers = timed.layer_times()
        if trace:
            (written,) = Path(folder).iterdir()
            write_trace(trace, json.loads(written.read_text(encoding="utf-8")))
    return Profile(described(detector, model, runs), *times, layers)


def write_trace(target: Path, events: list[Any]) -> None:
    """The layers in Chromium's Trace Event Format."""
    _atomic.write(target, json.dumps({"otherData": {"writer": _atomic.MARK}, "traceEvents": events}))


def nsys(command: Sequence[str], output: Path) -> list[str]:
    """The command line that runs `command` in Nsight Systems; FileNotFoundError if it is not installed."""
    program = shutil.which("nsys")
    if program is None:
        raise FileNotFoundError("Nsight Systems (nsys) is not installed, or not on PATH")
    return [program, "profile", "--trace=cuda,nvtx,osrt", f"--output={output}", *command]
