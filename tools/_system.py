"""The machine of a measurement."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import yolort
from yolort import _checks, _core

__all__ = [
    "Limits",
    "Load",
    "busy_cores",
    "cores",
    "describe",
    "has_bf16",
    "has_nvidia",
    "has_vnni",
    "installed",
    "limits",
    "load_doubts",
    "threads",
    "wait_until_quiet",
]

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
        "governor": governor or "unknown",
        "memory": f"{int(memory) / 2**20:.1f} GiB" if memory else "unknown",
        "GPU": _gpus() or "none (nvidia-smi)",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "libraries": ", ".join([f"yolort {yolort.__version__}", *packages]),
        "load before": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "command": " ".join(sys.argv),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def load_doubts(setup: Mapping[str, str]) -> list[str]:
    """Warns that times are unreliable, if the load in `describe` exceeded the number of cores before the
    measurement.
    """
    load = setup.get("load before", "unknown")
    if load == "unknown" or float(load) <= cores():
        return []
    return [f"The load was {load} before the measurement, above the {cores()} cores: measure again on a quiet machine."]


def installed(engine: str) -> tuple[str, float]:
    """What an engine needs besides numpy: packages or a library, and their MB on disk.

    "torch" means PyTorch with everything that Ultralytics' predict imports.
    """
    if engine == "torch":
        found = [importlib.util.find_spec(name) for name in ("torch", "torchvision", "ultralytics", "cv2")]
        folders = [Path(folder) for spec in found if spec for folder in spec.submodule_search_locations or ()]
        return "ultralytics, torch", sum(map(_bytes, folders)) / 1e6
    core = Path(_core.__file__).stat().st_size
    library = next((status.library for status in yolort.engines() if status.name == engine), "")
    if not library:  # built in, or written in Python
        return "yolort", core / 1e6
    path = Path(library)
    at = next((at for at, part in enumerate(path.parts) if part in ("site-packages", "dist-packages")), None)
    if at is None:
        return f"yolort, {path.name}", (core + path.resolve().stat().st_size) / 1e6
    package = Path(*path.parts[: at + 2])
    return f"yolort, {package.name}", (core + _bytes(package)) / 1e6


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Number of training threads: YOLORT_THREADS, otherwise one per core. ValueError if it is out of range."""
    given = os.environ.get("YOLORT_THREADS", "")
    if not given:
        return cores()
    return _checks.count("YOLORT_THREADS", int(given) if given.isascii() and given.isdecimal() else given)


class Limits(NamedTuple):
    """Resource limits of the container or service that this process belongs to; None: no limit, or unknown."""

    cores: float | None
    memory: int | None  #: bytes

    def __str__(self) -> str:
        cores = [f"{self.cores:g} cores"] if self.cores else []
        memory = [f"{self.memory / 2**30:.2g} GiB of memory"] if self.memory else []
        return ", ".join(cores + memory) or "none"


def limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Limits:
    """The limits of this process's control group (version 2): the tightest of the group and its parents."""
    path = next((line[4:] for line in _lines(own) if line.startswith("0::/")), "")
    group = root / path
    cores, memory = [], []
    while True:
        quota, _, period = "".join(_lines(group / "cpu.max")).partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            cores.append(int(quota) / int(period))
        most = "".join(_lines(group / "memory.max"))
        if most.isdecimal():
            memory.append(int(most))
        if group == root or root not in group.parents:
            return Limits(min(cores, default=None), min(memory, default=None))
        group = group.parent


class Load:
    """Measures how busy other processes keep the cores that this process may use, since construction (Linux; otherwise
    unknown).

    If they use more than a tenth of the cores, times are unreliable.
    """

    TOO_MUCH = 0.1  #: of the cores

    def __init__(self, own: Sequence[int] = ()) -> None:
        """`own`: other processes that belong to the measurement."""
        self._own = (os.getpid(), *own)
        self._start = self._read()

    def others(self) -> float | None:
        """Average number of cores that other processes kept busy since then, 0 to `cores()`; None if unknown."""
        now = self._read()
        if now is None or self._start is None or now[0] <= self._start[0]:
            return None
        wall, busy, own = (after - before for after, before in zip(now, self._start, strict=True))
        return min(max((busy - own) / wall, 0.0), float(cores()))

    @staticmethod
    def disturbs(others: float | None) -> bool:
        """Whether this load makes measured times unreliable."""
        return others is not None and others > Load.TOO_MUCH * cores()

    def _read(self) -> tuple[float, float, float] | None:
        """Seconds: wall clock, busy time of these cores, busy time of our own processes."""
        tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        busy, found = 0, False
        for line in _lines(Path("/proc/stat")):
            name, *values = line.split()
            if name[:3] == "cpu" and name[3:].isdecimal() and int(name[3:]) in allowed:
                user, nice, system, _idle, _wait, irq, softirq, steal = map(int, values[:8])
                busy += user + nice + system + irq + softirq + steal
                found = True
        own = 0
        for process in self._own:
            text = "".join(_lines(Path(f"/proc/{process}/stat")))
            values = text.rpartition(")")[2].split()
            own += int(values[11]) + int(values[12]) if len(values) > 12 else 0
        return (time.monotonic(), busy / tick, own / tick) if found else None


def busy_cores(seconds: float = 0.5) -> float | None:
    """Number of cores that other processes keep busy, measured for `seconds`; None if unknown."""
    load = Load()
    time.sleep(seconds)
    return load.others()


def wait_until_quiet(patience: float, say: Callable[[str], None] = lambda _: None) -> float | None:
    """Waits up to `patience` seconds for other processes to stop using the cores, and returns the final load.

    `say` is called once if it has to wait.
    """
    end = time.monotonic() + patience
    told = False
    while True:
        others = busy_cores()
        if not Load.disturbs(others) or time.monotonic() >= end:
            return others
        if not told:
            say(f"other processes take {others:.1f} of {cores()} cores; waiting up to {patience:.0f} s until they end")
            told = True


def has_vnni() -> bool:
    """Whether the CPU multiplies unsigned by signed bytes without 16-bit saturation."""
    return bool(_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def has_bf16() -> bool:
    """Whether the CPU has bfloat16 multiplication instructions."""
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
