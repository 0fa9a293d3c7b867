"""`yolort distill`."""

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
    balancing,
    train_settings,
    two_numbers,
)
from yolort.cli._output import say, show_log
from yolort.cli._progress import stages


# Long because each option is a parameter with its help.
def distill(
    teacher: Annotated[Path, typer.Option(help="A checkpoint trained on these classes.", show_default=False)],
    student: Annotated[
        Path, typer.Option(help="Checkpoint (may be pruned) or architecture (.yaml).", show_default=False)
    ],
    data: Data,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Ultralytics training settings: lr0=0.01 patience=20", show_default=False)
    ] = None,
    epochs: Epochs = 100,
    imgsz: Side = 640,
    batch: Batch = 16,
    seed: Seed = 0,
    feature: Annotated[float, typer.Option(help="Gain of the feature loss (Ultralytics' dis).")] = 6.0,
    logit: Annotated[float, typer.Option(help="Gain of the logit loss, multiplied by Ultralytics' cls.")] = 1.0,
    box: Annotated[
        float | None, typer.Option(help="Gain of the box loss, multiplied by Ultralytics' box; default: 1.")
    ] = None,
    mask: Annotated[
        float | None, typer.Option(help="Segmentation: gain of the mask loss, multiplied by box; default: 1.")
    ] = None,
    proto: Annotated[float | None, typer.Option(help="Segmentation: gain of the prototype loss; default: 1.")] = None,
    keypoint: Annotated[
        float | None, typer.Option(help="Poses: gain of the keypoint losses, multiplied by pose and kobj; default: 1.")
    ] = None,
    angle: Annotated[
        float | None, typer.Option(help="Oriented boxes: gain of the angle loss, multiplied by angle; default: 1.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Classification: divisor of the logits; default: 4.")
    ] = None,
    gamma: Gamma = 0.0,
    class_weights: ClassWeights = None,
    sampling: Sampling = None,
    scales: BatchScales = None,
    output: Run = Path("runs/distill"),
    resume: Resume = False,
) -> None:
    """Train a small model of any task with a larger one as its teacher."""
    show_log()
    from yolort.tools import distill as run

    with stages():
        best = run(
            teacher,
            student,
            data,
            feature=feature,
            logit=logit,
            box=box,
            mask=mask,
            proto=proto,
            keypoint=keypoint,
            angle=angle,
            temperature=temperature,
            scales=two_numbers("--scales", scales) if scales else None,
            output=output,
            resume=resume,
            **balancing(gamma, class_weights, sampling),
            **train_settings(settings, epochs=epochs, batch=batch, imgsz=imgsz, seed=seed),
        )
    say(f"written to {best}")
