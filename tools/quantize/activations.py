"""Statistics of the activations of an ONNX detector, collected while it runs over images.

Only counters are kept per activation: minimum, maximum and mean of each channel, and a histogram. Statistics that can
be derived from others (concatenation, the bounds after SiLU, ...) are not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import yolort
from onnx import TensorProto, helper
from yolort.tools.models.onnx_graph import Graph, attribute
from yolort.tools.quantize.histogram import Histogram, silu

__all__ = ["Activations", "CalibrationError", "Range"]

_SILU_MINIMUM = (-1.2784645, -0.2784645)  # the minimum of x * sigmoid(x): position and value


class CalibrationError(yolort.Error):
    """The images cannot be used for calibration, or a calibration is damaged or belongs to another model."""


@dataclass(frozen=True)
class Range:
    """The range of an activation that INT8 covers."""

    low: float  # lower bound for an asymmetric quantizer; 0 or less
    high: float  # 0 or more
    peak: float  # for a symmetric quantizer: the largest magnitude


@dataclass
class _Seen:
    """Statistics of an activation: bounds and means per channel, or of the whole tensor if channels are not
    distinguished.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray | None = None
    histogram: Histogram | None = None


_PLANE, _ONE_CHANNEL = "yolort:plane", "yolort:one-channel"  # constants: axes, a shape
_KINDS = ("low", "high", "mean")  # per channel, measured
_AVERAGED = 64  # number of images for means, which are slow to compute

#: Operators whose bounds and histogram are derived from their inputs.
_DERIVED = {
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Concat", "Resize", "MaxPool", "Sigmoid",
    "Softmax",
}  # fmt: skip


