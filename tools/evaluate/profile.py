"""Where the time of one image goes: per layer and per kind of layer, as each engine's own profiler tells.

from yolort.tools import profile
profile("yolo26n.onnx", engine="openvino").by_type()
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import LayerTime, _atomic, _checks, _core

__all__ = ["Profile", "profile"]


@dataclass(frozen=True)
class Profile:
    """Milliseconds of one image; layers in order of execution, timed on top of the rest, which costs a little."""

    described: dict[str, Any]  # model, engine, device, precision, runs
    pre: float  # medians
    inference: float
    post: float
    layers: list[LayerTime]

    @property
    def outside(self) -> float:
        """What the network takes beside its layers: copies, casts, scheduling."""
        return max(self.inference - sum(layer.ms for layer in self.layers), 0.0)

    def by_type(self) -> list[tuple[str, int, float]]:
        """(type, layers, ms), the longest first."""
        sums: dict[str, tuple[int, float]] = {}
        for layer in self.layers:
            count, ms = sums.get(layer.type, (0, 0.0))
            sums[layer.type] = (count + 1, ms + layer.ms)
        return sorted(((kind, *values) for kind, values in sums.items()), key=lambda row: -row[2])

    def top(self, count: int) -> list[LayerTime]:
        """The layers that take longest."""
        return sorted(self.layers, key=lambda layer: -layer.ms)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            **self.described,
            "pre_ms": self.pre,
            "inference_ms": self.inference,
            "post_ms": self.post,
            "layers": [layer._asdict() for layer in self.layers],
        }


def profile(
    model: str | Path,
    *,
    image: np.ndarray | None = None,
    runs: int = 50,
    trace: str | Path | None = None,
    **options: Any,
) -> Profile:
    """Times every layer of a model.

    Args:
        model: what `Detector` loads, or a checkpoint (.pt), whose modules are timed in PyTorch.
        image: (height, width, 3) BGR uint8; None takes the embedded picture.
        runs: that count, behind a tenth of them that do not.
        trace: write a Chrome trace (chrome://tracing, Perfetto) there: the profile of ONNX Runtime or torch.profiler;
            of other engines the layers of a mean run, one after the other.
        **options: of `Detector`: engine, device, threads, precision, imgsz.

    Raises ValueError for `runs`, EngineError where the engine cannot time layers, OSError where the trace cannot be
    written, and what `Detector` raises.
    """
    _checks.integer("runs", runs, 1, 100_000)
    if image is None:
        image = yolort.images.read(yolort.demo_image())
    target = Path(trace) if trace else None
    if target:
        _atomic.check(target, sources=[model])
    if Path(model).suffix == ".pt":
        return _torch(Path(model), image, runs, target, options)
    timed = _onnxruntime if _engine_of(model, options) == "onnxruntime" else _detector
    return timed(Path(model), image, runs, target, options)


def _engine_of(model: str | Path, options: dict[str, Any]) -> str:
    return yolort.Detector(model, tuned=False, **options).engine


def _speeds(detector: Any, image: np.ndarray, runs: int) -> tuple[float, float, float]:
    samples = []
    for _ in range(runs):
        detector(image)
        samples.append(detector.speed)
    pre, inference, post = np.median(samples, axis=0).tolist()
    return pre, inference, post


def _described(detector: Any, model: Path, runs: int) -> dict[str, Any]:
    facts = {key: getattr(detector, key) for key in ("engine", "device", "precision")}
    return {"model": str(model), **facts, "imgsz": list(detector.imgsz), "runs": runs}


def _detector(model: Path, image: np.ndarray, runs: int, trace: Path | None, options: dict[str, Any]) -> Profile:
    detector = yolort.Detector(model, tuned=False, profile=True, **options)
    _speeds(detector, image, max(runs // 10, 1))
    detector.layer_times()
    speeds = _speeds(detector, image, runs)
    layers = detector.layer_times()
    if trace:
        at, events = 0.0, []
        for layer in layers:  # microseconds
            events.append({"name": layer.name, "cat": layer.type, "ph": "X", "pid": 1, "tid": 1, "ts": at})
            events[-1]["dur"] = layer.ms * 1e3
            at += layer.ms * 1e3
        _write_trace(trace, events)
    return Profile(_described(detector, model, runs), *speeds, layers)


def _onnxruntime(model: Path, image: np.ndarray, runs: int, trace: Path | None, options: dict[str, Any]) -> Profile:
    """ONNX Runtime reports once, leaves out the first run by itself, and writes a trace of its own."""
    detector = yolort.Detector(model, tuned=False, **options)
    speeds = _speeds(detector, image, runs)
    with tempfile.TemporaryDirectory(prefix="yolort-") as folder:
        given = {**(options.get("engine_options") or {}), "profile_file_prefix": f"{folder}/trace"}
        timed = yolort.Detector(model, tuned=False, profile=True, **{**options, "engine_options": given})
        _speeds(timed, image, runs)
        layers = timed.layer_times()
        if trace:
            (written,) = Path(folder).iterdir()
            _write_trace(trace, json.loads(written.read_text(encoding="utf-8")))
    return Profile(_described(detector, model, runs), *speeds, layers)


def _torch(model: Path, image: np.ndarray, runs: int, trace: Path | None, options: dict[str, Any]) -> Profile:
    """Leaf modules by hooks; the trace by torch.profiler."""
    import torch
    from yolort.tools.evaluate.evaluator import open_detector
    from yolort.tools.models.checkpoints import load_checkpoint
    from yolort.tools.models.heads import with_head

    detector = open_detector(model, **options)
    speeds = _speeds(detector, image, runs)
    network = with_head(load_checkpoint(model).model)
    tensor = np.empty((1, detector.channels, *detector.imgsz), np.float32)
    _core.letterbox(image, tensor)
    spent: dict[str, float] = {}
    kinds: dict[str, str] = {}
    started: list[float] = []

    def begin(*_: object) -> None:
        started.append(time.perf_counter())

    with torch.inference_mode():
        images = torch.from_numpy(tensor)
        for _ in range(max(runs // 10, 1)):
            network(images)
        if trace:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
                network(images)
            with _atomic.workspace(trace) as work:
                profiler.export_chrome_trace(str(work / "trace.json"))
                events = json.loads((work / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
            _write_trace(trace, events)
        _unshare(network)
        for name, module in network.named_modules():
            if next(module.children(), None) is None:

                def end(*_: object, name: str = name) -> None:
                    spent[name] = spent.get(name, 0.0) + time.perf_counter() - started.pop()

                kinds[name] = type(module).__name__
                module.register_forward_pre_hook(begin)
                module.register_forward_hook(end)
        for _ in range(runs):
            network(images)
    layers = [LayerTime(name, kinds[name], seconds * 1e3 / runs) for name, seconds in spent.items()]
    return Profile(_described(detector, model, runs), *speeds, layers)


def _unshare(network: Any) -> None:
    """Gives every place that one module stands in (Ultralytics' activation) a module of its own."""
    seen: set[int] = set()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in seen:
                setattr(parent, name, copy.deepcopy(child))
            seen.add(id(child))


def _write_trace(target: Path, events: list[Any]) -> None:
    """The Trace Event Format of Chromium, as an object."""
    _atomic.write(target, json.dumps({"otherData": {"writer": _atomic.MARK}, "traceEvents": events}))


def nsys(command: Sequence[str], output: Path) -> list[str]:
    """The command line that runs `command` in Nsight Systems; FileNotFoundError where that is not installed."""
    program = shutil.which("nsys")
    if program is None:
        raise FileNotFoundError("Nsight Systems (nsys) is not installed, or not on PATH")
    return [program, "profile", "--trace=cuda,nvtx,osrt", f"--output={output}", *command]
