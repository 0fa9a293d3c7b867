"""Backgrounds, and clutter (shapes without a class)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from yolort.tools.demo.brush import Colour, Float, ellipse, grey, hsv, rectangle, smooth_noise

__all__ = ["add_clutter", "draw_background", "linear_ramp"]


def linear_ramp(height: int, width: int, angle: float) -> Float:
    """A linear ramp 0..1 across the image in the direction `angle`."""
    x = np.linspace(-1, 1, width, dtype=np.float32) * math.cos(angle)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * math.sin(angle)
    ramp = x + y
    out: Float = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    return out


def blend(a: Colour, b: Colour, t: Float) -> Float:
    out: Float = a + (b - a) * np.clip(t, 0, 1)[..., None]
    return out


def draw_background(rng: np.random.Generator, height: int, width: int) -> Float:
    kind = rng.choice(
        ["landscape", "gradient", "cloud", "tiles", "planks", "stripes", "room"],
        p=[0.3, 0.12, 0.16, 0.12, 0.1, 0.06, 0.14],
    )
    if kind == "landscape":
        return _landscape(rng, height, width)
    if kind == "room":
        return _room(rng, height, width)
    base, other = (hsv(rng, (0, 360), (0.05, 0.6), (0.2, 0.95)) for _ in range(2))
    if kind == "gradient":
        return blend(base, other, linear_ramp(height, width, rng.uniform(0, 2 * math.pi)))
    if kind == "cloud":
        return blend(base, other, 0.5 + 0.6 * smooth_noise(rng, height, width, int(rng.integers(2, 14)), 4))
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
        wood, w = hsv(rng, (18, 40), (0.25, 0.6), (0.35, 0.75)), int(rng.integers(18, 60))
        tone = rng.uniform(0.8, 1.15, height // w + 2).astype(np.float32)[y // w]
        grain = np.asarray(cv2.resize(rng.uniform(-1, 1, (height, 6)).astype(np.float32), (width, height)))
        return np.asarray(wood * (tone * (1 + 0.1 * grain) * np.where(y % w < 2, 0.5, 1))[..., None], np.float32)
    spacing, angle = rng.uniform(8, 50), rng.uniform(0, math.pi)
    wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / spacing)
    return blend(base, base + (other - base) * 0.5, (0.5 + 2 * wave).astype(np.float32))


def _landscape(rng: np.random.Generator, height: int, width: int) -> Float:
    horizon = int(height * rng.uniform(0.25, 0.65))
    sky = blend(
        hsv(rng, (195, 225), (0.25, 0.7), (0.6, 0.95)),
        hsv(rng, (20, 220), (0.02, 0.3), (0.85, 1)),
        linear_ramp(height, width, math.pi / 2) * height / horizon,
    )
    sky = blend(sky, grey(rng, 0.9, 1), np.clip(smooth_noise(rng, height, width, 4) - 0.15, 0, 1) * rng.uniform(0, 1.5))
    hue = ((75, 125), (28, 45), (20, 35), (200, 230))[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])]
    near, far = hsv(rng, hue, (0.2, 0.6), (0.3, 0.6)), hsv(rng, hue, (0.1, 0.4), (0.45, 0.8))
    ground = blend(
        far,
        near,
        (np.arange(height, dtype=np.float32)[:, None] - horizon) / (height - horizon)
        + np.zeros((1, width), np.float32),
    )
    ground *= (
        1 + 0.18 * smooth_noise(rng, height, width, 10) + rng.normal(0, rng.uniform(0.02, 0.1), (height, width))
    )[..., None]
    edge = horizon + (height * 0.03 * smooth_noise(rng, 1, width, 3)[0] * rng.random()).astype(np.int32)
    return np.where((np.arange(height)[:, None] < edge)[..., None], sky, ground).astype(np.float32)


def _room(rng: np.random.Generator, height: int, width: int) -> Float:
    floor = int(height * rng.uniform(0.5, 0.8))
    wall, ground = (
        hsv(rng, (0, 360), (0.03, 0.35), (0.6, 0.95)),
        hsv(rng, (15, 45), (0.2, 0.6), (0.3, 0.7)),
    )
    out = np.empty((height, width, 3), np.float32)
    out[:] = wall
    if rng.random() < 0.5:
        period = int(rng.integers(12, 48))
        out[:, (np.arange(width) // period) % 2 == 0] *= rng.uniform(0.85, 0.97)
    out[floor:] = ground
    out[floor:] *= (1 + 0.12 * smooth_noise(rng, height, width, 3))[floor:, :, None]
    out[floor - max(2, height // 60) : floor] = wall * 0.7
    return out


def add_clutter(image: Float, rng: np.random.Generator) -> None:
    """Paints clutter, a shape without a class: bar, wire, ragged blob, arc, grid or cross."""
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
        cv2.fillPoly(mask, [at(rectangle(-1, -flat, 1, flat))], 255, cv2.LINE_AA, 4)
    elif kind == 1:
        steps = np.cumsum(rng.uniform(-0.5, 0.5, (8, 2)), 0)
        cv2.polylines(mask, [at([(float(u), float(v)) for u, v in steps])], False, 255, thick, cv2.LINE_AA, 4)
    elif kind == 2:
        turns = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(6, 12))))
        radii = rng.uniform(0.3, 1, len(turns))
        ragged = [(float(r * math.cos(t)), float(0.6 * r * math.sin(t))) for t, r in zip(turns, radii, strict=True)]
        cv2.fillPoly(mask, [at(ragged)], 255, cv2.LINE_AA, 4)
    elif kind == 3:
        arc = ellipse(0, 0, 1, 0.8, 0, rng.uniform(90, 240))
        cv2.polylines(mask, [at([(float(u), float(v)) for u, v in arc])], False, 255, thick, cv2.LINE_AA, 4)
    elif kind == 4:
        for k in np.linspace(-1, 1, 5):
            for line in ([(k, -1.0), (k, 1.0)], [(-1.0, k), (1.0, k)]):
                cv2.polylines(mask, [at(line)], False, 255, max(1, thick // 3), cv2.LINE_AA, 4)
    else:
        arm = rng.uniform(0.12, 0.3)
        for bar in (rectangle(-1, -arm, 1, arm), rectangle(-arm, -1, arm, 1)):
            cv2.fillPoly(mask, [at(bar)], 255, cv2.LINE_AA, 4)
    colour = hsv(rng, (0, 360), (0, 0.9), (0.1, 0.95))
    image += (colour - image) * (mask.astype(np.float32) / 255 * rng.uniform(0.6, 1))[..., None]
