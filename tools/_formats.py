"""Model formats, their file names, the engines that run them, and the targets of INT8 models."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENGINES", "EXPORTED", "FORMATS", "QUANTIZED", "TARGETS", "Engine", "Format", "own_format"]


@dataclass(frozen=True)
class Format:
    """A model format."""

    ending: str  # ending of a model's name: of a file if it begins with a dot, otherwise of a folder
    engine: str  # engine whose own format it is; "" if no engine of yolort loads it
    portable: bool = False  # whether other engines load it too

    @property
    def is_folder(self) -> bool:
        """Whether a model is a folder."""
        return not self.ending.startswith(".")


@dataclass(frozen=True)
class Engine:
    """How models are built for an engine."""

    format: str
    target: str | None  # INT8 target in ONNX; None if the format has only one kind of INT8


FORMATS = {
    "onnx": Format(".onnx", "onnxruntime", portable=True),
    "ncnn": Format("_ncnn_model", "ncnn"),
    "openvino": Format("_openvino_model", "openvino"),
    "engine": Format(".engine", "tensorrt"),
    "cache": Format(".cache", ""),  # a calibration cache for TensorRT, not a model
}
#: Formats that `export` and `quantize` write.
EXPORTED = ("onnx", "ncnn", "openvino", "engine")
QUANTIZED = ("onnx", "ncnn", "cache")

ENGINES = {
    "onnxruntime": Engine("onnx", "onnxruntime"),
    "openvino": Engine("onnx", "openvino"),
    "ncnn": Engine("ncnn", None),
    "tensorrt": Engine("engine", "gpu"),
}
#: The engine of each INT8 target in ONNX.
TARGETS = {"openvino": "openvino", "onnxruntime": "onnxruntime", "arm": "onnxruntime", "gpu": "tensorrt"}


def own_format(engine: str) -> str:
    """The name of the engine's own format; KeyError for an unknown engine."""
    return {format.engine: name for name, format in FORMATS.items()}[engine]
