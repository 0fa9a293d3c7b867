"""Converts an FP32 graph to an INT8 graph of yolort's own NCNN layers.

Maps stay INT8 from convolution to convolution: an activation becomes a table of 256 bytes in the preceding convolution;
slices, concatenations and enlarged maps become ranges of channels that the next layer reads in place, with their
quantization steps folded into its weights. docs/development/int8-ncnn.md describes the layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from yolort.tools.models.onnx_graph import GraphError
from yolort.tools.quantize.activations import CalibrationError, Range
from yolort.tools.quantize.calibrate import Calibration, Convolution
from yolort.tools.quantize.histogram import silu
from yolort.tools.quantize.ncnn_model import Layer
from yolort.tools.quantize.ncnn_parts import Part, cut, joined, quantizer, ranges, real, table
from yolort.tools.quantize.rounding import bias_shift, round_weights

__all__ = ["convert"]

_MAX_INPUTS = 16  # per convolution (cpp/src/engines/ncnn/int8/convolution.cpp)
_MAX_SCALE = 0.5  # for converting sums to bytes (cpp/src/engines/ncnn/int8/weights.cpp)
_MAX_DEPTH = 1 << 15  # maximum number of weights per output, so that sums fit in 32 bits


@dataclass
class _Value:
    """The replacement of a blob of the FP32 graph: parts of INT8 blobs, a float blob, or both."""

    parts: tuple[Part, ...] = ()
    float_blob: str = ""


@dataclass
class _Converter:
    calibration: Calibration
    tensors: dict[str, list[Convolution]]  # calibrated tensors of each convolution
    floats: Collection[str]
    per_channel: bool
    values: dict[str, _Value] = field(default_factory=dict)
    out: list[Layer] = field(default_factory=list)
    takers: dict[str, list[Layer]] = field(default_factory=dict)
    fused: set[str] = field(default_factory=set)  # names of activations merged into a convolution

    def run(self, layers: list[Layer]) -> list[Layer]:
        aliases: dict[str, str] = {}
        for layer in layers:
            layer.bottoms = [aliases.get(blob, blob) for blob in layer.bottoms]
            if layer.type == "Split":
                aliases |= dict.fromkeys(layer.tops, layer.bottoms[0])
            for blob in layer.bottoms if layer.type != "Split" else ():
                self.takers.setdefault(blob, []).append(layer)
        rules = {
            "Convolution": self._convolution,
            "ConvolutionDepthWise": self._depthwise,
            "BinaryOp": self._add,
            "Pooling": self._max_pool,
            "Interp": self._interp,
            "Concat": self._concat,
            "Slice": self._slice,
        }
        for layer in layers:
            if layer.type == "Split" or layer.name in self.fused:
                continue
            rule = rules.get(layer.type)
            if rule is None or not rule(layer):
                self._keep_float(layer)
        for layer in layers:
            for top in layer.tops:
                if layer.type != "Split" and top not in self.takers and top in self.values:
                    self._float(top, top)
        read = {blob for layer in self.out for blob in layer.bottoms}  # a rule may give up after requesting a map
        return _with_splits([one for one in self.out if one.type != "Int8Quantize" or one.tops[0] in read])

    # Converts between float and INT8 blobs.

    def _keep_float(self, layer: Layer) -> None:
        layer.bottoms = [self._float(blob) for blob in layer.bottoms]
        self.out.append(layer)
        self.values |= {top: _Value(float_blob=top) for top in layer.tops}

    def _float(self, blob: str, name: str = "") -> str:
        """The float blob of a value, created if missing."""
        value = self.values[blob]
        if not value.float_blob:
            value.float_blob = name or f"{blob}_float"
            pieces = [
                value.float_blob if len(value.parts) == 1 and not part.doubled else f"{value.float_blob}_{index}"
                for index, part in enumerate(value.parts)
            ]
            for part, piece in zip(value.parts, pieces, strict=True):
                keys = {
                    "1": real(part.step),
                    "5": str(part.zero),
                    **ranges([dataclasses.replace(part, doubled=False)]),
                }
                self.out.append(Layer("Int8Dequantize", f"dequantize_{piece}", [part.blob], [piece], keys))
            for index, part in enumerate(value.parts):
                if part.doubled:
                    larger = value.float_blob if len(pieces) == 1 else f"{pieces[index]}_2x"
                    keys = {"0": "1", "1": "2.0", "2": "2.0", "6": "0"}
                    self.out.append(Layer("Interp", f"enlarge_{larger}", [pieces[index]], [larger], keys))
                    pieces[index] = larger
            if len(pieces) > 1:
                self.out.append(Layer("Concat", f"join_{value.float_blob}", pieces, [value.float_blob], {"0": "0"}))
        return value.float_blob

    def _parts(self, blob: str, channels: int, found: Range | None) -> list[Part]:
        """The INT8 parts of a value; a float blob is quantized with the range `found`."""
        value = self.values[blob]
        if not value.parts and found is not None:
            step, zero = quantizer(found)
            name = f"{blob}_int8"
            keys = {"1": real(1 / step), "5": str(zero)}
            self.out.append(Layer("Int8Quantize", f"quantize_{blob}", [value.float_blob], [name], keys))
            value.parts = (Part(name, 0, (channels + 3) // 4 * 4, step, zero, blob),)
        return joined(value.parts)

    # One rule per layer type; returning False keeps the layer in float.

    def _convolution(self, layer: Layer) -> bool:
        assert layer.weights is not None
        size, stride, channels = layer.weights.shape[2], layer.number("3", 1), layer.weights.shape[1]
        if layer.name in self.floats or not _is_plain(layer, (1, 3)) or (channels % 4 and channels != 3):
            return False
        parts = self._parts(layer.bottoms[0], channels, self._range([self.tensors[layer.name][0].input]))
        one = len(parts) == 1 and not parts[0].doubled
        if (not one and (size == 3 or stride != 1)) or len(parts) > _MAX_INPUTS or not parts:
            return False
        if size * size * sum(part.channels for part in parts) >= _MAX_DEPTH:
            return False
        return self._multiply(layer, parts, "Int8Convolution")

    def _depthwise(self, layer: Layer) -> bool:
        assert layer.weights is not None
        if layer.name in self.floats or not _is_plain(layer, (3,)) or layer.weights.shape[1] != 1:
            return False
        if len(layer.weights) % 4:
            return False
        parts = self._parts(layer.bottoms[0], len(layer.weights), self._range([self.tensors[layer.name][0].input]))
        if len(parts) != 1 or parts[0].doubled or self._gives_float(layer.tops[0]):
            return False
        return self._multiply(layer, parts, "Int8Depthwise")

    def _add(self, layer: Layer) -> bool:
        both = [self.values[blob].parts for blob in layer.bottoms]
        if layer.number("0", 0) != 0 or layer.number("1", 0) or any(len(parts) != 1 for parts in both):
            return False
        a, b = both[0][0], both[1][0]
        assert self.calibration.sums is not None
        name = next((one.output for one in self.calibration.sums if {one.a, one.b} == {a.source, b.source}), "")
        if not name or a.channels != b.channels or a.doubled or b.doubled:
            return False
        found = self._range([name])
        assert found
        step, zero = quantizer(found)
        offset = zero - a.zero * a.step / step - b.zero * b.step / step
        keys = {
            "1": real(a.step / step),
            "2": real(b.step / step),
            "3": real(offset),
            "5": str(zero),
            **ranges((a, b)),
        }
        made = self._map(layer.tops[0])
        self.out.append(Layer("Int8Add", layer.name, [a.blob, b.blob], [made], keys))
        self._give(layer.tops[0], Part(made, 0, a.channels, step, zero, name))
        return True

    def _max_pool(self, layer: Layer) -> bool:
        parts = joined(self.values[layer.bottoms[0]].parts)
        size, made = layer.number("1", 0), self._map(layer.tops[0])
        if len(parts) != 1 or parts[0].doubled or layer.number("0", 0) or layer.number("4", 0) or size % 2 == 0:
            return False
        strides, half = [layer.number("2", 1), layer.number("12", 1)], size // 2
        padding = [layer.number("3", 0), layer.number("13", half)]
        if (
            layer.number("11", size) != size
            or strides != [1, 1]
            or padding != [half, half]
            or set(layer.keys) - {"0", "1", "11", "12", "13", "2", "3", "5"}
        ):
            return False
        keys = {"1": str(size), "5": str(parts[0].zero), **ranges(parts)}
        self.out.append(Layer("Int8MaxPool", layer.name, [parts[0].blob], [made], keys))
        self._give(layer.tops[0], dataclasses.replace(parts[0], blob=made, offset=0))
        return True

    def _interp(self, layer: Layer) -> bool:
        parts = self.values[layer.bottoms[0]].parts
        twice = [float(layer.keys.get(key, "1")) for key in ("1", "2")] == [2.0, 2.0]
        if not parts or not twice or layer.keys.get("0") != "1" or any(part.doubled for part in parts):
            return False
        self._give(layer.tops[0], *(dataclasses.replace(part, doubled=True) for part in parts))
        return True

    def _concat(self, layer: Layer) -> bool:
        parts = [part for blob in layer.bottoms for part in self.values[blob].parts]
        if layer.number("0", 0) or not all(self.values[blob].parts for blob in layer.bottoms):
            return False
        self._give(layer.tops[0], *parts)
        return True

    def _slice(self, layer: Layer) -> bool:
        parts = self.values[layer.bottoms[0]].parts
        sizes = [int(size) for size in layer.keys.get("-23300", "0").split(",")[1:]]
        if not parts or layer.number("1", 0) or min(sizes, default=0) <= 0:
            return False
        start = 0
        pieces = []
        for size in sizes:
            pieces.append(cut(parts, start, size))
            start += size
        if any(part.channels % 4 for piece in pieces for part in piece):
            return False
        for top, piece in zip(layer.tops, pieces, strict=True):
            self._give(top, *piece)
        return True

    # State and helpers shared by the rules.

    def _map(self, top: str) -> str:
        """The name of an INT8 blob; differs if the name is used by a float output of the network."""
        return top if top in self.takers else f"{top}_int8"

    def _give(self, blob: str, *parts: Part) -> None:
        self.values[blob] = _Value(parts)

    def _range(self, names: Iterable[str]) -> Range | None:
        """A range that covers all the tensors."""
        found = []
        for name in names:
            if name not in self.calibration.ranges:
                raise CalibrationError(f"the calibration has no range for '{name}'")
            found.append(self.calibration.ranges[name])
        low, high = min(one.low for one in found), max(one.high for one in found)
        return Range(low, high, max(one.peak for one in found))

    def _gives_float(self, blob: str) -> bool:
        """Whether a blob is an output of the network, or is read by layers that are never INT8."""
        takers = self.takers.get(blob, [])
        return all(taker.type in ("Reshape", "Permute", "MatMul", "Softmax") for taker in takers)

    def _multiply(self, layer: Layer, parts: Sequence[Part], type_: str) -> bool:
        """Adds the convolution, with the activation after it."""
        assert layer.weights is not None
        outputs, top, activation = len(layer.weights), layer.tops[0], layer.keys.get("9", "0")
        taker = self.takers.get(top, [])
        swish = len(taker) == 1 and taker[0].type == "Swish"
        tensors = self.tensors[layer.name]
        as_float = not swish and activation == "0" and self._gives_float(top)
        if activation not in ("0", "1") or (outputs % 4 and not as_float):
            return False
        step, zero = (1.0, 0) if as_float else quantizer(self._range(one.output for one in tensors))
        lookup, after = None, (step, zero)
        if swish or activation == "1":
            lookup, after = table(step, zero, silu if swish else lambda x: np.maximum(x, 0))
        rounded = self._rounded(layer, parts, step, zero)
        if rounded is None:
            return False
        values, bias, scale = rounded
        keys = {"0": str(outputs), "1": str(layer.weights.shape[2]), "3": layer.keys.get("3", "1"), "5": str(after[1])}
        keys |= {"6": str(values.size), "7": str(int(as_float)), "8": str(int(lookup is not None)), **ranges(parts)}
        plain = bias.tobytes() + scale.tobytes() + (b"" if lookup is None else lookup.tobytes())
        if swish:
            self.fused.add(taker[0].name)
            top = taker[0].tops[0]
        made = top if as_float else self._map(top)
        bottoms = [part.blob for part in parts]
        self.out.append(Layer(type_, layer.name, bottoms, [made], keys, values=values, plain=plain))
        if as_float:
            self.values[top] = _Value(float_blob=top)
        else:
            each = outputs // len(tensors)
            self._give(top, *(Part(made, each * i, each, *after, one.output) for i, one in enumerate(tensors)))
        return True

    def _rounded(
        self, layer: Layer, parts: Sequence[Part], step: float, zero: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Values (out, height, width, in) int8, and bias int32 and scale float32 of each output; None if they are out
        of range.

        With values v and input bytes x, the result is scale * (bias + sum(v * x)); the bias includes the input's zeros.
        """
        assert layer.weights is not None
        steps = np.repeat([part.step for part in parts], [part.channels for part in parts])
        zeros = np.repeat([part.zero for part in parts], [part.channels for part in parts])
        means = self.calibration.means.get(self.tensors[layer.name][0].input)
        weights = layer.weights
        if layer.groups > 1:
            weights = weights * steps[:, None, None, None]
        else:  # pixels of the input image have four bytes
            weights = np.pad(weights, ((0, 0), (0, len(steps) - weights.shape[1]), (0, 0), (0, 0)))
            weights = weights * steps[None, :, None, None]
        if means is not None:
            means = np.pad(means, (0, max(0, len(steps) - len(means))))
            means = means / steps if len(means) == len(steps) else None
        values, factors = round_weights(weights.astype(np.float32), per_channel=self.per_channel)
        factors = np.broadcast_to(factors, len(values))
        shift = bias_shift(weights, values, factors, means, layer.groups)
        bias = np.zeros(len(values)) if layer.bias is None else layer.bias.astype(np.float64) + shift
        bias = bias + zero * step
        # The scale of a channel without weights is arbitrary.
        factors = np.where(np.abs(values).reshape(len(values), -1).any(1), factors, np.abs(bias) / 1e6 + 1e-9)
        scale = (factors / step).astype(np.float32)
        whole = values.astype(np.int64)
        taken = (whole.sum((2, 3))[:, 0] * zeros) if layer.groups > 1 else (whole.sum((2, 3)) * zeros).sum(1)
        sums = np.round(bias / factors) - taken
        if scale.max() > _MAX_SCALE or np.abs(sums).max() >= 1 << 30:
            return None
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1)), sums.astype("<i4"), scale.astype("<f4")


