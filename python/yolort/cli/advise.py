"""`yolort advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yolort.cli._options import Reports, Side, split_list
from yolort.cli._output import say
from yolort.cli._progress import progress
from yolort.cli._reports import check_reports


def advise(
    data: Annotated[str | None, typer.Option(help="A data.yaml, whose training images are counted.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Latency target in ms per image, end to end.")] = None,
    min_map: Annotated[float | None, typer.Option(help="Minimum mAP50-95 of the model on COCO, in points.")] = None,
    imgsz: Side = 640,
    measure: Annotated[
        str | None,
        typer.Option(help="Time YOLOv8, YOLO11 and YOLO26 of these sizes here first, with random weights: n,s,m,l,x."),
    ] = None,
    timings: Annotated[Path | None, typer.Option(help="The .json report of an earlier --measure.")] = None,
    report: Reports = None,
) -> None:
    """Suggest a model, an engine and a precision for this machine, and cite the measurement behind each suggestion."""
    from yolort.cli.benchmark import finish_benchmark
    from yolort.tools.evaluate.benchmark import REPORT_WRITERS
    from yolort.tools.search import versions
    from yolort.tools.search.advise import advise as run
    from yolort.tools.search.advise import device

    if measure is not None and timings is not None:
        raise typer.BadParameter("give --measure or --timings, not both")
    if report and measure is None:
        raise typer.BadParameter("--report keeps what --measure took; give --measure n,s too")
    check_reports(report, REPORT_WRITERS, data, timings)
    known = versions.Timings.read(timings) if timings else None
    run(device(), imgsz=imgsz, max_latency=max_latency, min_map=min_map, data=data, timings=known)  # validates it
    if measure is not None:
        done = versions.measure(split_list(measure), imgsz=imgsz, progress=lambda steps: progress(steps, "measuring"))
        finish_benchmark(done, report)
        known = versions.Timings.of(done, imgsz)
    advice = run(device(), imgsz=imgsz, max_latency=max_latency, min_map=min_map, data=data, timings=known)
    for number, one in enumerate(advice, 1):
        say(f"{number}. {one.text}\n   measured: {one.measured}" + (f" ({one.page})" if one.page != "-" else ""))
