"""The toolchain that creates and measures models for `yolort`: needs torch and ultralytics (extra `tools`).

    from yolort.tools import calibrate, export, quantize

Names are imported on first use, so that `import yolort.tools` is fast. Some functions have the same name as their
package or module: `yolort.tools.export` is always the function. Import other names from the module itself: `from
yolort.tools.export.pipeline import ExportError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools import _moved
from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.data import load_dataset as load_dataset
    from yolort.tools.demo import write_dataset as write_dataset
    from yolort.tools.evaluate import benchmark as benchmark
    from yolort.tools.evaluate import profile as profile
    from yolort.tools.evaluate import tune as tune
    from yolort.tools.evaluate import validate as validate
    from yolort.tools.export import build_engine as build_engine
    from yolort.tools.export import export as export
    from yolort.tools.models import load_checkpoint as load_checkpoint
    from yolort.tools.prune import prune as prune
    from yolort.tools.quantize import calibrate as calibrate
    from yolort.tools.quantize import export_int8 as export_int8
    from yolort.tools.quantize import quantize as quantize
    from yolort.tools.quantize import sweep as sweep
    from yolort.tools.search import ablate as ablate
    from yolort.tools.search import advise as advise
    from yolort.tools.search import optimize as optimize
    from yolort.tools.train import distill as distill
    from yolort.tools.train import train as train
    from yolort.tools.train import train_module as train_module

export_lazily(
    __name__,
    {
        "ablate": "search",
        "advise": "search",
        "benchmark": "evaluate",
        "build_engine": "export",
        "calibrate": "quantize",
        "distill": "train",
        "export": "export",
        "export_int8": "quantize",
        "load_checkpoint": "models",
        "load_dataset": "data",
        "optimize": "search",
        "profile": "evaluate",
        "prune": "prune",
        "quantize": "quantize",
        "sweep": "quantize",
        "train": "train",
        "train_module": "train",
        "tune": "evaluate",
        "validate": "evaluate",
        "write_dataset": "demo",
    },
)
_moved.install()
