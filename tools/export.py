"""Exports a YOLOv8, YOLO11 or YOLO26 detector to ONNX, NCNN or OpenVINO.

    from yolort.tools.export import export
    export("yolo26n.pt")                                      # yolo26n.onnx beside it
    export("yolo26n.pt", format="ncnn", precision="fp16")     # yolo26n_ncnn_model/
    export("yolo26n.pt", head="raw-e2e", output="nms-free.onnx")

By default the graph ends where the Detect head still has one box map and one class map a level; decoding and NMS are
the work of the yolort runtime. So boxes and scores never share a quantisation scale, and the one-to-one branch of
YOLO26 converts to NCNN. The artefact describes itself: its metadata hold what Ultralytics writes, and the key `yolort`.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import logging
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
import yolort
from torch import nn
from yolort import _atomic, _checks
from yolort.tools.checkpoints import Checkpoint, detect_head, find_checkpoint, load_checkpoint
from yolort.tools.data import letterboxed
from yolort.tools.engine import PRECISIONS, EngineOptions, need_tensorrt, to_fp16, write_engine
from yolort.tools.surgery import Halves, split_block

__all__ = ["FORMATS", "HEADS", "PRECISIONS", "ExportError", "complexity", "export", "with_head"]

_log = logging.getLogger(__name__)

HEADS = ("raw", "raw-e2e", "boxes", "end2end")
_CONTRACT = 1  # version of the `yolort` metadata key
_OPSETS = range(13, 21)  # 13 brought per-channel Q/DQ, 20 is the last of torch's TorchScript exporter
_MAX_BATCH = 128

#: Largest accepted difference from torch: a side of a box in pixels, a score.
_TOLERANCES = {"fp32": (0.25, 0.0025), "fp16": (12.0, 0.05)}
_BEST = 100  # boxes of an image that are compared


class ExportError(yolort.Error):
    """The model cannot be exported, or its export does not compute what the model computes."""


@dataclass(frozen=True)
class _Request:
    """What is to be made, checked."""

    format: str
    precision: str
    head: str
    size: tuple[int, int]  # height, width; the one that is traced where any goes
    batch: int
    dynamic: bool
    opset: int
    engine: EngineOptions | None = None

    @property
    def image(self) -> torch.Tensor:
        """(batch, 3, height, width), what the graph is traced with."""
        return torch.rand(self.batch, 3, *self.size, generator=torch.Generator().manual_seed(0))


class _RawMaps(nn.Module):
    """Stands for a Detect head: the last convolutions of one of its branches and nothing after them.

    Takes the feature maps of the levels, (B, C_i, H/s_i, W/s_i); returns the tuple box0, cls0, box1, cls1, ... of
    `with_head`.
    """

    def __init__(self, boxes: nn.ModuleList, scores: nn.ModuleList) -> None:
        super().__init__()
        self.boxes = boxes
        self.scores = scores

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        maps = []
        for feature, box, score in zip(features, self.boxes, self.scores, strict=True):
            maps += [box(feature), score(feature)]
        return tuple(maps)


def with_head(model: nn.Module, head: str = "raw", *, dynamic: bool = False, without_split: bool = False) -> nn.Module:
    """A copy of an Ultralytics `DetectionModel` that ends in `head`, Conv and BatchNorm fused.

    Takes (B, 3, H, W) float32 RGB in 0..1 with H and W multiples of the largest stride. `model` is not changed.

    - "raw" and "raw-e2e" return the tuple box0, cls0, box1, cls1, ... of float32 maps, finest level first: box_i
      (B, 4 * reg_max, H/s_i, W/s_i), distances from the cell's centre to left, top, right, bottom in grid cells (DFL
      logits where reg_max > 1), and cls_i (B, nc, H/s_i, W/s_i), logits. "raw" is the one-to-many branch (needs NMS),
      "raw-e2e" the one-to-one branch of YOLO26 (needs none).
    - "boxes" returns (B, 4 + nc, N): cx cy w h in pixels and scores in 0..1, of the one-to-many branch.
    - "end2end" returns (B, 300, 6): x1 y1 x2 y2 in pixels, score and class, of the one-to-one branch.

    `dynamic` keeps the grid of the decoded heads from being that of the traced size. `without_split` gives C2f and its
    kin two convolutions of half the channels in place of one and a Split.

    Raises ValueError for another `head`, CheckpointError where the model is no detector, ExportError where it lacks the
    branch.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, not {head!r}")
    one_to_one = head in ("raw-e2e", "end2end")
    prefix = "one2one_" if one_to_one else ""
    if getattr(detect_head(model), f"{prefix}cv2", None) is None:
        branch = "one-to-one" if one_to_one else "one-to-many"
        other = {"raw": "raw-e2e", "raw-e2e": "raw", "boxes": "end2end", "end2end": "boxes"}[head]
        raise ExportError(f'head "{head}" needs the {branch} branch, which this model lacks; use "{other}"')

    from ultralytics.nn.modules.block import C2PSA, C2f

    cut = copy.deepcopy(model).float().eval().requires_grad_(False)
    layers: Any = cut.model
    detect = layers[-1]
    if head.startswith("raw"):
        maps: Any = _RawMaps(getattr(detect, f"{prefix}cv2"), getattr(detect, f"{prefix}cv3"))
        maps.f, maps.i, maps.type = detect.f, detect.i, "RawMaps"  # what Ultralytics wires its layers by
        layers[-1] = maps  # before fusing: Detect.fuse() would delete a branch of its own choice
    else:
        detect.end2end = one_to_one
        detect.export, detect.format, detect.dynamic, detect.max_det = True, "onnx", dynamic, 300
    fuse: Any = cut.fuse
    fuse(verbose=False)
    for module in cut.modules():
        if without_split and isinstance(module, (C2f, C2PSA)):
            # A Split of channels copies them all, and in an INT8 graph has them float before it: without it ONNX
            # Runtime is 5 to 7 % faster in fp32, OpenVINO 2 to 3 %, in INT8 6 %, and each half has a range of its own.
            # NCNN, whose Slice hardly copies, loses 2 %.
            split_block(module)
        elif isinstance(module, C2f):  # the same sums with a plain Split, as Ultralytics' exporter has it
            module.forward = module.forward_split  # type: ignore[method-assign]
    return cut.eval().requires_grad_(False)


