"""Old paths of modules of yolort 0.1; to be removed in the next release."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MODULES", "NAMES", "install"]

#: Each old module of `yolort.tools`, and the modules that its contents moved to. Modules that became a package of the
#: same name (data, export, prune, quantize, train) need no entry: the package has their names.
MODULES = {
    "ablate": ("search.ablate", "search.study"),
    "accuracy": ("quantize.sensitivity", "evaluate.raw_maps"),
    "activations": ("quantize.activations",),
    "advise": ("search.advise",),
    "architectures": ("models.architectures",),
    "baseline": ("models.torch_detector",),
    "benchmark": ("evaluate.benchmark",),
    "calibrate": ("quantize.calibrate",),
    "checkpoints": ("models.checkpoints",),
    "classes": ("data.class_balance",),
    "distill": ("train.distill", "train.losses"),
    "engine": ("export.tensorrt",),
    "graph": ("models.onnx_graph",),
    "histogram": ("quantize.histogram",),
    "importance": ("prune.importance",),
    "int8": ("quantize.rounding", "models.stem"),
    "jobs": ("_processes",),
    "machine": ("_system",),
    "metrics": ("evaluate.metrics",),
    "optimize": ("search.optimize", "search.outcome"),
    "profile": ("evaluate.profile",),
    "quantize_ncnn": ("quantize.ncnn_int8", "quantize.ncnn_model"),
    "quantize_onnx": ("quantize.onnx_qdq",),
    "recipe": ("search.pipeline", "search.recipe"),
    "report": ("evaluate.report",),
    "scenes": ("demo.dataset", "demo.scene", "demo.config", "demo.shapes", "demo.brush"),
    "store": ("_cache", "_hash", "data.dataset"),
    "study": ("quantize.sweep",),
    "surgery": ("prune.prunable", "models.split_conv"),
    "train_scenes": ("demo.train",),
    "trainer": ("train.trainer",),
    "tune": ("evaluate.tune",),
    "val": ("evaluate.validate", "evaluate.evaluator"),
    "worker": ("evaluate.worker", "_processes"),
    "yaml_reader": ("_yaml",),
}
#: Names that changed.
NAMES = {
    "Halves": "SplitConv",
    "Lab": "Pipeline",
    "Opened": "PrunableModel",
    "Store": "StageCache",
    "Unit": "ChannelGroup",
    "WorkerError": "ChildError",
    "study": "sweep",
}


class _Moved(ModuleType):
    """An old module, with the names of its successors."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        package, _, old = name.rpartition(".")
        self._successors = [f"{package}.{path}" for path in MODULES[old]]

    def __getattr__(self, name: str) -> Any:
        for path in [] if name.startswith("__") else self._successors:
            successor = importlib.import_module(path)
            for current in (name, NAMES.get(name, name)):
                if hasattr(successor, current):
                    return getattr(successor, current)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Finder:
    """Finds the old modules if no other finder finds them."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, old = name.rpartition(".")
        return ModuleSpec(name, _Loader()) if package == "yolort.tools" and old in MODULES else None


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Moved(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        successors: list[str] = vars(module)["_successors"]
        public = [path for path in successors if "._" not in path]
        where = f"is now {' and '.join(public)}" if public else "is no longer public"
        warnings.warn(
            f"{module.__name__} {where}; the old path will be removed in the next release", DeprecationWarning, 2
        )
        for path in successors:
            importlib.import_module(path)


def install() -> None:
    """Makes the old paths importable."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
