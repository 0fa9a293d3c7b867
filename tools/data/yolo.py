"""Ultralytics' `data.yaml` with YOLO label files."""

from __future__ import annotations

import errno
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from yolort.images import below, is_image, left_out
from yolort.tools._yaml import read_yaml
from yolort.tools.data.samples import MAX_CLASSES, Dataset, LabelError, Sample, read_text

__all__ = ["images_of", "label_file", "read_description", "read_yolo", "yolo_files"]


def read_yolo(path: Path, split: str) -> Dataset:
    files, names = yolo_files(path, split)
    return Dataset(str(path), [_read_labels(file, len(names)) for file in files], names)


def yolo_files(path: Path, split: str) -> tuple[list[Path], dict[int, str]]:
    """The images of a split, sorted, and the names of the classes."""
    if path.is_file():
        described = read_description(path)
        roots = [path.parent / str(described.get("path") or ""), Path(str(described.get("path") or ""))]
    elif path.name == str(path):
        described = _from_ultralytics(path.name, split)
        roots = [Path()]
    else:
        raise FileNotFoundError(f"no such file: {path}")
    names = _names(path, described)
    wanted = described.get(split) or (described.get("validation") if split == "val" else None)
    for key, value in (("path", described.get("path")), (split, wanted)):
        entries = value if isinstance(value, list) and key == split else [value]
        if not all(entry is None or isinstance(entry, (str, int, float)) for entry in entries):
            raise LabelError(f"{path}: '{key}' is {str(value)[:60]!r}, expected a path")
    if not wanted:
        there = ", ".join(name for name in ("train", "val", "test") if described.get(name))
        raise FileNotFoundError(f"{path} has no split '{split}'; it has: {there or 'none'}")
    files: list[Path] = []
    for entry in wanted if isinstance(wanted, list) else [wanted]:
        files += images_of(path, str(entry), roots)
    return sorted(set(files)), names


def _from_ultralytics(name: str, split: str) -> dict[str, Any]:
    from ultralytics.data.utils import check_det_dataset

    try:
        described: dict[str, Any] = check_det_dataset(name, split=split)
    except Exception as error:  # its own kinds, and whatever the download meets
        raise FileNotFoundError(f"no such file: {name}; Ultralytics cannot provide it either: {error}") from error
    return described


def read_description(path: Path) -> dict[str, Any]:
    try:
        described = read_yaml(path)
    except ValueError as error:
        raise LabelError(f"{path} is no YAML: {error}") from error
    if not isinstance(described, dict):
        raise LabelError(f"{path} is no data.yaml: it has no keys")
    return described


def _names(path: Path, described: dict[str, Any]) -> dict[int, str]:
    names = described.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    nested = [name for name in names.values() if isinstance(name, (dict, list))] if isinstance(names, dict) else []
    if nested:
        raise LabelError(f"{path}: 'names' holds {str(nested[0])[:60]!r}, which is no name of a class")
    if isinstance(names, dict) and (
        odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, (str, int, float))]
    ):
        warnings.warn(
            f"{path}: a class is named {odd[0]}, as Ultralytics reads it: YAML has other words for true, false and "
            "nothing, and dates; put the name in quotes if it is another",
            stacklevel=2,
        )
    if names is None and isinstance(described.get("nc"), int) and 0 < described["nc"] <= MAX_CLASSES:
        names = {cls: str(cls) for cls in range(described["nc"])}
    if not isinstance(names, dict) or not 0 < len(names) <= MAX_CLASSES or set(names) != set(range(len(names))):
        raise LabelError(f"{path}: 'names' must list the classes, or be a mapping of 0, 1, 2, ... to them")
    if described.get("nc", len(names)) != len(names):
        raise LabelError(f"{path}: 'nc' is {str(described['nc'])[:60]}, but 'names' lists {len(names)} classes")
    return {cls: str(names[cls]) for cls in range(len(names))}


def images_of(path: Path, entry: str, roots: list[Path]) -> list[Path]:
    places = [root / entry for root in roots]
    for one in places:
        _check_length(path, one)
    place = next((one for one in places if one.exists()), None)
    if place is None:
        raise FileNotFoundError(
            f"{path}: '{entry}' is not there; looked for {', '.join(map(str, dict.fromkeys(places)))}"
        )
    if place.is_dir():
        entries = list(below(place))
        if unread := left_out(entries):
            warnings.warn(f"{place}: {unread}", stacklevel=2)
        return [file for file in entries if is_image(file)]
    if place.suffix.lower() != ".txt":
        raise LabelError(f"{path}: '{entry}' is neither a folder nor a .txt of image paths")
    files = []
    for line in read_text(place).splitlines():
        if line.strip():
            file = Path(line.strip())
            file = file if file.is_absolute() else place.parent / file
            if len(line) > 60:  # of up to 4 bytes a character; no shorter one is too long
                _check_length(place, file)
            files.append(file)
    return files


def label_file(image: Path) -> Path:
    """Ultralytics' rule: the last folder `images` of the path becomes `labels`, the ending .txt."""
    parts = list(image.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read_labels(image: Path, classes: int) -> Sample:
    """Lines of `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon; a missing file is an empty image."""
    file = label_file(image)
    rows: list[list[float]] = []
    _check_length(image.parent, file)
    if file.exists():
        for number, line in enumerate(read_text(file).splitlines(), 1):
            words = line.split()
            if words:
                rows.append(_box(f"{file}, line {number}", words, classes))
    rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]  # Ultralytics drops what stands twice
    values = np.array(rows, np.float64).reshape(-1, 5)
    boxes = values[:, 1:]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Sample(image, boxes, values[:, 0].astype(np.int64), np.zeros(len(rows), bool), area, True)


def _box(where: str, words: list[str], classes: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) < 5 or len(values) % 2 == 0 or not all(map(math.isfinite, values)):
        raise LabelError(
            f"{where}: expected 'class cx cy w h' or 'class x1 y1 x2 y2 ...', got {' '.join(words)[:80]!r}"
        )
    cls, *rest = values
    if cls != int(cls) or not 0 <= cls < classes:
        raise LabelError(f"{where}: class {words[0]} is none of the {classes} classes")
    if not all(-0.01 <= value <= 1.01 for value in rest):  # the tolerance of Ultralytics (data/utils.py)
        raise LabelError(f"{where}: coordinates must be of the image's sides, 0 to 1, got {' '.join(words[1:])[:80]!r}")
    if len(rest) == 4:
        x, y, w, h = rest
        return [cls, x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    xs, ys = rest[::2], rest[1::2]
    return [cls, min(xs), min(ys), max(xs), max(ys)]


def _check_length(named_in: Path, path: Path) -> None:
    """LabelError for a path that is too long for the system, whose own error names no file that says it."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            text = str(path)
            raise LabelError(
                f"{named_in}: the path '{text[:40]}...{text[-20:]}' of {len(text)} characters is too long"
            ) from None
    except ValueError:  # no path at all, and so not there
        pass
