"""How the objects of the ten classes are painted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from yolort.tools.demo.brush import Brush, Float, Shade, cylinder, ellipse, grey, hsv, rectangle, sphere, spot

__all__ = ["CLASSES", "PAINTERS"]

CLASSES = ("ball", "bottle", "car", "clock", "cone", "crate", "house", "star", "tree", "umbrella")
"""Class names; the position is the class number in labels."""


def _ball(brush: Brush, rng: np.random.Generator) -> None:
    kind = rng.integers(4)
    hue = rng.uniform(0, 360)
    if kind == 0:  # basketball
        base, dark = hsv(rng, (16, 30), (0.75, 0.95), (0.75, 0.95)), grey(rng, 0.08, 0.2)
        brush.fill(ellipse(0, 0, 1, 1), base)
        brush.stroke([(-0.97, 0), (0.97, 0)], 0.07, dark)
        brush.stroke([(0, -0.97), (0, 0.97)], 0.07, dark)
        brush.stroke(ellipse(1.3, 0, 0.83, 0.83, 132, 228), 0.07, dark)
        brush.stroke(ellipse(-1.3, 0, 0.83, 0.83, -48, 48), 0.07, dark)
    elif kind == 1:  # beach ball
        colours = [hsv(rng, (hue + 120 * k, hue + 120 * k + 20), (0.75, 1), (0.8, 1)) for k in range(3)]
        brush.fill(ellipse(0, 0, 1, 1), grey(rng, 0.9, 1))
        for k in range(3):
            arc = ellipse(0, 0, 1.0, 1.0, 120 * k, 120 * k + 60)
            brush.fill([(0.12, -0.2), *map(tuple, arc)], colours[k])
        brush.fill(ellipse(0.12, -0.2, 0.14, 0.14), grey(rng, 0.9, 1))
    elif kind == 2:  # football
        dark = grey(rng, 0.05, 0.25)
        brush.fill(ellipse(0, 0, 1, 1), grey(rng, 0.88, 1))
        corners = []
        for k in range(5):
            t = math.radians(72 * k - 90)
            corners.append((0.36 * math.cos(t), 0.36 * math.sin(t)))
            brush.stroke([corners[k], (0.72 * math.cos(t), 0.72 * math.sin(t))], 0.05, dark)
            patch = ((0.66, 0.0), (0.82, -0.25), (1.0, -0.2), (1.0, 0.2), (0.82, 0.25))
            brush.fill([(r * math.cos(t + turn), r * math.sin(t + turn)) for r, turn in patch], dark)
        brush.fill(corners, dark)
    else:  # rubber ball with a band
        base = hsv(rng, (hue, hue + 10), (0.7, 1), (0.6, 1))
        brush.fill(ellipse(0, 0, 1, 1), base)
        band = ellipse(0, -0.05, 0.99, 0.35, 0, 180)
        lower = ellipse(0, 0.22, 0.95, 0.35, 180, 0)
        brush.fill(np.concatenate([band, lower]), hsv(rng, (hue + 150, hue + 210), (0, 0.6), (0.85, 1)))
    brush.shade(sphere(brush.light_here))
    brush.glow(spot(0.42 * brush.light_here[0], 0.42 * brush.light_here[1], 0.24, 0.8))


def _bottle(brush: Brush, rng: np.random.Generator) -> None:
    half, neck = rng.uniform(0.26, 0.36), rng.uniform(0.09, 0.13)
    shoulder = rng.uniform(-0.35, -0.1)
    hues = ((95, 150), (190, 225), (18, 32), (165, 180), (345, 360))
    glass = hsv(rng, hues[rng.integers(len(hues))], (0.55, 0.9), (0.4, 0.8))
    t = np.linspace(0, 1, 12)
    ease = t * t * (3 - 2 * t)
    right = np.stack([neck + (half - neck) * ease, -0.6 + (shoulder + 0.6) * t], 1)
    outline = [(neck, -0.86), *map(tuple, right), (half, 0.93), (half - 0.06, 1.0)]
    outline += [(-x, y) for x, y in reversed(outline)]
    shade = cylinder(half * 1.05, brush.light_here)
    brush.fill(outline, glass, shade)
    brush.fill(
        rectangle(-neck * 1.25, -1, neck * 1.25, -0.8),
        hsv(rng, (0, 360), (0.1, 0.9), (0.5, 0.95)),
        cylinder(neck * 1.3, brush.light_here),
    )
    top = shoulder + rng.uniform(0.15, 0.3)
    label = hsv(rng, (0, 360), (0, 0.35), (0.85, 1))
    brush.fill(rectangle(-half, top, half, top + rng.uniform(0.45, 0.6)), label, shade)
    brush.fill(
        rectangle(-half * 0.7, top + 0.12, half * 0.7, top + 0.22),
        hsv(rng, (0, 360), (0.6, 1), (0.3, 0.8)),
        shade,
    )
    shine = -half * 0.55 if brush.light_here[0] < 0 else half * 0.55
    brush.glow(lambda u, v: 0.55 * np.exp(-(((u - shine) / 0.045) ** 2)) * (v > -0.8) * (v < 0.9))


def _car(brush: Brush, rng: np.random.Generator) -> None:
    body = hsv(rng, (0, 360), (0.1, 0.95), (0.35, 0.95))
    glass, tyre = hsv(rng, (190, 215), (0.2, 0.5), (0.35, 0.75)), grey(rng, 0.06, 0.16)
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
    brush.fill(ellipse(0.93, 0.07, 0.07, 0.07), hsv(rng, (45, 60), (0.1, 0.4), (0.95, 1)))
    brush.fill(rectangle(-1.0, 0.02, -0.92, 0.14), hsv(rng, (0, 8), (0.85, 1), (0.75, 0.95)))
    hub = grey(rng, 0.6, 0.85)
    for x in (-0.56, 0.56):
        brush.fill(ellipse(x, 0.32, 0.26, 0.26), body * 0.3)
        brush.fill(ellipse(x, 0.34, 0.225, 0.225), tyre)
        brush.fill(ellipse(x, 0.34, 0.12, 0.12), hub)
        brush.fill(ellipse(x, 0.34, 0.045, 0.045), tyre)


def _clock(brush: Brush, rng: np.random.Generator) -> None:
    rim = hsv(rng, (0, 360), (0.2, 0.9), (0.2, 0.75))
    face = hsv(rng, (30, 60), (0, 0.15), (0.9, 1))
    ink = grey(rng, 0.03, 0.15)
    radius, y = 1.0, 0.0
    if rng.random() < 0.5:  # alarm clock: bells and feet
        radius, y = 0.82, 0.1
        for side in (-1, 1):
            brush.stroke([(side * 0.4, 0.7), (side * 0.62, 0.95)], 0.13, rim * 0.8)
            brush.fill(ellipse(side * 0.52, -0.68, 0.33, 0.25), rim * 1.1, lambda _, v: 0.75 - 0.35 * v)
        brush.stroke([(0, -0.7), (0, -0.93)], 0.09, rim * 0.7)
    brush.fill(
        ellipse(0, y, radius, radius),
        rim,
        lambda u, v: 1 + 0.35 * (u * brush.light_here[0] + v * brush.light_here[1]),
    )
    brush.fill(ellipse(0, y, radius * 0.83, radius * 0.83), face)
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
    brush.fill(ellipse(0, y, 0.07, 0.07), hsv(rng, (0, 20), (0.7, 1), (0.6, 0.9)))


def _cone(brush: Brush, rng: np.random.Generator) -> None:
    paint = hsv(rng, (8, 26), (0.85, 1), (0.85, 1))
    band = grey(rng, 0.88, 1)
    foot, top = rng.uniform(0.46, 0.56), rng.uniform(0.07, 0.1)
    shade = cylinder(foot * 1.1, brush.light_here)

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
        *map(tuple, ellipse(0, 0.82, foot, 0.08, 0, 180)),
        (-foot, 0.82),
    ]
    brush.fill(body, paint, shade)
    bands = ((-0.5, -0.15), (0.15, 0.5)) if rng.random() < 0.7 else ((-0.35, 0.15),)
    for y1, y2 in bands:
        lower = ellipse(0, y2, half(y2), 0.06, 0, 180)
        upper = ellipse(0, y1, half(y1), 0.04, 180, 0)
        brush.fill(np.concatenate([lower, upper]), band, shade)
    brush.fill(ellipse(0, -0.98, top * 0.8, 0.03), paint * 0.35)


def _crate(brush: Brush, rng: np.random.Generator) -> None:
    wood = hsv(rng, (24, 38), (0.4, 0.7), (0.55, 0.85))
    dark, depth = wood * 0.45, rng.uniform(0.15, 0.4)
    x2, y1 = 1 - depth, -1 + depth * 0.8
    brush.fill([(-1, y1), (-1 + depth, -1), (1, -1), (x2, y1)], np.minimum(wood * 1.2, 255))
    brush.fill([(x2, y1), (1, -1), (1, 1 - depth * 0.8), (x2, 1)], wood * 0.6)
    brush.stroke([(-1 + depth / 2, (y1 - 1) / 2), (x2 + depth / 2, (y1 - 1) / 2)], 0.03, dark)
    brush.fill(rectangle(-1, y1, x2, 1), wood * 0.85)
    count = int(rng.integers(4, 7))
    for k in range(count):
        left = -1 + (x2 + 1) * k / count
        brush.fill(rectangle(left, y1, left + (x2 + 1) / count, 1), wood * rng.uniform(0.75, 0.95))
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
        brush.fill(rectangle(*side), np.minimum(wood * 1.06, 255))
        brush.stroke(rectangle(*side), 0.025, dark, closed=True)


def _house(brush: Brush, rng: np.random.Generator) -> None:
    wall = hsv(rng, (0, 60) if rng.random() < 0.7 else (180, 230), (0.05, 0.4), (0.75, 0.98))
    roof = hsv(rng, (0, 22) if rng.random() < 0.7 else (200, 240), (0.4, 0.85), (0.35, 0.75))
    eaves, half = rng.uniform(-0.2, 0.0), rng.uniform(0.72, 0.85)
    if rng.random() < 0.75:
        brush.fill(rectangle(0.35, -0.92, 0.55, -0.2), roof * 0.8)
    brush.fill(
        rectangle(-half, eaves, half, 1),
        wall,
        lambda u, _: 1 + 0.14 * u * (1 if brush.light_here[0] > 0 else -1),
    )
    brush.fill([(-1, eaves + 0.08), (0, -1), (1, eaves + 0.08)], roof)
    for k in range(1, 4):
        y = -1 + (eaves + 1.0) * k / 4
        x = (y + 1) / (eaves + 1.08)
        brush.stroke([(-x, y), (x, y)], 0.03, roof * 0.75)
    brush.stroke([(-0.98, eaves + 0.07), (0, -0.97), (0.98, eaves + 0.07)], 0.07, roof * 0.6)
    door = hsv(rng, (0, 360), (0.4, 0.8), (0.25, 0.55))
    shift = rng.uniform(-0.15, 0.15)
    brush.fill(rectangle(shift - 0.16, 0.38, shift + 0.16, 1), door)
    brush.fill(ellipse(shift + 0.1, 0.7, 0.03, 0.03), hsv(rng, (45, 55), (0.6, 0.8), (0.9, 1)))
    glass, frame = hsv(rng, (45, 220), (0.2, 0.5), (0.5, 0.95)), grey(rng, 0.9, 1)
    for x in (shift - 0.47, shift + 0.47):
        brush.fill(rectangle(x - 0.17, 0.22, x + 0.17, 0.58), frame)
        brush.fill(rectangle(x - 0.13, 0.26, x + 0.13, 0.54), glass)
        brush.stroke([(x, 0.26), (x, 0.54)], 0.035, frame)
        brush.stroke([(x - 0.13, 0.4), (x + 0.13, 0.4)], 0.035, frame)


def _star(brush: Brush, rng: np.random.Generator) -> None:
    colour = hsv(rng, (42, 56) if rng.random() < 0.7 else (0, 360), (0.7, 1), (0.85, 1))
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


def _tree(brush: Brush, rng: np.random.Generator) -> None:
    bark = hsv(rng, (20, 35), (0.4, 0.7), (0.25, 0.45))
    leaf = hsv(rng, (85, 140), (0.5, 0.85), (0.3, 0.65))
    light = brush.light_here
    if rng.random() < 0.5:  # conifer
        brush.fill(rectangle(-0.1, 0.6, 0.1, 1), bark, cylinder(0.12, light))
        width = rng.uniform(0.55, 0.7)
        for k, (top, foot) in enumerate(((0.0, 0.72), (-0.45, 0.3), (-1.0, -0.1))):
            half = width * (1 - 0.22 * k)
            n = 9
            hem = [(half - 2 * half * i / n, foot + (0.07 if i % 2 else 0.0)) for i in range(n + 1)]
            brush.fill(
                [(0, top - 0.15 * (k < 2)), *hem],
                leaf * (0.8 + 0.14 * k),
                lambda u, _: 1 + 0.45 * u * light[0],
            )
    else:
        brush.fill([(-0.09, 0.0), (0.09, 0.0), (0.15, 1), (-0.15, 1)], bark, cylinder(0.16, light))
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
            brush.fill(ellipse(x, y, radius, radius), leaf, _puff(x, y, radius, light))
        for _ in range(40):
            t, r = rng.uniform(0, 2 * math.pi), 0.62 * math.sqrt(rng.random())
            x, y = r * math.cos(t), -0.4 + 0.72 * r * math.sin(t)
            tone = float(np.clip(1 + 0.4 * (x * light[0] + (y + 0.4) * light[1]) + rng.uniform(-0.25, 0.25), 0.5, 1.6))
            brush.fill(ellipse(x, y, 0.07, 0.05), np.clip(leaf * tone, 0, 255))


def _umbrella(brush: Brush, rng: np.random.Generator) -> None:
    hue = rng.uniform(0, 360)
    first = hsv(rng, (hue, hue), (0.65, 1), (0.6, 0.95))
    second = grey(rng, 0.85, 1) if rng.random() < 0.5 else hsv(rng, (hue + 30, hue + 180), (0.6, 1), (0.6, 0.95))
    if rng.random() < 0.3:
        second = first * 0.82
    pole = hsv(rng, (20, 40), (0.1, 0.7), (0.25, 0.5))
    hem, height = 0.05, rng.uniform(0.82, 0.93)
    brush.stroke([(0, -0.95), (0, 0.8)], 0.07, pole)
    brush.stroke(ellipse(0.14, 0.8, 0.14, 0.15, 180, 10), 0.09, pole * 0.8)
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


PAINTERS: dict[str, tuple[Callable[[Brush, np.random.Generator], None], float]] = {
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
