"""`yolort advise`."""

from __future__ import annotations

from typing import Annotated

import typer

from yolort.cli._options import (
    Side,
)
from yolort.cli._output import say


def advise(
    data: Annotated[str | None, typer.Option(help="A data.yaml, whose training images are counted.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Latency target in ms per image, end to end.")] = None,
    imgsz: Side = 640,
) -> None:
    """Suggest where to start on this machine, and cite the measurement behind each suggestion; runs no model."""
    from yolort.tools.search.advise import advise as run
    from yolort.tools.search.advise import device

    for number, advice in enumerate(run(device(), imgsz=imgsz, max_latency=max_latency, data=data), 1):
        say(f"{number}. {advice.text}\n   measured: {advice.measured} ({advice.page})")
