"""`yolort val`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from yolort import _atomic
from yolort.cli._options import (
    Augment,
    Device,
    Engine,
    EngineOption,
    Flip,
    Imgsz,
    Input,
    Iou,
    MaxDet,
    Merge,
    Precision,
    Rect,
    ScaleModel,
    Scales,
    Split,
    Threads,
    augmentation,
    parse_imgsz,
    runner,
)
from yolort.cli._output import note, percent, print_table, report_error, say
from yolort.cli._progress import progress


# Long because each option is a parameter with its help.
def val(
    model: Annotated[Path, typer.Argument(help="Exported model, or a .pt checkpoint as baseline.", show_default=False)],
    data: Annotated[
        str,
        typer.Option(
            help="A data.yaml in Ultralytics' format, or COCO JSON; for classifiers a folder with a folder per class.",
            show_default=False,
        ),
    ],
    split: Split = "val",
    images: Annotated[
        Path | None, typer.Option(help="Image folder for COCO JSON; default: the folder of the JSON file.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for metrics.json and the plots.")] = None,
    save_conf: Annotated[
        Path | None, typer.Option(help="File (.json) for the score per class with the best F1; --conf reads it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    engine_option: EngineOption = None,
    conf: Annotated[float, typer.Option(help="Minimum score of a detection.")] = 0.001,
    iou: Iou = 0.7,
    max_det: MaxDet = 300,
    imgsz: Imgsz = None,
    rect: Rect = None,
    input: Input = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Number of bootstrap resamples for the interval; 0 disables it.")
    ] = 200,
    augment: Augment = False,
    scales: Scales = None,
    flip: Flip = None,
    merge: Merge = None,
    scale_model: ScaleModel = None,
) -> None:
    """Measure accuracy on labeled images by the metric of the task; with augmentation, also its gain and cost."""
    from yolort.tools import validate

    if save:
        _atomic.check(save, sources=[model, data, *([images] if images else [])], folder=True)
    if save_conf:
        if save_conf.suffix != ".json":
            raise ValueError(f"--save-conf {save_conf}: the file must be named *.json")
        _atomic.check(save_conf, sources=[model, data])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "class names: ")  # already reported in the notes
        done = validate(
            model,
            data,
            split=split,
            images=images,
            resamples=resamples,
            progress=progress,
            conf=conf,
            iou=iou,
            max_det=max_det,
            imgsz=parse_imgsz(imgsz),
            **runner(engine, device, threads, precision, engine_option, rect, input),
            **augmentation(augment, scales, flip, merge, scale_model),
        )
    if save_conf:
        done.save_conf(save_conf)
    _report(done, save, as_json)
    if save_conf and not as_json:
        say(f"written to {save_conf}")


def _report(done: Any, save: Path | None, as_json: bool) -> None:
    if as_json:
        say(json.dumps(done.to_dict()))
    else:
        _print_metrics(done)
    for text in done.notes:
        note(text)
    if save:
        done.save(save)
        if not as_json:
            say(f"written to {save}")
    for reason in done.unreadable:
        report_error(reason)
    if done.unreadable:
        report_error(f"{len(done.unreadable)} image(s) could not be read and were skipped")
        raise typer.Exit(1)


def _print_metrics(done: Any) -> None:
    metrics = done.metrics
    what = done.described
    facts: list[list[object]] = [["model", f"{what['model']}: {what['engine']}, {what['device']}, {what['precision']}"]]
    if what["task"] == "classify":
        rows: list[list[object]] = [
            [row.name, row.images, percent(row.top1), percent(row.top5)] for row in metrics.classes if row.images
        ]
        print_table(["class", "images", "top-1", "top-5"], rows)
        facts += [
            ["data", f"{metrics.images} images"],
            ["top-1", _with_interval(metrics)],
            ["top-5", percent(metrics.top5)],
        ]
        print_table([], facts)
        return
    rows = [
        [row.name, row.images, row.instances, *map(percent, (row.map50_95, row.map50, row.precision, row.recall))]
        for row in metrics.classes
        if row.instances
    ]
    print_table(["class", "images", "instances", metrics.metric, "mAP50", "precision", "recall"], rows)
    facts.append(["data", f"{metrics.images} images, {metrics.instances} instances"])
    facts += _facts(metrics)
    if metrics.box:
        facts += [[f"boxes: {name}", *rest] for name, *rest in _facts(metrics.box)]
    if done.augmentation:
        facts += _augmentation_facts(done.augmentation, metrics)
    print_table([], facts)


def _with_interval(metrics: Any) -> str:
    interval = metrics.value_ci
    about = f" (95 %: {percent(interval[0])} to {percent(interval[1])})" if interval else ""
    return f"{percent(metrics.value)}{about}"


def _facts(metrics: Any) -> list[list[object]]:
    return [
        [metrics.metric, _with_interval(metrics)],
        ["mAP50, mAP75", f"{percent(metrics.map50)}, {percent(metrics.map75)}"],
        ["small, medium, large", ", ".join(map(percent, (metrics.map_small, metrics.map_medium, metrics.map_large)))],
        ["by Ultralytics' formula", f"{percent(metrics.map50_95_ultralytics)}, {percent(metrics.map50_ultralytics)}"],
        [
            f"at conf {metrics.best_conf:.3f}, the best F1",
            f"precision {percent(metrics.precision)}, recall {percent(metrics.recall)}, F1 {percent(metrics.f1)}",
        ],
    ]


def _augmentation_facts(how: Any, metrics: Any) -> list[list[object]]:
    views = ", ".join(f"{view.scale}{' mirrored' if view.flip else ''}" for view in how.views)
    plain = how.plain.metrics.value
    return [
        ["views", views],
        [f"{metrics.metric} without augmentation", f"{percent(plain)}; gain {100 * (metrics.value - plain):+.2f}"],
        ["time, p50", f"{how.ms[1]:.1f} ms, {how.ms[0]:.1f} ms without: {how.latency_ratio:.2f} x"],
    ]
