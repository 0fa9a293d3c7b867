"""Ultralytics' label files: one line per object, in a format that depends on the task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from yolort.tools.data.samples import LabelError, Sample, read_text

__all__ = ["FILLED", "LabelFormat", "read_labels"]

_TOLERANCE = 0.01  # tolerance as a fraction of the image's sides, from Ultralytics (data/utils.py)
_FLAT = 1e-7  # fraction of the image's sides
_VISIBLE = 2.0  # COCO's largest visibility
#: Fraction of a box that a person covers, for labels without area; from Ultralytics' pose validator.
FILLED = 0.53


@dataclass(frozen=True)
class LabelFormat:
    """The format of the lines in a label file."""

    task: str
    classes: int
    kpt_shape: tuple[int, int] | None = None  # number of keypoints, and 2 or 3 values per keypoint

    @property
    def expected(self) -> str:
        """For a message."""
        if self.task == "pose" and self.kpt_shape:
            count, size = self.kpt_shape
            return f"'class cx cy w h' and {count} keypoints of {size} numbers, {5 + count * size} numbers in all"
        return {
            "segment": "'class x1 y1 x2 y2 x3 y3 ...', a polygon",
            "obb": "'class x1 y1 x2 y2 x3 y3 x4 y4', the corners of an oriented box",
        }.get(self.task, "'class cx cy w h' or 'class x1 y1 x2 y2 ...'")


def read_labels(image: Path, file: Path, form: LabelFormat) -> Sample:
    """The objects of an image; a missing file means no objects.

    Raises LabelError with the line number for invalid lines.
    """
    lines: dict[tuple[float, ...], None] = {}  # Ultralytics drops duplicates
    if file.is_symlink() and not file.exists():
        raise LabelError(f"{file} is a link to {file.readlink()}, which is not there")
    if file.exists():
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if words := line.split():
                lines[_values(f"{file}, line {number}", words, form)] = None
    rows = list(lines)
    boxes = np.array([_box(row, form) for row in rows], np.float64).reshape(-1, 4)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    outlines = None
    if form.task in ("segment", "obb"):
        outlines = tuple([np.array(row[1:], np.float64).reshape(-1, 2)] for row in rows)
    return Sample(
        image,
        boxes,
        np.array([row[0] for row in rows], np.int64),
        np.zeros(len(rows), bool),
        area * FILLED if form.task == "pose" else area,
        True,
        mixed=len({_is_box(row, form) for row in rows}) == 2,
        outlines=outlines,
        keypoints=_keypoints(rows, form),
    )


def _is_box(row: tuple[float, ...], form: LabelFormat) -> bool:
    """Whether a line holds a box (perhaps with keypoints) and not an outline."""
    count, size = form.kpt_shape or (0, 0)
    return len(row) == 5 or (form.task in ("detect", "pose") and count > 0 and len(row) == 5 + count * size)


def _values(where: str, words: list[str], form: LabelFormat) -> tuple[float, ...]:
    """The numbers of a line, checked."""
    try:
        row = tuple(map(float, words))
    except ValueError:
        row = ()
    shown = " ".join(words)[:80]
    is_box = _is_box(row, form)
    if len(row) < 5 or not all(map(math.isfinite, row)) or (len(row) % 2 == 0 and not is_box):
        raise LabelError(f"{where}: expected {form.expected}, got {shown!r}")
    if form.task in ("segment", "obb") and is_box:
        raise LabelError(f"{where}: it is a box; the task {form.task} needs {form.expected}")
    if form.task == "pose" and (not is_box or len(row) == 5):
        raise LabelError(f"{where}: {len(row)} numbers do not fit kpt_shape; expected {form.expected}")
    if form.task == "obb" and len(row) < 9:
        raise LabelError(f"{where}: {len(row) // 2} corners; expected {form.expected}")
    if row[0] != int(row[0]) or not 0 <= row[0] < form.classes:
        raise LabelError(f"{where}: class {words[0]} is not one of the {form.classes} classes")
    if is_box and (row[3] < 0 or row[4] < 0):  # Ultralytics silently skips the image
        raise LabelError(f"{where}: a box has size {row[3]:g} x {row[4]:g}")
    if not _inside(row, form, is_box):
        what = "the center and the sides of what they enclose " if form.task == "obb" else ""
        raise LabelError(f"{where}: coordinates must be relative to the image's sides, {what}0 to 1, got {shown!r}")
    if form.task in ("segment", "obb") and _is_flat(row):
        raise LabelError(f"{where}: the {'mask' if form.task == 'segment' else 'oriented box'} is empty, got {shown!r}")
    if is_box and len(row) > 5 and form.kpt_shape and form.kpt_shape[1] == 3:
        seen = row[7::3]
        if not all(0 <= one <= _VISIBLE for one in seen):
            raise LabelError(f"{where}: visibilities must be 0, 1 or 2, got {seen}"[:200])
    return row


def _inside(row: tuple[float, ...], form: LabelFormat, is_box: bool) -> bool:
    """Whether coordinates are within the image, as checked by Ultralytics: corners of oriented boxes may be outside."""
    if is_box:
        count, size = form.kpt_shape or (0, 3)
        points = [row[5 + at * size + axis] for at in range(count) for axis in (0, 1)] if len(row) > 5 else []
        checked = [*row[1:5], *points]
    elif form.task == "obb":
        x1, y1, x2, y2 = _box(row, form)
        checked = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    else:
        checked = list(row[1:])
    return all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in checked)


def _is_flat(row: tuple[float, ...]) -> bool:
    """Whether all corners are on one line or point."""
    points = np.array(row[1:], np.float64).reshape(-1, 2)
    return bool(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[-1] < _FLAT)


def _box(row: tuple[float, ...], form: LabelFormat) -> list[float]:
    if _is_box(row, form):
        x, y, w, h = row[1:5]
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    xs, ys = row[1::2], row[2::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def _keypoints(rows: list[tuple[float, ...]], form: LabelFormat) -> np.ndarray | None:
    """(n, K, 3): x, y, and whether it is labeled."""
    if form.task != "pose" or form.kpt_shape is None:
        return None
    count, size = form.kpt_shape
    given = np.array([row[5:] for row in rows], np.float64).reshape(-1, count, size)
    if size == 3:
        return given
    seen = np.where((given < 0).any(axis=2), 0.0, _VISIBLE)
    return np.concatenate([given, seen[..., None]], axis=2)
