"""Procedural scenes with exact labels: a detection data set made from a seed, without a download.

A scene is a background, clutter that belongs to no class and objects of the ten `CLASSES`, painted back to
front with shading, texture, cast shadows, light, blur, sensor noise and JPEG artefacts. Everything is drawn
with numpy and OpenCV.

    from yolort.tools.demo import SceneConfig, generate, write_dataset

    scene = generate(0, SceneConfig(seed=7))            # scene.image, scene.boxes, scene.classes
    write_dataset("scenes", train=2000, val=300)        # images, YOLO labels, data.yaml, COCO JSON

The same as a program: `python -m yolort.tools.demo.dataset scenes --train 2000 --val 300 --imgsz 320`.

**What a box is.** The tight box of the pixels of the object that can be seen: what the image's border or
another object hides does not count (the modal box of COCO). A pixel belongs to an object when at least
`COVERAGE` of it is covered; below that nothing is painted, so that box and pixels agree exactly before blur
and noise. Every object that is painted is labelled: a placement that would leave any object less than
`SceneConfig.min_visible` of its silhouette is not made.

**Determinism.** Scene `index` of a config depends on `seed`, `index` and the config only, never on other
scenes, on the order or the number of processes. Background, objects, and camera draw from three separate
generators: a scene with `objects=(0, 0)` has the background of the scene with objects.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import typer
from rich.progress import track
from yolort import _checks

__all__ = [
    "CLASSES",
    "COVERAGE",
    "SIZES",
    "VAL_START",
    "Scene",
    "SceneConfig",
    "generate",
    "main",
    "write_dataset",
]

CLASSES = ("ball", "bottle", "car", "clock", "cone", "crate", "house", "star", "tree", "umbrella")
"""Class names; the position is the class number in labels."""

COVERAGE = 0.25
"""The part of a pixel, 0..1, that an object must cover to be painted there and to count in its box."""

VAL_START = 1_000_000
"""Index of the first validation scene of a written data set; training scenes count from 0."""

LEAST_SIDE = 6.0
"""No object is drawn smaller than this, pixels of the longest side."""

SIZES = {"small": (0.025, 0.1), "medium": (0.1, 0.3), "large": (0.3, 0.75)}
"""Longest side as a fraction of the image's shorter side; at 320 pixels 8..32, 32..96 and 96..240 pixels."""

Float = npt.NDArray[np.floating[Any]]
Colour = npt.NDArray[np.floating[Any]]
Shade = Callable[[Float, Float], Float]
Points = Sequence[tuple[float, float]] | npt.NDArray[Any]


