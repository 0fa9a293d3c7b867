"""Built-in engines written in Python: each is one file here and one line in `_ENGINES`."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable

from yolort import _core
from yolort._engines import Engine

#: name, priority (higher is tried first; the C++ core's ncnn has 50), formats it reads
_ENGINES = (("onnxruntime", 40, ["onnx"]),)


def missing_package(package: str) -> str:
    """Why an engine whose package is not installed cannot run; "" when it is. Imports nothing."""
    if importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed; pip install {package}"
    return ""


def _register(name: str, priority: int, formats: list[str]) -> None:
    def load(path: str, device: str, precision: str, threads: int | None, profile: bool) -> Engine:
        module = importlib.import_module(f"yolort.engines.{name}")
        if not path.isprintable() and any("\udc80" <= character <= "\udcff" for character in path):
            raise _core.ModelError(f"model {path!a}: {name} takes no path that is not UTF-8; rename it")
        engine: Engine = module.load(path, device, precision, threads, profile)
        return engine

    def devices() -> list[str]:
        known: list[str] = importlib.import_module(f"yolort.engines.{name}").devices()
        return known

    def precisions() -> list[str]:
        known: list[str] = importlib.import_module(f"yolort.engines.{name}").precisions()
        return known

    unavailable: Callable[[], str] = lambda: missing_package(name)  # noqa: E731
    _core.register_engine(name, priority, formats, unavailable, load, devices, precisions)


def _register_all() -> None:
    """Those that YOLORT_NATIVE names stay the C++ core's own, which are what programs in C++ run: to test them."""
    native = os.environ.get("YOLORT_NATIVE", "").split(",")
    for engine in _ENGINES:
        if engine[0] not in native:
            _register(*engine)


_register_all()