def convert(
    layers: list[Layer],
    calibration: Calibration,
    tensors: dict[str, list[Convolution]],
    floats: Collection[str] = (),
    *,
    per_channel: bool = True,
) -> list[Layer]:
    """The layers of the INT8 graph; `layers` are changed.

    Args:
        layers: of the FP32 model.
        calibration: of the same checkpoint.
        tensors: the calibrated tensor of each convolution.
        floats: names of the convolutions that stay float.
        per_channel: use one weight scale per output channel.

    Raises CalibrationError if the calibration is incomplete.
    """
    if calibration.sums is None:
        raise CalibrationError(
            "the calibration was written by an older yolort; calibrate again, or write --stock layers"
        )
    return _Converter(calibration, tensors, floats, per_channel).run(layers)


def _is_plain(layer: Layer, sizes: Collection[int]) -> bool:
    """Whether it is a centered square kernel of one of the sizes, with stride 1 or 2 and no dilation."""
    size, stride, pad = layer.number("1", 0), layer.number("3", 1), layer.number("4", 0)
    same = (
        layer.number("11", size) == size,
        layer.number("13", stride) == stride,
        all(layer.number(key, pad) == pad for key in ("14", "15", "16")),
        layer.number("2", 1) == 1 and layer.number("12", 1) == 1,
        pad == size // 2,
        stride in (1, 2),
    )
    return size in sizes and all(same)


def _with_splits(layers: list[Layer]) -> list[Layer]:
    """The layers, with a Split after every blob that feeds several inputs."""
    uses: dict[str, int] = {}
    for layer in layers:
        for blob in layer.bottoms:
            uses[blob] = uses.get(blob, 0) + 1
    names = {blob: [f"{blob}_split_{i}" for i in range(count)] for blob, count in uses.items() if count > 1}
    left = {blob: iter(tops) for blob, tops in names.items()}
    out = []
    for layer in layers:
        layer.bottoms = [next(left[blob]) if blob in left else blob for blob in layer.bottoms]
        out.append(layer)
        out += [Layer("Split", f"split_{top}", [top], names[top], {}) for top in layer.tops if top in names]
    if not out:
        raise GraphError("the model has no layers")
    return out
