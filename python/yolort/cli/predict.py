"""`yolort predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import yolort
from yolort import _atomic
from yolort._open import open_model
from yolort.cli._options import (
    MODEL_HELP,
    Augment,
    Conf,
    Device,
    Engine,
    EngineOption,
    Flip,
    FlipIdx,
    Imgsz,
    Input,
    Iou,
    MaxDet,
    Merge,
    Precision,
    Rect,
    ScaleModel,
    Scales,
    Skeleton,
    Threads,
    augmentation,
    keypoints,
    parse_imgsz,
    runner,
)
from yolort.cli._output import note, progress, report_error, say, visible


# Long because each option is a parameter with its help.
def predict(
    source: Annotated[list[str], typer.Argument(help="Images, folders or glob patterns.", show_default=False)],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    save: Annotated[Path | None, typer.Option(help="Folder for annotated images; or a file, for one image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an image, on standard output.")] = False,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    engine_option: EngineOption = None,
    conf: Conf = 0.25,
    iou: Iou = 0.7,
    max_det: MaxDet = 300,
    classes: Annotated[str | None, typer.Option(help="Keep only these classes, indices or names: 0,2,person.")] = None,
    agnostic: Annotated[bool, typer.Option(help="NMS across classes.")] = False,
    imgsz: Imgsz = None,
    rect: Rect = None,
    input: Input = None,
    augment: Augment = False,
    scales: Scales = None,
    flip: Flip = None,
    merge: Merge = None,
    scale_model: ScaleModel = None,
    flip_idx: FlipIdx = None,
    skeleton: Skeleton = None,
) -> None:
    """Detect objects in images, with their masks, keypoints or oriented boxes if the model finds them; or classify
    images, if the model does that."""
    paths = [path for item in source for path in yolort.images.find(item)]
    detector = open_model(
        model,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=_parse_classes(classes),
        agnostic=agnostic,
        imgsz=parse_imgsz(imgsz),
        **runner(engine, device, threads, precision, engine_option, rect, input),
        **augmentation(augment, scales, flip, merge, scale_model),
        **keypoints(flip_idx, skeleton),
    )
    targets = _targets(save, paths) if save else {}
    failures = 0
    for path in paths if sys.stdout.isatty() else progress(paths):  # the lines show on a terminal how far it is
        try:
            image = yolort.images.read(path, detector.channels)
            found: yolort.Detections | yolort.Classification = detector(image)
            if save:
                found.save(targets[path], image)
        except (yolort.ImageError, FileNotFoundError) as error:
            report_error(error)
            failures += 1
            continue
        found.path = str(path)
        if as_json:
            say(json.dumps({**found.to_dict(), "speed": detector.speed._asdict()}))
        else:
            say(f"{visible(path, lines=False)}: {_summary(found)}; {sum(detector.speed):.1f} ms")
    if failures:
        report_error(f"{failures} of {len(paths)} image(s) failed")
        raise typer.Exit(1)


def _parse_classes(text: str | None) -> list[int | str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return [int(part) if part.isascii() and part.isdecimal() else part for part in parts]


def _summary(found: yolort.Detections | yolort.Classification) -> str:
    return repr(found).partition("(")[2].removesuffix(")")


def _targets(save: Path, paths: list[Path]) -> dict[Path, Path]:
    """Where each annotated image goes; the folder is made, and nothing is written over that must not be."""
    if save.suffix.lower() in yolort.images.endings() and not save.is_dir():
        if len(paths) > 1:
            raise ValueError(f"--save {save} is one image, and there are {len(paths)}; give a folder")
        wanted = {paths[0]: save}
    else:
        wanted = {path: save / path.name for path in paths}
        save.mkdir(parents=True, exist_ok=True)
    others = sorted({path.suffix.lower() for path in wanted.values() if not yolort.images.encodes(path.suffix)})
    if others:
        note(f"annotated images are written as .png in the place of {', '.join(others)}, which cannot be encoded here")
    targets = _distinct(
        {path: to.with_suffix(".png") if to.suffix.lower() in others else to for path, to in wanted.items()}
    )
    _atomic.check_all(targets.values(), sources=paths)
    return targets


def _distinct(targets: dict[Path, Path]) -> dict[Path, Path]:
    """The same without two of a name; the second a.jpg becomes a-2.jpg."""
    out: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path, target in targets.items():
        free, count = target, 1
        while free in taken:
            count += 1
            free = target.with_stem(f"{target.stem}-{count}")
        taken.add(free)
        out[path] = free
    return out
