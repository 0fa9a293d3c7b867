"""`yolort calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yolort import _atomic
from yolort.cli._options import (
    Imgsz,
    Split,
    parse_imgsz,
)
from yolort.cli._output import say, show_log
from yolort.cli._progress import progress


def calibrate(
    model: Annotated[
        Path, typer.Argument(help="An FP32 .onnx with a raw head, or a .pt checkpoint.", show_default=False)
    ],
    data: Annotated[
        str, typer.Option(help="Training images: a data.yaml, COCO JSON, a folder or a .txt list.", show_default=False)
    ],
    split: Split = "train",
    images: Annotated[int, typer.Option(help="Maximum number of images (fixed random sample).")] = 512,
    method: Annotated[str, typer.Option(help="Calibration method: minmax, entropy or percentile.")] = "percentile",
    percentile: Annotated[float, typer.Option(help="Clip activations beyond this percentile.")] = 99.999,
    batch: Annotated[int, typer.Option(help="Batch size, for a model exported with --dynamic.")] = 8,
    head: Annotated[str, typer.Option(help="Head to export a checkpoint with: raw or raw-e2e.")] = "raw",
    imgsz: Imgsz = None,
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    allow_overlap: Annotated[bool, typer.Option(help="Also accept images of the val and test splits.")] = False,
) -> None:
    """Measure activation ranges for INT8 on training images, once for every format."""
    show_log()
    from yolort.tools import calibrate as run

    _atomic.check(output, sources=[model, data])
    done = run(
        model,
        data,
        split=split,
        images=images,
        method=method,
        percentile=percentile,
        batch=batch,
        head=head,
        imgsz=parse_imgsz(imgsz),
        allow_overlap=allow_overlap,
        progress=lambda steps: progress(steps, "calibrating"),
    )
    say(f"{len(done.ranges)} activations over {len(done.images)} images, {done.method}")
    done.save(output)
    say(f"written to {output}")
