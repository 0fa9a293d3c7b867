"""`yolort benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import yolort
from yolort.cli._options import (
    ImageFile,
    Imgsz,
    Rect,
    Reports,
    Split,
    parse_size,
    split_list,
    whole_number,
)
from yolort.cli._output import print_table, say
from yolort.cli._progress import progress
from yolort.cli._reports import check_reports, save_reports, showing


def benchmark(
    models: Annotated[list[Path], typer.Argument(help="Exported models and .pt checkpoints.", show_default=False)],
    engine: Annotated[str | None, typer.Option(help="Engines to measure: ncnn,openvino; default: all.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Precisions to measure: fp32, bf16, fp16, fp16-storage; default depends on the device."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Devices to measure on: cpu,vulkan; default: the engine's default device.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option(help="Thread counts, one row each, pinned to cores: 1,2,4; default: one per core.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Labeled images on which to measure accuracy too (see val).")] = None,
    split: Split = "val",
    image: ImageFile = None,
    imgsz: Imgsz = None,
    rect: Rect = None,
    batch: Annotated[int, typer.Option(help="Batch size for the additional throughput column.")] = 1,
    workers: Annotated[
        int | None, typer.Option(help="Number of one-core threads for the throughput column; default: one per core.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Number of timed detections.")] = 200,
    warmup: Annotated[int, typer.Option(help="Number of detections before timing starts.")] = 50,
    report: Reports = None,
) -> None:
    """Measure latency, throughput, memory and accuracy: one row per model, engine and precision."""
    from yolort.tools.evaluate.benchmark import REPORT_WRITERS, cases
    from yolort.tools.evaluate.benchmark import benchmark as run

    check_reports(report, REPORT_WRITERS, *models, data, image)
    chosen = cases(
        models,
        engines=split_list(engine),
        precisions=split_list(precision),
        devices=split_list(device),
        threads=[whole_number("--threads", part) for part in split_list(threads)],
        imgsz=parse_size(imgsz),
        rect=rect,
    )
    with showing(lambda done: finish_benchmark(done, report)) as shown:
        shown(
            run(
                chosen=chosen,
                image=yolort.images.read(image) if image else None,
                data=data,
                split=split,
                runs=runs,
                warmup=warmup,
                batch=batch,
                workers=workers,
                progress=lambda steps: progress(steps, "measuring"),
            )
        )


def finish_benchmark(done: Any, report: list[Path] | None) -> None:
    headings, cells = done.table()
    print_table(headings, [list(row) for row in cells])
    say("\n".join(f"{key}: {value}" for key, value in done.setup.items()))
    say("".join(f"failed: {note}\n" for note in done.notes()), end="")
    for text in [*done.doubts(), *done.remarks()]:
        say(text)
    save_reports(done, report)
    failed = sum(bool(row.error) for row in done.rows)
    if failed:
        raise typer.Exit(1)
