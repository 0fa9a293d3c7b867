"""One object of a class, cut to its silhouette."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from yolort.tools.demo.brush import Brush, Float
from yolort.tools.demo.labels import keypoints_of
from yolort.tools.demo.shapes import CLASSES, PAINTERS

__all__ = ["Drawing", "draw_object"]

_SYMMETRY = {"ball": 1e-9, "star": 2 * math.pi / 5}
"""Rotations in radians that do not change the silhouette of a shape."""


@dataclass(frozen=True)
class Drawing:
    """An object cut to its silhouette, (height, width) pixels."""

    paint: Float  # (height, width, 3), 0..255, premultiplied
    alpha: Float  # (height, width), 0..1
    angle: float  # angle of its axes, radians clockwise; the smallest equivalent one
    keypoints: npt.NDArray[np.float64]  # (4, 2) pixels, see `labels.KEYPOINTS`


def draw_object(cls: int, size: float, rng: np.random.Generator, light: tuple[float, float]) -> Drawing:
    """One object, longest side about `size` pixels."""
    paint_class, tilt = PAINTERS[CLASSES[cls]]
    tilted = rng.uniform(-tilt, tilt) if tilt > 3 or rng.random() < 0.6 else 0.0
    mirror = bool(rng.random() < 0.5)
    brush = Brush(size, tilted, mirror, light)
    paint_class(brush, rng)
    paint, alpha = brush.finish(rng, rng.uniform(0.03, 0.16))
    ys, xs = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    area = (slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1))
    angle = math.remainder(tilted, _SYMMETRY[CLASSES[cls]]) if CLASSES[cls] in _SYMMETRY else tilted
    keypoints = brush.pixels(keypoints_of(CLASSES[cls], mirror), turned=angle - tilted) - (xs[0], ys[0])
    return Drawing(paint[area], alpha[area], angle, keypoints)
