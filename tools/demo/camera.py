"""Camera effects: light, blur, sensor noise, JPEG."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from yolort.tools.demo.backgrounds import linear_ramp
from yolort.tools.demo.brush import Float
from yolort.tools.demo.config import SceneConfig

__all__ = ["take_photo"]


def take_photo(image: Float, config: SceneConfig, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Applies light, blur, sensor noise and JPEG artifacts, in this order, each with its probability."""
    height, width = image.shape[:2]
    chance = rng.random(4)
    if chance[0] < config.light:
        tint = 1 + rng.uniform(-0.1, 0.1, 3)
        field = 1 + rng.uniform(-0.35, 0.35) * (2 * linear_ramp(height, width, rng.uniform(0, 2 * math.pi)) - 1)
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
