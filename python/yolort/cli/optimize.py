"""`yolort optimize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yolort.cli._options import (
    Data,
    Ray,
    RayWorkers,
    Seed,
    split_list,
    train_settings,
)
from yolort.cli._output import print_table, say, show_log
from yolort.cli._progress import say_above, stages
from yolort.cli._reports import check_reports, save_reports, showing


# Long because each option is a parameter with its help.
def optimize(
    model: Annotated[Path, typer.Argument(help="The .pt checkpoint to deploy.", show_default=False)],
    data: Data,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Ultralytics training settings: lr0=0.001 batch=16", show_default=False)
    ] = None,
    max_latency: Annotated[float | None, typer.Option(help="Latency target in ms per image (p50, end to end).")] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Allowed loss of accuracy (mAP50-95, of the task) in points.")
    ] = None,
    max_size: Annotated[float | None, typer.Option(help="Maximum size of the artifact in MB.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engines to consider: ncnn,openvino; default: all available.")
    ] = None,
    sibling: Annotated[
        list[Path] | None, typer.Option(help="The same model in another size. Can be given several times.")
    ] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the network input; default: that of the training.")] = None,
    epochs: Annotated[int, typer.Option(help="Number of epochs to train the models on the data first.")] = 0,
    finetune: Annotated[int, typer.Option(help="Number of epochs after pruning, and for distillation.")] = 10,
    hours: Annotated[float | None, typer.Option(help="Start no trial after this many hours.")] = None,
    trials: Annotated[int | None, typer.Option(help="Maximum number of trials, including earlier runs.")] = None,
    trial_minutes: Annotated[float, typer.Option(help="Timeout per trial, in minutes.")] = 60.0,
    seed: Seed = 0,
    folder: Annotated[Path, typer.Option(help="Folder for all results; an interrupted search resumes there.")] = Path(
        "runs/optimize"
    ),
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    report: Annotated[
        list[Path] | None, typer.Option(help="Report file: .html, .md or .json. Can be given several times.")
    ] = None,
) -> None:
    """Find the best artifact within a budget of latency, accuracy and size, and print the commands to reproduce it."""
    show_log()
    from yolort.tools import optimize as run
    from yolort.tools.search.outcome import REPORT_WRITERS, Budget

    check_reports(report, REPORT_WRITERS, model, data, *(sibling or ()))

    def show(done: Any) -> None:
        headings, cells = done.table()
        print_table(headings, [list(row) for row in cells])
        say("\n".join([*done.findings(), *done.commands()]))
        if done.artifact:
            say(f"artifact: {done.artifact}")
        save_reports(done, report)

    with showing(show) as shown:
        with stages():
            done = run(
                model,
                data,
                Budget(max_latency, max_drop, max_size),
                folder=folder,
                engines=split_list(engine) or None,
                siblings=sibling or [],
                finetune=finetune,
                hours=hours,
                trials=trials,
                trial_minutes=trial_minutes,
                ray=ray,
                ray_workers=ray_workers,
                progress=say_above,
                **train_settings(settings, epochs=epochs, imgsz=imgsz, seed=seed),
            )
        shown(done)
