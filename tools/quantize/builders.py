"""Builders of INT8 variants of a float model that differ in the layers kept in float."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
import yaml
from yolort import _atomic
from yolort.tools._formats import FORMATS
from yolort.tools._yaml import read_yaml
from yolort.tools.models.onnx_graph import Graph, GraphError
from yolort.tools.quantize import ncnn_graph, ncnn_int8, ncnn_model, onnx_qdq
from yolort.tools.quantize.activations import CalibrationError
from yolort.tools.quantize.calibrate import Calibration
from yolort.tools.quantize.onnx_qdq import Placement

__all__ = ["Builder", "NcnnBuilder", "OnnxBuilder"]


class Builder:
    """Builds INT8 artifacts of one model that differ in the layers kept in float."""

    ending: str
    engine: str  # engine that the model is made for
    for_arm: bool = False  # made for ARM processors
    layers: dict[str, str]  # convolutions that may be INT8: key, and name shown to the user
    attention: set[str]  # convolutions in attention: INT8 costs accuracy there and saves no time
    stem: set[str]  # the first convolutions
    int8_stem: bool  # whether INT8 is worth it there
    scores: frozenset[str] = frozenset()  # lead to scores without NMS: INT8 causes duplicates
    source: Path  # the float artifact

    def build(self, path: Path, floats: Collection[str]) -> None:
        """Writes the variant in which the convolutions `floats` stay float, with the source's metadata."""
        raise NotImplementedError

    def annotate(self, path: Path, note: dict[str, Any]) -> None:
        """Adds `note` to the quantization record in a variant's metadata."""
        raise NotImplementedError


class OnnxBuilder(Builder):
    ending = FORMATS["onnx"].ending

    def __init__(
        self,
        graph: Graph,
        calibration: Calibration | None,
        engine: str,
        placement: Placement,
        mode: str,
        per_channel: bool,
        reduce_range: bool,
        folder: Path,
    ) -> None:
        self._graph, self._calibration, self._placement, self._mode = graph, calibration, placement, mode
        self._options = {"per_channel": per_channel, "reduce_range": reduce_range}
        self._folder = folder
        self.engine = engine
        self.for_arm = placement is onnx_qdq.PLACEMENTS["arm"]
        self._heads = {node.name for node in graph.heads}
        self.layers = {
            node.name: node.name.partition(":")[2] for node in graph.convolutions if node.name not in self._heads
        }
        self.attention, self.stem = graph.attention, graph.stem
        self.int8_stem = placement.stem and graph.task != "classify"  # measured: docs/benchmarks/tasks.md
        self.source = folder / "float.onnx"
        onnx.save(graph.model, self.source)

    def build(self, path: Path, floats: Collection[str]) -> None:
        kept = {*floats, *self._heads}
        if self._mode == "static":
            assert self._calibration
            made = onnx_qdq.static(self._graph, self._calibration, self._placement, kept, **self._options)
        elif self._mode == "dynamic":
            made = onnx_qdq.dynamic(self._graph, kept, self._folder, per_channel=bool(self._options["per_channel"]))
        else:
            made = onnx_qdq.weights_only(self._graph, kept, per_channel=bool(self._options["per_channel"]))
        self._describe(made, {})
        onnx.save(made, path)

    def annotate(self, path: Path, note: dict[str, Any]) -> None:
        made = onnx.load(path)
        self._describe(made, note)
        onnx.save(made, path)

    def _describe(self, made: onnx.ModelProto, note: dict[str, Any]) -> None:
        contract = _contract(self._graph.contract, self._calibration, self.engine, self._mode, note)
        metadata = {**self._graph.metadata, "yolort": json.dumps(contract), "writer": _atomic.MARK}
        onnx.helper.set_model_props(made, metadata)


class NcnnBuilder(Builder):
    ending = FORMATS["ncnn"].ending
    engine = "ncnn"

    def __init__(self, source: Path, calibration: Calibration, per_channel: bool, stock: bool) -> None:
        self.source, self._calibration, self._per_channel, self._stock = source, calibration, per_channel, stock
        self._layers = ncnn_model.read(source)
        self._tensors = ncnn_int8.convolutions(self._layers, calibration)
        self._heads = ncnn_int8.heads(self._layers)
        self.layers = {
            layer.name: layer.name
            for layer in self._layers
            if layer.weights is not None and layer.name not in self._heads
        }
        self.attention = ncnn_int8.attention(self._layers)
        self.stem, self.int8_stem = ncnn_int8.first_convolutions(self._layers), not stock
        sidecar = source / "metadata.yaml"
        if not sidecar.is_file():
            raise FileNotFoundError(f"no such file: {sidecar}; export the model again")
        try:
            self._metadata = read_yaml(sidecar)
            self._contract = dict(json.loads(self._metadata["yolort"]))
            classes = len(self._metadata["names"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise GraphError(f"{sidecar} is not the metadata of a yolort export: {error}") from error
        if not stock and self._contract.get("head") == "raw-e2e":  # measured: docs/benchmarks/int8.md
            self.int8_stem = False
            self.scores = frozenset(ncnn_int8.score_branches(self._layers, classes))
        if self._metadata.get("task") == "classify":  # measured: docs/benchmarks/tasks.md
            self.int8_stem = False
        if self._contract.get("head") != calibration.head:
            raise CalibrationError(
                f"{source} has the head {self._contract.get('head')}, and the calibration is for {calibration.head}"
            )

    def build(self, path: Path, floats: Collection[str]) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        layers = copy.deepcopy(self._layers)
        if self._stock:
            kept = {*floats, *self._heads}
            ncnn_int8.write_int8(layers, self._calibration, self._tensors, path, kept, per_channel=self._per_channel)
        else:
            made = ncnn_graph.convert(layers, self._calibration, self._tensors, floats, per_channel=self._per_channel)
            ncnn_model.write(made, path)
        self.annotate(path, {})

    def annotate(self, path: Path, note: dict[str, Any]) -> None:
        contract = _contract(self._contract, self._calibration, "ncnn", "static", note)
        described = {**self._metadata, "yolort": json.dumps(contract), "writer": _atomic.MARK}
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=1 << 30)
        (path / "metadata.yaml").write_text(text, encoding="utf-8")


def _contract(
    own: dict[str, Any], calibration: Calibration | None, engine: str, mode: str, note: dict[str, Any]
) -> dict[str, Any]:
    told: dict[str, Any] = {"mode": mode, **note}
    if calibration is not None and mode == "static":
        told["calibration"] = {
            "sha256": calibration.sha256,
            "method": calibration.method,
            "images": len(calibration.images),
        }
    return {**own, "precision": "int8", "engine": engine, "quantization": told}
