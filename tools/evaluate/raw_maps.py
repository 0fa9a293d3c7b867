"""Differences between the raw maps of two models: a float model and its INT8 file, before and after pruning."""

from __future__ import annotations

import numpy as np
import yolort

__all__ = ["MOST_CHANGED", "changed", "map_error", "raw_maps"]

#: The largest accepted result of `changed`: wrong ranges give 0.99 to 1, models that are right at most 0.8.
MOST_CHANGED = 0.95


def raw_maps(detector: yolort.Detector, images: np.ndarray) -> list[np.ndarray]:
    """The maps of (n, 3, height, width) float32: boxes and scores of each level in turn, (n, c, h, w) each."""
    batch = max(detector.batch, 1)
    rows = [detector.infer(np.repeat(image[None], batch, axis=0)) for image in images]
    return [np.concatenate([row[index][:1] for row in rows]) for index in range(len(rows[0]))]


def map_error(reg_max: int, exact: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Effect of a change of raw maps on the detections: 0 or more, without a unit.

    The mean over the scores of |difference|, each by how much detection depends on it (the larger of the two scores),
    and the shift of box sides, in strides, by the same weight. `reg_max`: bins of a box side in the maps.
    """
    total = weight = 0.0
    for index in range(0, len(exact), 2):
        boxes = [yolort.box_sides(maps[index], reg_max) for maps in (exact, got)]
        scores = [_sigmoid(maps[index + 1]) for maps in (exact, got)]
        sure = np.maximum(*scores)
        best = sure.max(1)
        total += float((sure * np.abs(scores[0] - scores[1])).sum())
        total += float((best * np.abs(boxes[0] - boxes[1]).mean(1)).sum())
        weight += float(best.sum())
    return total / max(weight, 1e-12)


def changed(exact: list[np.ndarray], got: list[np.ndarray]) -> float:
    """How much of what raw maps detect is another in others: 0 nothing, 1 all of it; NaN where one is not finite.

    Of scores, the sum of |difference| by that of the larger one, each by how much detection depends on it (as in
    `map_error`); of boxes, the square root of their squared differences by what varies in them. The larger of the two.
    """
    difference, whole, error, varying = 0.0, 0.0, 0.0, 0.0
    for index in range(0, len(exact), 2):
        scores = [_sigmoid(maps[index + 1]) for maps in (exact, got)]
        boxes = [maps[index].astype(np.float64) for maps in (exact, got)]
        sure = np.maximum(*scores)
        best = sure.max(1, keepdims=True)
        difference += float((sure * np.abs(scores[0] - scores[1])).sum())
        whole += float(np.square(sure).sum())
        error += float((best * np.square(boxes[0] - boxes[1])).sum())
        # Biases alone, of a model that sees nothing, are no boxes.
        varying += float((best * np.square(boxes[0] - boxes[0].mean((2, 3), keepdims=True))).sum())
    shares = np.array([difference / max(whole, 1e-30), np.sqrt(error / max(varying, 1e-30))])
    return float(np.minimum(shares, 1).max())


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -80, 80)))
