"""COCO JSON."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools.data.coco_shapes import MAX_KEYPOINTS, coco_keypoints, coco_outline
from yolort.tools.data.places import spellings
from yolort.tools.data.samples import MAX_CLASSES, Dataset, LabelError, Outline, Sample, read_text

__all__ = ["read_coco"]


def read_coco(path: Path, folder: Path | None, task: str = "detect") -> Dataset:
    try:
        read = json.loads(read_text(path))
        if not isinstance(read, dict):
            raise TypeError("expected an object with images, annotations and categories")
        categories = _categories(path, read)
        index = dict(zip(_ids("category", categories), range(len(categories)), strict=True))
        names = {cls: str(entry["name"]) for cls, entry in enumerate(categories)}
        rows: dict[int, list[_Object]] = {image: [] for image in _ids("image", read["images"])}
        listed = [(_id("image", entry["id"]), str(entry["file_name"]), _size(entry)) for entry in read["images"]]
        sizes = {identity: size for identity, _, size in listed}
        count = _keypoint_count(categories, read["annotations"]) if task == "pose" else 0
        for note in read["annotations"]:
            box, crowd, area = _coco_box(note)
            cls, image = _id("category", note["category_id"]), _id("image", note["image_id"])
            if cls not in index or image not in rows:
                what = f"category {cls}" if cls not in index else f"image {image}"
                raise ValueError(f"{_which(note)} refers to {what}, which is not listed")
            one = _Object(box, index[cls], crowd, area)
            if task in ("segment", "obb"):
                one.outline = coco_outline(_which(note), note, sizes[image], task)
            elif task == "pose":
                one.keypoints = coco_keypoints(_which(note), note, count)
            rows[image].append(one)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise LabelError(f"{path} is not COCO JSON with detections: {error}") from error
    except KeyError as error:
        raise LabelError(f"{path} is not COCO JSON with detections: {error} is missing") from error
    if not 0 < len(names) <= MAX_CLASSES:
        raise LabelError(f"{path} has {len(names)} categories")
    samples = []
    entries: dict[str, int] = {}
    for identity, file_name, size in listed:
        found = rows[identity]
        file = _image_file(path, file_name, folder)
        if (other := entries.setdefault(os.path.normpath(file), identity)) != identity:
            raise LabelError(f"{path}: images {other} and {identity} are the same file, '{file_name}'")
        samples.append(
            Sample(
                file,
                np.array([row.box for row in found], np.float64).reshape(-1, 4),
                np.array([row.cls for row in found], np.int64),
                np.array([row.crowd for row in found], bool),
                np.array([row.area for row in found], np.float64),
                False,
                size,
                outlines=tuple(row.outline for row in found) if task in ("segment", "obb") else None,
                keypoints=np.array([row.keypoints for row in found]).reshape(-1, count, 3) if task == "pose" else None,
            )
        )
    return Dataset(str(path), samples, names, task=task, kpt_shape=(count, 3) if task == "pose" else None)


@dataclass
class _Object:
    """An annotation."""

    box: list[float]  # x1 y1 x2 y2
    cls: int
    crowd: bool
    area: float
    outline: Outline = field(default_factory=list)
    keypoints: np.ndarray | None = None  # (K, 3)


def _keypoint_count(categories: list[dict[str, Any]], notes: list[dict[str, Any]]) -> int:
    """Number of keypoints per object: from the categories, otherwise from an annotation."""
    named = next((entry["keypoints"] for entry in categories if entry.get("keypoints")), None)
    if named is None:
        flat: Any = next((note["keypoints"] for note in notes if note.get("keypoints")), [])
        named = flat[::3] if isinstance(flat, list) else []
    if not isinstance(named, list) or not 1 <= len(named) <= MAX_KEYPOINTS:
        raise ValueError("it has no keypoints, which poses need")
    return len(named)


def _image_file(path: Path, file_name: str, folder: Path | None) -> Path:
    root, split = path.parent.parent, path.stem.rpartition("_")[2]  # COCO's: annotations/instances_val2017.json
    beside = [path.parent, path.parent / "images", root / "images", root / split, root / "images" / split, root]
    places = [folder] if folder else beside
    for name in spellings(file_name):
        for place in places:
            if (place / name).is_file():
                return place / name
    raise FileNotFoundError(
        f"{path}: image '{file_name}' is not in {', '.join(map(str, places))}; pass the folder with images="
    )


def _categories(path: Path, read: dict[str, Any]) -> list[dict[str, Any]]:
    """Categories by id, without the supercategory that Roboflow's exports list first."""
    categories = sorted(read["categories"], key=lambda entry: _id("category", entry["id"]))
    heading, *others = categories or [{}]
    if (
        others
        and heading.get("supercategory") == "none"
        and all(entry.get("supercategory") == heading["name"] for entry in others)
        and all(note["category_id"] != heading["id"] for note in read["annotations"])
    ):
        warnings.warn(
            f"{path}: category {heading['id']}, '{str(heading['name'])[:60]}', is not a class: it has no "
            "objects and is "
            "the supercategory of all others",
            stacklevel=4,
        )
        return others
    return categories


def _id(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError(f"the id {str(value)[:60]!r} of {what} is not a whole number")
    return int(value)


def _ids(what: str, entries: Iterable[dict[str, Any]]) -> list[int]:
    """The ids of images or categories, checked for duplicates."""
    found = [_id(what, one["id"]) for one in entries]
    if len(set(found)) < len(found):
        twice = next(one for one, count in Counter(found).items() if count > 1)
        raise ValueError(f"the id {twice} of {what} occurs twice")
    return found


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _which(note: dict[str, Any]) -> str:
    return f"annotation {str(note.get('id'))[:60]}"


def _coco_box(note: dict[str, Any]) -> tuple[list[float], bool, float]:
    """Box (x1 y1 x2 y2), crowd flag and area of an annotation."""
    which, sides = f"{_which(note)} has", note.get("bbox")
    if not isinstance(sides, list) or len(sides) != 4:
        raise ValueError(f"{which} the bbox {str(sides)[:60]}, expected [x, y, width, height]")
    x, y, w, h = map(float, sides)
    area, crowd = float(note.get("area", w * h)), note.get("iscrowd", 0)
    if not all(map(math.isfinite, (x, y, w, h))):
        raise ValueError(f"{which} a box that is not finite")
    if w < 0 or h < 0:
        raise ValueError(f"{which} a box of {w:g} x {h:g} pixels")
    if not 0 <= area < math.inf:
        raise ValueError(f"{which} an area of {area}")
    if crowd not in (0, 1):
        raise ValueError(f"{which} iscrowd {str(crowd)[:60]!r}, expected 0 or 1")
    return [x, y, x + w, y + h], bool(crowd), area
