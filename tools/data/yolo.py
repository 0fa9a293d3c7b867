"""Ultralytics' `data.yaml` with YOLO label files."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools._yaml import read_yaml
from yolort.tools.data.places import images_of, label_files, roots_of
from yolort.tools.data.samples import MAX_CLASSES, Dataset, LabelError, Sample, read_text

__all__ = ["read_description", "read_yolo", "yolo_files"]


def read_yolo(path: Path, split: str) -> Dataset:
    files, names = yolo_files(path, split)
    labels = zip(files, label_files(files), strict=True)
    return Dataset(str(path), [_read_labels(image, file, len(names)) for image, file in labels], names)


def yolo_files(path: Path, split: str) -> tuple[list[Path], dict[int, str]]:
    """The images of a split, sorted, and the names of the classes."""
    if path.is_file():
        described = read_description(path)
    elif path.name == str(path):
        described = _from_ultralytics(path.name, split)
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
    roots = roots_of(path, str(described.get("path") or "")) if path.is_file() else [Path()]
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
        raise LabelError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(described, dict):
        raise LabelError(f"{path} is not a data.yaml: it has no keys")
    return described


def _names(path: Path, described: dict[str, Any]) -> dict[int, str]:
    names = described.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict):  # Ultralytics takes the numbers of classes as text, too
        numbered = {_whole(key): name for key, name in names.items()}
        names = numbered if len(numbered) == len(names) else names
    nested = [name for name in names.values() if isinstance(name, (dict, list))] if isinstance(names, dict) else []
    if nested:
        raise LabelError(f"{path}: 'names' contains {str(nested[0])[:60]!r}, which is not a class name")
    if isinstance(names, dict) and (
        odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, (str, int, float))]
    ):
        warnings.warn(
            f"{path}: a class is named {odd[0]}, as Ultralytics reads it: YAML has other words for true, false and "
            "nothing, and dates; put the name in quotes if it is another",
            stacklevel=2,
        )
    count = _whole(described.get("nc"))
    if names is None and isinstance(count, int) and 0 < count <= MAX_CLASSES:
        names = {cls: str(cls) for cls in range(count)}
    if not isinstance(names, dict) or not 0 < len(names) <= MAX_CLASSES or set(names) != set(range(len(names))):
        raise LabelError(f"{path}: 'names' must list the classes, or be a mapping of 0, 1, 2, ... to them")
    if "nc" in described and count != len(names):
        raise LabelError(f"{path}: 'nc' is {str(described['nc'])[:60]}, but 'names' lists {len(names)} classes")
    return {cls: str(names[cls]) for cls in range(len(names))}


def _whole(value: Any) -> Any:
    """A number that is written as text as a number; anything else as it is."""
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else value


def _read_labels(image: Path, file: Path, classes: int) -> Sample:
    """Lines of `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon; a missing file is an empty image."""
    rows: list[list[float]] = []
    lengths: set[bool] = set()
    if file.is_symlink() and not file.exists():
        raise LabelError(f"{file} is a link to {file.readlink()}, which is not there")
    if file.exists():
        for number, line in enumerate(read_text(file).splitlines(), 1):
            words = line.split()
            if words:
                rows.append(_box(f"{file}, line {number}", words, classes))
                lengths.add(len(words) == 5)
    rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]  # Ultralytics drops what stands twice
    values = np.array(rows, np.float64).reshape(-1, 5)
    boxes = values[:, 1:]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    crowd = np.zeros(len(rows), bool)
    return Sample(image, boxes, values[:, 0].astype(np.int64), crowd, area, True, mixed=len(lengths) == 2)


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
        raise LabelError(f"{where}: class {words[0]} is not one of the {classes} classes")
    if not all(-0.01 <= value <= 1.01 for value in rest):  # the tolerance of Ultralytics (data/utils.py)
        raise LabelError(
            f"{where}: coordinates must be relative to the image's sides, 0 to 1, got {' '.join(words[1:])[:80]!r}"
        )
    if len(rest) == 4:
        x, y, w, h = rest
        if w < 0 or h < 0:  # Ultralytics leaves the image out without a word
            raise LabelError(f"{where}: a box has size {w:g} x {h:g}")
        return [cls, x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    xs, ys = rest[::2], rest[1::2]
    return [cls, min(xs), min(ys), max(xs), max(ys)]
