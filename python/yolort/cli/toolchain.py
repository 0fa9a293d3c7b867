"""The subcommands of the toolchain (`yolort.tools`), which is imported when one runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

import yolort
from yolort.cli.common import (
    Device,
    Engine,
    Imgsz,
    Precision,
    Threads,
    parse_imgsz,
    print_table,
    progress,
    report,
)


def export(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.pt) or architecture (.yaml).", show_default=False)],
    format: Annotated[str, typer.Option(help="onnx, ncnn or openvino.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, or fp16: half the size.")] = "fp32",
    head: Annotated[
        str,
        typer.Option(help="raw, boxes, or of YOLO26's NMS-free branch raw-e2e, end2end; Ultralytics loads the second."),
    ] = "raw",
    imgsz: Imgsz = None,
    batch: Annotated[int, typer.Option(help="Images of one run.")] = 1,
    dynamic: Annotated[bool, typer.Option(help="Any batch and any size; --imgsz is the default.")] = False,
    opset: Annotated[int | None, typer.Option(help="Of ONNX; default: 17.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Pictures to compare with PyTorch on; default: the embedded one and noise.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Default: beside the model.")] = None,
) -> None:
    """Turn an Ultralytics checkpoint into a model that `Detector` loads, and compare it with PyTorch."""
    _show_log()
    from yolort.tools.export import export as run

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
    )
    print(f"written to {written}")


def val(
    model: Annotated[Path, typer.Argument(help="What predict takes; or a .pt, for the baseline.", show_default=False)],
    data: Annotated[str, typer.Option(help="A data.yaml of Ultralytics, or COCO JSON.", show_default=False)],
    split: Annotated[str, typer.Option(help="train, val or test, of a data.yaml.")] = "val",
    images: Annotated[Path | None, typer.Option(help="Folder of the images of COCO JSON; default: beside it.")] = None,
    augment: Annotated[bool, typer.Option(help="Test-time augmentation: three views of each image.")] = False,
    save: Annotated[Path | None, typer.Option(help="Folder for metrics.json and the plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    conf: Annotated[float, typer.Option(help="Keep scores above this.")] = 0.001,
    iou: Annotated[float, typer.Option(help="NMS drops boxes that overlap a better one by more.")] = 0.7,
    max_det: Annotated[int, typer.Option(help="At most this many detections an image.")] = 300,
    imgsz: Imgsz = None,
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of the images for the interval; 0: none.")] = 200,
) -> None:
    """Measure accuracy on labelled images, through the runtime that ships."""
    from yolort.tools.val import validate

    done = validate(
        model,
        data,
        split=split,
        images=images,
        augment=augment,
        resamples=resamples,
        progress=progress,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        conf=conf,
        iou=iou,
        max_det=max_det,
        imgsz=parse_imgsz(imgsz),
    )
    if save:
        done.save(save)
    if as_json:
        print(json.dumps(done.to_dict()))
    else:
        _print_metrics(done)
        if save:
            print(f"written to {save}")
    for reason in done.unreadable:
        report(reason)
    if done.unreadable:
        report(f"{len(done.unreadable)} image(s) cannot be read and are left out")
        raise typer.Exit(1)


def _print_metrics(done: Any) -> None:
    metrics = done.metrics
    rows: list[list[object]] = [
        [one.name, one.images, one.instances, *map(_percent, (one.map50_95, one.map50, one.precision, one.recall))]
        for one in metrics.classes
        if one.instances
    ]
    print_table(["class", "images", "instances", "mAP50-95", "mAP50", "precision", "recall"], rows)
    interval = metrics.map50_95_ci
    about = f" (95 %: {_percent(interval[0])} to {_percent(interval[1])})" if interval else ""
    what = done.described
    facts: list[list[object]] = [
        ["model", f"{what['model']}: {what['engine']}, {what['device']}, {what['precision']}"],
        ["data", f"{metrics.images} images, {metrics.instances} instances"],
        ["mAP50-95", f"{_percent(metrics.map50_95)}{about}"],
        ["mAP50, mAP75", f"{_percent(metrics.map50)}, {_percent(metrics.map75)}"],
        ["small, medium, large", ", ".join(map(_percent, (metrics.map_small, metrics.map_medium, metrics.map_large)))],
        ["by Ultralytics' formula", f"{_percent(metrics.map50_95_ultralytics)}, {_percent(metrics.map50_ultralytics)}"],
        [
            f"at conf {metrics.best_conf:.3f}, the best F1",
            f"precision {_percent(metrics.precision)}, recall {_percent(metrics.recall)}, F1 {_percent(metrics.f1)}",
        ],
    ]
    print_table([], facts)


def _percent(fraction: float) -> str:
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"


def _show_log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("yolort").setLevel(logging.INFO)
