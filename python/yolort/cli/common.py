"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

MODEL_HELP = "An .onnx or .engine file, *_ncnn_model or *_openvino_model folder."
Model = Annotated[Path, typer.Argument(help=MODEL_HELP, show_default=False)]
Engine = Annotated[str | None, typer.Option(help="ncnn, onnxruntime or openvino; default: the best available.")]
Device = Annotated[str | None, typer.Option(help="cpu, 0 or cuda:0 (a GPU), vulkan:1, ...")]
Threads = Annotated[int | None, typer.Option(help="CPU threads, up to four for each core; default: one for each.")]
Precision = Annotated[str | None, typer.Option(help="fp32, fp16 or bf16; default: the fastest that is accurate.")]
Imgsz = Annotated[str | None, typer.Option(help="Network input: 640, or height,width.")]
Augment = Annotated[bool, typer.Option("--augment", help="Test-time augmentation: look at each image mirrored, too.")]
Scales = Annotated[str | None, typer.Option(help="Augment with these sizes: 640,800.")]
Flip = Annotated[bool | None, typer.Option(help="Each scale mirrored, too; default: yes.", show_default=False)]
Merge = Annotated[str | None, typer.Option(help="Of augmentation: wbf (default), weighted boxes fusion; or nms.")]
ScaleModel = Annotated[
    list[Path] | None, typer.Option(help="An artefact of another input size to augment with; may stand often.")
]


def parse_imgsz(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    try:
        sides = [int(side) for side in text.replace("x", ",").split(",")]
    except ValueError:
        sides = []
    if len(sides) == 1:
        return sides[0]
    if len(sides) == 2:
        return sides[0], sides[1]
    raise ValueError(f"--imgsz is {text!r}, expected a side (640) or height,width (384,640)")


def augmentation(
    augment: bool, scales: str | None, flip: bool | None, merge: str | None, scale_model: list[Path] | None
) -> dict[str, Any]:
    """The options of `Detector`; ValueError for scales that are no numbers and for what needs augmentation."""
    try:
        sides = [int(side) for side in scales.split(",")] if scales else []
    except ValueError:
        raise ValueError(f"--scales is {scales!r}, expected sides in pixels like 640,800") from None
    given = {
        "augment": augment or None,
        "scales": sides or None,
        "flip": flip,
        "merge": merge,
        "scale_models": scale_model or None,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if asked and not asked.keys() & {"augment", "scales", "scale_models"}:
        raise ValueError(f"--{next(iter(asked))} is of augmentation: give --augment, --scales or --scale-model, too")
    return asked
