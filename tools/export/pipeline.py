"""Exports a YOLOv8, YOLO11 or YOLO26 model to ONNX, NCNN or OpenVINO.

    from yolort.tools import export
    export("yolo26n.pt")                                      # yolo26n.onnx beside it
    export("yolo26n.pt", format="ncnn", precision="fp16")     # yolo26n_ncnn_model/
    export("yolo26n.pt", head="raw-e2e", output="nms-free.onnx")

By default the graph ends at the Detect head's box map and class map of each level; the yolort runtime does decoding and
NMS. Boxes and scores therefore never share a quantization scale, and the one-to-one branch of YOLO26 converts to NCNN.
The metadata contains Ultralytics' keys and the key `yolort`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import nn
from yolort import _atomic, _checks
from yolort.tools._formats import EXPORTED, FORMATS, Format
from yolort.tools._stages import stage
from yolort.tools.export._common import Request
from yolort.tools.export.keypoints import known_keypoints
from yolort.tools.export.ncnn import to_ncnn
from yolort.tools.export.onnx import to_onnx
from yolort.tools.export.openvino import to_openvino
from yolort.tools.export.tensorrt import PRECISIONS, EngineOptions, need_tensorrt, to_engine
from yolort.tools.export.verify import images_to_compare, verify
from yolort.tools.models.checkpoints import (
    Checkpoint,
    channels_of,
    find_checkpoint,
    load_checkpoint,
    stride_of,
    task_of,
)
from yolort.tools.models.heads import HEADS, complexity, with_head
from yolort.tools.models.split_conv import SplitConv

__all__ = ["CONVERTERS", "export", "input_size"]

_log = logging.getLogger(__name__)

_CONTRACT = 1  # version of the `yolort` metadata key
_OPSETS = range(13, 21)  # 13 brought per-channel Q/DQ, 20 is the last of torch's TorchScript exporter
_MAX_BATCH = 128


# Long for its documentation; the converters do the work.
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
    data: str | Path | None = None,
) -> Path:
    """Exports a model for `yolort.Detector` or `Classifier`, compares it with torch and returns its path.

    Args:
        model: an Ultralytics checkpoint (`.pt`) of any task, or an architecture (`.yaml`) for detection; see
            `load_checkpoint`.
        format: "onnx", "ncnn", "openvino" or "engine" (TensorRT, built on the GPU that will run it).
        precision: "fp32", or "fp16" with weights of half the size. ONNX then also computes in fp16, between fp32 inputs
            and outputs; TensorRT does so if that is faster; NCNN and OpenVINO compute in the precision set at run time.
        head: end of the graph, see `with_head`. "raw" and "raw-e2e" are for yolort, "boxes" and "end2end" load in
            Ultralytics as well. NCNN has no top-k and therefore no "end2end"; classifiers have only "raw".
        imgsz: one side or (height, width) in pixels, 32..8192, multiples of the largest stride; None: the size of the
            training, otherwise 640.
        batch: batch size, 1..128; NCNN supports only 1.
        dynamic: accept any batch size and any size that is a multiple of the largest stride; `imgsz` is then the
            default. Not for NCNN; for TensorRT, `engine` sets the largest batch and size.
        output: path of the artifact, `*.onnx` or a folder `*_ncnn_model`, `*_openvino_model`; None: `<stem><ending>`
            beside the source.
        opset: for ONNX and OpenVINO, 13..20; None: 17.
        images: images for the comparison with torch; if empty, the embedded image and noise.
        engine: TensorRT options, for format "engine". For an ONNX file use `build_engine`.
        data: for pose models, a data.yaml with `flip_idx` (counterpart of each keypoint in a mirrored image) and
            `skeleton` (limbs: pairs of keypoints, from 0), which are written into the artifact. None: the one that the
            checkpoint was trained on, if Ultralytics ships it.

    The artifact is built in a hidden folder beside `output`, run on its engine, and renamed into place if boxes and
    scores agree with torch: within 0.25 pixels and 0.0025 for fp32, 12 pixels and 0.05 for fp16. After any
    interruption, `output` is either the old artifact or the new one, never a part of one; a killed process can leave
    the hidden folder behind. On systems other than Linux, where two folders cannot be swapped atomically, a kill
    between two renames can leave the old folder inside it. Fused layers, sizes and differences are logged.

    Raises:
        FileNotFoundError: `model`, an image or a folder does not exist.
        ValueError: bad arguments.
        OSError: `output` cannot be written or would replace something else.
        ModuleNotFoundError: a converter is not installed.
        CheckpointError: the model is not a detector.
        ExportError: the model cannot be exported, or the result differs from torch.
        EngineError: TensorRT cannot build here.
    """
    batch = _checks.integer("batch", batch, 1, _MAX_BATCH)
    _check_arguments(format, precision, head, batch, dynamic, opset, engine)
    path = find_checkpoint(Path(model))
    target = _target(path, Path(model), FORMATS[format], output)
    with _atomic.workspace(target) as folder:
        stage(f"loading {path.name}")
        source = load_checkpoint(model, tasks=True)
        detect: Any = source.model.model[-1]  # type: ignore[index]
        size = input_size(imgsz if imgsz is not None else source.side, stride_of(source.model))
        request = Request(format, precision, head, size, batch, dynamic, opset or 17, engine, channels_of(source.model))
        cut = with_head(source.model, head, dynamic=dynamic, without_split=format != "ncnn")
        described = _metadata(source, cut, request, known_keypoints(source, data))
        stage(f"converting to {format}")
        built = folder / f"built{FORMATS[format].ending}"  # the runtime recognizes formats by the ending
        report = [_fusions(cut), *CONVERTERS[format](cut, request, described, built, folder)]
        stage("comparing with torch")
        pictures = images_to_compare(images, size, request.channels)
        report.append(verify(cut, request, detect, built, pictures))
        _atomic.place(built, target, sources=[path])
    for line in (f"{target}: head {head}, {precision}, {size[0]}x{size[1]}", *report):
        _log.info("%s", line)
    return target


def _check_arguments(
    format: str, precision: str, head: str, batch: int, dynamic: bool, opset: int | None, engine: EngineOptions | None
) -> None:
    """Raises ValueError for arguments that the format does not support; EngineError if TensorRT cannot build here."""
    if format not in EXPORTED:
        raise ValueError(f"format must be one of {', '.join(EXPORTED)}, not {format!r}")
    if precision not in PRECISIONS:
        hint = "; for INT8 use yolort.tools.export_int8 with data" if precision == "int8" else ""
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}{hint}")
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, not {head!r}")
    if format == "ncnn":
        for refused, what in (
            (batch != 1, "batch must be 1"),
            (dynamic, "the size is fixed"),
            (opset is not None, "opset is for onnx"),
            (head == "end2end", 'it has no top-k; head "raw-e2e" has the runtime do it'),
        ):
            if refused:
                raise ValueError(f"ncnn: {what}")
    if opset is not None and opset not in _OPSETS:
        raise ValueError(f"opset must be within {_OPSETS[0]}..{_OPSETS[-1]}, not {opset}")
    if format == "engine":
        (engine or EngineOptions()).check()
        need_tensorrt()
    elif engine is not None:
        raise ValueError(f'TensorRT options need format "engine", not "{format}"')


def _metadata(source: Checkpoint, cut: nn.Module, request: Request, keypoints: dict[str, Any]) -> dict[str, Any]:
    """Metadata of the artifact: the keys Ultralytics writes, and `yolort`, one line of JSON.

    ONNX keeps the values as `str()`, NCNN and OpenVINO as YAML.
    """
    import ultralytics

    model: Any = source.model
    detect, task = model.model[-1], task_of(model)
    written = FORMATS[request.format]
    picture = {"shape": [request.batch, request.channels, *request.size], "colour": "rgb", "scale": 255}
    head: dict[str, Any]
    if task == "classify":
        head = {"head": "boxes", "input": picture}  # nothing to decode: the graph ends in scores
    else:
        strides = [int(stride) for stride in detect.stride]
        head = {"head": request.head, "strides": strides, "reg_max": detect.reg_max, "input": {**picture, "pad": 114}}
    contract = {
        "format": _CONTRACT,
        **head,
        "precision": request.precision,
        "engine": "any" if written.portable else written.engine,
        **keypoints,
        **complexity(cut, request.size),
        "source": {"name": source.name, "sha256": source.sha256},
    }
    return {
        "description": f"{Path(source.name).stem}, exported by yolort",
        "date": datetime.now().astimezone().isoformat(),
        "version": ultralytics.__version__,
        "license": source.license,
        "stride": stride_of(model),
        "task": task,
        **({} if task in ("detect", "classify") else {"head": type(detect).__name__}),
        **({"kpt_shape": list(detect.kpt_shape)} if task == "pose" else {}),
        "batch": request.batch,
        "imgsz": list(request.size),
        "names": dict(model.names),
        "channels": request.channels,
        "end2end": request.head in ("raw-e2e", "end2end"),
        "dynamic": request.dynamic,
        "yolort": json.dumps(contract),
        "writer": _atomic.MARK,
    }


def input_size(imgsz: int | Sequence[int], stride: int) -> tuple[int, int]:
    """Height and width of a network input. ValueError for a size that the network cannot run at."""
    sides = _checks.imgsz(imgsz)
    if sides is None or not all(32 <= side <= 8192 and side % stride == 0 for side in sides):
        raise ValueError(f"imgsz must be one side or (height, width), multiples of {stride} in 32..8192, not {imgsz}")
    return sides


def _fusions(cut: nn.Module) -> str:
    from ultralytics.nn.modules.conv import Conv

    count = sum(isinstance(module, Conv) and not hasattr(module, "bn") for module in cut.modules())
    count -= sum(isinstance(module, SplitConv) for module in cut.modules())  # each is one convolution that became two
    return f"fused: {count} BatchNorm into their convolutions"


#: Converters by format; they yield lines of the report.
CONVERTERS: dict[str, Callable[[nn.Module, Request, dict[str, Any], Path, Path], Iterator[str]]] = {
    "onnx": to_onnx,
    "ncnn": to_ncnn,
    "openvino": to_openvino,
    "engine": to_engine,
}


def _target(path: Path, model: Path, format: Format, output: str | Path | None) -> Path:
    """Path of the artifact; raises OSError or ValueError if it must not be written."""
    beside = path.parent if model.is_file() else Path()  # never inside the Ultralytics package
    target = Path(output) if output is not None else beside / f"{model.stem}{format.ending}"
    if not target.name.endswith(format.ending) or target.name == format.ending:
        raise ValueError(f"the output must be named *{format.ending}, not '{output}'")
    _atomic.check(target, sources=[path], folder=format.is_folder)
    return target
