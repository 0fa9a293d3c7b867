"""Exact labels of one object: its outline, its oriented box, its keypoints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["FLIPPED", "KEYPOINTS", "SKELETON", "keypoints_of", "oriented_box", "outline"]

KEYPOINTS = ("top", "left", "right", "bottom")
"""Names of the keypoints of every class; left and right are those of the upright object as it is seen."""

FLIPPED = (0, 2, 1, 3)
"""Index of each keypoint's counterpart in a mirrored image (`flip_idx`)."""

SKELETON = ((0, 1), (0, 2), (1, 3), (2, 3))
"""Pairs of keypoints that are drawn as limbs."""

_Points = Sequence[tuple[float, float]]
_POINTS: dict[str, _Points] = {
    "ball": ((0, -0.9), (-0.9, 0), (0.9, 0), (0, 0.9)),
    "bottle": ((0, -0.92), (-0.22, 0.9), (0.22, 0.9), (0, 0.96)),
    "car": ((-0.05, -0.4), (-0.56, 0.34), (0.56, 0.34), (0, 0.3)),  # roof, hubs, sill
    "clock": ((0, -0.62), (-0.75, 0.05), (0.75, 0.05), (0, 0.85)),
    "cone": ((0, -0.95), (-0.55, 0.92), (0.55, 0.92), (0, 0.95)),
    "crate": ((0, -0.75), (-0.95, 0), (0.55, 0), (-0.2, 0.95)),
    "house": ((0, -0.9), (-0.68, 0.9), (0.68, 0.9), (0, 0.95)),
    "star": ((0, -0.92), (-0.87, -0.28), (0.87, -0.28), (0, 0.36)),
    "tree": ((0, -0.85), (-0.22, 0.0), (0.22, 0.0), (0, 0.95)),
    "umbrella": ((0, -0.9), (-0.8, -0.1), (0.8, -0.1), (0, 0.7)),  # tip, hem, end of the shaft
}


def keypoints_of(name: str, mirror: bool) -> npt.NDArray[np.float64]:
    """Keypoint positions of a class: (4, 2), in the object's own coordinates, -1..1, y down."""
    points = np.array(_POINTS[name], np.float64)
    return points[list(FLIPPED)] if mirror else points


def outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The outline of a mask, (height, width), along the edges of its pixels: one closed polygon, (n, 2) x y.

    Separate parts and holes are joined by lines that are traversed twice (there and back), as needed for a label format
    with one polygon per object (Ultralytics'). Points are whole numbers.
    """
    doubled = np.kron(mask.astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # A contour runs through the centers of the outermost pixels of the doubled mask; halving and rounding up gives the
    # edges.
    rings = sorted((_corners((contour[:, 0] + 1) // 2) for contour in contours), key=len, reverse=True)
    joined = rings[0]
    for ring in rings[1:]:
        apart = np.square(joined[:, None] - ring[None]).sum(2)
        here, there = np.unravel_index(int(apart.argmin()), apart.shape)
        detour = [np.roll(ring, -int(there), axis=0), ring[there : there + 1], joined[here : here + 1]]
        joined = np.concatenate([joined[: here + 1], *detour, joined[here + 1 :]])
    return joined.astype(np.float64)


def _corners(ring: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Removes repeated points and those on straight lines."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(1) < 0
    corners: npt.NDArray[np.int32] = ring[turns | back]
    return corners


def oriented_box(points: npt.NDArray[np.float64], angle: float, width: int, height: int) -> npt.NDArray[np.float64]:
    """The tight box of points, (n, 2) pixels, with sides along `angle` (radians): its corners, (4, 2), in order.

    If that box would leave the image of `width` x `height` pixels, which a label cannot express, the axis-aligned box.
    """
    for turned in (angle, 0.0):
        axes = np.array([[math.cos(turned), math.sin(turned)], [-math.sin(turned), math.cos(turned)]])
        along = points @ axes.T
        (x1, y1), (x2, y2) = along.min(0), along.max(0)
        box: npt.NDArray[np.float64] = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]) @ axes
        if (box >= 0).all() and (box <= (width, height)).all():
            break
    return np.clip(box, 0, [width, height])
