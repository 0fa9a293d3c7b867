"""Converts a checkpoint to an INT8 artifact in one step: exports, calibrates, quantizes, checks and measures.

    from yolort.tools import export_int8
    export_int8("yolo26n.pt", "data.yaml", format="openvino")       # yolo26n-int8_openvino_model/ beside it

Equivalent to `export`, `calibrate` on the training images, and `quantize` with accuracy on val, including all checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from yolort import _atomic
from yolort._open import open_model
from yolort.tools._formats import EXPORTED, FORMATS
from yolort.tools.data.dataset import sample_image
from yolort.tools.evaluate.detectors import task_of
from yolort.tools.export.openvino import save_folder
from yolort.tools.export.pipeline import export
from yolort.tools.export.tensorrt import EngineOptions, build_engine, need_tensorrt
from yolort.tools.models.checkpoints import find_checkpoint
from yolort.tools.quantize.calibrate import calibrate
from yolort.tools.quantize.quantize import Quantized, megabytes, quantize

__all__ = ["export_int8"]

#: The INT8 target of each format; None: the format has only one kind.
_TARGETS = {"onnx": None, "openvino": "openvino", "ncnn": None, "engine": "gpu"}


# Long for its documentation.
def export_int8(
    model: str | Path,
    data: str | Path,
    *,
    format: str = "onnx",
    head: str = "raw",
    imgsz: int | tuple[int, int] | None = None,
    method: str = "percentile",
    images: int = 512,
    max_drop: float | None = None,
    measure: bool = True,
    output: str | Path | None = None,
    engine: EngineOptions | None = None,
    progress: Callable[[Sequence[Any], str], Iterable[Any]] = lambda items, _: items,
) -> Quantized:
    """Exports a checkpoint to an INT8 artifact, and returns the result of `quantize`.

    Args:
        model: a checkpoint (.pt) or architecture (.yaml), see `export`.
        data: a `data.yaml`, calibrated on its split train and scored on val; for poses, `export` also reads its
            `flip_idx` and `skeleton`.
        format: "onnx" (for OpenVINO on x86), "openvino", "ncnn", or "engine", which TensorRT builds here.
        head: "raw" or "raw-e2e", see `export`.
        imgsz: see `export`.
        method: calibration method, see `calibrate`.
        images: number of calibration images, see `calibrate`.
        max_drop: allowed loss of accuracy in points, by the metric of the task, see `quantize`.
        measure: time it beside the float model.
        output: path of the artifact; None: `<stem>-int8<ending>` beside the model.
        engine: TensorRT options, for format "engine".
        progress: wraps steps, with a description, for a progress bar.

    The artifact is written atomically. Raises ValueError for a format or head without INT8, and the errors of `export`,
    `calibrate`, `quantize` and `build_engine`.
    """
    if format not in EXPORTED:
        raise ValueError(f"format must be one of {', '.join(EXPORTED)}, not {format!r}")
    if head not in ("raw", "raw-e2e"):
        raise ValueError(f"INT8 needs head raw or raw-e2e, not {head!r}: boxes and scores would share a scale")
    if format == "engine":
        need_tensorrt()
    source = find_checkpoint(Path(model))
    ending = FORMATS[format].ending
    beside = source.parent if Path(model).is_file() else Path()
    target = Path(output) if output is not None else beside / f"{Path(model).stem}-int8{ending}"
    if not target.name.endswith(ending) or target.name == ending:
        raise ValueError(f"the output must be named *{ending}, not '{output}'")
    read = [source, Path(data)]
    _atomic.check(target, sources=read, folder=FORMATS[format].is_folder)
    described = Path(data) if task_of(model) == "pose" and Path(data).suffix in (".yaml", ".yml") else None
    with _atomic.workspace(target) as work:
        onnx = export(model, head=head, imgsz=imgsz, output=work / "float.onnx", data=described)
        calibration = calibrate(
            onnx, data, method=method, images=images, progress=lambda steps: progress(steps, "calibrating")
        )
        kind = "ncnn" if format == "ncnn" else "onnx"
        floats = onnx
        if kind == "ncnn":
            floats = export(
                model, format="ncnn", head=head, imgsz=imgsz, output=work / "float_ncnn_model", data=described
            )
        done = quantize(
            floats,
            calibration,
            format=kind,
            target=_TARGETS[format],
            data=data,
            max_drop=max_drop,
            measure=measure,
            output=work / f"int8{FORMATS[kind].ending}",
            progress=lambda steps: progress(steps, "sensitivity"),
        )
        built = done.path
        if format == "openvino":
            built = _to_openvino(done.path, work / f"built{ending}")
        elif format == "engine":
            built = build_engine(done.path, precision="fp16", output=work / f"built{ending}", options=engine)
        if built != done.path:
            done.megabytes = (done.megabytes[0], megabytes(built))
            done.notes.append(
                "accuracy and time are those of the INT8 ONNX file that this was made from; yolort benchmark and val "
                "measure this one"
            )
        _atomic.place(built, target, sources=read)
    done.path = target
    return done


def _to_openvino(onnx: Path, built: Path) -> Path:
    """Converts the INT8 ONNX file to an OpenVINO folder with the same metadata, and checks that the engine loads it."""
    detector = open_model(onnx, engine="openvino", tuned=False)
    described: dict[str, Any] = dict(detector.metadata)
    for key in {"imgsz", "batch", "stride", "channels", "kpt_shape"} & set(described):
        described[key] = json.loads(described[key])
    described["names"] = detector.names
    for key in {"end2end", "dynamic"} & set(described):
        described[key] = described[key] == "True"
    save_folder(onnx, built, described, fp16=False)
    open_model(built, engine="openvino", tuned=False)(sample_image(detector.channels))
    return built
