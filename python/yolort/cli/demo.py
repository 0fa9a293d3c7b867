"""`yolort demo`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Annotated

import typer

import yolort
from yolort import _atomic
from yolort.cli._options import (
    Engine,
)
from yolort.cli._output import print_table, say


def demo(
    engine: Engine = None,
    save: Annotated[Path, typer.Option(help="File for the annotated image.")] = Path("yolort-demo.jpg"),
    runs: Annotated[int, typer.Option(min=1, help="Number of timed runs per engine.")] = 20,
) -> None:
    """Detect in the embedded image with the embedded model, on every engine."""
    _atomic.check(save)
    image = yolort.images.read(yolort.demo_image())
    rows: list[list[object]] = []
    notes: list[str] = []
    drawn: yolort.Detections | None = None
    for status in yolort.engines():
        if engine not in (None, status.name):
            continue
        if not status.available:
            notes.append(f"{status.name}: {status.reason}")
            continue
        model = yolort.demo_model("ncnn" if status.name == "ncnn" else "onnx")
        try:
            detector = yolort.Detector(model, engine=status.name)
            found = detector(image)
        except yolort.Error as error:
            notes.append(f"{status.name}: {error}")
            continue
        drawn = drawn or found
        speeds = [(detector(image), detector.speed)[1] for _ in range(runs)]
        parts = [median(speed[part] for speed in speeds) for part in range(3)]
        total = median(sum(speed) for speed in speeds)
        cells = [f"{milliseconds:.2f}" for milliseconds in (*parts, total)]
        rows.append([status.name, detector.device, detector.precision, len(found), *cells])
        del detector  # closed, because its threads would disturb the next engine
    columns = ["engine", "device", "precision", "found", "pre ms", "run ms", "post ms", "total"]
    print_table(columns, rows)
    say("".join(f"{note}\n" for note in notes), end="")
    if drawn is None:
        raise yolort.EngineError(f"engine {engine!r} cannot run here" if engine else "no engine can run here")
    say(drawn)
    drawn.save(save, image)
    say(f"written to {save}")