class Activations:
    """Runs the graph and collects statistics."""

    def __init__(self, graph: Graph, batch: int, histograms: bool) -> None:
        self._graph = graph
        self._fixed = graph.shapes[graph.input.name][0]  # batch size; 0 if dynamic
        self.batch = self._fixed or batch
        self._averaged_images = 0
        self._low, self._high = np.full(1, np.inf), np.full(1, -np.inf)  # for all channels of all `_bounds`
        self._sum = np.zeros(1)  # sums of means, for all channels of all `_means`
        self._bounds = [name for name in graph.shapes if self._measured(name)]
        self._means = sorted(self._wanted_means())
        self._histograms = [name for name in graph.shapes if self._counted(name)] if histograms else []
        self._counts = {name: Histogram() for name in self._histograms}
        self._kinds = _KINDS if self._means else _KINDS[:2]
        self._session = self._prepare()

    # Tensors to measure: bounds of those that `_derive` has no rule for, and means of those that convolutions may read.

    def _measured(self, name: str) -> bool:
        if not self._counted(name) or self._graph.producer[name].op_type == "Split":
            return False
        return self._graph.before_silu(name) is None

    def _averaged(self, name: str) -> bool:
        node = self._graph.producer.get(name)
        return node is not None and (node.op_type == "MaxPool" or self._graph.before_silu(name) is not None)

    def _wanted_means(self) -> set[str]:
        """Tensors from which the means of convolution inputs are derived."""
        wanted, asked = set(), [node.input[0] for node in self._graph.convolutions]
        seen = set(asked)
        while asked:
            name = asked.pop()
            if name not in self._graph.shapes:  # no float activation
                continue
            if self._measured(name) or self._averaged(name):
                wanted.add(name)
            elif name in self._graph.producer:
                new = set(self._graph.producer[name].input) - seen
                seen |= new
                asked += new
        return wanted

    def _counted(self, name: str) -> bool:
        node = self._graph.producer.get(name)
        return node is not None and node.op_type not in _DERIVED

    def _prepare(self) -> onnxruntime.InferenceSession:
        """The graph with an output (images, channels of all tensors, 1, 1) for each kind in `_kinds`."""
        graph = self._graph
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        nodes, outputs = [], list(self._histograms)
        for kind in self._kinds:
            names = self._names(kind)
            parts = [f"yolort:{kind}:{name}" for name in names]
            for name, part in zip(names, parts, strict=True):
                nodes += _reduction(kind, name, part, graph.opset, _has_channels(graph.shapes[name]))
            nodes.append(helper.make_node("Concat", parts, [f"yolort:{kind}"], axis=1))
            outputs.append(f"yolort:{kind}")
        model.graph.node.extend(nodes)
        for constant, value in ((_PLANE, [2, 3]), (_ONE_CHANNEL, [0, 1, -1, 1])):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), constant))
        for name in outputs:
            if name not in graph.outputs:
                model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class
            raise CalibrationError(f"{graph.name}: onnxruntime cannot run it: {error}") from error

    def _names(self, kind: str) -> list[str]:
        return self._means if kind == "mean" else self._bounds

    def add(self, images: np.ndarray) -> None:
        """Runs the graph over images: (1 to `batch`, 3, height, width) float32."""
        count = len(images)
        if self._fixed and count < self.batch:  # padded by repeating one image, which is not counted
            images = np.concatenate([images, np.repeat(images[:1], self.batch - count, axis=0)])
        if self._averaged_images >= _AVERAGED and "mean" in self._kinds:
            self._kinds = _KINDS[:2]
            del self._session  # closed first, because the threads of two sessions in one process disturb each other
            self._session = self._prepare()
        asked = [*self._histograms, *(f"yolort:{kind}" for kind in self._kinds)]
        try:
            found = dict(zip(asked, self._session.run(asked, {self._graph.input.name: images}), strict=True))
        except Exception as error:
            raise CalibrationError(f"{self._graph.name}: onnxruntime failed to run it: {error}") from error
        seen = {kind: found[f"yolort:{kind}"].reshape(len(images), -1)[:count] for kind in self._kinds}
        for kind, values in seen.items():
            if not np.isfinite(values).all():
                column = int(np.flatnonzero(~np.isfinite(values).all(0))[0])
                name = next(name for name, part in self._parts(kind) if column < part.stop)
                raise CalibrationError(
                    f"{self._graph.name}: '{name}' is not finite on an image; the model is damaged, or overflows"
                )
        self._low = np.minimum(self._low, seen["low"].min(0))
        self._high = np.maximum(self._high, seen["high"].max(0))
        if "mean" in seen:
            self._averaged_images += count
            self._sum = self._sum + seen["mean"].sum(0, dtype=np.float64)
        for name in self._histograms:
            self._counts[name].add(found[name][:count])

    def _parts(self, kind: str) -> Iterator[tuple[str, slice]]:
        """The slice of each tensor's channels among all channels."""
        at = 0
        for name in self._names(kind):
            shape = self._graph.shapes[name]
            channels = shape[1] if _has_channels(shape) else 1
            yield name, slice(at, at + channels)
            at += channels

    def _derive(self) -> dict[str, _Seen]:
        """The statistics of every activation."""
        bounds = {name: (self._low[part], self._high[part]) for name, part in self._parts("low")}
        means = {name: self._sum[part] / self._averaged_images for name, part in self._parts("mean")}
        out = {self._graph.input.name: _Seen(np.zeros(3), np.ones(3))}  # always 0 to 1
        for node in self._graph.nodes:
            for index, name in enumerate(node.output):
                if name in bounds:
                    out[name] = _Seen(*bounds[name], means.get(name), self._counts.get(name))
                elif name in self._graph.shapes:
                    out[name] = self._derived(node, index, name, means.get(name), out)
        return out

    def _derived(
        self, node: onnx.NodeProto, index: int, name: str, mean: np.ndarray | None, known: dict[str, _Seen]
    ) -> _Seen:
        histogram = self._counts.get(name)
        sources = [known[taken] for taken in node.input if taken in known]
        kind = node.op_type
        x = self._graph.before_silu(name)
        if x is not None:
            return _Seen(*_silu_bounds(known[x].low, known[x].high), mean, histogram)
        first = sources[0]
        if kind == "Sigmoid":
            return _Seen(*(1 / (1 + np.exp(-np.clip(side, -80, 80))) for side in (first.low, first.high)))
        if kind == "Softmax":
            return _Seen(np.zeros(1), np.ones(1))
        if kind == "Concat" and attribute(node, "axis") == 1:
            return _joined(node, sources, self._graph.shapes)
        if kind == "Split" and attribute(node, "axis", 0) == 1 and len(first.low) > 1:
            sides = [self._graph.shapes[output][1] for output in node.output]
            part = slice(sum(sides[:index]), sum(sides[: index + 1]))
            return _Seen(first.low[part], first.high[part], None if first.mean is None else first.mean[part], histogram)
        if kind == "MaxPool":
            return _Seen(first.low, first.high, mean, first.histogram)
        if kind == "Resize":
            return first
        return _Seen(  # rearranged values, or another kind of concatenation
            np.array([min(one.low.min() for one in sources)]),
            np.array([max(one.high.max() for one in sources)]),
            None,
            histogram or _merged(sources),
        )

    def means(self) -> dict[str, np.ndarray]:
        """Means of the input channels of convolutions, if known."""
        taken = {node.input[0] for node in self._graph.convolutions}
        seen = self._derive()
        return {
            name: seen[name].mean.astype(np.float32)  # type: ignore[union-attr]
            for name in sorted(taken & set(seen))
            if seen[name].mean is not None
        }

    def ranges(self, method: str, percentile: float) -> dict[str, Range]:
        """The range of every activation."""
        out = {}
        for name, seen in self._derive().items():
            low, high = min(float(seen.low.min()), 0.0), max(float(seen.high.max()), 0.0)
            peak = max(-low, high)
            if seen.histogram is not None and method != "minmax":
                if method == "percentile":
                    bounds = seen.histogram.percentile(percentile)
                else:
                    threshold = seen.histogram.entropy()
                    bounds = -threshold, threshold
                low, high = max(low, min(bounds[0], 0.0)), min(high, max(bounds[1], 0.0))
                peak = min(peak, max(-bounds[0], bounds[1]))
                if self._graph.only_into_silu(name):
                    low, high = seen.histogram.silu_range()
            out[name] = Range(*(float(f"{value:.8g}") for value in (low, high, peak)))
        return out


