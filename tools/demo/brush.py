"""Painting with a brush: polygons, strokes, shading and texture of one object."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "COVERAGE",
    "Brush",
    "Colour",
    "Float",
    "Shade",
    "cylinder",
    "ellipse",
    "grey",
    "hsv",
    "rectangle",
    "smooth_noise",
    "sphere",
    "spot",
]

COVERAGE = 0.25
"""The part of a pixel, 0..1, that an object must cover to be painted there and to count in its box."""

Float = npt.NDArray[np.floating[Any]]
Colour = npt.NDArray[np.floating[Any]]
Shade = Callable[[Float, Float], Float]
Points = Sequence[tuple[float, float]] | npt.NDArray[Any]


class Brush:
    """Paints one object on a transparent square; coordinates are the object's own, -1..1, y down.

    The object's axes are rotated by `angle` (radians) and mirrored before rasterizing, so nothing is resampled. `light`
    is the direction to the light in the image plane, a unit vector; `light_here` is the
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

    def pixels(self, points: Points, turned: float = 0.0) -> npt.NDArray[np.float64]:
        """Converts points of the object, (n, 2), to pixels of the image that `finish` returns.

        `turned`: rotation around the object's center in radians.
        """
        cos, sin = math.cos(turned), math.sin(turned)
        at = (self._pixels(points) - self._centre) @ np.array([[cos, sin], [-sin, cos]]) + self._centre
        return np.asarray(at / self.oversampling)

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
        """Fills a polygon; `shade(u, v)` multiplies the color, u and v being object coordinates."""
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
        """Adds white, `light(u, v)` in 0..1, to everything painted so far."""
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
        paint *= (keep * (1 + grain * smooth_noise(rng, self.side, self.side, 6)))[..., None]
        np.clip(paint, 0, 255 * alpha[..., None], out=paint)
        return paint, alpha


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 3) -> Float:
    """Smooth noise, about -1..1: random grids of `cells`, 2 x and 4 x as many cells, enlarged and summed."""
    out = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = cells * 2**octave
        grid = rng.uniform(-1, 1, (n + 1, n + 1)).astype(np.float32)
        out += np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)) / 2**octave
    return out / 1.6


def hsv(
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


def grey(rng: np.random.Generator, low: float, high: float) -> Colour:
    return hsv(rng, (0, 360), (0, 0.08), (low, high))


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> npt.NDArray[Any]:
    """Points of an ellipse or arc; angles in degrees, clockwise from the right."""
    t = np.radians(np.linspace(start, end, max(12, int(abs(end - start) / 6))))
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def cylinder(half: float, light: tuple[float, float]) -> Shade:
    """Shading of an upright cylinder of half width `half`."""

    def shade(u: Float, _: Float) -> Float:
        x = np.clip(u / half, -1, 1)
        out: Float = 0.5 + 0.6 * np.clip(np.sqrt(1 - x * x) * 0.75 + x * light[0] * 0.55, 0, None)
        return out

    return shade


def sphere(light: tuple[float, float]) -> Shade:
    """Lambert shading of the unit sphere with some ambient light."""

    def shade(u: Float, v: Float) -> Float:
        z = np.sqrt(np.clip(1 - u * u - v * v, 0, None))
        out: Float = 0.38 + 0.75 * np.clip(0.62 * (u * light[0] + v * light[1]) + 0.78 * z, 0, None)
        return out

    return shade


def spot(x: float, y: float, radius: float, strength: float) -> Shade:
    def light(u: Float, v: Float) -> Float:
        out: Float = strength * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (radius * radius))
        return out

    return light
