"""What the activations of an ONNX detector hold, counted while it runs over images.

Of each activation only counters are kept: the lowest and highest value and the mean of each channel and a histogram.
What follows from them without looking (concatenation, the bounds behind SiLU, ...) is not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import yolort
from onnx import TensorProto, helper
from yolort.tools.graph import Graph, attribute
from yolort.tools.histogram import Histogram, silu

__all__ = ["Activations", "CalibrationError", "Range"]

_SILU_MINIMUM = (-1.2784645, -0.2784645)  # where x * sigmoid(x) is lowest, and how low


class CalibrationError(yolort.Error):
    """Images that nothing can be calibrated on, or a calibration that is damaged or of another model."""


@dataclass(frozen=True)
class Range:
    """What INT8 has to hold of an activation."""

    low: float  # of an asymmetric quantiser; 0 or less
    high: float  # 0 or more
    peak: float  # of a symmetric one: the largest magnitude


@dataclass
class _Seen:
    """Of an activation: bounds and means of its channels, or of the whole where they are not told apart."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray | None = None
    histogram: Histogram | None = None


#: Operators that only move values.
_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}


class Activations:
    """Runs the graph, and keeps what it saw.

    `input` is (batch, 3, height, width) float32, to be filled before `add`.
    """

    def __init__(self, graph: Graph, size: tuple[int, int], batch: int, histograms: bool) -> None:
        self._graph = graph
        fixed = graph.shapes[graph.input.name][0]
        self.batch = fixed or batch
        self.input = np.zeros((self.batch, 3, *size), np.float32)
        self._seen: dict[str, _Seen] = {}
        self._images = 0
        self._means = [name for name in graph.shapes if self._measured(name) or self._averaged(name)]
        self._bounds = [name for name in self._means if self._measured(name)]
        self._histograms = [name for name in graph.shapes if self._counted(name)] if histograms else []
        self._session = self._prepare()

    # What is measured: bounds of what no rule of `_derive` gives; means of what convolutions may take.

    def _measured(self, name: str) -> bool:
        node = self._graph.producer.get(name)
        known = {*_MOVES, "Split", "Concat", "Resize", "MaxPool", "Sigmoid", "Softmax"}
        return node is not None and node.op_type not in known and self._graph.before_silu(name) is None

    def _averaged(self, name: str) -> bool:
        node = self._graph.producer.get(name)
        return node is not None and (node.op_type == "MaxPool" or self._graph.before_silu(name) is not None)

    def _counted(self, name: str) -> bool:
        node = self._graph.producer.get(name)
        known = {*_MOVES, "Concat", "Resize", "MaxPool", "Sigmoid", "Softmax"}
        return node is not None and node.op_type not in known

    def _prepare(self) -> onnxruntime.InferenceSession:
        graph = self._graph
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        nodes, asked = [], []

        def reduce(operator: str, name: str, by: str) -> None:
            spatial = len(graph.shapes[name]) == 4
            inputs, options = [name], {"keepdims": 0}
            if spatial and operator == "ReduceMin":
                if graph.opset >= 18:  # axes became an input
                    inputs.append("yolort:axes")
                else:
                    options["axes"] = [2, 3]
            if spatial and operator == "ReduceMax":  # the same, and twice as fast
                nodes.append(helper.make_node("GlobalMaxPool", [name], [by]))
            elif spatial and operator == "ReduceMean":
                nodes.append(helper.make_node("GlobalAveragePool", [name], [by]))
            else:
                nodes.append(helper.make_node(operator, inputs, [by], **options))
            asked.append(by)

        for name in self._bounds:
            reduce("ReduceMin", name, f"yolort:low:{name}")
            reduce("ReduceMax", name, f"yolort:high:{name}")
        for name in self._means:
            reduce("ReduceMean", name, f"yolort:mean:{name}")
        if graph.opset >= 18:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "yolort:axes"))
        model.graph.node.extend(nodes)
        told = set(graph.outputs)
        for name in [*asked, *(name for name in self._histograms if name not in told)]:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base class
            raise CalibrationError(f"{graph.name}: onnxruntime cannot run it: {error}") from error
        self._asked = [*asked, *self._histograms]
        return session

    def add(self, count: int) -> None:
        """Runs the first `count` images of `input`, and the rest with them where the batch is fixed."""
        dynamic = self._graph.shapes[self._graph.input.name][0] == 0
        if not dynamic and count < self.batch:
            self.input[count:] = self.input[:1]  # counted again: bounds stay right
        try:
            got = self._session.run(
                self._asked, {self._graph.input.name: self.input[: count if dynamic else self.batch]}
            )
        except Exception as error:
            raise CalibrationError(f"{self._graph.name}: onnxruntime failed to run it: {error}") from error
        found = dict(zip(self._asked, got, strict=True))
        self._images += count
        bounded = set(self._bounds)
        for name in self._means:
            mean = _by_channel(found[f"yolort:mean:{name}"]).mean(0)
            if name in bounded:
                low = _by_channel(found[f"yolort:low:{name}"]).min(0)
                high = _by_channel(found[f"yolort:high:{name}"]).max(0)
            else:
                low = high = np.zeros_like(mean)
            if not (np.isfinite(mean).all() and np.isfinite(low).all() and np.isfinite(high).all()):
                raise CalibrationError(
                    f"{self._graph.name}: '{name}' is not finite on an image; the model is damaged, or overflows"
                )
            seen = self._seen.setdefault(name, _Seen(low, high, np.zeros_like(mean, np.float64)))
            seen.low, seen.high = np.minimum(seen.low, low), np.maximum(seen.high, high)
            seen.mean = seen.mean + count * mean
        for name in self._histograms:
            seen = self._seen.setdefault(name, _Seen(np.zeros(1), np.zeros(1)))
            seen.histogram = seen.histogram or Histogram()
            seen.histogram.add(found[name])

    def _derive(self) -> dict[str, _Seen]:
        """What was seen, of every activation."""
        out = {self._graph.input.name: _Seen(np.zeros(3), np.ones(3))}  # 0 to 1, whatever the images
        for node in self._graph.nodes:
            for index, name in enumerate(node.output):
                if name in self._graph.shapes:
                    out[name] = self._derived(node, index, name, out)
        return out

    def _derived(self, node: onnx.NodeProto, index: int, name: str, known: dict[str, _Seen]) -> _Seen:
        own = self._seen.get(name)
        mean = own.mean / self._images if own is not None and own.mean is not None else None
        histogram = own.histogram if own is not None else None
        sources = [known[taken] for taken in node.input if taken in known]
        kind = node.op_type
        if self._measured(name) and own is not None:
            return _Seen(own.low, own.high, mean, histogram)
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
        return _Seen(  # values that were moved, or a concatenation of another kind
            np.array([min(one.low.min() for one in sources)]),
            np.array([max(one.high.max() for one in sources)]),
            None,
            histogram or _merged(sources),
        )

    def means(self) -> dict[str, np.ndarray]:
        """Of the channels of what convolutions take, where they are known."""
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


def _by_channel(values: np.ndarray) -> np.ndarray:
    """(images, channels), or (1, 1)."""
    return values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)


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
    """Of a concatenation of channels."""
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
