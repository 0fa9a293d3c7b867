"""The subcommands that need the runtime only; what only one of them needs is imported in it."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

import yolort
from yolort import _atomic
from yolort.cli._output import note, print_table, progress, report, say, visible
from yolort.cli.common import (
    MODEL_HELP,
    Augment,
    Device,
    Engine,
    Flip,
    Imgsz,
    Merge,
    Model,
    Precision,
    ScaleModel,
    Scales,
    Threads,
    augmentation,
    parse_imgsz,
)


def demo(
    engine: Engine = None,
    save: Annotated[Path, typer.Option(help="Where the annotated picture goes.")] = Path("yolort-demo.jpg"),
    runs: Annotated[int, typer.Option(min=1, help="Timed runs an engine.")] = 20,
) -> None:
    """Detect in the embedded picture with the embedded model, on every engine."""
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
        del detector  # its threads would disturb the next engine's
    columns = ["engine", "device", "precision", "found", "pre ms", "run ms", "post ms", "total"]
    print_table(columns, rows)
    say("".join(f"{note}\n" for note in notes), end="")
    if drawn is None:
        raise yolort.EngineError(f"engine {engine!r} cannot run here" if engine else "no engine can run here")
    say(drawn)
    drawn.save(save, image)
    say(f"written to {save}")


def predict(
    source: Annotated[list[str], typer.Argument(help="Images, folders or glob patterns.", show_default=False)],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    save: Annotated[Path | None, typer.Option(help="Folder for annotated images; or a file, for one image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an image, on standard output.")] = False,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    conf: Annotated[float, typer.Option(help="Keep scores above this.")] = 0.25,
    iou: Annotated[float, typer.Option(help="NMS drops boxes that overlap a better one by more.")] = 0.7,
    max_det: Annotated[int, typer.Option(help="At most this many detections an image.")] = 300,
    classes: Annotated[str | None, typer.Option(help="Keep only these classes, indices or names: 0,2,person.")] = None,
    agnostic: Annotated[bool, typer.Option(help="NMS across classes.")] = False,
    imgsz: Imgsz = None,
    augment: Augment = False,
    scales: Scales = None,
    flip: Flip = None,
    merge: Merge = None,
    scale_model: ScaleModel = None,
) -> None:
    """Detect objects in images."""
    paths = [path for one in source for path in yolort.images.find(one)]
    detector = yolort.Detector(
        model,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=_parse_classes(classes),
        agnostic=agnostic,
        imgsz=parse_imgsz(imgsz),
        **augmentation(augment, scales, flip, merge, scale_model),
    )
    targets = _targets(save, paths) if save else {}
    failures = 0
    for path in progress(paths):
        try:
            image = yolort.images.read(path)
            found = detector(image)
            if save:
                found.save(targets[path], image)
        except (yolort.ImageError, FileNotFoundError) as error:
            report(error)
            failures += 1
            continue
        found.path = str(path)
        if as_json:
            say(json.dumps({**found.to_dict(), "speed": detector.speed._asdict()}))
        else:
            say(f"{visible(path, lines=False)}: {_summary(found)}; {sum(detector.speed):.1f} ms")
    if failures:
        report(f"{failures} of {len(paths)} image(s) failed")
        raise typer.Exit(1)


def engines() -> None:
    """List the engines and their devices, and why those that cannot run here cannot."""
    rows: list[list[object]] = []
    for status in yolort.engines():
        devices = "\n".join(yolort.devices(status.name)) if status.available else ""
        rows.append([status.name, "yes" if status.available else "no", devices or status.reason])
    print_table(["engine", "available", "devices, or why not"], rows)


def info(
    model: Model,
    engine: Engine = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what a model is and which engine runs it."""
    detector = yolort.Detector(model, engine=engine)
    facts: dict[str, Any] = {
        "model": str(model),
        "head": detector.head,
        "imgsz": list(detector.imgsz),
        "classes": len(detector.names),
        "names": list(detector.names.values()),
        "engine": detector.engine,
        "device": detector.device,
        "precision": detector.precision,
        "tuned": detector.tuned,
        "metadata": {key: value for key, value in detector.metadata.items() if key not in ("names", "imgsz")},
    }
    if as_json:
        say(json.dumps(facts))
        return
    shown = facts.pop("names")
    facts["names"] = ", ".join(shown[:12]) + (f", ... ({len(shown) - 12} more)" if len(shown) > 12 else "")
    metadata = facts.pop("metadata")
    facts.update({f"metadata.{key}": value for key, value in metadata.items()})
    print_table([], [[key, value] for key, value in facts.items()])


def _parse_classes(text: str | None) -> list[int | str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return [int(part) if part.isascii() and part.isdecimal() else part for part in parts]


def _summary(found: yolort.Detections) -> str:
    return repr(found).removeprefix("Detections(").removesuffix(")")


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