def export(
    model: str | Path,
    *,
    format: str = "onnx",
    precision: str = "fp32",
    head: str = "raw",
    imgsz: int | Sequence[int] | None = None,
    batch: int = 1,
    dynamic: bool = False,
    output: str | Path | None = None,
    opset: int | None = None,
    images: Sequence[str | Path] = (),
    engine: EngineOptions | None = None,
) -> Path:
    """Converts a detector to what `yolort.Detector` loads, checks it against torch and returns its path.

    Args:
        model: an Ultralytics detection checkpoint (`.pt`) or architecture (`.yaml`); see `load_checkpoint`.
        format: "onnx", "ncnn", "openvino" or "engine", which TensorRT builds on the GPU that it is for.
        precision: "fp32", or "fp16": weights of half the size. ONNX then computes in fp16 too, between inputs and
            outputs of fp32, and TensorRT where that is faster; NCNN and OpenVINO compute in what the runtime is told.
        head: what the graph ends in, see `with_head`. "raw" and "raw-e2e" are for yolort, "boxes" and "end2end" load
            in Ultralytics as well. NCNN has no top-k, and so no "end2end".
        imgsz: one side or (height, width) in pixels, 32..8192, multiples of the largest stride; None takes the size of
            the training, else 640.
        batch: images of one run, 1..128; NCNN has no batches.
        dynamic: any batch and any size that is a multiple of the largest stride; `imgsz` is then the default. Not for
            NCNN; of TensorRT `engine` says how many images and what sides at most.
        output: path of the artefact, `*.onnx` or a folder `*_ncnn_model`, `*_openvino_model`; None puts
            `<stem><ending>` beside the source.
        opset: for ONNX and OpenVINO, 13..20; None takes 17.
        images: pictures to compare with torch on; none takes the embedded picture and noise.
        engine: how TensorRT builds, of format "engine". `build_engine` does it with an ONNX file.

    The artefact is built in a hidden folder beside `output`, run on its engine, and renamed into place when boxes and
    scores agree with torch's: within 0.25 pixels and 0.0025 for fp32, 12 pixels and 0.05 for fp16. Whatever interrupts
    it, `output` is the old artefact or the new one, never a part of one; a killed process can leave the hidden folder.
    Where the swap of two folders is not atomic (not Linux), a kill between two renames can leave the old folder in
    there. What was fused, the sizes and the differences are logged.

    Raises:
        FileNotFoundError: no such `model`, image or folder.
        ValueError: bad arguments.
        OSError: `output` cannot be written or would replace something else.
        ModuleNotFoundError: a converter is not installed.
        CheckpointError: the model is no detector.
        ExportError: it cannot be exported, or the result differs from torch.
        EngineError: TensorRT cannot build here.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, not {head!r}")
    batch = _checks.integer("batch", batch, 1, _MAX_BATCH)
    if format == "ncnn":
        for given, what in (
            (batch != 1, "batch must be 1"),
            (dynamic, "the size is fixed"),
            (opset is not None, "opset is for onnx"),
            (head == "end2end", 'it has no top-k; head "raw-e2e" has the runtime do it'),
        ):
            if given:
                raise ValueError(f"ncnn: {what}")
    if opset is not None and opset not in _OPSETS:
        raise ValueError(f"opset must be within {_OPSETS[0]}..{_OPSETS[-1]}, not {opset}")
    if format == "engine":
        (engine or EngineOptions()).check()
        need_tensorrt()
    elif engine is not None:
        raise ValueError(f'options of TensorRT are for format "engine", not "{format}"')
    path = find_checkpoint(Path(model))
    target = _target(path, Path(model), FORMATS[format], output)
    with _atomic.workspace(target) as folder:
        source = load_checkpoint(model)
        detect = detect_head(source.model)
        size = _size(imgsz if imgsz is not None else source.side, int(max(detect.stride)))
        request = _Request(format, precision, head, size, batch, dynamic, opset or 17, engine)
        cut = with_head(source.model, head, dynamic=dynamic, without_split=format != "ncnn")
        described = _metadata(source, cut, request)
        built = folder / f"built{FORMATS[format].ending}"  # the runtime tells formats by the ending
        report = [_fusions(cut), *FORMATS[format].convert(cut, request, described, built, folder)]
        pictures = _pictures(images, size)
        report.append(_verify(cut, request, detect, built, pictures))
        _atomic.place(built, target, sources=[path])
    for line in (f"{target}: head {head}, {precision}, {size[0]}x{size[1]}", *report):
        _log.info("%s", line)
    return target


def _metadata(source: Checkpoint, cut: nn.Module, request: _Request) -> dict[str, Any]:
    """What the artefact says about itself: the keys Ultralytics writes, and `yolort`, one line of JSON.

    ONNX keeps the values as `str()`, NCNN and OpenVINO as YAML.
    """
    import ultralytics

    model: Any = source.model
    detect = detect_head(model)
    strides = [int(stride) for stride in detect.stride]
    contract = {
        "format": _CONTRACT,
        "head": request.head,
        "strides": strides,
        "reg_max": detect.reg_max,
        "input": {"shape": [request.batch, 3, *request.size], "colour": "rgb", "scale": 255, "pad": 114},
        "precision": request.precision,
        "engine": FORMATS[request.format].engine,
        **complexity(cut, request.size),
        "source": {"name": source.name, "sha256": source.sha256},
    }
    return {
        "description": f"{Path(source.name).stem}, exported by yolort",
        "date": datetime.now().astimezone().isoformat(),
        "version": ultralytics.__version__,
        "license": source.license,
        "stride": max(strides),
        "task": "detect",
        "batch": request.batch,
        "imgsz": list(request.size),
        "names": dict(model.names),
        "channels": 3,
        "end2end": request.head in ("raw-e2e", "end2end"),
        "dynamic": request.dynamic,
        "yolort": json.dumps(contract),
        "writer": _atomic.MARK,
    }


def complexity(cut: nn.Module, size: tuple[int, int]) -> dict[str, float]:
    """`parameters` of a model, and its `gflops` for one image of (height, width): 2 a multiply-add, in 10^9."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        cut(torch.zeros(1, 3, *size))
    count = sum(parameter.numel() for parameter in cut.parameters())
    return {"parameters": count, "gflops": round(flops.get_total_flops() / 1e9, 3)}


