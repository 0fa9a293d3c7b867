"""`yolort export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import yolort
from yolort.cli._options import (
    Imgsz,
    parse_imgsz,
    parse_size,
)
from yolort.cli._output import say, show_log
from yolort.cli._progress import phases, progress, stages
from yolort.cli.quantize import print_quantized

_ENGINE = "TensorRT engines"


# Long because each option is a parameter with its help.
def export(
    model: Annotated[
        Path, typer.Argument(help="A .pt checkpoint or .yaml architecture; for --format engine, also an .onnx.")
    ],
    format: Annotated[str, typer.Option(help="Output format: onnx, ncnn, openvino or engine (TensorRT).")] = "onnx",
    precision: Annotated[
        str,
        typer.Option(
            help="Precision: fp32, fp16 (half the size) or int8 (a quarter, calibrated and measured on --data)."
        ),
    ] = "fp32",
    max_drop: Annotated[
        float | None,
        typer.Option(help="Allowed loss of accuracy in points with int8; layers stay float until it is met."),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            help="Head: raw, boxes, or YOLO26's NMS-free raw-e2e and end2end. Ultralytics loads boxes and end2end."
        ),
    ] = "raw",
    imgsz: Imgsz = None,
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    dynamic: Annotated[
        bool, typer.Option(help="Accept any batch size and input size; --imgsz is the default size.")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="ONNX opset; default: 17.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Images for the comparison with PyTorch; default: the embedded image and noise.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A data.yaml. For int8: calibrates on train, measures mAP on val. For a pose model: "
            "flip_idx and skeleton; default: those of the training data, if known."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File or folder to write; default: beside the model.")] = None,
    device: Annotated[str, typer.Option(help="GPU to build the engine for: cuda:1.", rich_help_panel=_ENGINE)] = "",
    workspace: Annotated[
        int | None, typer.Option(help="Workspace per layer in MiB; default: all GPU memory.", rich_help_panel=_ENGINE)
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="TensorRT timing cache, read and written.", rich_help_panel=_ENGINE)
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration cache of quantize --format cache.", rich_help_panel=_ENGINE)
    ] = None,
    level: Annotated[
        int | None, typer.Option(help="TensorRT optimization level, 0 to 5.", rich_help_panel=_ENGINE)
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option(help="Make the engine run on later versions of TensorRT.", rich_help_panel=_ENGINE)
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option(help="Make the engine run on other GPUs, from Ampere on.", rich_help_panel=_ENGINE)
    ] = False,
    max_batch: Annotated[int, typer.Option(help="Largest batch with --dynamic.", rich_help_panel=_ENGINE)] = 16,
    max_imgsz: Annotated[
        str | None, typer.Option(help="Largest input with --dynamic; default: twice --imgsz.", rich_help_panel=_ENGINE)
    ] = None,
) -> None:
    """Export an Ultralytics checkpoint to a model that `Detector` loads, and compare it with PyTorch.

    An ONNX file, such as quantize --target gpu writes, can be turned into an engine as well.
    """
    show_log()
    if max_drop is not None and precision != "int8":
        raise ValueError("--max-drop needs --precision int8")

    def engine_options(progress: Callable[[str, int, int], bool] | None) -> Any:
        if format != "engine":
            return None
        from yolort.tools.export import EngineOptions

        return EngineOptions(
            device=device,
            workspace=workspace,
            timing_cache=timing_cache,
            calibration=calibration,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            level=level,
            max_batch=max_batch,
            max_imgsz=parse_size(max_imgsz),
            progress=progress,
        )

    if precision == "int8":
        if batch != 1 or dynamic or opset or images or calibration:
            raise ValueError("--precision int8 takes no --batch, --dynamic, --opset, --images or --calibration")
        if data is None:
            raise ValueError(
                "--precision int8 needs --data, a data.yaml with images for calibration and for measuring accuracy"
            )
        from yolort.tools import export_int8

        size, engine = parse_imgsz(imgsz), engine_options(None)
        how: dict[str, Any] = {"format": format, "head": head, "imgsz": size, "max_drop": max_drop, "engine": engine}
        with stages():
            done = export_int8(model, data, output=output, progress=progress, **how)
        print_quantized(done)
        return
    with stages(), phases() as shown:
        engine = engine_options(shown)
        if engine and model.suffix == ".onnx":
            if head != "raw" or batch != 1 or dynamic or imgsz or opset or images or data:
                raise ValueError(
                    "leave out --head, --imgsz, --batch, --dynamic, --opset, --images and --data: the ONNX file "
                    "fixes them"
                )
            from yolort.tools.export import build_engine

            written = build_engine(model, precision=precision, output=output, options=engine)
        else:
            from yolort.tools import export as run

            written = run(
                model,
                format=format,
                precision=precision,
                head=head,
                imgsz=parse_imgsz(imgsz),
                batch=batch,
                dynamic=dynamic,
                opset=opset,
                images=yolort.images.find(images) if images else (),
                output=output,
                engine=engine,
                data=data,
            )
    say(f"written to {written}")