@dataclass(frozen=True)
class SceneConfig:
    """What the scenes of a data set look like; a bad value raises `ValueError` that names it.

    seed: 0 or more. height, width: pixels, 64..4096. objects: least and most objects of a scene (fewer where
    no placement is left). class_weights: one weight >= 0 a class, in the order of `CLASSES`; None for equal
    shares. size_weights: weights >= 0 of small, medium and large objects (`SIZES`). min_visible: the least
    part of a silhouette that stays visible, 0.05..1. clutter: least and most shapes that belong to no class.
    shadow, light, blur, noise, jpeg: chance, 0..1, that objects cast shadows, that the light is uneven and
    tinted, that the image is blurred (Gaussian or motion), that it has sensor noise, that it went through
    JPEG of low quality.
    """

    seed: int = 0
    height: int = 320
    width: int = 320
    objects: tuple[int, int] = (3, 12)
    class_weights: tuple[float, ...] | None = None
    size_weights: tuple[float, float, float] = (0.3, 0.45, 0.25)
    min_visible: float = 0.3
    clutter: tuple[int, int] = (0, 10)
    shadow: float = 0.6
    light: float = 0.8
    blur: float = 0.25
    noise: float = 0.5
    jpeg: float = 0.3

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        for name in ("height", "width"):
            if not 64 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name} must be 64..4096 pixels, got {getattr(self, name)}")
        for name in ("objects", "clutter"):
            span = getattr(self, name)
            if len(span) != 2 or not 0 <= span[0] <= span[1]:
                raise ValueError(f"{name} must be (least, most) with 0 <= least <= most, got {span}")
        if self.class_weights is not None:
            _check_weights("class_weights", self.class_weights, len(CLASSES))
        _check_weights("size_weights", self.size_weights, len(SIZES))
        if not 0.05 <= self.min_visible <= 1:
            raise ValueError(f"min_visible must be 0.05..1, got {self.min_visible}")
        for name in ("shadow", "light", "blur", "noise", "jpeg"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a chance and must be 0..1, got {getattr(self, name)}")


def _check_weights(name: str, weights: Sequence[float], count: int) -> None:
    if len(weights) != count:
        raise ValueError(f"{name} needs {count} values, got {len(weights)}")
    if not all(math.isfinite(w) and w >= 0 for w in weights) or sum(weights) <= 0:
        raise ValueError(f"{name} must be finite, 0 or more and not all 0, got {tuple(weights)}")


@dataclass(frozen=True)
class Scene:
    """One image with its labels.

    image: (height, width, 3) uint8, BGR. boxes: (N, 4) float32, x1 y1 x2 y2 in pixels, the right and lower
    edges exclusive, within the image. classes: (N,) int64, indices of `CLASSES`. Objects are in painting
    order, back first.
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


# --------------------------------------------------------------------------------------------------- painting


class _Brush:
    """Paints one object on a transparent square; coordinates are the object's own, -1..1, y down.

    The object's axes are turned by `angle` (radians) and mirrored before rasterising, so nothing is
    resampled. `light` is the direction to the light in the image plane, a unit vector; `light_here` is the
    same in object axes.
    """

    def __init__(self, size: float, angle: float, mirror: bool, light: tuple[float, float]) -> None:
        self.oversampling = 4 if size < 80 else 2
        self.side = math.ceil(size * 1.46) + 4
        pixels = self.side * self.oversampling
        cos, sin = math.cos(angle), math.sin(angle)
        half = size * self.oversampling / 2
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
        self._matrix = turn * half
        self._inverse = np.linalg.inv(self._matrix)
        self._centre = pixels / 2
        self._paint = np.zeros((pixels, pixels, 3), np.float32)
        self._alpha = np.zeros((pixels, pixels), np.float32)
        here = np.linalg.inv(turn) @ np.array(light)
        self.light_here = (float(here[0]), float(here[1]))
        self._unit = half

    def _pixels(self, points: Points) -> npt.NDArray[np.float64]:
        return np.asarray(np.asarray(points, np.float64) @ self._matrix.T + self._centre)

    def _grid(self, x: int, y: int, width: int, height: int) -> tuple[Float, Float]:
        xs = np.arange(x, x + width, dtype=np.float32) + 0.5 - self._centre
        ys = (np.arange(y, y + height, dtype=np.float32) + 0.5 - self._centre)[:, None]
        a = self._inverse.astype(np.float32)
        return a[0, 0] * xs + a[0, 1] * ys, a[1, 0] * xs + a[1, 1] * ys

    def _lay(self, mask: npt.NDArray[np.uint8], x: int, y: int, colour: Colour, shade: Shade | None) -> None:
        height, width = mask.shape
        m = mask.astype(np.float32)[..., None] / 255
        ink: Float = np.asarray(colour, np.float32)
        if shade is not None:
            ink = np.clip(ink * shade(*self._grid(x, y, width, height))[..., None], 0, 255)
        area = (slice(y, y + height), slice(x, x + width))
        self._paint[area] += (ink - self._paint[area]) * m
        self._alpha[area] += (1 - self._alpha[area]) * m[..., 0]

    def _region(self, points: npt.NDArray[np.float64], margin: float) -> tuple[int, int, int, int]:
        last = self._alpha.shape[0]
        x1, y1 = (max(0, math.floor(v - margin)) for v in points.min(0))
        x2, y2 = (min(last, math.ceil(v + margin)) for v in points.max(0))
        return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)

    def fill(self, points: Points, colour: Colour, shade: Shade | None = None) -> None:
        """Fills a polygon; `shade(u, v)` multiplies the colour, u and v being object coordinates."""
        at = self._pixels(points)
        x1, y1, x2, y2 = self._region(at, 2)
        mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
        fixed = np.round((at - (x1, y1) - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
        self._lay(mask, x1, y1, colour, shade)

    def stroke(self, points: Points, width: float, colour: Colour, closed: bool = False) -> None:
        """Draws a line of `width` (object units) through the points."""
        at = self._pixels(points)
        thick = max(1, round(width * self._unit))
        x1, y1, x2, y2 = self._region(at, thick + 2)
        mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
        fixed = np.round((at - (x1, y1) - 0.5) * 16).astype(np.int32)
        cv2.polylines(mask, [fixed], closed, 255, thick, cv2.LINE_AA, 4)
        self._lay(mask, x1, y1, colour, None)

    def shade(self, shade: Shade) -> None:
        """Multiplies everything painted so far by `shade(u, v)`."""
        side = self._alpha.shape[0]
        self._paint *= shade(*self._grid(0, 0, side, side))[..., None]
        np.minimum(self._paint, 255 * self._alpha[..., None], out=self._paint)

    def glow(self, light: Shade) -> None:
        """Adds white, `light(u, v)` in 0..1, to what is painted."""
        side = self._alpha.shape[0]
        amount = np.clip(light(*self._grid(0, 0, side, side)), 0, 1)[..., None]
        self._paint += (255 * self._alpha[..., None] - self._paint) * amount

    def finish(self, rng: np.random.Generator, grain: float) -> tuple[Float, Float]:
        """Returns colour premultiplied by alpha, (side, side, 3) 0..255, and alpha, (side, side) 0..1.

        `grain` is the strength of the surface's texture. Alpha below `COVERAGE` becomes 0.
        """
        size = (self.side, self.side)
        paint = np.asarray(cv2.resize(self._paint, size, interpolation=cv2.INTER_AREA), np.float32)
        alpha = np.asarray(cv2.resize(self._alpha, size, interpolation=cv2.INTER_AREA), np.float32)
        keep = alpha >= COVERAGE
        alpha *= keep
        paint *= (keep * (1 + grain * _cloud(rng, self.side, self.side, 6)))[..., None]
        np.clip(paint, 0, 255 * alpha[..., None], out=paint)
        return paint, alpha


def _cloud(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 3) -> Float:
    """Smooth noise, about -1..1: random grids of `cells`, 2 x and 4 x as many cells, enlarged and summed."""
    out = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = cells * 2**octave
        grid = rng.uniform(-1, 1, (n + 1, n + 1)).astype(np.float32)
        out += np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)) / 2**octave
    return out / 1.6


def _hsv(
    rng: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    """A random colour, BGR 0..255; hue in degrees (may pass 360), saturation and value 0..1."""
    h = (rng.uniform(*hue) % 360) / 60
    s, v = rng.uniform(*saturation), rng.uniform(*value)
    c = v * s
    x = c * (1 - abs(h % 2 - 1))
    r, g, b = [(c, x, 0), (x, c, 0), (0, c, x), (0, x, c), (x, 0, c), (c, 0, x)][int(h) % 6]
    return np.array([b + v - c, g + v - c, r + v - c], np.float32) * 255


def _grey(rng: np.random.Generator, low: float, high: float) -> Colour:
    return _hsv(rng, (0, 360), (0, 0.08), (low, high))


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> npt.NDArray[Any]:
    """Points of an ellipse or arc; angles in degrees, clockwise from the right."""
    t = np.radians(np.linspace(start, end, max(12, int(abs(end - start) / 6))))
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1)


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _cylinder(half: float, light: tuple[float, float]) -> Shade:
    """Shading of an upright cylinder of half width `half`."""

    def shade(u: Float, _: Float) -> Float:
        x = np.clip(u / half, -1, 1)
        out: Float = 0.5 + 0.6 * np.clip(np.sqrt(1 - x * x) * 0.75 + x * light[0] * 0.55, 0, None)
        return out

    return shade


def _sphere(light: tuple[float, float]) -> Shade:
    """Lambert shading of the unit sphere with some ambient light."""

    def shade(u: Float, v: Float) -> Float:
        z = np.sqrt(np.clip(1 - u * u - v * v, 0, None))
        out: Float = 0.38 + 0.75 * np.clip(0.62 * (u * light[0] + v * light[1]) + 0.78 * z, 0, None)
        return out

    return shade


def _spot(x: float, y: float, radius: float, strength: float) -> Shade:
    def light(u: Float, v: Float) -> Float:
        out: Float = strength * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (radius * radius))
        return out

    return light


# ---------------------------------------------------------------------------------------------------- classes


def _ball(brush: _Brush, rng: np.random.Generator) -> None:
    kind = rng.integers(4)
    hue = rng.uniform(0, 360)
    if kind == 0:  # basketball
        base, dark = _hsv(rng, (16, 30), (0.75, 0.95), (0.75, 0.95)), _grey(rng, 0.08, 0.2)
        brush.fill(_ellipse(0, 0, 1, 1), base)
        brush.stroke([(-0.97, 0), (0.97, 0)], 0.07, dark)
        brush.stroke([(0, -0.97), (0, 0.97)], 0.07, dark)
        brush.stroke(_ellipse(1.3, 0, 0.83, 0.83, 132, 228), 0.07, dark)
        brush.stroke(_ellipse(-1.3, 0, 0.83, 0.83, -48, 48), 0.07, dark)
    elif kind == 1:  # beach ball
        colours = [_hsv(rng, (hue + 120 * k, hue + 120 * k + 20), (0.75, 1), (0.8, 1)) for k in range(3)]
        brush.fill(_ellipse(0, 0, 1, 1), _grey(rng, 0.9, 1))
        for k in range(3):
            arc = _ellipse(0, 0, 1.0, 1.0, 120 * k, 120 * k + 60)
            brush.fill([(0.12, -0.2), *map(tuple, arc)], colours[k])
        brush.fill(_ellipse(0.12, -0.2, 0.14, 0.14), _grey(rng, 0.9, 1))
    elif kind == 2:  # football
        dark = _grey(rng, 0.05, 0.25)
        brush.fill(_ellipse(0, 0, 1, 1), _grey(rng, 0.88, 1))
        corners = []
        for k in range(5):
            t = math.radians(72 * k - 90)
            corners.append((0.36 * math.cos(t), 0.36 * math.sin(t)))
            brush.stroke([corners[k], (0.72 * math.cos(t), 0.72 * math.sin(t))], 0.05, dark)
            patch = ((0.66, 0.0), (0.82, -0.25), (1.0, -0.2), (1.0, 0.2), (0.82, 0.25))
            brush.fill([(r * math.cos(t + turn), r * math.sin(t + turn)) for r, turn in patch], dark)
        brush.fill(corners, dark)
    else:  # rubber ball with a band
        base = _hsv(rng, (hue, hue + 10), (0.7, 1), (0.6, 1))
        brush.fill(_ellipse(0, 0, 1, 1), base)
        band = _ellipse(0, -0.05, 0.99, 0.35, 0, 180)
        lower = _ellipse(0, 0.22, 0.95, 0.35, 180, 0)
        brush.fill(np.concatenate([band, lower]), _hsv(rng, (hue + 150, hue + 210), (0, 0.6), (0.85, 1)))
    brush.shade(_sphere(brush.light_here))
    brush.glow(_spot(0.42 * brush.light_here[0], 0.42 * brush.light_here[1], 0.24, 0.8))


def _bottle(brush: _Brush, rng: np.random.Generator) -> None:
    half, neck = rng.uniform(0.26, 0.36), rng.uniform(0.09, 0.13)
    shoulder = rng.uniform(-0.35, -0.1)
    hues = ((95, 150), (190, 225), (18, 32), (165, 180), (345, 360))
    glass = _hsv(rng, hues[rng.integers(len(hues))], (0.55, 0.9), (0.4, 0.8))
    t = np.linspace(0, 1, 12)
    ease = t * t * (3 - 2 * t)
    right = np.stack([neck + (half - neck) * ease, -0.6 + (shoulder + 0.6) * t], 1)
    outline = [(neck, -0.86), *map(tuple, right), (half, 0.93), (half - 0.06, 1.0)]
    outline += [(-x, y) for x, y in reversed(outline)]
    shade = _cylinder(half * 1.05, brush.light_here)
    brush.fill(outline, glass, shade)
    brush.fill(
        _rectangle(-neck * 1.25, -1, neck * 1.25, -0.8),
        _hsv(rng, (0, 360), (0.1, 0.9), (0.5, 0.95)),
        _cylinder(neck * 1.3, brush.light_here),
    )
    top = shoulder + rng.uniform(0.15, 0.3)
    label = _hsv(rng, (0, 360), (0, 0.35), (0.85, 1))
    brush.fill(_rectangle(-half, top, half, top + rng.uniform(0.45, 0.6)), label, shade)
    brush.fill(
        _rectangle(-half * 0.7, top + 0.12, half * 0.7, top + 0.22),
        _hsv(rng, (0, 360), (0.6, 1), (0.3, 0.8)),
        shade,
    )
    shine = -half * 0.55 if brush.light_here[0] < 0 else half * 0.55
    brush.glow(lambda u, v: 0.55 * np.exp(-(((u - shine) / 0.045) ** 2)) * (v > -0.8) * (v < 0.9))


def _car(brush: _Brush, rng: np.random.Generator) -> None:
    body = _hsv(rng, (0, 360), (0.1, 0.95), (0.35, 0.95))
    glass, tyre = _hsv(rng, (190, 215), (0.2, 0.5), (0.35, 0.75)), _grey(rng, 0.06, 0.16)
    roof, van = rng.uniform(-0.56, -0.46), rng.random() < 0.3
    back, front = (-0.9, 0.35) if van else (-0.62, 0.3)

    def shade(_: Float, v: Float) -> Float:
        return 1.12 - 0.42 * (v + 0.5)

    cabin = [
        (back - 0.12, -0.08),
        (back + (0.04 if van else 0.2), roof),
        (front - 0.12, roof),
        (front + 0.26, -0.06),
    ]
    brush.fill(cabin, body, shade)
    hull = [
        (-0.98, -0.02),
        (-0.92, -0.1),
        (0.5, -0.1),
        (0.9, -0.02),
        (1.0, 0.1),
        (1.0, 0.3),
        (0.95, 0.36),
        (-0.95, 0.36),
        (-1, 0.28),
    ]
    brush.fill(hull, body, shade)
    middle = (back + front) / 2 + 0.06
    pane = [
        (back + 0.04, -0.09),
        (back + (0.12 if van else 0.24), roof + 0.07),
        (middle - 0.04, roof + 0.07),
        (middle - 0.04, -0.09),
    ]
    brush.fill(pane, glass)
    brush.fill(
        [
            (middle + 0.03, -0.09),
            (middle + 0.03, roof + 0.07),
            (front - 0.15, roof + 0.07),
            (front + 0.15, -0.09),
        ],
        glass,
    )
    brush.stroke([(middle, -0.08), (middle, 0.3)], 0.02, body * 0.5)
    brush.stroke([(-0.95, 0.3), (0.95, 0.3)], 0.05, body * 0.45)
    brush.fill(_ellipse(0.93, 0.07, 0.07, 0.07), _hsv(rng, (45, 60), (0.1, 0.4), (0.95, 1)))
    brush.fill(_rectangle(-1.0, 0.02, -0.92, 0.14), _hsv(rng, (0, 8), (0.85, 1), (0.75, 0.95)))
    hub = _grey(rng, 0.6, 0.85)
    for x in (-0.56, 0.56):
        brush.fill(_ellipse(x, 0.32, 0.26, 0.26), body * 0.3)
        brush.fill(_ellipse(x, 0.34, 0.225, 0.225), tyre)
        brush.fill(_ellipse(x, 0.34, 0.12, 0.12), hub)
        brush.fill(_ellipse(x, 0.34, 0.045, 0.045), tyre)


def _clock(brush: _Brush, rng: np.random.Generator) -> None:
    rim = _hsv(rng, (0, 360), (0.2, 0.9), (0.2, 0.75))
    face = _hsv(rng, (30, 60), (0, 0.15), (0.9, 1))
    ink = _grey(rng, 0.03, 0.15)
    radius, y = 1.0, 0.0
    if rng.random() < 0.5:  # alarm clock: bells and feet
        radius, y = 0.82, 0.1
        for side in (-1, 1):
            brush.stroke([(side * 0.4, 0.7), (side * 0.62, 0.95)], 0.13, rim * 0.8)
            brush.fill(_ellipse(side * 0.52, -0.68, 0.33, 0.25), rim * 1.1, lambda _, v: 0.75 - 0.35 * v)
        brush.stroke([(0, -0.7), (0, -0.93)], 0.09, rim * 0.7)
    brush.fill(
        _ellipse(0, y, radius, radius),
        rim,
        lambda u, v: 1 + 0.35 * (u * brush.light_here[0] + v * brush.light_here[1]),
    )
    brush.fill(_ellipse(0, y, radius * 0.83, radius * 0.83), face)
    for k in range(12):
        t = math.radians(30 * k)
        inner = 0.64 if k % 3 == 0 else 0.7
        brush.stroke(
            [(radius * r * math.cos(t), y + radius * r * math.sin(t)) for r in (inner, 0.78)],
            0.07 if k % 3 == 0 else 0.035,
            ink,
        )
    hour = rng.uniform(0, 2 * math.pi)
    for angle, length, width in ((hour, 0.42, 0.1), (hour * 12, 0.66, 0.065)):
        brush.stroke([(0, y), (radius * length * math.cos(angle), y + radius * length * math.sin(angle))], width, ink)
    brush.fill(_ellipse(0, y, 0.07, 0.07), _hsv(rng, (0, 20), (0.7, 1), (0.6, 0.9)))


def _cone(brush: _Brush, rng: np.random.Generator) -> None:
    paint = _hsv(rng, (8, 26), (0.85, 1), (0.85, 1))
    band = _grey(rng, 0.88, 1)
    foot, top = rng.uniform(0.46, 0.56), rng.uniform(0.07, 0.1)
    shade = _cylinder(foot * 1.1, brush.light_here)

    def half(y: float) -> float:
        return top + (foot - top) * (y + 1) / 1.82

    base = foot + 0.2
    brush.fill(
        [(-base, 0.86), (-base + 0.1, 0.76), (base - 0.1, 0.76), (base, 0.86), (base, 1), (-base, 1)],
        paint * 0.78,
    )
    body = [
        (-top, -1),
        (top, -1),
        (foot, 0.82),
        *map(tuple, _ellipse(0, 0.82, foot, 0.08, 0, 180)),
        (-foot, 0.82),
    ]
    brush.fill(body, paint, shade)
    bands = ((-0.5, -0.15), (0.15, 0.5)) if rng.random() < 0.7 else ((-0.35, 0.15),)
    for y1, y2 in bands:
        lower = _ellipse(0, y2, half(y2), 0.06, 0, 180)
        upper = _ellipse(0, y1, half(y1), 0.04, 180, 0)
        brush.fill(np.concatenate([lower, upper]), band, shade)
    brush.fill(_ellipse(0, -0.98, top * 0.8, 0.03), paint * 0.35)


def _crate(brush: _Brush, rng: np.random.Generator) -> None:
    wood = _hsv(rng, (24, 38), (0.4, 0.7), (0.55, 0.85))
    dark, depth = wood * 0.45, rng.uniform(0.15, 0.4)
    x2, y1 = 1 - depth, -1 + depth * 0.8
    brush.fill([(-1, y1), (-1 + depth, -1), (1, -1), (x2, y1)], np.minimum(wood * 1.2, 255))
    brush.fill([(x2, y1), (1, -1), (1, 1 - depth * 0.8), (x2, 1)], wood * 0.6)
    brush.stroke([(-1 + depth / 2, (y1 - 1) / 2), (x2 + depth / 2, (y1 - 1) / 2)], 0.03, dark)
    brush.fill(_rectangle(-1, y1, x2, 1), wood * 0.85)
    count = int(rng.integers(4, 7))
    for k in range(count):
        left = -1 + (x2 + 1) * k / count
        brush.fill(_rectangle(left, y1, left + (x2 + 1) / count, 1), wood * rng.uniform(0.75, 0.95))
        brush.stroke([(left, y1), (left, 1)], 0.025, dark)
    board = 0.2
    if rng.random() < 0.8:
        brush.fill(
            [
                (-1 + board, y1 + board + 0.18),
                (-1 + board + 0.18, y1 + board),
                (x2 - board, 1 - board - 0.18),
                (x2 - board - 0.18, 1 - board),
            ],
            wood,
        )
        edges = (
            [(-1 + board, y1 + board + 0.18), (x2 - board - 0.18, 1 - board)],
            [(-1 + board + 0.18, y1 + board), (x2 - board, 1 - board - 0.18)],
        )
        for edge in edges:
            brush.stroke(edge, 0.025, dark)
    for side in (
        (-1, y1, x2, y1 + board),
        (-1, 1 - board, x2, 1),
        (-1, y1, -1 + board, 1),
        (x2 - board, y1, x2, 1),
    ):
        brush.fill(_rectangle(*side), np.minimum(wood * 1.06, 255))
        brush.stroke(_rectangle(*side), 0.025, dark, closed=True)


def _house(brush: _Brush, rng: np.random.Generator) -> None:
    wall = _hsv(rng, (0, 60) if rng.random() < 0.7 else (180, 230), (0.05, 0.4), (0.75, 0.98))
    roof = _hsv(rng, (0, 22) if rng.random() < 0.7 else (200, 240), (0.4, 0.85), (0.35, 0.75))
    eaves, half = rng.uniform(-0.2, 0.0), rng.uniform(0.72, 0.85)
    if rng.random() < 0.75:
        brush.fill(_rectangle(0.35, -0.92, 0.55, -0.2), roof * 0.8)
    brush.fill(
        _rectangle(-half, eaves, half, 1),
        wall,
        lambda u, _: 1 + 0.14 * u * (1 if brush.light_here[0] > 0 else -1),
    )
    brush.fill([(-1, eaves + 0.08), (0, -1), (1, eaves + 0.08)], roof)
    for k in range(1, 4):
        y = -1 + (eaves + 1.0) * k / 4
        x = (y + 1) / (eaves + 1.08)
        brush.stroke([(-x, y), (x, y)], 0.03, roof * 0.75)
    brush.stroke([(-0.98, eaves + 0.07), (0, -0.97), (0.98, eaves + 0.07)], 0.07, roof * 0.6)
    door = _hsv(rng, (0, 360), (0.4, 0.8), (0.25, 0.55))
    shift = rng.uniform(-0.15, 0.15)
    brush.fill(_rectangle(shift - 0.16, 0.38, shift + 0.16, 1), door)
    brush.fill(_ellipse(shift + 0.1, 0.7, 0.03, 0.03), _hsv(rng, (45, 55), (0.6, 0.8), (0.9, 1)))
    glass, frame = _hsv(rng, (45, 220), (0.2, 0.5), (0.5, 0.95)), _grey(rng, 0.9, 1)
    for x in (shift - 0.47, shift + 0.47):
        brush.fill(_rectangle(x - 0.17, 0.22, x + 0.17, 0.58), frame)
        brush.fill(_rectangle(x - 0.13, 0.26, x + 0.13, 0.54), glass)
        brush.stroke([(x, 0.26), (x, 0.54)], 0.035, frame)
        brush.stroke([(x - 0.13, 0.4), (x + 0.13, 0.4)], 0.035, frame)


def _star(brush: _Brush, rng: np.random.Generator) -> None:
    colour = _hsv(rng, (42, 56) if rng.random() < 0.7 else (0, 360), (0.7, 1), (0.85, 1))
    inner = rng.uniform(0.4, 0.48)
    tips = [
        (
            math.cos(math.radians(36 * k - 90)) * (1 if k % 2 == 0 else inner),
            math.sin(math.radians(36 * k - 90)) * (1 if k % 2 == 0 else inner),
        )
        for k in range(10)
    ]
    brush.fill(tips, colour)
    for k in range(10):
        a, b = tips[k], tips[(k + 1) % 10]
        normal = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        facing = (normal[0] * brush.light_here[0] + normal[1] * brush.light_here[1]) / math.hypot(*normal)
        side = 0.22 if k % 2 == 0 else -0.12
        brush.fill([(0, 0), a, b], np.clip(colour * (0.85 + 0.2 * facing + side), 0, 255))


def _puff(x: float, y: float, radius: float, light: tuple[float, float]) -> Shade:
    """Shading of a clump of leaves: brighter towards the light."""

    def shade(u: Float, v: Float) -> Float:
        return 0.92 + 0.4 * ((u - x) * light[0] + (v - y) * light[1]) / radius

    return shade


def _tree(brush: _Brush, rng: np.random.Generator) -> None:
    bark = _hsv(rng, (20, 35), (0.4, 0.7), (0.25, 0.45))
    leaf = _hsv(rng, (85, 140), (0.5, 0.85), (0.3, 0.65))
    light = brush.light_here
    if rng.random() < 0.5:  # conifer
        brush.fill(_rectangle(-0.1, 0.6, 0.1, 1), bark, _cylinder(0.12, light))
        width = rng.uniform(0.55, 0.7)
        for k, (top, foot) in enumerate(((0.0, 0.72), (-0.45, 0.3), (-1.0, -0.1))):
            half = width * (1 - 0.22 * k)
            n = 9
            hem = [(half - 2 * half * i / n, foot + (0.07 if i % 2 else 0.0)) for i in range(n + 1)]
            brush.fill(
                [(0, top - 0.15 * (k < 2)), *hem],
                leaf * (0.8 + 0.14 * k),
                lambda u, v: 1 + 0.45 * u * light[0],
            )
    else:
        brush.fill([(-0.09, 0.0), (0.09, 0.0), (0.15, 1), (-0.15, 1)], bark, _cylinder(0.16, light))
        brush.stroke([(0, 0.35), (0.35, -0.05)], 0.07, bark)
        spots = [
            (0.0, -0.5, 0.5),
            (-0.42, -0.22, 0.38),
            (0.42, -0.25, 0.38),
            (-0.25, -0.6, 0.36),
            (0.25, -0.62, 0.36),
            (0, -0.15, 0.4),
        ]
        for left, top, radius in spots:
            x, y = left + rng.uniform(-0.06, 0.06), top + rng.uniform(-0.03, 0.06)
            brush.fill(_ellipse(x, y, radius, radius), leaf, _puff(x, y, radius, light))
        for _ in range(40):
            t, r = rng.uniform(0, 2 * math.pi), 0.62 * math.sqrt(rng.random())
            x, y = r * math.cos(t), -0.4 + 0.72 * r * math.sin(t)
            tone = float(np.clip(1 + 0.4 * (x * light[0] + (y + 0.4) * light[1]) + rng.uniform(-0.25, 0.25), 0.5, 1.6))
            brush.fill(_ellipse(x, y, 0.07, 0.05), np.clip(leaf * tone, 0, 255))


def _umbrella(brush: _Brush, rng: np.random.Generator) -> None:
    hue = rng.uniform(0, 360)
    first = _hsv(rng, (hue, hue), (0.65, 1), (0.6, 0.95))
    second = _grey(rng, 0.85, 1) if rng.random() < 0.5 else _hsv(rng, (hue + 30, hue + 180), (0.6, 1), (0.6, 0.95))
    if rng.random() < 0.3:
        second = first * 0.82
    pole = _hsv(rng, (20, 40), (0.1, 0.7), (0.25, 0.5))
    hem, height = 0.05, rng.uniform(0.82, 0.93)
    brush.stroke([(0, -0.95), (0, 0.8)], 0.07, pole)
    brush.stroke(_ellipse(0.14, 0.8, 0.14, 0.15, 180, 10), 0.09, pole * 0.8)
    edges = np.cos(np.linspace(math.pi, 0, 7))
    for k in range(6):
        a, b = edges[k], edges[k + 1]
        t = np.linspace(0, math.pi / 2, 10)
        left = np.stack([a * np.sin(t), hem - height * np.cos(t)], 1)
        right = np.stack([b * np.sin(t), hem - height * np.cos(t)], 1)[::-1]
        scallop = np.stack([np.linspace(a, b, 8), hem - 0.11 * np.sin(np.linspace(0, math.pi, 8))], 1)
        brush.fill(
            np.concatenate([left, scallop, right]),
            first if k % 2 == 0 else second,
            lambda u, v: 0.92 + 0.28 * (u * brush.light_here[0] + (v + 0.5) * brush.light_here[1]) - 0.15 * (v + 0.4),
        )
        brush.stroke(left, 0.02, first * 0.5)
    brush.stroke([(0, -0.84), (0, -0.97)], 0.05, pole)


_PAINTERS: dict[str, tuple[Callable[[_Brush, np.random.Generator], None], float]] = {
    "ball": (_ball, math.pi),
    "bottle": (_bottle, 0.7),
    "car": (_car, 0.2),
    "clock": (_clock, 0.35),
    "cone": (_cone, 0.3),
    "crate": (_crate, 0.35),
    "house": (_house, 0.15),
    "star": (_star, math.pi),
    "tree": (_tree, 0.15),
    "umbrella": (_umbrella, 0.6),
}
"""Painter of each class and the largest tilt, radians, at which it is drawn."""


def _draw_object(cls: int, size: float, rng: np.random.Generator, light: tuple[float, float]) -> tuple[Float, Float]:
    """One object, longest side about `size` pixels, cut to its silhouette: premultiplied paint, alpha."""
    paint_class, tilt = _PAINTERS[CLASSES[cls]]
    tilted = rng.uniform(-tilt, tilt) if tilt > 3 or rng.random() < 0.6 else 0.0
    brush = _Brush(size, tilted, bool(rng.random() < 0.5), light)
    paint_class(brush, rng)
    paint, alpha = brush.finish(rng, rng.uniform(0.03, 0.16))
    ys, xs = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    area = (slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1))
    return paint[area], alpha[area]


# ------------------------------------------------------------------------------------------------ backgrounds


def _ramp(height: int, width: int, angle: float) -> Float:
    """A linear ramp 0..1 across the image in the direction `angle`."""
    x = np.linspace(-1, 1, width, dtype=np.float32) * math.cos(angle)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * math.sin(angle)
    ramp = x + y
    out: Float = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    return out


def _blend(a: Colour, b: Colour, t: Float) -> Float:
    out: Float = a + (b - a) * np.clip(t, 0, 1)[..., None]
    return out


def _background(rng: np.random.Generator, height: int, width: int) -> Float:
    kind = rng.choice(
        ["landscape", "gradient", "cloud", "tiles", "planks", "stripes", "room"],
        p=[0.3, 0.12, 0.16, 0.12, 0.1, 0.06, 0.14],
    )
    if kind == "landscape":
        horizon = int(height * rng.uniform(0.25, 0.65))
        sky = _blend(
            _hsv(rng, (195, 225), (0.25, 0.7), (0.6, 0.95)),
            _hsv(rng, (20, 220), (0.02, 0.3), (0.85, 1)),
            _ramp(height, width, math.pi / 2) * height / horizon,
        )
        sky = _blend(sky, _grey(rng, 0.9, 1), np.clip(_cloud(rng, height, width, 4) - 0.15, 0, 1) * rng.uniform(0, 1.5))
        hue = ((75, 125), (28, 45), (20, 35), (200, 230))[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])]
        near, far = _hsv(rng, hue, (0.2, 0.6), (0.3, 0.6)), _hsv(rng, hue, (0.1, 0.4), (0.45, 0.8))
        ground = _blend(
            far,
            near,
            (np.arange(height, dtype=np.float32)[:, None] - horizon) / (height - horizon)
            + np.zeros((1, width), np.float32),
        )
        ground *= (1 + 0.18 * _cloud(rng, height, width, 10) + rng.normal(0, rng.uniform(0.02, 0.1), (height, width)))[
            ..., None
        ]
        edge = horizon + (height * 0.03 * _cloud(rng, 1, width, 3)[0] * rng.random()).astype(np.int32)
        return np.where((np.arange(height)[:, None] < edge)[..., None], sky, ground).astype(np.float32)
    if kind == "room":
        floor = int(height * rng.uniform(0.5, 0.8))
        wall, ground = (
            _hsv(rng, (0, 360), (0.03, 0.35), (0.6, 0.95)),
            _hsv(rng, (15, 45), (0.2, 0.6), (0.3, 0.7)),
        )
        out = np.empty((height, width, 3), np.float32)
        out[:] = wall
        if rng.random() < 0.5:
            period = int(rng.integers(12, 48))
            out[:, (np.arange(width) // period) % 2 == 0] *= rng.uniform(0.85, 0.97)
        out[floor:] = ground
        out[floor:] *= (1 + 0.12 * _cloud(rng, height, width, 3))[floor:, :, None]
        out[floor - max(2, height // 60) : floor] = wall * 0.7
        return out
    base, other = (_hsv(rng, (0, 360), (0.05, 0.6), (0.2, 0.95)) for _ in range(2))
    if kind == "gradient":
        return _blend(base, other, _ramp(height, width, rng.uniform(0, 2 * math.pi)))
    if kind == "cloud":
        return _blend(base, other, 0.5 + 0.6 * _cloud(rng, height, width, int(rng.integers(2, 14)), 4))
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    if kind == "tiles":
        w = int(rng.integers(14, 64))
        h = int(w * rng.uniform(0.4, 1))
        row = y // h
        shifted = x + (row % 2) * (w // 2) * int(rng.integers(2))
        tone = rng.uniform(0.85, 1.15, (height // h + 2, (width + w) // w + 2)).astype(np.float32)[row, shifted // w]
        joint = (shifted % w < 2) | (y % h < 2)
        return np.where(joint[..., None], other, base * tone[..., None]).astype(np.float32)
    if kind == "planks":
        wood, w = _hsv(rng, (18, 40), (0.25, 0.6), (0.35, 0.75)), int(rng.integers(18, 60))
        tone = rng.uniform(0.8, 1.15, height // w + 2).astype(np.float32)[y // w]
        grain = np.asarray(cv2.resize(rng.uniform(-1, 1, (height, 6)).astype(np.float32), (width, height)))
        return np.asarray(wood * (tone * (1 + 0.1 * grain) * np.where(y % w < 2, 0.5, 1))[..., None], np.float32)
    spacing, angle = rng.uniform(8, 50), rng.uniform(0, math.pi)
    wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / spacing)
    return _blend(base, base + (other - base) * 0.5, (0.5 + 2 * wave).astype(np.float32))


def _add_clutter(image: Float, rng: np.random.Generator) -> None:
    """Paints a shape that belongs to no class: bar, wire, ragged blob, arc, grid or cross."""
    height, width = image.shape[:2]
    short = min(height, width)
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    size = short * 10 ** rng.uniform(-1.5, -0.5)
    mask = np.zeros((height, width), np.uint8)
    kind, angle = rng.integers(6), rng.uniform(0, math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    thick = max(1, int(size * rng.uniform(0.05, 0.25)))

    def at(points: Sequence[tuple[float, float]]) -> npt.NDArray[np.int32]:
        return np.array(
            [[(x + (u * cos - v * sin) * size) * 16, (y + (u * sin + v * cos) * size) * 16] for u, v in points]
        ).astype(np.int32)

    if kind == 0:
        flat = rng.uniform(0.08, 0.4)
        cv2.fillPoly(mask, [at(_rectangle(-1, -flat, 1, flat))], 255, cv2.LINE_AA, 4)
    elif kind == 1:
        steps = np.cumsum(rng.uniform(-0.5, 0.5, (8, 2)), 0)
        cv2.polylines(mask, [at([(float(u), float(v)) for u, v in steps])], False, 255, thick, cv2.LINE_AA, 4)
    elif kind == 2:
        turns = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(6, 12))))
        radii = rng.uniform(0.3, 1, len(turns))
        ragged = [(float(r * math.cos(t)), float(0.6 * r * math.sin(t))) for t, r in zip(turns, radii, strict=True)]
        cv2.fillPoly(mask, [at(ragged)], 255, cv2.LINE_AA, 4)
    elif kind == 3:
        arc = _ellipse(0, 0, 1, 0.8, 0, rng.uniform(90, 240))
        cv2.polylines(mask, [at([(float(u), float(v)) for u, v in arc])], False, 255, thick, cv2.LINE_AA, 4)
    elif kind == 4:
        for k in np.linspace(-1, 1, 5):
            for line in ([(k, -1.0), (k, 1.0)], [(-1.0, k), (1.0, k)]):
                cv2.polylines(mask, [at(line)], False, 255, max(1, thick // 3), cv2.LINE_AA, 4)
    else:
        arm = rng.uniform(0.12, 0.3)
        for bar in (_rectangle(-1, -arm, 1, arm), _rectangle(-arm, -1, arm, 1)):
            cv2.fillPoly(mask, [at(bar)], 255, cv2.LINE_AA, 4)
    colour = _hsv(rng, (0, 360), (0, 0.9), (0.1, 0.95))
    image += (colour - image) * (mask.astype(np.float32) / 255 * rng.uniform(0.6, 1))[..., None]


# ------------------------------------------------------------------------------------------------------ scene


def _cast_shadow(image: Float, alpha: Float, x: int, y: int, light: tuple[float, float], strength: float) -> None:
    """Darkens what lies behind an object, on the side away from the light."""
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
    """Where a patch laid at x, y meets the image: the slices of the image and of the patch, maybe empty."""
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
    """Looks for x, y of an object where it and all behind it stay visible enough; None after 12 tries."""
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
) -> tuple[npt.NDArray[np.int32], list[int]]:
    """Paints the objects; returns the owner of each pixel, (H, W) int32, -1 for none, and their classes."""
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
    classes: list[int] = []
    totals: list[int] = []
    visible: list[int] = []
    for fraction in wanted:
        cls = int(rng.choice(len(CLASSES), p=weights / weights.sum()))
        paint, alpha = _draw_object(cls, max(fraction * min(height, width), LEAST_SIDE), rng, light)
        at = _place(owner, alpha, totals, visible, config.min_visible, rng)
        if at is None:
            continue
        if strength:
            _cast_shadow(image, alpha, *at, light, strength)
        to, of = _overlap(owner.shape, at, alpha.shape)
        image[to] = image[to] * (1 - alpha[of][..., None]) + paint[of]
        owner[to][alpha[of] > 0] = len(classes)
        classes.append(cls)
        totals.append(int((alpha > 0).sum()))
        visible = list(np.bincount(owner[owner >= 0], minlength=len(classes)))
    return owner, classes


def _camera(image: Float, config: SceneConfig, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Light, blur, sensor noise and JPEG artefacts, in this order, each by its chance."""
    height, width = image.shape[:2]
    chance = rng.random(4)
    if chance[0] < config.light:
        tint = 1 + rng.uniform(-0.1, 0.1, 3)
        field = 1 + rng.uniform(-0.35, 0.35) * (2 * _ramp(height, width, rng.uniform(0, 2 * math.pi)) - 1)
        image = image * (tint * rng.uniform(0.6, 1.2)).astype(np.float32) * field[..., None].astype(np.float32)
    if chance[1] < config.blur:
        scale = min(height, width) / 320
        if rng.random() < 0.5:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4) * scale), np.float32)
        else:
            length = int(rng.integers(3, 8) * max(scale, 1)) | 1
            kernel = np.zeros((length, length), np.float32)
            direction, half = rng.uniform(0, math.pi), length // 2
            dx, dy = round(half * math.cos(direction)), round(half * math.sin(direction))
            cv2.line(kernel, (half - dx, half - dy), (half + dx, half + dy), 1.0)
            image = np.asarray(
                cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.float32
            )
    image = np.clip(image, 0, 255)
    if chance[2] < config.noise:
        read, shot = rng.uniform(0.5, 6), rng.uniform(0, 0.5)
        image = image + rng.standard_normal(image.shape, np.float32) * np.sqrt(read * read + shot * image)
    out = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if chance[3] < config.jpeg:
        quality = int(rng.integers(30, 90))
        _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return out


