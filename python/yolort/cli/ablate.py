"""`yolort ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yolort.cli._options import (
    Ray,
    RayWorkers,
    Reports,
    TimedRuns,
)
from yolort.cli._output import print_table, say, show_log
from yolort.cli._progress import progress, stages
from yolort.cli._reports import check_reports, save_reports, showing


def ablate(
    study: Annotated[
        Path, typer.Argument(help="YAML file with the baseline, the steps and the seeds.", show_default=False)
    ],
    folder: Annotated[
        Path, typer.Option(help="Folder for the results of all stages; an interrupted study resumes there.")
    ] = Path("runs/ablation"),
    runs: TimedRuns = 100,
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    report: Reports = None,
) -> None:
    """Measure what each step (distill, prune, INT8, ...) contributes over a baseline, over several seeds, with
    intervals.
    """
    show_log()
    from yolort.tools.search.ablate import REPORT_WRITERS
    from yolort.tools.search.ablate import ablate as run

    check_reports(report, REPORT_WRITERS, study)

    def show(done: Any) -> None:
        headings, cells = done.table()
        print_table(headings, [list(row) for row in cells])
        say("\n".join(done.findings()))
        save_reports(done, report)

    with showing(show) as shown:
        with stages():
            done = run(study, folder, runs=runs, ray=ray, ray_workers=ray_workers, progress=progress)
        shown(done)
