"""`yolort doctor`, and the output of `yolort --version`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

import yolort
from yolort import _core
from yolort.cli._output import say

if TYPE_CHECKING:
    from yolort.tools._system import Limits

#: The purpose of each optional module; modules of the same extra are installed together.
_OPTIONAL = {
    "cv2": "image files and drawing (extra: cli)",
    "onnxruntime": ".onnx models (extra: onnxruntime)",
    "openvino": ".onnx and OpenVINO models, the fastest on most x86 processors (extra: openvino)",
    "pillow_heif": "HEIC images",
    "uvicorn": "yolort serve (extra: serve)",
    "ray": "yolort batch on a cluster (extra: ray)",
    "ultralytics": "training, export and the other tools (extra: tools)",
}
_LOW_MEMORY = 1 << 30  # bytes


def doctor(
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 if the section 'slow' is not empty.")] = False,
) -> None:
    """Show what is installed, what is missing and what slows this machine down; paste the output into bug reports."""
    from yolort.tools import _system

    facts, limits, engines = _system.describe(), _system.limits(), yolort.engines()
    kept = ("processor", "instructions", "governor", "memory", "GPU", "system", "libraries", "load before")
    report = {
        "yolort": build(),
        "system": [
            *(f"{name}: {facts[name]}" for name in kept),
            f"cores: {_system.cores()} of {os.cpu_count()}",
            f"limits of the container: {limits}",
            *environment(),
        ],
        "engines": [
            f"{status.name} {status.version}: {', '.join(yolort.devices(status.name))}"
            for status in engines
            if status.available
        ],
        "missing": missing(engines),
        "slow": slow(facts, limits, engines),
    }
    for title, lines in report.items():
        say(f"{title}:")
        for line in lines or ["nothing"]:
            say(f"  {line}".replace("\n", " "))
    if fail and report["slow"]:
        raise typer.Exit(1)


def build() -> list[str]:
    """Version, commit, compiler and SIMD kernels of the core, then the engines with their versions."""
    commit = f", commit {_core.__commit__}" if _core.__commit__ else ""
    engines = [f"{status.name} {status.version}".rstrip() for status in yolort.engines() if status.available]
    return [
        f"yolort {yolort.__version__}{commit}, {_core.__compiler__}, SIMD {_core.simd()}",
        f"engines: {', '.join(engines) or 'none'}",
    ]


def environment() -> list[str]:
    """yolort's environment variables. Keys are only shown as set, because the output goes into bug reports."""
    found = sorted((name, value) for name, value in os.environ.items() if name.startswith("YOLORT_"))
    return [f"{name}={'(set)' if name.endswith('_KEY') else value}" for name, value in found]


def missing(engines: Sequence[yolort.EngineStatus]) -> list[str]:
    """The engines that cannot run here, with the reason, and the optional modules that are not installed."""
    reasons = [f"engine {status.name}: {status.reason}" for status in engines if not status.available]
    modules = [f"{name}: {use}" for name, use in _OPTIONAL.items() if not importlib.util.find_spec(name)]
    return reasons + modules


def slow(facts: Mapping[str, str], limits: Limits, engines: Sequence[yolort.EngineStatus]) -> list[str]:
    """Reasons why detection is slower than it could be on this machine, and what to do about them."""
    from yolort.tools import _system

    cores, load = _system.cores(), _system.busy_cores()
    available = {status.name for status in engines if status.available}
    found = []
    if _core.simd() == "scalar":
        found.append("no SIMD: the processor has neither AVX2 nor NEON, or YOLORT_SIMD disables them")
    if facts["governor"] == "powersave":
        found.append("the governor is powersave: cpupower frequency-set --governor performance")
    if load is not None and _system.Load.disturbs(load):
        found.append(f"other processes use {load:.1f} of {cores} cores")
    if limits.cores and limits.cores < cores:
        found.append(
            f"the container is limited to {limits.cores:g} of {cores} cores: set threads={max(int(limits.cores), 1)}"
        )
    if limits.memory and limits.memory < _LOW_MEMORY:
        found.append(f"the container has {limits.memory / 2**20:.0f} MiB of memory")
    if not available & {"openvino", "onnxruntime", "tensorrt"}:
        found.append("ncnn is the only engine: pip install openvino (x86) or onnxruntime for .onnx models")
    elif "openvino" not in available and "avx2" in facts["instructions"].split():
        found.append("OpenVINO, the fastest engine on most x86 processors, is not installed: pip install openvino")
    return found