def _size(imgsz: int | Sequence[int], stride: int) -> tuple[int, int]:
    sides = _checks.imgsz(imgsz)
    if sides is None or not all(32 <= side <= 8192 and side % stride == 0 for side in sides):
        raise ValueError(f"imgsz must be one side or (height, width), multiples of {stride} in 32..8192, not {imgsz}")
    return sides


def _fusions(cut: nn.Module) -> str:
    from ultralytics.nn.modules.conv import Conv

    count = sum(isinstance(module, Conv) and not hasattr(module, "bn") for module in cut.modules())
    count -= sum(isinstance(module, Halves) for module in cut.modules())  # one that became two
    return f"fused: {count} BatchNorm into their convolutions"


# --- the formats


def _to_onnx(cut: nn.Module, request: _Request, described: dict[str, Any], built: Path, folder: Path) -> Iterator[str]:
    """Writes an ONNX file: input `images`, outputs box0, cls0, ... or output0; metadata_props."""
    onnx, onnxslim = _need("onnx"), _need("onnxslim")
    levels = len(json.loads(described["yolort"])["strides"])
    raw = [f"{kind}{level}" for level in range(levels) for kind in ("box", "cls")]
    outputs = raw if request.head.startswith("raw") else ["output0"]
    axes: dict[str, dict[int, str]] = {}
    if request.dynamic:
        axes = {"images": {0: "batch", 2: "height", 3: "width"}}
        for name in outputs:
            rest = {2: f"height_{name[-1]}", 3: f"width_{name[-1]}"} if name in raw else {2: "anchors"}
            axes[name] = {0: "batch", **(rest if request.head != "end2end" else {1: "rows"})}
    with _quiet():
        torch.onnx.export(
            cut,
            (request.image,),
            built,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=request.opset,
            dynamo=False,  # the other exporter needs onnxscript and turns a static graph into a larger one
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
        yield _sizes(before, built)


def _to_ncnn(cut: nn.Module, request: _Request, described: dict[str, Any], built: Path, folder: Path) -> Iterator[str]:
    """Writes an NCNN folder: blobs in0 and out0, out1, ...; metadata.yaml."""
    pnnx = _need("pnnx")
    work = folder / "pnnx"
    for path in (work, built):
        path.mkdir()
    with _quiet():
        torch.jit.save(torch.jit.trace(cut, request.image, check_trace=False), traced := io.BytesIO())
    (work / "model.pt").write_bytes(traced.getvalue())  # torch aborts the process where a disk is full
    shape = ",".join(str(side) for side in request.image.shape)
    command = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[{shape}]f32", f"fp16={int(request.precision == 'fp16')}"]
    done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    made = [work / "model.ncnn.param", work / "model.ncnn.bin"]
    if done.returncode != 0 or not all(file.is_file() for file in made):
        log = "\n".join(done.stdout.decode(errors="replace").splitlines()[-20:])
        raise ExportError(f"pnnx could not convert the model (exit status {done.returncode}):\n{log}")
    for file in made:
        file.rename(built / file.name)
    _write_sidecar(built, described)
    layers = [line.split() for line in (built / "model.ncnn.param").read_text().splitlines()[2:]]
    types = Counter(layer[0] for layer in layers)
    fused = sum(word.startswith("9=") and word != "9=0" for layer in layers for word in layer)
    separate = {name: types[name] for name in ("ReLU", "Swish", "HardSwish", "Mish", "Sigmoid") if types[name]}
    left = ", ".join(f"{count} {name}" for name, count in separate.items()) or "none"
    yield f"{len(layers)} layers; activations in their convolutions: {fused}, layers of their own: {left}"
    if request.precision == "fp16":
        yield _sizes((work / "model.pt").stat().st_size, built)


def _to_openvino(
    cut: nn.Module, request: _Request, described: dict[str, Any], built: Path, folder: Path
) -> Iterator[str]:
    """Writes an OpenVINO folder: model.xml, model.bin, metadata.yaml."""
    openvino = _need("openvino")
    onnx = folder / "model.onnx"
    yield from _to_onnx(cut, replace(request, precision="fp32"), described, onnx, folder)
    built.mkdir()
    openvino.save_model(openvino.convert_model(onnx), built / "model.xml", compress_to_fp16=request.precision == "fp16")
    _write_sidecar(built, described)
    if request.precision == "fp16":
        yield _sizes(onnx.stat().st_size, built)


def _to_engine(
    cut: nn.Module, request: _Request, described: dict[str, Any], built: Path, folder: Path
) -> Iterator[str]:
    """Writes a TensorRT engine as Ultralytics does: the length of the metadata in four bytes, JSON, the plan."""
    onnx, half = folder / "model.onnx", folder / "half.onnx"
    yield from _to_onnx(cut, replace(request, precision="fp32"), described, onnx, folder)
    if request.precision == "fp16":  # for TensorRT 11, which knows no other FP16
        yield from _to_onnx(cut, request, described, half, folder)
    options = request.engine or EngineOptions()
    yield from write_engine(
        onnx,
        described,
        built,
        half=half if half.exists() else None,
        int8=options.calibration is not None,
        options=options,
    )


def _write_sidecar(built: Path, described: dict[str, Any]) -> None:
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    (built / "metadata.yaml").write_text(text, encoding="utf-8")


def _sizes(before: int, built: Path) -> str:
    after = sum(file.stat().st_size for file in ([built] if built.is_file() else built.iterdir()))
    return f"size: {before / 1e6:.1f} MB in fp32, {after / 1e6:.1f} MB in fp16"


@dataclass(frozen=True)
class _Format:
    """How a model becomes an artefact; `convert` yields lines of the report."""

    ending: str  # of the artefact's name; a file where it begins with a dot, else a folder
    engine: str  # the engine that can run the artefact, or "any"
    runner: str  # the engine that it is compared with torch on
    convert: Callable[[nn.Module, _Request, dict[str, Any], Path, Path], Iterator[str]]


FORMATS = {
    "onnx": _Format(".onnx", "any", "onnxruntime", _to_onnx),
    "ncnn": _Format("_ncnn_model", "ncnn", "ncnn", _to_ncnn),
    "openvino": _Format("_openvino_model", "openvino", "openvino", _to_openvino),
    "engine": _Format(".engine", "tensorrt", "tensorrt", _to_engine),
}


# --- the comparison with torch


def _pictures(paths: Sequence[str | Path], size: tuple[int, int]) -> np.ndarray:
    """(n, 3, height, width) float32: the pictures letterboxed, or the embedded one and noise."""
    if paths:
        return letterboxed(paths, size)
    noise = np.random.default_rng(0).random((1, 3, *size), np.float32)
    return np.concatenate([letterboxed([yolort.demo_image()], size), noise])


def _verify(cut: nn.Module, request: _Request, detect: Any, built: Path, pictures: np.ndarray) -> str:
    """Runs the artefact on its engine; a line with the largest differences from torch.

    ExportError where they exceed the tolerance, or are not numbers, or where a shape differs.
    """
    runs = [(request.batch, pictures)]
    if request.dynamic:
        taller = [(0, 0), (0, 0), (0, int(max(detect.stride))), (0, 0)]
        runs.append((request.batch + 1, np.pad(pictures, taller)))
    worst_box = worst_score = 0.0
    for batch, at in runs:
        try:
            runner, (height, width) = FORMATS[request.format].runner, at.shape[2:]
            detector = yolort.Detector(built, engine=runner, precision="fp32", imgsz=(height, width))
        except yolort.EngineError as error:
            _log.warning("the export is not compared with torch: %s", error)
            return "not run here"
        except yolort.ModelError as error:
            raise ExportError(f"the runtime cannot load the export: {error}") from error
        for start in range(0, len(at), batch):
            chunk = at[start : start + batch]
            full = np.concatenate([chunk, np.repeat(chunk[:1], batch - len(chunk), axis=0)])
            with torch.inference_mode():
                made = cut(torch.from_numpy(full))
            expected = [one.numpy() for one in (made if isinstance(made, tuple) else (made,))]
            got = detector.infer(full)
            shapes = [array.shape for array in expected], [array.shape for array in got]
            if shapes[0] != shapes[1]:
                raise ExportError(f"the export has outputs of shapes {shapes[1]}, torch has {shapes[0]}")
            box, score = _difference(request.head, detect, expected, got)
            worst_box, worst_score = _larger(worst_box, box), _larger(worst_score, score)
    accepted = _TOLERANCES[request.precision]
    found = f"largest difference from torch: {worst_box:.2g} pixels, {worst_score:.2g} of a score"
    if not (worst_box <= accepted[0] and worst_score <= accepted[1]):
        raise ExportError(f"{found}; accepted are {accepted[0]} and {accepted[1]}")
    return f"{found} ({len(pictures)} images)"


def _larger(a: float, b: float) -> float:
    """A nan is larger than any number."""
    return a if np.isnan(a) or a > b else b


def _difference(head: str, detect: Any, expected: list[np.ndarray], got: list[np.ndarray]) -> tuple[float, float]:
    """The largest difference of a score, and of a box side in pixels among the boxes that torch scores best.

    A box that nothing is in may be any, and is by far the most sensitive to rounding.
    """
    if not all(np.isfinite(array).all() for array in got):
        return float("nan"), float("nan")
    if head == "end2end":
        return _row_difference(expected[0], got[0])
    a, b = (_decoded(head, detect, outputs) for outputs in (expected, got))
    best = np.argsort(-a[:, 4:].max(axis=1), axis=1)[:, None, :_BEST]
    box = np.take_along_axis(np.abs(a - b)[:, :4], best, axis=2)
    return float(box.max()), float(np.abs(a[:, 4:] - b[:, 4:]).max())


def _decoded(head: str, detect: Any, outputs: list[np.ndarray]) -> np.ndarray:
    """(B, 4 + nc, N): distances of the box sides or cx cy w h, in pixels; scores in 0..1."""
    if head == "boxes":
        return outputs[0]
    levels = []
    for stride, box, cls in zip(detect.stride, outputs[::2], outputs[1::2], strict=True):
        sides = torch.from_numpy(box).flatten(2).unflatten(1, (4, detect.reg_max))
        if detect.reg_max > 1:  # DFL, arXiv:2006.04388: the mean of the distribution
            sides = sides.softmax(2) * torch.arange(detect.reg_max)[:, None]
        scores = torch.from_numpy(cls).flatten(2).sigmoid()
        levels.append(torch.cat([sides.sum(2) * stride, scores], 1))
    return torch.cat(levels, 2).numpy()


def _row_difference(expected: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """Of (B, rows, 6): torch's best rows against the nearest of the export's of the same class.

    Near ties may stand in another order, and at the end of the list be missing.
    """
    box = score = 0.0
    for rows, others in zip(expected, got, strict=True):
        for row in rows[: min(_BEST, (len(rows) + 1) // 2)]:
            same = others[others[:, 5] == row[5]]
            if not len(same):
                return float("inf"), float("inf")
            far = np.abs(same[:, :4] - row[:4]).max(axis=1)
            nearest = int(far.argmin())
            box, score = max(box, float(far[nearest])), max(score, abs(float(same[nearest, 4] - row[4])))
    return box, score


def _need(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this export needs the package {package}: pip install {package}", name=package
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the deprecation and tracing warnings of the converters: the result is checked instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- the destination


def _target(path: Path, model: Path, format: _Format, output: str | Path | None) -> Path:
    """Where the artefact goes; OSError or ValueError where it must not go there."""
    beside = path.parent if model.is_file() else Path()  # never inside the Ultralytics package
    target = Path(output) if output is not None else beside / f"{model.stem}{format.ending}"
    if not target.name.endswith(format.ending) or target.name == format.ending:
        raise ValueError(f"the output must be named *{format.ending}, not '{output}'")
    _atomic.check(target, sources=[path], folder=not format.ending.startswith("."))
    return target
