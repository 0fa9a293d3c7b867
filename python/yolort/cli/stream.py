"""`yolort stream`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from yolort._checks import without_secrets
from yolort._open import open_model
from yolort.cli._options import (
    MODEL_HELP,
    Conf,
    Device,
    Engine,
    EngineOption,
    Input,
    MaxBatch,
    MaxWait,
    Precision,
    Rect,
    Threads,
    runner,
)
from yolort.cli._output import say


def stream(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Videos, images, folders or glob patterns of them, camera indices, URLs.", show_default=False
        ),
    ],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    policy: Annotated[
        Literal["all", "latest"] | None, typer.Option(help="Default: latest of cameras and URLs, else all.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    engine_option: EngineOption = None,
    rect: Rect = None,
    input: Input = None,
    conf: Conf = 0.25,
    workers: Annotated[int | None, typer.Option(min=1, help="Clones of the Detector; default: 2, or 1.")] = None,
    max_batch: MaxBatch = None,
    max_wait: MaxWait = 0.0,
) -> None:
    """Detect in videos and cameras, or classify their images: one JSON object a frame, on standard output."""
    detector = open_model(model, conf=conf, **runner(engine, device, threads, precision, engine_option, rect, input))
    sources = [int(item) if re.fullmatch(r"-?\d{1,18}", item) and not Path(item).exists() else item for item in source]
    printed = 0
    with detector.stream(sources, policy=policy, workers=workers, max_batch=max_batch, max_wait=max_wait) as stream:
        for frame in stream:
            about = {"source": without_secrets(source[frame.source]), "index": frame.index, "time": frame.time}
            say(json.dumps({**about, **frame.result.to_dict()}))
            printed += 1
            if printed == frames:
                break
        if stream.problems:
            raise typer.Exit(1)