def generate(index: int, config: SceneConfig | None = None) -> Scene:
    """Scene number `index` (0 or more) of a config (the default one when None).

    The same index, config and library versions give the same bytes. Raises `ValueError` for a negative index.
    """
    if index < 0:
        raise ValueError(f"index must be 0 or more, got {index}")
    config = config or SceneConfig()
    scenery, things, camera = (np.random.default_rng([config.seed, index, stream]) for stream in range(3))
    image = np.ascontiguousarray(_background(scenery, config.height, config.width), np.float32)
    for _ in range(int(scenery.integers(config.clutter[0], config.clutter[1] + 1))):
        _add_clutter(image, scenery)
    np.clip(image, 0, 255, out=image)
    owner, classes = _paint_objects(image, config, things)
    boxes = np.zeros((len(classes), 4), np.float32)
    for k in range(len(classes)):
        mine = owner == k
        ys, xs = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        boxes[k] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return Scene(_camera(image, config, camera), boxes, np.array(classes, np.int64))


# --------------------------------------------------------------------------------------------------- data set


def _write_scene(job: tuple[int, Path, Path, SceneConfig]) -> tuple[list[list[float]], list[int]]:
    """Writes one image and its YOLO label file; returns boxes (x1 y1 x2 y2, pixels) and classes."""
    index, image, label, config = job
    scene = generate(index, config)
    if not cv2.imwrite(str(image), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f"cannot write {image}")
    size = np.array([config.width, config.height], np.float64)
    lines = []
    for cls, box in zip(scene.classes, scene.boxes.astype(np.float64), strict=True):
        centre, extent = (box[:2] + box[2:]) / 2 / size, (box[2:] - box[:2]) / size
        lines.append(f"{cls} " + " ".join(f"{v:.7f}" for v in (*centre, *extent)))
    label.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return scene.boxes.tolist(), scene.classes.tolist()


