"""Exports to NCNN, with pnnx."""

from __future__ import annotations

import io
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from yolort.tools.export._common import Request, describe_sizes, need_package, quiet, write_sidecar
from yolort.tools.models.heads import ExportError

__all__ = ["to_ncnn"]


def to_ncnn(cut: nn.Module, request: Request, described: dict[str, Any], built: Path, folder: Path) -> Iterator[str]:
    """Writes an NCNN folder: blobs in0 and out0, out1, ...; metadata.yaml."""
    pnnx = need_package("pnnx")
    work = folder / "pnnx"
    for path in (work, built):
        path.mkdir()
    with quiet():
        torch.jit.save(torch.jit.trace(cut, request.image, check_trace=False), traced := io.BytesIO())
    (work / "model.pt").write_bytes(traced.getvalue())  # torch aborts the process if the disk is full
    shape = ",".join(str(side) for side in request.image.shape)
    command = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[{shape}]f32", f"fp16={int(request.precision == 'fp16')}"]
    finished = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    written = [work / "model.ncnn.param", work / "model.ncnn.bin"]
    if finished.returncode != 0 or not all(file.is_file() for file in written):
        log = "\n".join(finished.stdout.decode(errors="replace").splitlines()[-20:])
        raise ExportError(f"pnnx could not convert the model (exit status {finished.returncode}):\n{log}")
    for file in written:
        file.rename(built / file.name)
    write_sidecar(built, described)
    layers = [line.split() for line in (built / "model.ncnn.param").read_text().splitlines()[2:]]
    types = Counter(layer[0] for layer in layers)
    fused = sum(word.startswith("9=") and word != "9=0" for layer in layers for word in layer)
    separate = {name: types[name] for name in ("ReLU", "Swish", "HardSwish", "Mish", "Sigmoid") if types[name]}
    left = ", ".join(f"{count} {name}" for name, count in separate.items()) or "none"
    yield f"{len(layers)} layers; activations in their convolutions: {fused}, layers of their own: {left}"
    if request.precision == "fp16":
        yield describe_sizes((work / "model.pt").stat().st_size, built)
