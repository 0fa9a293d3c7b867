"""Exports to OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from yolort.tools.export._common import Request, describe_sizes, need_package, write_sidecar
from yolort.tools.export.onnx import to_onnx

__all__ = ["save_folder", "to_openvino"]


def to_openvino(
    cut: nn.Module, request: Request, described: dict[str, Any], built: Path, folder: Path
) -> Iterator[str]:
    """Writes an OpenVINO folder: model.xml, model.bin, metadata.yaml."""
    need_package("openvino")  # before the work
    onnx = folder / "model.onnx"
    yield from to_onnx(cut, replace(request, precision="fp32"), described, onnx, folder)
    save_folder(onnx, built, described, fp16=request.precision == "fp16")
    if request.precision == "fp16":
        yield describe_sizes(onnx.stat().st_size, built)


def save_folder(onnx: Path, built: Path, described: dict[str, Any], *, fp16: bool) -> None:
    """Converts an ONNX file to a new OpenVINO folder with this metadata; weights in fp16 or unchanged."""
    openvino = need_package("openvino")
    built.mkdir()
    openvino.save_model(openvino.convert_model(onnx), built / "model.xml", compress_to_fp16=fp16)
    write_sidecar(built, described)
