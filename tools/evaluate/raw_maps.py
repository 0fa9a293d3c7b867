"""Differences between the raw maps of two models: a float model and its INT8 file, before and after pruning."""

from __future__ import annotations

import itertools

import numpy as np
import yolort

__all__ = ["MOST_CHANGED", "changed", "map_error", "raw_maps"]

#: The largest accepted result of `changed`: wrong ranges give 0.99 to 1, correct models at most 0.8.
MOST_CHANGED = 0.95


def raw_maps(detector: yolort.Detector, images: np.ndarray) -> list[np.ndarray]:
    """The raw maps for (n, 3, height, width) float32: boxes, scores and the task's additional map of each level in
    turn, then the mask prototypes; each (n, c, h, w).
    """
    batch = max(detector.batch, 1)
    rows = [detector.infer(np.repeat(image[None], batch, axis=0)) for image in images]
    return [np.concatenate([row[index][:1] for row in rows]) for index in range(len(rows[0]))]


def map_error(reg_max: int, exact: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Effect of a change in raw maps on the detections: 0 or more, dimensionless.

    Sum of: the mean |difference| of scores, each weighted by the larger of the two scores; the shift of box sides in
    strides, with the same weights; the change of the task's additional values (mask coefficients, keypoints, angles)
    relative to their spread, with the same weights; and that of prototypes relative to theirs. For a classifier's
    scores, (n, classes), only the scores count. `reg_max`: bins per box side in the maps.
    """
    total = weight = 0.0
    rest = 0.0
    for pair in zip(_levels(exact), _levels(got), strict=True):
        if len(pair[0]) == 1:
            rest += _spread_error(pair[0][0], pair[1][0])
            continue
        boxes = [yolort.box_sides(maps[0], reg_max) for maps in pair]
        scores = [_sigmoid(maps[1]) for maps in pair]
        sure = np.maximum(*scores)
        best = sure.max(1)
        total += float((sure * np.abs(scores[0] - scores[1])).sum())
        total += float((best * np.abs(boxes[0] - boxes[1]).mean(1)).sum())
        if len(pair[0]) == 3:
            total += float(best.sum()) * _spread_error(pair[0][2], pair[1][2], best[:, None])
        weight += float(best.sum())
    return total / max(weight, 1e-12) + rest


def changed(exact: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Fraction of the detections that differs between two sets of raw maps: 0 none, 1 all; NaN if a value is not
    finite.

    The larger of two figures: for scores, the sum of |difference| divided by the sum of the larger scores, weighted as
    in `map_error`; for boxes, the root mean square of their differences relative to their variation. For a classifier's
    scores, (n, classes), only the first.
    """
    difference, whole, error, varying = 0.0, 0.0, 0.0, 0.0
    for maps, others in zip(_levels(exact), _levels(got), strict=True):
        if len(maps) == 1 and maps[0].ndim == 2:
            scores = [maps[0].astype(np.float64), others[0].astype(np.float64)]
        elif len(maps) == 1:  # prototypes
            if not np.isfinite(others[0]).all():
                return float("nan")
            continue
        else:
            scores = [_sigmoid(maps[1]), _sigmoid(others[1])]
        sure = np.maximum(*scores)
        difference += float((sure * np.abs(scores[0] - scores[1])).sum())
        whole += float(np.square(sure).sum())
        if len(maps) == 1:
            continue
        boxes = [maps[0].astype(np.float64), others[0].astype(np.float64)]
        best = sure.max(1, keepdims=True)
        error += float((best * np.square(boxes[0] - boxes[1])).sum())
        # The outputs of a model that sees nothing, its biases, do not count as boxes.
        varying += float((best * np.square(boxes[0] - boxes[0].mean((2, 3), keepdims=True))).sum())
        if len(maps) == 3 and not np.isfinite(others[2]).all():
            return float("nan")
    shares = np.array([difference / max(whole, 1e-30), np.sqrt(error / max(varying, 1e-30))])
    return float(np.minimum(shares, 1).max())


def _levels(maps: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Groups the maps by level: boxes, scores and the task's additional map; prototypes and a classifier's scores are
    groups of their own.
    """
    return [list(group) for _, group in itertools.groupby(maps, key=lambda one: one.shape[2:])]


def _spread_error(exact: np.ndarray, got: np.ndarray, weight: np.ndarray | float = 1.0) -> float:
    """The weighted root mean square of the differences, relative to that of the exact values' variation."""
    a, b = exact.astype(np.float64), got.astype(np.float64)
    varies = a - a.mean(axis=tuple(range(2, a.ndim)), keepdims=True) if a.ndim > 2 else a
    return float(np.sqrt((weight * np.square(a - b)).sum() / max((weight * np.square(varies)).sum(), 1e-30)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -80, 80)))
