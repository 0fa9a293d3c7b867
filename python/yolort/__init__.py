"""yolort: run a YOLO detector on NCNN, ONNX Runtime or OpenVINO with one `Detector`.

import yolort

detector = yolort.Detector("yolo26n.onnx")
found = detector(image)                       # numpy HxWx3 BGR uint8, a path, or a list of them
for box, score, cls in found[found.scores > 0.5]:
    print(detector.names[cls], score, box)
"""

import importlib as _importlib
import typing as _typing
import warnings as _warnings
from pathlib import Path as _Path

from yolort import _core, images
from yolort._core import EngineError, Error, ModelError
from yolort._engines import Engine, EngineStatus, devices, engines, register_engine
from yolort._types import LayerTime, Speed, View
from yolort.classification import Classification
from yolort.classifier import Classifier
from yolort.detections import Detections
from yolort.detector import Detector
from yolort.images import ImageError
from yolort.masks import Masks

if _typing.TYPE_CHECKING:
    from yolort.batcher import Batcher, QueueFullError
    from yolort.decode import box_sides
    from yolort.sources import SourceError
    from yolort.stream import Frame, Stream

#: Names that are imported on first use, and their modules, so that importing yolort stays quick.
_LAZY = {
    "Batcher": "batcher",
    "Frame": "stream",
    "QueueFullError": "batcher",
    "SourceError": "sources",
    "Stream": "stream",
    "box_sides": "decode",
}

__version__ = _core.__version__
__all__ = [
    "Batcher",
    "Classification",
    "Classifier",
    "Detections",
    "Detector",
    "Engine",
    "EngineError",
    "EngineStatus",
    "Error",
    "Frame",
    "ImageError",
    "LayerTime",
    "Masks",
    "ModelError",
    "QueueFullError",
    "SourceError",
    "Speed",
    "Stream",
    "View",
    "box_sides",
    "demo_image",
    "demo_model",
    "devices",
    "engines",
    "images",
    "register_engine",
]


def __getattr__(name: str) -> _typing.Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'yolort' has no attribute {name!r}")
    value = globals()[name] = getattr(_importlib.import_module(f"yolort.{_LAZY[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def _warn_of_namesake(folder: _Path) -> None:
    """Reports that another project's distribution `yolort` is installed, whose modules are in the same folder as
    ours.
    """
    if next(folder.glob("yolort-[0-9]*.dist-info"), None):
        _warnings.warn(
            "another project, the distribution 'yolort', is installed into the same folder as 'yolort-runtime'; "
            "run: pip uninstall yolort, then: pip install --force-reinstall yolort-runtime",
            stacklevel=3,
        )


_warn_of_namesake(_Path(__file__).parents[1])


def demo_model(format: str = "onnx") -> _Path:
    """Path of the embedded model, a small YOLO26 trained on generated scenes.

    Args:
        format: "onnx" (ONNX Runtime, OpenVINO) or "ncnn".

    Raises:
        ValueError: another format.
    """
    files = {"onnx": "scenes.onnx", "ncnn": "scenes_ncnn_model"}
    if format not in files:
        raise ValueError(f"format is {format!r}, expected one of {', '.join(files)}")
    return _asset(files[format])


def demo_image() -> _Path:
    """Path of the embedded sample image, a scene the embedded model was not trained on."""
    return _asset("scenes.jpg")


def _asset(name: str) -> _Path:
    return _Path(__file__).parent / "assets" / name
