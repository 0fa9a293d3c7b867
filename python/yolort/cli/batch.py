"""`yolort batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yolort.cli._options import (
    MODEL_HELP,
    Classes,
    Conf,
    Device,
    Engine,
    Iou,
    MaxDet,
    Precision,
    Rect,
    parse_classes,
    parse_conf,
)
from yolort.cli._output import report_error, say


def batch(
    source: Annotated[
        str, typer.Argument(help="A folder or glob pattern of images, or a Parquet file.", show_default=False)
    ],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    output: Annotated[
        Path, typer.Option(help="Folder for part-00000.jsonl and so on; running the command again resumes there.")
    ],
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster; default: Ray on this machine.")] = None,
    actors: Annotated[int, typer.Option(min=1, help="Number of Detectors in the cluster.")] = 1,
    shard_size: Annotated[int, typer.Option(min=1, help="Number of image files per output file.")] = 256,
    column: Annotated[str, typer.Option(help="Parquet column that holds image files.")] = "image",
    engine: Engine = None,
    device: Device = None,
    precision: Precision = None,
    rect: Rect = None,
    conf: Conf = "0.25",
    iou: Iou = 0.7,
    max_det: MaxDet = 300,
    classes: Classes = None,
) -> None:
    """Detect in very many images on a Ray cluster; an interrupted run can be resumed."""
    from yolort.batch import run

    options = {
        "engine": engine,
        "device": device,
        "precision": precision,
        "rect": rect,
        "conf": parse_conf(conf),
        "iou": iou,
        "max_det": max_det,
        "classes": parse_classes(classes),
    }
    done = run(
        source, model, output, ray_address=ray, actors=actors, shard_size=shard_size, column=column, options=options
    )
    say(f"{done.images} image(s) in {done.shards - done.skipped} shard(s); {done.skipped} shard(s) existed already")
    if done.failed:
        report_error(f"{done.failed} of {done.images} image(s) failed; their lines contain the error")
        raise typer.Exit(1)
