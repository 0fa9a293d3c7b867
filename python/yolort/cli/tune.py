"""`yolort tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import yolort
from yolort.cli._options import (
    ImageFile,
    split_list,
)
from yolort.cli._output import note, print_table, progress, say


def tune(
    model: Annotated[Path, typer.Argument(help="Model to tune.", show_default=False)],
    others: Annotated[
        list[Path] | None,
        typer.Argument(help="Other artefacts of the same model, beside it, that may run instead.", show_default=False),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Only these: ncnn,openvino.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Only these of fp32, bf16, fp16, fp16-storage; default: those that keep the accuracy."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="These: cpu,vulkan; default: each engine's own.")] = None,
    image: ImageFile = None,
    seconds: Annotated[float, typer.Option(help="Time to measure in.")] = 45,
    under_load: Annotated[
        bool, typer.Option("--under-load", help="Measure and record also while other processes take the cores.")
    ] = False,
) -> None:
    """Find the fastest engine, precision and thread count for a model here; Detector uses it from then on."""
    from yolort.tools.evaluate.tune import cost
    from yolort.tools.evaluate.tune import tune as run

    done = run(
        model,
        others or (),
        engines=split_list(engine),
        precisions=split_list(precision),
        devices=split_list(device),
        image=yolort.images.read(image) if image else None,
        seconds=seconds,
        under_load=under_load,
        say=note,
        progress=lambda steps: progress(steps, "tuning"),
    )
    rows: list[list[object]] = [
        [
            row.case.model,
            " ".join(part for part in (row.case.engine, row.case.device) if part),
            row.case.precision or "-",
            row.case.threads,
            row.error or f"{row.p50:.2f}",
        ]
        for row in done.rows
    ]
    print_table(["model", "engine", "precision", "threads", "p50 ms"], rows)
    say(f"fastest: {done.best.case}; written to {done.path}")
    if done.equals:
        say(f"not measurably slower: {', '.join(str(row.case) for row in done.equals)}")
    if lost := cost(done.best.facts["precision"]):
        say(f"accuracy: {lost}")
    say(f'yolort.Detector("{model}") runs it; tuned=False, or an engine of your own, does not')
