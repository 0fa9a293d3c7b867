"""INT8 for NCNN: reads an FP32 `.param` and `.bin`, and writes them with INT8 convolutions and their scales.

The format is that of ncnn's own ncnn2int8. In the `.param`, key 8 is 2 for Convolution and 1 for ConvolutionDepthWise,
plus 100 if the output is also INT8. The `.bin` holds weights, bias, weight scales, input scale and, for INT8 output,
output scale. Scales are factors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from yolort.tools._hash import array_sha256
from yolort.tools.models.stem import Step, stem
from yolort.tools.quantize.activations import CalibrationError
from yolort.tools.quantize.calibrate import Calibration, Convolution
from yolort.tools.quantize.ncnn_model import Layer, write
from yolort.tools.quantize.rounding import bias_shift, round_weights

__all__ = ["attention", "convolutions", "first_convolutions", "heads", "write_int8"]

_ACTIVATIONS = ("Swish", "Sigmoid", "ReLU")
_FUSED_ACTIVATIONS = ("0", "1", "2")  # none, ReLU, leaky ReLU: activations that ncnn applies before requantization


def convolutions(layers: list[Layer], calibration: Calibration) -> dict[str, list[Convolution]]:
    """The tensor of each convolution in the calibrated graph (or two with half the outputs each), identified by the
    weights.

    Raises CalibrationError if a convolution is not found.
    """
    known: dict[str, list[Convolution]] = {}
    for one in calibration.convolutions:
        known.setdefault(one.weights, []).append(one)

    def take(weights: np.ndarray) -> Convolution | None:
        same = known.get(array_sha256(weights), [])
        return same.pop(0) if len(same) > 1 else next(iter(same), None)

    out = {}
    for layer in layers:
        if layer.weights is not None:
            # A convolution here may be two with half the channels in the ONNX export.
            middle = len(layer.weights) // 2
            whole = take(layer.weights)
            found = [whole] if whole else [take(layer.weights[:middle]), take(layer.weights[middle:])]
            if None in found:
                raise CalibrationError(
                    f"the weights of layer '{layer.name}' are not in the model that was calibrated "
                    f"({calibration.model}, head {calibration.head}); calibrate an export of the same checkpoint"
                )
            out[layer.name] = [one for one in found if one is not None]
    return out


def heads(layers: list[Layer]) -> set[str]:
    """Names of the convolutions that produce the outputs, activated or not."""
    taken = {blob for layer in layers for blob in layer.bottoms}
    made = {top: layer for layer in layers for top in layer.tops}
    found = set()
    for name in made.keys() - taken:
        layer = made[name]
        while layer.type in _ACTIVATIONS and layer.bottoms[0] in made:
            layer = made[layer.bottoms[0]]
        if layer.weights is not None:
            found.add(layer.name)
    return found


def score_branches(layers: list[Layer], classes: int) -> set[str]:
    """Names of the convolutions between the neck and the scores (outputs with one channel per class)."""
    made = {top: layer for layer in layers for top in layer.tops}
    last = heads(layers)
    out = set()
    for layer in layers:
        if layer.name not in last or layer.weights is None or len(layer.weights) != classes:
            continue
        while len(layer.bottoms) == len(layer.tops) == 1 and layer.bottoms[0] in made:
            layer = made[layer.bottoms[0]]  # up to the layer that splits a map of the neck
            if layer.weights is not None:
                out.add(layer.name)
    return out


def first_convolutions(layers: list[Layer]) -> set[str]:
    """Names of the stem."""
    return stem(Step(layer.name, layer.weights is not None, layer.bottoms, layer.tops) for layer in layers)


def attention(layers: list[Layer]) -> set[str]:
    """Names of the convolutions in attention, which read its reshaped values."""
    reshaped = {blob for layer in layers if layer.type == "Reshape" for blob in layer.tops}
    return {layer.name for layer in layers if layer.weights is not None and layer.bottoms[0] in reshaped}


def write_int8(
    layers: list[Layer],
    calibration: Calibration,
    tensors: Mapping[str, Sequence[Convolution]],
    folder: Path,
    floats: Collection[str] = (),
    *,
    per_channel: bool = True,
) -> None:
    """Writes model.ncnn.param, model.ncnn.bin and model.ncnn.table; the convolutions `floats` stay FP32.

    The table is the text input of ncnn's ncnn2int8. A per-tensor scale is repeated for each channel. `tensors`: the
    result of `convolutions`.
    """
    inputs: dict[str, float] = {}
    table = []
    for layer in layers:
        if layer.weights is None or layer.name in floats:
            continue
        taken = tensors[layer.name][0].input
        found = calibration.ranges.get(taken)
        if found is None:
            raise CalibrationError(f"the calibration has no range for '{taken}'")
        values, scale = round_weights(layer.weights, per_channel=per_channel)
        shift = bias_shift(layer.weights, values, scale, calibration.means.get(taken), layer.groups)
        if layer.bias is not None:
            layer.bias = layer.bias + shift
        inputs[layer.name] = 127 / max(found.peak, 1e-6)
        factors = np.broadcast_to(1 / scale, len(layer.weights)).astype(np.float32)
        layer.values = values
        layer.scales = [factors, np.array([inputs[layer.name]], np.float32)]
        layer.keys["8"] = "2" if layer.type == "Convolution" else "1"
        table.append((layer.name, factors, inputs[layer.name]))
    _fuse_requantisation(layers, inputs)
    write(layers, folder)
    rows = [f"{name}_param_0 {' '.join(f'{factor:.9g}' for factor in factors)}" for name, factors, _ in table]
    rows += [f"{name} {factor:.9g}" for name, _, factor in table]
    (folder / "model.ncnn.table").write_text("\n".join([*rows, ""]), encoding="ascii")


def _fuse_requantisation(layers: list[Layer], inputs: dict[str, float]) -> None:
    """If an INT8 convolution feeds only another one, its output is INT8."""
    takers = {blob: layer for layer in layers for blob in layer.bottoms}  # the only consumer: no Split
    for layer in layers:
        taker = takers.get(layer.tops[0]) if layer.name in inputs else None
        if taker is not None and taker.name in inputs and layer.keys.get("9", "0") in _FUSED_ACTIVATIONS:
            layer.keys["8"] = str(int(layer.keys["8"]) + 100)
            layer.scales.append(np.array([inputs[taker.name]], np.float32))
