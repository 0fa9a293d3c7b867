"""Reads and checks masks and keypoints of COCO annotations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from yolort.tools.data.samples import Outline

__all__ = ["MAX_KEYPOINTS", "coco_keypoints", "coco_outline"]

MAX_KEYPOINTS = 1000


def coco_outline(which: str, note: dict[str, Any], size: tuple[int, int] | None, task: str) -> Outline:
    """The `segmentation` of an annotation: polygons, or run lengths as compressed text.

    Raises ValueError if it is invalid, empty, or does not belong to an image of `size`, (height, width); `which` names
    the annotation.
    """
    given = note.get("segmentation")
    if not given or not isinstance(given, (list, dict)):
        raise ValueError(f"{which} has no segmentation, which the task {task} needs: boxes are not enough")
    if size is None:
        raise ValueError(f"{which} is of an image without height and width, which masks need")
    height, width = size
    if isinstance(given, dict):
        if task == "obb":
            raise ValueError(f"{which} has run lengths, but oriented boxes need a polygon of 4 corners")
        return _run_lengths(which, given, height, width)
    polygons = [_polygon(which, part, height, width) for part in given]
    if task == "obb" and (len(polygons) != 1 or len(polygons[0]) < 4):
        raise ValueError(f"{which} has {len(polygons)} polygons, but oriented boxes need one of 4 corners")
    return polygons


def coco_keypoints(which: str, note: dict[str, Any], count: int) -> np.ndarray:
    """Keypoints of an annotation, (K, 3): x y in pixels and visibility; if missing, none is labeled. Raises
    ValueError.
    """
    given = note.get("keypoints") or [0] * 3 * count
    if not isinstance(given, list) or len(given) != 3 * count:
        length = len(given) if isinstance(given, list) else str(given)[:40]
        raise ValueError(f"{which} has {length} numbers of keypoints, expected {count} x 3")
    points = np.array(list(map(float, given))).reshape(count, 3)
    if not np.isfinite(points).all() or not ((points[:, 2] >= 0) & (points[:, 2] <= 2)).all():
        raise ValueError(f"{which} has keypoints that are not finite, or visibilities other than 0, 1 and 2")
    return points


def _polygon(which: str, part: Any, height: int, width: int) -> np.ndarray:
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2:
        raise ValueError(f"{which} has a polygon of {str(part)[:40]}, expected three or more points, x y each")
    values = list(map(float, part))
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{which} has a polygon that is not finite")
    points = np.array(values).reshape(-1, 2)
    if (points < [-width, -height]).any() or (points > [2 * width, 2 * height]).any():
        raise ValueError(f"{which} has a polygon far outside of its image of {width} x {height} pixels")
    return points


def _run_lengths(which: str, given: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    if given.get("size") != [height, width]:
        raise ValueError(f"{which} has run lengths of the size {str(given.get('size'))[:40]}, not {[height, width]}")
    counts = given.get("counts")
    runs = counts if isinstance(counts, list) else _decoded(which, counts)
    if not all(type(one) is int and one >= 0 for one in runs) or sum(runs) != height * width:
        raise ValueError(f"{which} has run lengths that do not fill its image of {width} x {height} pixels")
    if not sum(runs[1::2]):
        raise ValueError(f"{which} has an empty mask")
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts}
    from pycocotools import mask

    made: dict[str, Any] = mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": made["counts"].decode()}


def _decoded(which: str, text: Any) -> list[int]:
    """Decodes the run lengths of COCO's compressed text: groups of 5 bits, lowest first; the 6th bit says that more
    follow; from the fourth run on, differences to the run before the last. They are checked here, because pycocotools
    does not check them.
    """
    if not isinstance(text, str):
        raise ValueError(f"{which} has the run lengths {str(text)[:40]}, expected a list or text")
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError(f"{which} has run lengths that are damaged")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError(f"{which} has run lengths that end too early")
    return runs
