"""COCO JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from yolort.tools.data.samples import MAX_CLASSES, Dataset, LabelError, Sample, read_text

__all__ = ["read_coco"]


def read_coco(path: Path, folder: Path | None) -> Dataset:
    try:
        read = json.loads(read_text(path))
        categories = sorted(read["categories"], key=lambda one: int(one["id"]))
        index = {int(one["id"]): cls for cls, one in enumerate(categories)}
        names = {cls: str(one["name"]) for cls, one in enumerate(categories)}
        rows: dict[int, list[tuple[list[float], int, bool, float]]] = {int(one["id"]): [] for one in read["images"]}
        listed = [(int(one["id"]), str(one["file_name"])) for one in read["images"]]
        for note in read["annotations"]:
            x, y, w, h = (float(value) for value in note["bbox"])
            if not all(map(math.isfinite, (x, y, w, h))):
                raise ValueError(f"annotation {note['id']} has a box that is not finite")
            row = (
                [x, y, x + w, y + h],
                index[int(note["category_id"])],
                bool(note.get("iscrowd", 0)),
                float(note.get("area", w * h)),
            )
            rows[int(note["image_id"])].append(row)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise LabelError(f"{path} is no COCO JSON of detections: {error}") from error
    except KeyError as error:
        raise LabelError(f"{path} is no COCO JSON of detections: {error} is missing") from error
    if not 0 < len(names) <= MAX_CLASSES:
        raise LabelError(f"{path} has {len(names)} categories")
    samples = []
    for identity, file_name in listed:
        found = rows[identity]
        samples.append(
            Sample(
                _image_file(path, file_name, folder),
                np.array([row[0] for row in found], np.float64).reshape(-1, 4),
                np.array([row[1] for row in found], np.int64),
                np.array([row[2] for row in found], bool),
                np.array([row[3] for row in found], np.float64),
                False,
            )
        )
    return Dataset(str(path), samples, names)


def _image_file(path: Path, file_name: str, folder: Path | None) -> Path:
    root, split = path.parent.parent, path.stem.rpartition("_")[2]  # COCO's: annotations/instances_val2017.json
    beside = [path.parent, path.parent / "images", root / "images", root / split, root / "images" / split, root]
    places = [folder] if folder else beside
    for place in places:
        if (place / file_name).is_file():
            return place / file_name
    raise FileNotFoundError(
        f"{path}: image '{file_name}' is not in {', '.join(map(str, places))}; say where with images="
    )