def _results(
    jobs: list[tuple[int, Path, Path, SceneConfig]], processes: int
) -> Generator[tuple[list[list[float]], list[int]], None, None]:
    """Writes the scenes in the order of `jobs`; when closed early it waits for the processes to stop."""
    if processes == 1:
        yield from map(_write_scene, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(_write_scene, jobs, chunksize=8)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_split(folder: Path, split: str, indices: range, config: SceneConfig, processes: int, progress: bool) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    jobs = [(k, images / f"{k:07d}.jpg", labels / f"{k:07d}.txt", config) for k in indices]
    coco: dict[str, Any] = {
        "info": {"description": "procedural scenes of yolort.tools.demo.dataset", "split": split},
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
        "images": [],
        "annotations": [],
    }
    with closing(_results(jobs, processes)) as results:
        shown = track(results, f"{split} scenes", total=len(jobs), disable=not progress)
        for job, (boxes, classes) in zip(jobs, shown, strict=True):
            coco["images"].append(
                {"id": job[0], "file_name": job[1].name, "width": config.width, "height": config.height}
            )
            for (x1, y1, x2, y2), cls in zip(boxes, classes, strict=True):
                w, h = x2 - x1, y2 - y1
                coco["annotations"].append(
                    {
                        "id": len(coco["annotations"]) + 1,
                        "image_id": job[0],
                        "category_id": cls + 1,
                        "bbox": [x1, y1, w, h],
                        "area": w * h,
                        "iscrowd": 0,
                    }
                )
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco), encoding="utf-8")


