"""`yolort stream`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from yolort._open import open_model
from yolort.cli import _video
from yolort.cli._options import (
    MODEL_HELP,
    Classes,
    Conf,
    Device,
    Engine,
    EngineOption,
    Input,
    Iou,
    MaxBatch,
    MaxDet,
    MaxWait,
    Precision,
    Rect,
    Threads,
    parse_classes,
    parse_conf,
    runner,
)
from yolort.cli._output import say

if TYPE_CHECKING:
    from yolort.stream import Frame


# Long because each option is a parameter with its help.
def stream(
    source: Annotated[
        list[str],
        typer.Argument(help="Videos, images, folders, glob patterns, camera indices or URLs.", show_default=False),
    ],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    policy: Annotated[
        Literal["all", "latest"] | None,
        typer.Option(help="Frames to process: all or latest; default: latest for cameras and URLs, otherwise all."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    engine_option: EngineOption = None,
    rect: Rect = None,
    input: Input = None,
    save: Annotated[Path | None, typer.Option(help="File (.mp4) for the annotated frames of the source.")] = None,
    conf: Conf = "0.25",
    iou: Iou = 0.7,
    max_det: MaxDet = 300,
    classes: Classes = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of Detector clones; default: 2, or 1 for a single live source.")
    ] = None,
    max_batch: MaxBatch = None,
    max_wait: MaxWait = 0.0,
) -> None:
    """Detect in videos and cameras, or classify their frames; prints one JSON object per frame."""
    if save is not None:
        if len(source) > 1:
            raise ValueError(
                f"--save {save} is a single video, but there are {len(source)} sources; save one source at a time"
            )
        _video.check(save, source)
    detector = open_model(
        model,
        conf=parse_conf(conf),
        iou=iou,
        max_det=max_det,
        classes=parse_classes(classes),
        **runner(engine, device, threads, precision, engine_option, rect, input),
    )
    sources = [int(item) if re.fullmatch(r"-?\d{1,18}", item) and not Path(item).exists() else item for item in source]
    writing = _video.writing(save, source, _video.rate(source[0])) if save else nullcontext()
    stopped = False
    with (
        detector.stream(sources, policy=policy, workers=workers, max_batch=max_batch, max_wait=max_wait) as stream,
        writing as add,
    ):
        try:
            taken: Iterator[Frame[Any]] = islice(stream, frames)
            for frame in taken:
                if add:
                    add(frame.result.draw(frame.image))
                say(_video.line(source[frame.source], frame))
        except KeyboardInterrupt:
            if not save:
                raise
            stopped = True  # the frames recorded so far are kept
    if stopped:
        raise typer.Exit(130)
    if stream.problems:
        raise typer.Exit(1)
