"""Exports to OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from yolort.tools.export._common import Request, describe_sizes, need_package, write_sidecar
from yolort.tools.export.onnx import to_onnx

__all__ = ["to_openvino"]


def to_openvino(
    cut: nn.Module, request: Request, described: dict[str, Any], built: Path, folder: Path
) -> Iterator[str]:
    """Writes an OpenVINO folder: model.xml, model.bin, metadata.yaml."""
    openvino = need_package("openvino")
    onnx = folder / "model.onnx"
    yield from to_onnx(cut, replace(request, precision="fp32"), described, onnx, folder)
    built.mkdir()
    openvino.save_model(openvino.convert_model(onnx), built / "model.xml", compress_to_fp16=request.precision == "fp16")
    write_sidecar(built, described)
    if request.precision == "fp16":
        yield describe_sizes(onnx.stat().st_size, built)