def _has_channels(shape: Sequence[int]) -> bool:
    """Whether the shape is (n, c, height, width) with a known c."""
    return len(shape) == 4 and shape[1] > 0


def _reduction(kind: str, name: str, to: str, opset: int, channels: bool) -> list[onnx.NodeProto]:
    """Nodes that reduce a tensor to (images, channels, 1, 1); with one channel if channels are not distinguished."""
    nodes = []
    if not channels:
        nodes.append(helper.make_node("Reshape", [name, _ONE_CHANNEL], [f"{to}:flat"]))
        name = f"{to}:flat"
    if kind != "low":  # twice as fast as ReduceMax and ReduceMean
        nodes.append(helper.make_node("GlobalMaxPool" if kind == "high" else "GlobalAveragePool", [name], [to]))
    elif opset >= 18:  # axes became an input in this opset
        nodes.append(helper.make_node("ReduceMin", [name, _PLANE], [to]))
    else:
        nodes.append(helper.make_node("ReduceMin", [name], [to], axes=[2, 3]))
    return nodes


def _silu_bounds(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = silu(low), silu(high)
    at, least = _SILU_MINIMUM
    lowest = np.where((low < at) & (high > at), least, np.minimum(*ends))
    return lowest, np.maximum(*ends)


def _merged(sources: Sequence[_Seen]) -> Histogram | None:
    if any(one.histogram is None for one in sources):
        return None
    out = Histogram()
    for one in sources:
        out.merge(one.histogram)  # type: ignore[arg-type]
    return out


def _joined(node: onnx.NodeProto, sources: Sequence[_Seen], shapes: dict[str, list[int]]) -> _Seen:
    """Whether a node concatenates channels."""
    sides = [shapes[taken][1] for taken in node.input if taken in shapes]
    wide = [
        (np.broadcast_to(one.low, side), np.broadcast_to(one.high, side), one.mean)
        if len(one.low) in (1, side)
        else (one.low, one.high, one.mean)
        for one, side in zip(sources, sides, strict=True)
    ]
    means = [mean for _, _, mean in wide if mean is not None]
    return _Seen(
        np.concatenate([low for low, _, _ in wide]),
        np.concatenate([high for _, high, _ in wide]),
        np.concatenate(means) if len(means) == len(wide) else None,
        _merged(sources),
    )
