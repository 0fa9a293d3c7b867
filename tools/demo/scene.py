"""One scene: its objects, their places and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from yolort.tools.demo.backgrounds import add_clutter, draw_background
from yolort.tools.demo.brush import Float
from yolort.tools.demo.camera import take_photo
from yolort.tools.demo.config import SIZES, SceneConfig
from yolort.tools.demo.drawing import draw_object
from yolort.tools.demo.labels import KEYPOINTS, oriented_box, outline
from yolort.tools.demo.shapes import CLASSES

__all__ = ["Scene", "generate"]

LEAST_SIDE = 6.0
"""No object is drawn smaller than this, pixels of the longest side."""


@dataclass(frozen=True)
class Scene:
    """One image with its labels.

    image: (height, width, 3) uint8, BGR. boxes: (N, 4) float32, x1 y1 x2 y2 in pixels, the right and lower
    edges exclusive, within the image. classes: (N,) int64, indices of `CLASSES`. outlines: per object, the visible
    pixels as a polygon, (n, 2) float64 x y in pixels, see `labels.outline`. corners: (N, 4, 2) float64, corners of the
    oriented boxes, x y in pixels, see `labels.oriented_box`. keypoints: (N, 4, 3)
    float64, x y in pixels and visibility: 2 visible, 1 hidden, 0 outside the image. Objects are in painting order, back
    first.
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    outlines: tuple[npt.NDArray[np.float64], ...]
    corners: npt.NDArray[np.float64]
    keypoints: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Placed:
    """An object in the image."""

    cls: int
    angle: float
    keypoints: npt.NDArray[np.float64]  # (4, 2) pixels


def _cast_shadow(image: Float, alpha: Float, x: int, y: int, light: tuple[float, float], strength: float) -> None:
    """Darkens the scene behind an object, on the side away from the light."""
    height, width = alpha.shape
    reach = 0.12 * max(height, width)
    pad = int(reach) + 3
    soft = cv2.copyMakeBorder(alpha, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), 0.5 + reach / 4), np.float32)
    sx, sy = x - pad - round(light[0] * reach), y - pad + round(abs(light[1]) * reach)
    to, of = _overlap(image.shape[:2], (sx, sy), soft.shape)
    image[to] *= 1 - strength * soft[of][..., None]


def _overlap(
    image: Sequence[int], at: tuple[int, int], patch: Sequence[int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The overlap of the image and a patch at x, y: slices of the image and of the patch, possibly empty."""
    x, y = at
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = max(min(x + patch[1], image[1]), x1), max(min(y + patch[0], image[0]), y1)
    return (slice(y1, y2), slice(x1, x2)), (slice(y1 - y, y2 - y), slice(x1 - x, x2 - x))


def _place(
    owner: npt.NDArray[np.int32],
    alpha: Float,
    totals: list[int],
    visible: list[int],
    least: float,
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Finds an x, y at which the object and all objects behind it stay visible enough; None after 12 attempts."""
    height, width = owner.shape
    solid = alpha > 0
    total = int(solid.sum())
    for _ in range(12):
        x = round(rng.uniform(-0.3, width / alpha.shape[1] - 0.7) * alpha.shape[1])
        y = round(rng.uniform(-0.3, height / alpha.shape[0] - 0.7) * alpha.shape[0])
        to, of = _overlap(owner.shape, (x, y), alpha.shape)
        covered = owner[to][solid[of]]
        if len(covered) < least * total:
            continue
        hidden = np.bincount(covered[covered >= 0], minlength=len(totals))
        if all(visible[k] - hidden[k] >= least * totals[k] for k in np.flatnonzero(hidden)):
            return x, y
    return None


def _paint_objects(
    image: Float, config: SceneConfig, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], list[_Placed]]:
    """Paints the objects; returns the object index of each pixel, (H, W) int32, -1 for none, and the objects."""
    height, width = image.shape[:2]
    weights = np.array(config.class_weights or [1.0] * len(CLASSES))
    mix = np.array(config.size_weights)
    angle = rng.uniform(-math.pi, 0)
    light = (math.cos(angle), math.sin(angle))
    strength = rng.uniform(0.25, 0.6) if rng.random() < config.shadow else 0.0
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    spans = list(SIZES.values())
    wanted = sorted(
        (math.exp(rng.uniform(*np.log(spans[rng.choice(len(spans), p=mix / mix.sum())]))) for _ in range(count)),
        reverse=True,
    )
    owner = np.full((height, width), -1, np.int32)
    placed: list[_Placed] = []
    totals: list[int] = []
    visible: list[int] = []
    for fraction in wanted:
        cls = int(rng.choice(len(CLASSES), p=weights / weights.sum()))
        drawing = draw_object(cls, max(fraction * min(height, width), LEAST_SIDE), rng, light)
        alpha = drawing.alpha
        at = _place(owner, alpha, totals, visible, config.min_visible, rng)
        if at is None:
            continue
        if strength:
            _cast_shadow(image, alpha, *at, light, strength)
        to, of = _overlap(owner.shape, at, alpha.shape)
        image[to] = image[to] * (1 - alpha[of][..., None]) + drawing.paint[of]
        owner[to][alpha[of] > 0] = len(placed)
        placed.append(_Placed(cls, drawing.angle, drawing.keypoints + at))
        totals.append(int((alpha > 0).sum()))
        visible = list(np.bincount(owner[owner >= 0], minlength=len(placed)))
    return owner, placed


def _visibility(points: npt.NDArray[np.float64], mine: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Points, (n, 2) pixels, with their visibility: (n, 3). Those outside the image are 0, 0, 0."""
    height, width = mine.shape
    found = np.zeros((len(points), 3))
    for row, (x, y) in zip(found, points, strict=True):
        if 0 <= x < width and 0 <= y < height:
            row[:] = x, y, 2 if mine[int(y), int(x)] else 1
    return found


def generate(index: int, config: SceneConfig | None = None) -> Scene:
    """Scene number `index` (0 or more) of a config (the default one when None).

    The same index, config and library versions give identical bytes. Raises `ValueError` for a negative index.
    """
    if index < 0:
        raise ValueError(f"index must be 0 or more, got {index}")
    config = config or SceneConfig()
    scenery, things, camera = (np.random.default_rng([config.seed, index, stream]) for stream in range(3))
    image = np.ascontiguousarray(draw_background(scenery, config.height, config.width), np.float32)
    for _ in range(int(scenery.integers(config.clutter[0], config.clutter[1] + 1))):
        add_clutter(image, scenery)
    np.clip(image, 0, 255, out=image)
    owner, placed = _paint_objects(image, config, things)
    boxes = np.zeros((len(placed), 4), np.float32)
    corners, keypoints = np.zeros((len(placed), 4, 2)), np.zeros((len(placed), len(KEYPOINTS), 3))
    outlines = []
    for k, thing in enumerate(placed):
        mine = owner == k
        ys, xs = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        boxes[k] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        silhouette = mine[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        outlines.append(outline(silhouette) + np.array([xs[0], ys[0]]))
        corners[k] = oriented_box(outlines[k], thing.angle, config.width, config.height)
        keypoints[k] = _visibility(thing.keypoints, mine)
    classes = np.array([thing.cls for thing in placed], np.int64)
    return Scene(take_photo(image, config, camera), boxes, classes, tuple(outlines), corners, keypoints)