def write_dataset(
    folder: str | Path,
    train: int = 2000,
    val: int = 300,
    config: SceneConfig | None = None,
    *,
    processes: int = 1,
    progress: bool = True,
) -> Path:
    """Writes a data set that Ultralytics trains on and COCO tools score; returns the path of its `data.yaml`.

    The folder, which must not exist or be empty, receives

    - `images/train`, `images/val`: JPEG files of quality 95; training scenes are `generate(0..train-1)`,
      validation scenes `generate(VAL_START..VAL_START+val-1)`, so that a longer data set begins with the
      scenes of a shorter one;
    - `labels/train`, `labels/val`: `class cx cy w h` a line, fractions of the image;
    - `annotations/instances_train.json`, `instances_val.json`: COCO; the image id is the scene's index, the
      category id the class number + 1, `area` the area of the box;
    - `data.yaml` (Ultralytics; paths relative to itself) and `scenes.json`, the recipe: counts and config.

    Everything is written to a hidden folder beside `folder` and renamed when complete; an error or a
    `KeyboardInterrupt` removes it. `train` and `val` are counts, 0 to `VAL_START`, not both 0. With
    `processes` above 1 (up to four for each core) that many spawned processes make the scenes (the calling
    script then needs `if __name__ == "__main__":`). `progress` shows a progress bar on standard output.

    Raises `ValueError` for a bad count, `FileExistsError` when the folder holds files, `OSError` when writing
    fails.
    """
    folder, config = Path(folder), config or SceneConfig()
    if not (0 <= train <= VAL_START and 0 <= val <= VAL_START and train + val):
        raise ValueError(f"train and val must be 0..{VAL_START} and not both 0, got {train} and {val}")
    processes = _checks.count("processes", processes)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder; remove it or choose another")
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        splits = {"train": range(train), "val": range(VAL_START, VAL_START + val)}
        for split, indices in splits.items():
            _write_split(work, split, indices, config, processes, progress)
        names = "".join(f"  {k}: {name}\n" for k, name in enumerate(CLASSES))
        (work / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}", encoding="utf-8")
        recipe = {"train": train, "val": val, "val_start": VAL_START, "config": dataclasses.asdict(config)}
        (work / "scenes.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        work.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder / "data.yaml"


def _numbers(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(v) for v in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers separated by commas, got {text!r}") from None


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; must not exist or be empty.")],
    train: Annotated[int, typer.Option(help="Training scenes.")] = 2000,
    val: Annotated[int, typer.Option(help="Validation scenes.")] = 300,
    imgsz: Annotated[str, typer.Option(help="Side in pixels, or height,width.")] = "320",
    seed: Annotated[int, typer.Option(help="Another seed, other scenes.")] = 0,
    objects: Annotated[str, typer.Option(help="Least and most objects of a scene.")] = "3,12",
    size_weights: Annotated[str, typer.Option(help="Weights of small, medium and large objects.")] = "0.3,0.45,0.25",
    class_weights: Annotated[
        str | None, typer.Option(help="A weight for each class; equal shares when left out.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes that make scenes.")] = 1,
) -> None:
    """Writes a data set of procedural scenes: images, YOLO labels, data.yaml and COCO JSON."""
    sides = _numbers(imgsz) or ()
    if len(sides) not in (1, 2):
        raise typer.BadParameter(f"--imgsz takes a side or height,width, got {imgsz!r}")
    try:
        config = SceneConfig(
            seed=seed,
            height=int(sides[0]),
            width=int(sides[-1]),
            objects=tuple(int(v) for v in _numbers(objects) or ()),  # type: ignore[arg-type]
            size_weights=_numbers(size_weights),  # type: ignore[arg-type]
            class_weights=_numbers(class_weights),
        )
        data = write_dataset(out, train, val, config, processes=processes)
    except (ValueError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{train} + {val} scenes, {len(CLASSES)} classes: {data}")


if __name__ == "__main__":
    typer.run(main)
