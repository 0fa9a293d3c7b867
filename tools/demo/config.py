"""Parameters of generated scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yolort.tools.demo.shapes import CLASSES

__all__ = ["SIZES", "SceneConfig"]

SIZES = {"small": (0.025, 0.1), "medium": (0.1, 0.3), "large": (0.3, 0.75)}
"""Longest side as a fraction of the image's shorter side; at 320 pixels 8..32, 32..96 and 96..240 pixels."""


@dataclass(frozen=True)
class SceneConfig:
    """Parameters of the scenes of a data set; a bad value raises `ValueError` that names it.

    seed: 0 or more. height, width: pixels, 64..4096. objects: minimum and maximum number of objects per scene (fewer if
        no space is left). class_weights: one weight >= 0 per class, in the order of `CLASSES`; None: equal shares.
        size_weights: weights >= 0 of small, medium and large objects (`SIZES`). min_visible: minimum fraction of a
            silhouette that stays visible, 0.05..1. clutter: minimum and maximum number of shapes without a class.
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
