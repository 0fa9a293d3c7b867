"""A float ONNX model for the INT8 tools: producers and consumers of each tensor, and the metadata."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yolort
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, numpy_helper, shape_inference
from yolort.tools.models.stem import Step, stem

__all__ = ["Graph", "GraphError", "read_graph"]

_MAX_BYTES = 1 << 31  # protobuf's own limit
_QUANTISED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear"}


class GraphError(yolort.Error):
    """An ONNX file is damaged, or of a kind that cannot be calibrated and quantized."""


class Graph:
    """An ONNX model with raw head; the nodes have unique names."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.model = model
        self.name = name
        self.sha256 = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.contract: dict[str, Any] = _contract(self.metadata)
        self.task = self.metadata.get("task", "detect")
        if self.task == "classify":  # the whole graph, as exported by Ultralytics
            self.contract = {"format": 1, "head": "probs", **self.contract}
        self.opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        for index, node in enumerate(model.graph.node):
            node.name = f"{index}:{node.name or node.op_type}"[:200]
        self.nodes = list(model.graph.node)
        self.producer = {output: node for node in self.nodes for output in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for taken in node.input:
                self.consumers.setdefault(taken, []).append(node)
        self.weights = {one.name: one for one in model.graph.initializer}
        self.outputs = [output.name for output in model.graph.output]
        self.input = next(one for one in model.graph.input if one.name not in self.weights)
        #: Float activations, including the input, and their shapes; 0 for dynamic sides.
        self.shapes = _float_shapes(model, self.weights)

    @property
    def heads(self) -> list[onnx.NodeProto]:
        """Nodes that produce the graph's outputs, before activation: convolutions of raw maps and prototypes."""
        return [self.producer[name] for name in map(self.source, self.outputs) if name in self.producer]

    @property
    def convolutions(self) -> list[onnx.NodeProto]:
        """Convolutions with constant weights."""
        return [node for node in self.nodes if node.op_type == "Conv" and node.input[1] in self.weights]

    @property
    def sums(self) -> list[onnx.NodeProto]:
        """Additions of two activations."""
        return [node for node in self.nodes if node.op_type == "Add" and all(one in self.shapes for one in node.input)]

    def source(self, tensor: str) -> str:
        """The tensor before SiLU and slicing."""
        while True:
            node = self.producer.get(tensor)
            before = self.before_silu(tensor)
            if node is not None and node.op_type == "Split":
                before = node.input[0]
            if before is None:
                return tensor
            tensor = before

    @property
    def stem(self) -> set[str]:
        """Names of the first convolutions."""
        return stem(Step(node.name, node.op_type == "Conv", node.input, node.output) for node in self.nodes)

    @property
    def attention(self) -> set[str]:
        """Names of the convolutions in attention, which read its reshaped values."""
        makers = {node.name: self.producer.get(node.input[0]) for node in self.convolutions}
        return {name for name, maker in makers.items() if maker is not None and maker.op_type == "Reshape"}

    def constant(self, name: str) -> np.ndarray | None:
        """The value of an initializer or Constant node."""
        if name in self.weights:
            return numpy_helper.to_array(self.weights[name])
        node = self.producer.get(name)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
        return None

    def before_silu(self, tensor: str) -> str | None:
        """The input of the SiLU that produces the tensor: x of x * Sigmoid(x)."""
        node = self.producer.get(tensor)
        if node is None or node.op_type != "Mul":
            return None
        for x, gate in (tuple(node.input), tuple(node.input)[::-1]):
            other = self.producer.get(gate)
            if other is not None and other.op_type == "Sigmoid" and other.input[0] == x:
                return str(x)
        return None

    def only_into_silu(self, tensor: str) -> bool:
        """Whether the tensor is used only by SiLU."""
        if tensor in self.outputs:
            return False
        for node in self.consumers.get(tensor, []):
            if node.op_type != "Sigmoid" and self.before_silu(node.output[0]) != tensor:
                return False
            if node.op_type == "Sigmoid" and any(
                self.before_silu(user.output[0]) != tensor for user in self.consumers.get(node.output[0], [])
            ):
                return False
        return bool(self.consumers.get(tensor))


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    found = next((one for one in node.attribute if one.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def read_graph(path: str | Path) -> Graph:
    """Reads an FP32 ONNX file: with head "raw" or "raw-e2e" from `yolort export`, or a classifier exported by
    Ultralytics.

    Weights may be in other files of the folder (external data).

    Raises FileNotFoundError; GraphError for anything else.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    if file.stat().st_size >= _MAX_BYTES:
        raise GraphError(f"{file} is larger than 2 GiB")
    try:
        model = onnx.load_model_from_string(file.read_bytes())
        _take_in_weights(model, file)
        onnx.checker.check_model(model)
        model = shape_inference.infer_shapes(model)
    except (DecodeError, onnx.checker.ValidationError, shape_inference.InferenceError, ValueError) as error:
        raise GraphError(f"{file} is not an ONNX model, or is damaged: {' '.join(str(error).split())[:300]}") from error
    graph = model.graph
    inputs = [one for one in graph.input if one.name not in {weight.name for weight in graph.initializer}]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise GraphError(f"{file}: expected one float input, an image; quantize an FP32 export")
    types = {node.op_type for node in graph.node}
    if types & _QUANTISED:
        raise GraphError(f"{file} is quantised already ({', '.join(sorted(types & _QUANTISED))}); use the FP32 export")
    if any(weight.data_type == TensorProto.FLOAT16 for weight in graph.initializer):
        raise GraphError(f"{file} holds FP16; use the FP32 export")
    read = Graph(model, file.name)
    head = read.contract.get("head")
    if read.task == "classify":
        if not read.convolutions:
            raise GraphError(f"{file}: expected a graph with convolutions to quantize")
        return read
    if head not in ("raw", "raw-e2e"):
        found = f"its head is '{head}'" if head else "it was not exported by yolort"
        raise GraphError(
            f"{file}: {found}. Decoded boxes and scores do not survive 8 bits; "
            "export the checkpoint with yolort export --head raw (or raw-e2e)"
        )
    if not read.convolutions or any(node.op_type != "Conv" for node in read.heads):
        raise GraphError(f"{file}: expected a graph that ends in convolutions, the raw maps of a YOLO head")
    return read


def _take_in_weights(model: onnx.ModelProto, file: Path) -> None:
    """Loads weights from other files of the model's folder (external data) into the model.

    Raises GraphError for files that are missing, in another folder, or too large in total.
    """
    room = _MAX_BYTES - file.stat().st_size
    for weight in model.graph.initializer:
        if not external_data_helper.uses_external_data(weight):
            continue
        told = {entry.key: entry.value for entry in weight.external_data}
        where = f"{file}: the weights in '{told.get('location', '')[:200]}'"
        try:
            room -= int(told["length"]) if "length" in told else (file.parent / told["location"]).stat().st_size
            if room <= 0:
                raise GraphError(f"{where} and its graph are larger than 2 GiB")
            external_data_helper.load_external_data_for_tensor(weight, str(file.parent))
        except (OSError, ValueError, KeyError, onnx.checker.ValidationError) as error:
            raise GraphError(f"{where} cannot be read: {' '.join(str(error).split())[:300]}") from error


def _contract(metadata: dict[str, str]) -> dict[str, Any]:
    try:
        own = json.loads(metadata.get("yolort", "{}"))
    except (ValueError, RecursionError):
        return {}
    return own if isinstance(own, dict) else {}


def _float_shapes(model: onnx.ModelProto, weights: dict[str, Any]) -> dict[str, list[int]]:
    graph = model.graph
    constants = {output for node in graph.node if node.op_type == "Constant" for output in node.output}
    shapes = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT and value.name not in weights and value.name not in constants:
            shapes[value.name] = [side.dim_value for side in kind.shape.dim]
    return shapes
