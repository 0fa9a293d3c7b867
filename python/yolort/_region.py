"""Detection in a part of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from yolort._types import Array

if TYPE_CHECKING:
    from yolort.detections import Detections

Corners: TypeAlias = "Sequence[tuple[float, float]]"  # two corners of a rectangle, or those of a polygon


class Part(NamedTuple):
    """A part of an image, and the x y of its top left pixel."""

    array: Array
    left: int = 0
    top: int = 0


def crop(array: Array, corners: Corners | None) -> Part:
    """The part of an image that contains a region, as a view; None: the whole image.

    Raises:
        ValueError: the region lies outside the image.
    """
    if corners is None:
        return Part(array)
    height, width = array.shape[0], array.shape[1]
    xs, ys = zip(*corners, strict=True)
    left, top = max(math.floor(min(xs)), 0), max(math.floor(min(ys)), 0)
    right, bottom = min(math.ceil(max(xs)), width), min(math.ceil(max(ys)), height)
    if left >= right or top >= bottom:
        raise ValueError(
            f"region: {min(xs):g}, {min(ys):g} to {max(xs):g}, {max(ys):g} is outside the image of {width} x {height} "
            "pixels"
        )
    return Part(cast("Array", cast("Any", array)[top:bottom, left:right]), left, top)


def whole(found: Detections, part: Part, array: Array, corners: Corners) -> Detections:
    """Converts detections of a part to pixels of the image `array`, and drops those outside the polygon."""
    moved = found.in_image(part.left, part.top, (array.shape[0], array.shape[1]))
    return moved[holds(corners, moved.boxes)]


def holds(corners: Corners, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which boxes have their center in a polygon (even-odd rule), (N,) bool; all True for a rectangle.

    `boxes` are (N, 4) x1 y1 x2 y2.
    """
    inside = np.full(len(boxes), len(corners) == 2)
    if len(corners) > 2:
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if y1 != y2:
                inside ^= ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    return inside
