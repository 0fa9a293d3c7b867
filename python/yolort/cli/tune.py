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
from yolort.cli._output import note, print_table, say
from yolort.cli._progress import progress


def tune(
    model: Annotated[Path, typer.Argument(help="Model to tune.", show_default=False)],
    others: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Other artifacts of the same model, in the same folder, that may run instead.", show_default=False
        ),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Engines to try: ncnn,openvino; default: all.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Precisions to try: fp32, bf16, fp16, fp16-storage; default: those that keep the accuracy."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Devices to measure on: cpu,vulkan; default: the engine's default device.")
    ] = None,
    image: ImageFile = None,
    seconds: Annotated[float, typer.Option(help="Time limit of the measurement, in seconds.")] = 45,
    under_load: Annotated[
        bool, typer.Option("--under-load", help="Measure and record even if other processes use the cores.")
    ] = False,
) -> None:
    """Find the fastest engine, precision and thread count on this machine; Detector uses them from then on."""
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
    say(f'yolort.Detector("{model}") now uses it; pass tuned=False or engine= to override it')
