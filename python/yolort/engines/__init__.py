"""Engines written in Python. Each is one file here and one line in `_ENGINES`; the C++ core drives them all.

An engine's module has `unavailable() -> str`, the reason it cannot run here or "" (without importing what it wraps),
`devices() -> list[str]`, what `device` may be, the name of the hardware after a space, `precisions() -> list[str]`,
those of `load` that are worth it on this machine, and `load(path, device, precision, threads, profile)`, which returns
an object with:

    input_shape     (batch, height, width) of the network input, 0 if any value goes
    device, precision   text for the user; precision "" if it is what the file holds
    input(batch, height, width)   lends a C-contiguous (batch, 3, height, width) float32 or float16 array, zero at
                    first, which must stay the same, and unwritten, until another shape is asked for
    run()           runs on it; returns the outputs as C-contiguous arrays, valid until the next run
    layer_times()   (name, type, ms) of each layer, means over the runs since the last call, if `profile` was set
    clone()         the same weights with buffers of its own
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from yolort import _core

#: name, priority (higher is tried first; the C++ core's ncnn has 50), formats it reads
_ENGINES = (
    ("onnxruntime", 40, ["onnx"]),
    ("openvino", 30, ["onnx", "openvino"]),
)


#: packages that bring libraries of the core's TensorRT engine; that of 8.6 keeps them in `tensorrt`
_LIBRARIES = ("tensorrt_libs", "tensorrt_lean_libs", "tensorrt_dispatch_libs", "tensorrt")


class EngineStatus(NamedTuple):
    """An engine and whether it can run here; `reason` says why not, and is empty when it can."""

    name: str
    available: bool
    reason: str


class PythonEngine(Protocol):
    """What `load` gives; see the module's text."""

    input_shape: tuple[int, int, int]
    device: str
    precision: str

    def input(self, batch: int, height: int, width: int) -> Any: ...
    def run(self) -> list[Any]: ...
    def layer_times(self) -> list[tuple[str, str, float]]: ...
    def clone(self) -> PythonEngine: ...


def status() -> list[EngineStatus]:
    """Every engine this build knows, best first."""
    return [EngineStatus(*entry) for entry in _core.engines()]


def missing_package(package: str) -> str:
    """Why an engine whose package is not installed cannot run; "" when it is. Imports nothing."""
    if importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed; pip install {package}"
    return ""


def _register(name: str, priority: int, formats: list[str]) -> None:
    def load(path: str, device: str, precision: str, threads: int | None, profile: bool) -> PythonEngine:
        module = importlib.import_module(f"yolort.engines.{name}")
        if not path.isprintable() and any("\udc80" <= character <= "\udcff" for character in path):
            raise _core.ModelError(f"model {path!a}: {name} takes no path that is not UTF-8; rename it")
        engine: PythonEngine = module.load(path, device, precision, threads, profile)
        return engine

    def devices() -> list[str]:
        known: list[str] = importlib.import_module(f"yolort.engines.{name}").devices()
        return known

    def precisions() -> list[str]:
        known: list[str] = importlib.import_module(f"yolort.engines.{name}").precisions()
        return known

    unavailable: Callable[[], str] = lambda: missing_package(name)  # noqa: E731
    _core.register_engine(name, priority, formats, unavailable, load, devices, precisions)


def _add_library_folders() -> None:
    """Tells the core where Python packages keep libraries that it opens."""
    for package in _LIBRARIES:
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or []) if found else []:
            _core.add_library_folder(folder)


def _register_all() -> None:
    """Those that YOLORT_NATIVE names stay the C++ core's own, which are what programs in C++ run: to test them."""
    native = os.environ.get("YOLORT_NATIVE", "").split(",")
    for engine in _ENGINES:
        if engine[0] not in native:
            _register(*engine)


_add_library_folders()
_register_all()
