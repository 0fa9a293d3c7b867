"""Reads and writes NCNN models: layers and weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from yolort.tools.models.onnx_graph import GraphError

__all__ = ["MAGIC", "Layer", "read", "write"]

MAGIC = "7767517"
_MAX_PARAM, _MAX_LAYERS = 1 << 20, 2000  # of cpp/src/engines/ncnn/param_file.cpp
_FLOAT, _INT8 = (0).to_bytes(4, "little"), (0x000D4B38).to_bytes(4, "little")
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
#: Layers whose weights stay float, with the keys of their numbers of outputs and of weights.
_FLOATS = {"Deconvolution": ("0", "6"), "InnerProduct": ("0", "2")}
_WITHOUT_WEIGHTS = {
    "BinaryOp", "Clip", "Concat", "Dropout", "GELU", "HardSigmoid", "HardSwish", "Input", "Interp", "MatMul", "Mish",
    "Noop", "Padding", "Permute", "Pooling", "Reduction", "ReLU", "Reshape", "Sigmoid", "Slice", "Softmax", "Split",
    "Swish", "TanH", "UnaryOp",
}  # fmt: skip


@dataclass
class Layer:
    """A line of the `.param`, and its numbers in the `.bin`."""

    type: str
    name: str
    bottoms: list[str]
    tops: list[str]
    keys: dict[str, str]
    weights: np.ndarray | None = None  # convolution weights, (out, in / groups, height, width) float32
    bias: np.ndarray | None = None
    plain: bytes = b""  # data of MemoryData; bias, scale and table of our INT8 layers
    scales: list[np.ndarray] = field(default_factory=list)  # INT8 scales: weights, input, output
    values: np.ndarray | None = None  # int8

    @property
    def groups(self) -> int:
        """Of a convolution."""
        return self.number("7", 1)

    def number(self, key: str, fallback: int) -> int:
        """An integer parameter of the line; GraphError if it is not an integer."""
        text = self.keys.get(key, str(fallback))
        if not text.isdecimal() or len(text) > 10:
            raise GraphError(f"layer '{self.name}': {key}={text[:20]} is not a number")
        return int(text)

    def line(self) -> str:
        """The line in the `.param`."""
        keys = " ".join(f"{key}={value}" for key, value in self.keys.items())
        blobs = " ".join([str(len(self.bottoms)), str(len(self.tops)), *self.bottoms, *self.tops])
        return f"{self.type:<24} {self.name:<24} {blobs} {keys}".rstrip()

    def data(self) -> Iterator[bytes]:
        """The bytes in the `.bin`."""
        if self.values is not None:
            packed = self.values.tobytes()
            yield _INT8 + packed + b"\0" * (-len(packed) % 4)
        elif self.weights is not None:
            yield _FLOAT + self.weights.tobytes()
        if self.bias is not None:
            yield self.bias.tobytes()
        for scale in self.scales:
            yield np.ascontiguousarray(scale, np.float32).tobytes()
        yield self.plain


def read(folder: Path) -> list[Layer]:
    """The layers of an FP32 model, in order.

    Raises FileNotFoundError; GraphError for a damaged model, a model that is not FP32, or an unknown layer.
    """
    param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
    for file in (param, weights):
        if not file.is_file():
            raise FileNotFoundError(f"no such file: {file}")
    if param.stat().st_size > _MAX_PARAM:
        raise GraphError(f"{param} is larger than 1 MiB")
    lines = param.read_text(encoding="ascii", errors="replace").splitlines()
    if len(lines) < 3 or lines[0].strip() != MAGIC or len(lines) > _MAX_LAYERS + 2:
        raise GraphError(f"{param} is no .param of ncnn, or a damaged one")
    layers = [_parse(line) for line in lines[2:] if line.strip()]
    data, at = weights.read_bytes(), 0

    def take(layer: Layer, count: int) -> np.ndarray:
        nonlocal at
        if count < 0 or at + 4 * count > len(data):
            raise GraphError(f"{weights}: layer '{layer.name}' has more weights than the file contains")
        at += 4 * count
        return np.frombuffer(data, "<f4", count, at - 4 * count)

    for layer in layers:
        if layer.type in CONVOLUTIONS:
            count, outputs = layer.number("6", 0), layer.number("0", 0)
            across, groups = layer.number("1", 0), layer.groups
            down = layer.number("11", across)
            if "8" in layer.keys or data[at : at + 4] != _FLOAT:
                raise GraphError(
                    f"{folder}: layer '{layer.name}' is not FP32; INT8 models are built from an FP32 export"
                )
            if not outputs or not across or not down or count % (outputs * across * down) or not count:
                raise GraphError(f"{folder}: layer '{layer.name}' has {count} weights, which do not fit its shape")
            if groups not in (1, outputs):
                raise GraphError(f"{folder}: layer '{layer.name}' has {groups} groups, which INT8 is not written for")
            at += 4
            layer.weights = take(layer, count).reshape(outputs, -1, down, across)
            if layer.number("5", 0):
                layer.bias = take(layer, outputs)
        elif layer.type in _FLOATS:
            outputs, count = (layer.number(key, 0) for key in _FLOATS[layer.type])
            bias = outputs if layer.number("5" if layer.type == "Deconvolution" else "1", 0) else 0
            if data[at : at + 4] != _FLOAT:
                raise GraphError(f"{folder}: layer '{layer.name}' is not FP32; quantize an FP32 export")
            at += 4
            layer.plain = _FLOAT + take(layer, count + bias).tobytes()
        elif layer.type == "MemoryData":
            sides = [layer.number(key, 0) for key in ("0", "1", "2")]
            layer.plain = take(layer, int(np.prod([side for side in sides if side]))).tobytes()
        elif layer.type not in _WITHOUT_WEIGHTS:
            raise GraphError(f"{folder}: layer '{layer.name}' is a {layer.type}, which INT8 is not written for")
    if at != len(data):
        raise GraphError(f"{weights} is longer than its layers; it is damaged")
    return layers


def write(layers: list[Layer], folder: Path) -> None:
    """Writes model.ncnn.param and model.ncnn.bin."""
    blobs = sum(len(layer.tops) for layer in layers)
    text = "\n".join([MAGIC, f"{len(layers)} {blobs}", *(layer.line() for layer in layers), ""])
    (folder / "model.ncnn.param").write_text(text, encoding="ascii")
    with (folder / "model.ncnn.bin").open("wb") as file:
        for layer in layers:
            file.writelines(layer.data())


def _parse(line: str) -> Layer:
    words = line.split()
    try:
        bottoms, tops = int(words[2]), int(words[3])
        if min(bottoms, tops) < 0 or len(words) < 4 + bottoms + tops:
            raise ValueError
        keys = dict(word.split("=", 1) for word in words[4 + bottoms + tops :])
    except (ValueError, IndexError) as error:
        raise GraphError(f"'{line[:80]}' is not a line of a .param") from error
    return Layer(words[0], words[1], words[4 : 4 + bottoms], words[4 + bottoms : 4 + bottoms + tops], keys)
