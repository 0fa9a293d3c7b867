"""`yolort predict`."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import numpy as np
import typer

import yolort
from yolort import _atomic, _inputs
from yolort._open import open_model
from yolort.cli import _video
from yolort.cli._options import (
    MODEL_HELP,
    Augment,
    Classes,
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
    parse_classes,
    parse_conf,
    parse_imgsz,
    runner,
)
from yolort.cli._output import note, report_error, say, visible
from yolort.cli._progress import progress


# Long because each option is a parameter with its help.
def predict(
    source: Annotated[
        list[str], typer.Argument(help="Images, URLs of images, videos, folders or glob patterns.", show_default=False)
    ],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    save: Annotated[
        Path | None, typer.Option(help="Folder for annotated images and videos, or a file name for a single source.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per image.")] = False,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    engine_option: EngineOption = None,
    conf: Conf = "0.25",
    iou: Iou = 0.7,
    max_det: MaxDet = 300,
    classes: Classes = None,
    agnostic: Annotated[bool, typer.Option(help="Apply NMS across classes.")] = False,
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
    """Detect objects in images and videos, with masks, keypoints or oriented boxes if the model has them; or classify
    images with a classifier."""
    paths: list[Path | str] = []
    for item in source:
        paths += [item] if _inputs.is_url(item) else yolort.images.find(item, videos=True)
    detector = open_model(
        model,
        conf=parse_conf(conf),
        iou=iou,
        max_det=max_det,
        classes=parse_classes(classes),
        agnostic=agnostic,
        imgsz=parse_imgsz(imgsz),
        **runner(engine, device, threads, precision, engine_option, rect, input),
        **augmentation(augment, scales, flip, merge, scale_model),
        **keypoints(flip_idx, skeleton),
    )
    targets = _targets(save, paths) if save else {}
    failures = 0
    for path in paths if sys.stdout.isatty() else progress(paths):  # on a terminal, the printed lines show the progress
        try:
            if isinstance(path, Path) and yolort.images.is_video(path):
                _predict_video(detector, path, targets.get(path), as_json)
            else:
                _predict_image(detector, path, targets.get(path), as_json)
        except (yolort.ImageError, FileNotFoundError, yolort.SourceError) as error:
            report_error(error)
            failures += 1
    if failures:
        report_error(f"{failures} of {len(paths)} source(s) failed")
        raise typer.Exit(1)


def _predict_image(
    detector: yolort.Detector | yolort.Classifier, source: Path | str, target: Path | None, as_json: bool
) -> None:
    image = _inputs.read(source, None, detector.channels)
    found: yolort.Detections | yolort.Classification = detector(image.array)
    if target:
        found.save(target, np.asarray(image.array))
    found.path = image.path
    if as_json:
        say(json.dumps({**found.to_dict(), "speed": detector.speed._asdict()}))
    else:
        say(f"{visible(str(image.path), lines=False)}: {_summary(found)}; {sum(detector.speed):.1f} ms")


def _predict_video(
    detector: yolort.Detector | yolort.Classifier, path: Path, target: Path | None, as_json: bool
) -> None:
    writing = _video.writing(target, [str(path)], _video.rate(str(path))) if target else nullcontext()
    with detector.stream(str(path), policy="all") as stream, writing as add:
        for frame in stream:
            if add:
                add(frame.result.draw(frame.image))
            if as_json:
                say(_video.line(str(path), frame))
            else:
                say(f"{visible(path, lines=False)}, frame {frame.index}: {_summary(frame.result)}")
        if stream.problems:
            raise yolort.SourceError(f"{path} ended early: {'; '.join(stream.problems)}")


def _summary(found: yolort.Detections | yolort.Classification) -> str:
    return repr(found).partition("(")[2].removesuffix(")")


def _targets(save: Path, paths: list[Path | str]) -> dict[Path | str, Path]:
    """The file for each annotated image or video. Creates the folder; refuses to overwrite files of others."""
    if save.suffix.lower() in {*yolort.images.endings(), ".mp4"} and not save.is_dir():
        if len(paths) > 1:
            raise ValueError(f"--save {save} is a single file, but there are {len(paths)} sources; give a folder")
        wanted = {paths[0]: save}
    else:
        wanted = {path: save / _name(path) for path in paths}
        save.mkdir(parents=True, exist_ok=True)
    videos = {path: to for path, to in wanted.items() if isinstance(path, Path) and yolort.images.is_video(path)}
    if videos and wanted.keys() == videos.keys() and save in wanted.values():
        _video.check(save, [str(path) for path in paths])
    wanted = {path: to.with_suffix(".mp4") if path in videos else to for path, to in wanted.items()}
    others = sorted(
        {
            to.suffix.lower()
            for path, to in wanted.items()
            if path not in videos and not yolort.images.encodes(to.suffix)
        }
    )
    if others:
        note(f"annotated images are written as .png because OpenCV cannot encode {', '.join(others)} here")
    targets = _distinct(
        {path: to.with_suffix(".png") if to.suffix.lower() in others else to for path, to in wanted.items()}
    )
    _atomic.check_all(targets.values(), sources=[path for path in paths if isinstance(path, Path)])
    return targets


def _name(source: Path | str) -> str:
    """The last part of a path or URL, with an ending."""
    if isinstance(source, Path):
        return source.name
    name = Path(unquote(urlsplit(source).path)).name
    return name if Path(name).suffix.lower() in yolort.images.endings() else f"{name or 'image'}.jpg"


def _distinct(targets: dict[Path | str, Path]) -> dict[Path | str, Path]:
    """The same targets with unique names; the second a.jpg becomes a-2.jpg."""
    out: dict[Path | str, Path] = {}
    taken: set[Path] = set()
    for path, target in targets.items():
        free, count = target, 1
        while free in taken:
            count += 1
            free = target.with_stem(f"{target.stem}-{count}")
        taken.add(free)
        out[path] = free
    return out
