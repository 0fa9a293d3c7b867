"""Chooses the convolutions that stay float, so that an INT8 model keeps its accuracy at the least cost in time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort.tools.evaluate.profile import profile
from yolort.tools.quantize.comparison import Comparison

__all__ = ["MOST_CHANGED", "changed", "keep_float", "map_error", "raw_maps", "times"]

#: Of a picture's detections that `changed` gives: wrong ranges give 0.99 to 1, models that are right at most 0.8.
MOST_CHANGED = 0.95
_MAX_TRIALS = 10  # of giving a layer back to INT8


def keep_float(
    comparison: Comparison,
    excluded: Mapping[str, str],
    min_map: float,
    images: np.ndarray,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, str] | None:
    """The convolutions to keep float, `excluded` among them, and why; None if not even all of them are enough.

    Args:
        comparison: of the float model and its INT8 models.
        excluded: the convolutions that stay float whatever it costs, and why.
        min_map: mAP50-95 to reach, 0 to 1.
        images: (n, 3, height, width) float32, letterboxed, to measure sensitivity on.
        progress: wraps the layers, for a progress bar.

    Each convolution is made INT8 while all others are float, and the error of the maps (`map_error`) is divided by the
    time that the convolution takes in the float model. Convolutions are ranked by that, and the fewest top-ranked ones
    that reach `min_map` are found by bisection; then those of them that save most time are tried in INT8 again.
    """
    layers = list(comparison.builder.layers)
    free = [layer for layer in layers if layer not in excluded]
    source = comparison.source
    reg_max = int(json.loads(source.metadata["yolort"])["reg_max"])
    exact = raw_maps(source, images)
    errors = {}
    for layer in progress(free):
        alone = comparison.open([other for other in layers if other != layer])
        errors[layer] = map_error(reg_max, exact, raw_maps(alone, images))
    taken = times(comparison.builder.source, comparison.engine, free)
    order = sorted(free, key=lambda layer: -errors[layer] / taken[layer])

    def kept(count: int) -> set[str]:
        return {*excluded, *order[:count]}

    def enough(floats: Collection[str]) -> bool:
        return comparison.score(floats)[0] >= min_map

    count = _fewest(len(order), lambda count: enough(kept(count)))
    if count is None:
        return None
    chosen = kept(count)
    for layer in sorted(order[:count], key=lambda layer: -taken[layer])[:_MAX_TRIALS]:
        if len(chosen) > 1 and enough(chosen - {layer}):
            chosen -= {layer}
    return {
        layer: excluded.get(layer) or f"error {errors[layer]:.4f} alone in INT8, {taken[layer]:.2f} ms"
        for layer in chosen
    }


def _fewest(limit: int, enough: Callable[[int], bool]) -> int | None:
    """The smallest count from 1 to `limit` that is enough, by doubling and bisection; None if `limit` is not."""
    high = 1
    while high < limit and not enough(high):
        high *= 2
    high = min(high, limit)
    if not enough(high):
        return None
    low = high // 2  # 0, or a count that was not enough
    while high - low > 1:
        middle = (high + low) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high


def map_error(reg_max: int, exact: list[np.ndarray], got: list[np.ndarray]) -> float:
    """What a change of raw maps does to detections: 0 and more, without a unit.

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


def times(source: Path, engine: str, layers: Sequence[str]) -> dict[str, float]:
    """Milliseconds of each layer in the float model: as the engine's profiler tells, else an even share of the rest."""
    told: dict[str, float] = {}
    for layer in profile(source, engine=engine, precision="fp32", runs=10).layers:
        name = layer.name.removesuffix("/WithoutBiases")  # as OpenVINO calls a convolution it took the bias from
        told[name] = told.get(name, 0.0) + layer.ms
    found = {layer: told.get(layer, 0.0) for layer in layers}
    known = [ms for ms in found.values() if ms > 0]
    typical = float(np.median(known)) if known else 1.0
    return {layer: ms or typical for layer, ms in found.items()}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -80, 80)))


def raw_maps(detector: yolort.Detector, images: np.ndarray) -> list[np.ndarray]:
    """The maps of (n, 3, height, width) float32: boxes and scores of each level in turn, (n, c, h, w) each."""
    batch = max(detector.batch, 1)
    rows = [detector.infer(np.repeat(image[None], batch, axis=0)) for image in images]
    return [np.concatenate([row[index][:1] for row in rows]) for index in range(len(rows[0]))]
