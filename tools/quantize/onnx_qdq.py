"""INT8 for ONNX: placement of the Q/DQ pairs for each engine."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from yolort.tools.models.onnx_graph import Graph, attribute
from yolort.tools.quantize.calibrate import Calibration
from yolort.tools.quantize.rounding import bias_shift, round_weights

__all__ = ["PLACEMENTS", "Placement", "dynamic", "static", "weights_only"]


@dataclass(frozen=True)
class Placement:
    """The placement and kind of Q/DQ pairs for a target."""

    operators: tuple[str, ...]  # operators that get Q/DQ; for a single one, only its input is quantized
    signed: bool  # activations
    symmetric: bool
    stem: bool  # whether the first convolutions are INT8


#: ONNX Runtime runs an operator in INT8 only between two Q/DQ pairs, so it needs a pair after every operator: SiLU
#: becomes a lookup table and a product of bytes. OpenVINO and TensorRT fuse a convolution with the float operators
#: after it, and a pair in between would prevent that. Attention stays float: it is small, and INT8 is slower there. On
#: ONNX Runtime the stem also stays float, which is faster and more accurate.
_EVERY = ("Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize", "Split")
#: The placement for each target, see `yolort.tools._formats`.
PLACEMENTS = {
    "openvino": Placement(("Conv",), False, False, True),
    "onnxruntime": Placement(_EVERY, False, False, False),
    "arm": Placement(_EVERY, True, False, False),
    "gpu": Placement(("Conv",), True, True, True),
}


def static(
    graph: Graph,
    calibration: Calibration,
    placement: Placement,
    floats: Collection[str] = (),
    *,
    per_channel: bool = True,
    reduce_range: bool = False,
) -> onnx.ModelProto:
    """Quantizes weights and activations to INT8, except for the convolutions `floats` (node names).

    Args:
        per_channel: use one weight scale per output channel instead of one per tensor.
        reduce_range: use 7-bit weights, for x86 without VNNI, whose INT8 products saturate at 16 bits.

    Each bias is shifted to compensate the change of the output's mean by rounding the weights (`bias_shift`).
    """
    model = _copy(graph)
    _correct_biases(model, graph, calibration, floats, per_channel, reduce_range)
    ranges = {}
    for name, found in calibration.ranges.items():
        low, high = (-found.peak, found.peak) if placement.symmetric else (found.low, found.high)
        if high - low < 1e-9:  # an activation that is always zero
            high = 1e-6
        ranges[name] = TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
    alone = len(placement.operators) == 1
    kind = QuantType.QInt8 if placement.signed else QuantType.QUInt8
    with _quiet():
        quantizer = QDQQuantizer(
            model,
            per_channel,
            reduce_range,
            QuantType.QInt8,
            kind,
            TensorsData(CalibrationMethod.MinMax, ranges),
            [],
            _excluded(graph, placement, floats),
            list(placement.operators),
            {
                "ActivationSymmetric": placement.symmetric,
                "OpTypesToExcludeOutputQuantization": ["Conv"] if alone else [],
                "QuantizeBias": not alone,
            },
        )
        quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    return made


def weights_only(graph: Graph, floats: Collection[str] = (), *, per_channel: bool = True) -> onnx.ModelProto:
    """Stores weights in INT8 and computes in float: a quarter of the file size, but not faster."""
    model = _copy(graph)
    stored = {one.name: one for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1] in stored and node.name not in floats:
            name = node.input[1]
            values, scale = round_weights(numpy_helper.to_array(stored.pop(name)), per_channel=per_channel)
            parts = {f"{name}_int8": values, f"{name}_scale": scale, f"{name}_zero": np.zeros(scale.shape, np.int8)}
            for part, value in parts.items():
                stored[part] = numpy_helper.from_array(value, part)
            back = onnx.helper.make_node("DequantizeLinear", list(parts), [f"{name}_float"], axis=0)
            node.input[1] = f"{name}_float"
            nodes.append(back)
        nodes.append(node)
    _replace(model.graph.node, nodes)
    _replace(model.graph.initializer, list(stored.values()))
    return model


def dynamic(graph: Graph, floats: Collection[str], folder: Path, *, per_channel: bool = True) -> onnx.ModelProto:
    """Quantizes weights to INT8 and computes activation ranges at run time; needs no calibration."""
    source, made = folder / "float.onnx", folder / "dynamic.onnx"
    onnx.save(_copy(graph), source)
    with _quiet():
        quantize_dynamic(
            source,
            made,
            op_types_to_quantize=["Conv"],
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(floats),
        )
    return onnx.load(made)


def _excluded(graph: Graph, placement: Placement, floats: Collection[str]) -> list[str]:
    """Names of nodes without Q/DQ: the float convolutions with their SiLU, and attention."""
    out = set(floats)
    for node in graph.nodes:
        if node.name in floats:
            for user in graph.consumers.get(node.output[0], []):
                if user.op_type == "Sigmoid" or graph.before_silu(user.output[0]) == node.output[0]:
                    out.add(user.name)
    if len(placement.operators) > 1:
        out |= {node.name for node in graph.nodes if node.op_type != "Conv" and _in_attention(graph, node)}
    return sorted(out)


def _in_attention(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node belongs to attention: another rank, or a product with a constant."""
    shapes = [graph.shapes.get(name) for name in (*node.input[:1], *node.output[:1])]
    scaled = node.op_type == "Mul" and any(graph.constant(name) is not None for name in node.input)
    split = node.op_type == "Split" and attribute(node, "axis", 0) != 1
    return scaled or split or any(shape is not None and len(shape) != 4 for shape in shapes)


def _correct_biases(
    model: onnx.ModelProto,
    graph: Graph,
    calibration: Calibration,
    floats: Collection[str],
    per_channel: bool,
    reduce_range: bool,
) -> None:
    stored = {one.name: one for one in model.graph.initializer}
    for node in graph.convolutions:
        means = calibration.means.get(node.input[0])
        if node.name in floats or means is None or len(node.input) < 3 or node.input[2] not in stored:
            continue
        weights = numpy_helper.to_array(stored[node.input[1]])
        values, scale = round_weights(weights, per_channel=per_channel, levels=64 if reduce_range else 127)
        shift = bias_shift(weights, values, scale, means, attribute(node, "group", 1))
        bias = numpy_helper.to_array(stored[node.input[2]]) + shift
        stored[node.input[2]].CopyFrom(numpy_helper.from_array(bias, node.input[2]))


def _copy(graph: Graph) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    return model


def _replace(field: Any, values: Sequence[object]) -> None:
    del field[:]
    field.extend(values)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences onnxruntime.quantization, which uses the root logger; yolort checks these problems itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
