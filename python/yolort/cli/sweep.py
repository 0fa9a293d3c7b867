"""`yolort sweep`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from yolort.cli._options import (
    Imgsz,
    Reports,
    TimedRuns,
    parse_imgsz,
    split_list,
    whole_number,
)
from yolort.cli._output import note, show_log
from yolort.cli._progress import progress
from yolort.cli._reports import check_reports, showing
from yolort.cli.benchmark import finish_benchmark


def sweep(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.pt).", show_default=False)],
    data: Annotated[str, typer.Option(help="A data.yaml; calibrates on train, scores on val.", show_default=False)],
    images: Annotated[str, typer.Option(help="Sizes of the calibration set.")] = "100,500,1000,2000",
    method: Annotated[str, typer.Option(help="Calibration methods to compare.")] = "minmax,entropy,percentile",
    granularity: Annotated[str, typer.Option(help="Granularity of weight scales: channel,tensor.")] = "channel,tensor",
    target: Annotated[str, typer.Option(help="Targets: openvino,onnxruntime,arm,ncnn.")] = "openvino",
    head: Annotated[str, typer.Option(help="Head: raw or raw-e2e.")] = "raw",
    imgsz: Imgsz = None,
    runs: TimedRuns = 100,
    report: Reports = None,
) -> None:
    """Compare INT8 recipes: calibration-set size x method x granularity, weights only, dynamic, and naive."""
    show_log()
    from yolort.tools import sweep as run
    from yolort.tools.evaluate.benchmark import REPORT_WRITERS

    check_reports(report, REPORT_WRITERS, model, data)

    with showing(lambda done: finish_benchmark(done, report)) as shown:
        shown(
            run(
                model,
                data,
                images=[whole_number("--images", part) for part in split_list(images)],
                methods=split_list(method),
                granularities=split_list(granularity),
                targets=split_list(target),
                head=head,
                imgsz=parse_imgsz(imgsz),
                runs=runs,
                progress=progress,
            )
        )


@functools.wraps(sweep)
def study(**arguments: Any) -> None:
    """The old name of `sweep`; removed in the next release."""
    note("`yolort study` is now `yolort sweep`; the old name will be removed in the next release")
    sweep(**arguments)
