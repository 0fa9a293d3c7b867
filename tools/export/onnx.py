"""Exports to ONNX."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from yolort.tools.export._common import Request, describe_sizes, need_package, quiet

if TYPE_CHECKING:
    import onnx

__all__ = ["to_fp16", "to_onnx"]


def to_onnx(cut: nn.Module, request: Request, described: dict[str, Any], built: Path, _folder: Path) -> Iterator[str]:
    """Writes an ONNX file: input `images`, outputs box0, cls0, ... or output0; metadata_props."""
    onnx, onnxslim = need_package("onnx"), need_package("onnxslim")
    classifies = described["task"] == "classify"
    levels = len(json.loads(described["yolort"]).get("strides", ()))
    kinds = ("box", "cls") if described["task"] == "detect" else ("box", "cls", "extra")
    raw = [f"{kind}{level}" for level in range(levels) for kind in kinds]
    outputs = raw if request.head.startswith("raw") and not classifies else ["output0"]
    prototypes = ["prototypes"] if described["task"] == "segment" else []
    axes: dict[str, dict[int, str]] = {}
    if request.dynamic:
        axes = {"images": {0: "batch", 2: "height", 3: "width"}}
        for name in outputs:
            rest = {2: f"height_{name[-1]}", 3: f"width_{name[-1]}"} if name in raw else {2: "anchors"}
            axes[name] = {0: "batch", **({} if classifies else rest if request.head != "end2end" else {1: "rows"})}
        for name in prototypes:
            axes[name] = {0: "batch", 2: f"height_{name}", 3: f"width_{name}"}
    with quiet():
        torch.onnx.export(
            cut,
            (request.image,),
            built,
            input_names=["images"],
            output_names=outputs + prototypes,
            dynamic_axes=axes,
            opset_version=request.opset,
            dynamo=False,  # the newer exporter needs onnxscript and produces larger graphs
        )
        traced = onnx.load(built)
        graph = onnxslim.slim(traced)
    yield f"simplified: {len(traced.graph.node)} to {len(graph.graph.node)} nodes"
    if request.precision == "fp16":
        before = built.stat().st_size
        graph = to_fp16(graph)
    del graph.metadata_props[:]
    for key, value in described.items():
        graph.metadata_props.add(key=key, value=str(value))
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, built)
    if request.precision == "fp16":
        yield describe_sizes(before, built)


def to_fp16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Converts the model to FP16 with FP32 inputs and outputs; also modifies its argument."""
    onnxslim = importlib.import_module("onnxslim")
    float16 = importlib.import_module("onnxruntime.transformers.float16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values clipped to the FP16 range; the result is verified anyway
        half: onnx.ModelProto = onnxslim.slim(float16.convert_float_to_float16(graph, keep_io_types=True))  # sorts it
    return half
