"""Profiles a checkpoint in PyTorch: leaf modules with hooks, and operators with torch.profiler."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from yolort import LayerTime, _atomic, _core
from yolort.tools.data.dataset import of_channels
from yolort.tools.evaluate.detectors import open_detector
from yolort.tools.evaluate.profile import Profile, described, speeds, write_trace
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.models.heads import with_head

__all__ = ["OperatorOptions", "profile_checkpoint"]

_ROWS = 30  # rows of the operator table
_STACK = 5  # stack frames that distinguish calls of an operator


@dataclass(frozen=True)
class OperatorOptions:
    """What torch.profiler records besides times; any of them, or `table`, requests the operator table."""

    table: bool = False
    shapes: bool = False  # one row per operator and input shapes
    memory: bool = False  # memory allocated by each operator
    stacks: bool = False  # one row per operator and source location

    @property
    def asked(self) -> bool:
        """Whether the table is requested."""
        return self.table or self.shapes or self.memory or self.stacks


def profile_checkpoint(
    model: Path,
    image: np.ndarray,
    runs: int,
    trace: Path | None,
    operators: OperatorOptions,
    options: dict[str, Any],
) -> Profile:
    """Like `profile`, on the CPU or, with `device`, on a GPU."""
    detector = open_detector(model, **options)
    times = speeds(detector, image, runs)
    device = torch.device(detector.device)
    network: Any = with_head(load_checkpoint(model).model).to(device)
    tensor = np.empty((1, detector.channels, *detector.imgsz), np.float32)
    _core.letterbox(of_channels(image, detector.channels), tensor)
    with torch.inference_mode():
        images = torch.from_numpy(tensor).to(device)
        for _ in range(max(runs // 10, 1)):
            network(images)
        table = _operators(network, images, trace, operators) if trace or operators.asked else ""
        layers = _layers(network, images, runs)
    return Profile(described(detector, model, runs), *times, layers, table)


def _operators(network: Any, images: torch.Tensor, trace: Path | None, options: OperatorOptions) -> str:
    """The table of one run, "" if not requested; writes the trace."""
    on_gpu = images.device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if on_gpu else []
    with torch.profiler.profile(
        activities=kinds, record_shapes=options.shapes, profile_memory=options.memory, with_stack=options.stacks
    ) as profiler:
        network(images)
        _wait(images.device)
    if trace:
        with _atomic.workspace(trace) as work:
            profiler.export_chrome_trace(str(work / "trace.json"))
            events = json.loads((work / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
        write_trace(trace, events)
    if not options.asked:
        return ""
    averages = profiler.key_averages(
        group_by_input_shape=options.shapes, group_by_stack_n=_STACK if options.stacks else 0
    )
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    return str(averages.table(sort_by=order, row_limit=_ROWS))


def _layers(network: Any, images: torch.Tensor, runs: int) -> list[LayerTime]:
    """Milliseconds of each leaf module, measured with hooks; on a GPU each hook synchronizes."""
    _unshare(network)
    spent: dict[str, float] = {}
    kinds: dict[str, str] = {}
    started: list[float] = []

    def begin(*_: object) -> None:
        _wait(images.device)
        started.append(time.perf_counter())

    for name, module in network.named_modules():
        if next(module.children(), None) is None:

            def end(*_: object, name: str = name) -> None:
                _wait(images.device)
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - started.pop()

            kinds[name] = type(module).__name__
            module.register_forward_pre_hook(begin)
            module.register_forward_hook(end)
    for _ in range(runs):
        network(images)
    return [LayerTime(name, kinds[name], seconds * 1e3 / runs) for name, seconds in spent.items()]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _unshare(network: Any) -> None:
    """Replaces a module used in several places (Ultralytics' activation) with separate copies."""
    seen: set[int] = set()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in seen:
                setattr(parent, name, copy.deepcopy(child))
            seen.add(id(child))
