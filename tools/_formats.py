"""Formats of models, how their files are named, the engines that run them, and the targets that INT8 is made for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENGINES", "EXPORTED", "FORMATS", "QUANTIZED", "TARGETS", "Engine", "Format", "own_format"]


@dataclass(frozen=True)
class Format:
    """A format that models are written in."""

    ending: str  # of the name of a model: of a file if it begins with a dot, else of a folder
    engine: str  # the engine whose format it is; "" if none of ours loads it
    portable: bool = False  # whether other engines load it too

    @property
    def is_folder(self) -> bool:
        """Whether a model is a folder."""
        return not self.ending.startswith(".")


@dataclass(frozen=True)
class Engine:
    """How models are built for an engine."""

    format: str
    target: str | None  # of INT8 in ONNX; None if its format has but one kind of INT8


FORMATS = {
    "onnx": Format(".onnx", "onnxruntime", portable=True),
    "ncnn": Format("_ncnn_model", "ncnn"),
    "openvino": Format("_openvino_model", "openvino"),
    "engine": Format(".engine", "tensorrt"),
    "cache": Format(".cache", ""),  # a calibration for TensorRT, not a model
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
#: Of each target of INT8 in ONNX, the engine that it is for.
TARGETS = {"openvino": "openvino", "onnxruntime": "onnxruntime", "arm": "onnxruntime", "gpu": "tensorrt"}


def own_format(engine: str) -> str:
    """The name of the format that is the engine's own; KeyError for an engine that there is not."""
    return {format.engine: name for name, format in FORMATS.items()}[engine]
