"""What a measurement was made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import yolort
from yolort import _core

__all__ = ["cores", "describe", "has_bf16", "has_nvidia", "has_vnni"]

_PACKAGES = ("numpy", "onnxruntime", "openvino", "tensorrt", "torch", "ultralytics")
_INSTRUCTIONS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_bf16", "amx_int8",
    "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip


def describe() -> dict[str, str]:
    """Processor, instruction sets, cores, governor, memory, GPUs and driver, system, libraries, command, date."""
    flags = _flags()
    governor = "".join(_lines(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")))
    memory = next((line.split()[1] for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")), None)
    packages = []
    for package in _PACKAGES:
        try:
            packages.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": _core.machine(),
        "instructions": " ".join(name for name in _INSTRUCTIONS if name in flags) or "unknown",
        "governor": governor or "not told",
        "memory": f"{int(memory) / 2**20:.1f} GiB" if memory else "unknown",
        "GPU": _gpus() or "none (nvidia-smi)",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "libraries": ", ".join([f"yolort {yolort.__version__}", *packages]),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "command": " ".join(sys.argv),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def cores() -> int:
    """How many of the CPU this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_vnni() -> bool:
    """Whether the CPU multiplies unsigned by signed bytes without saturating 16 bits on the way."""
    return bool(_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16, rather than widening it first."""
    return bool(_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def has_nvidia() -> bool:
    """Whether nvidia-smi sees a GPU."""
    return bool(_gpus())


def _flags() -> set[str]:
    out: set[str] = set()
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            out.update(value.split())
    return out


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _gpus() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return "; ".join(
            subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        )
    except (OSError, subprocess.SubprocessError):
        return ""
