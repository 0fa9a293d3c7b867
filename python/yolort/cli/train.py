"""`yolort train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yolort.cli._options import (
    Batch,
    BatchScales,
    ClassWeights,
    Data,
    Epochs,
    Gamma,
    Resume,
    Run,
    Sampling,
    Seed,
    Side,
    train_settings,
    two_numbers,
)
from yolort.cli._output import print_table, say, show_log


# Long because each option is a parameter with its help.
def train(
    model: Annotated[
        Path, typer.Argument(help="A .pt checkpoint (may be pruned) or .yaml architecture.", show_default=False)
    ],
    data: Data,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Ultralytics training settings: lr0=0.01 cls=1.0 mosaic=0", show_default=False),
    ] = None,
    epochs: Epochs = 100,
    imgsz: Side = 640,
    batch: Batch = 16,
    seed: Seed = 0,
    gamma: Gamma = 0.0,
    alpha: Annotated[float | None, typer.Option(help="Focal loss alpha, between 0 and 1.")] = None,
    class_weights: ClassWeights = None,
    beta: Annotated[
        float, typer.Option(help="Beta of effective-number weights; values closer to 1 give rare classes more weight.")
    ] = 0.999,
    clip: Annotated[str, typer.Option(help="Minimum and maximum class weight.")] = "0.1,10",
    sampling: Sampling = None,
    repeat_threshold: Annotated[
        float | None,
        typer.Option(
            help="Repeat threshold: classes that occur in a smaller share of the images (0 to 1) are repeated."
        ),
    ] = None,
    scales: BatchScales = None,
    output: Run = Path("runs/train"),
    resume: Resume = False,
) -> None:
    """Train with Ultralytics; optionally with focal loss, class weights and balanced sampling for rare classes."""
    show_log()
    from yolort.tools import train as run
    from yolort.tools.data import ClassReport

    def show(report: ClassReport) -> None:
        headings, rows = report.table()
        print_table(headings, rows)
        say(
            f"{report.total_images} images, {report.empty_images} of them without objects; class imbalance "
            f"{report.ratio:.1f} : 1"
        )

    best = run(
        model,
        data,
        gamma=gamma,
        alpha=alpha,
        class_weights=class_weights,
        beta=beta,
        clip=two_numbers("--clip", clip),
        sampling=sampling,
        repeat_threshold=repeat_threshold,
        scales=two_numbers("--scales", scales) if scales else None,
        on_report=show,
        output=output,
        resume=resume,
        **train_settings(settings, epochs=epochs, batch=batch, imgsz=imgsz, seed=seed),
    )
    say(f"written to {best}")
