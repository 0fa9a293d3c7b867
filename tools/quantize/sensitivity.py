"""Chooses the convolutions that stay float, so that an INT8 model keeps its accuracy at the least cost in time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort.tools.evaluate.profile import profile

__all__ = ["MOST_CHANGED", "AccuracyGoal", "changed", "keep_float", "map_error", "raw_maps", "times"]

#: Of a picture's detections that `changed` gives: wrong ranges give 0.99 to 1, models that are right at most 0.8.
MOST_CHANGED = 0.95
_MOST_TRIALS = 10  # of giving a layer back to INT8


@dataclass
class AccuracyGoal:
    """What has to be reached, and how it is measured."""

    least: float  # mAP50-95, 0 to 1
    accuracy: Callable[[Collection[str]], float]  # of the model with these kept float
    _known: dict[frozenset[str], bool] = field(default_factory=dict)

    def met(self, kept: Collection[str]) -> bool:
        """Whether it is enough to keep these."""
        key = frozenset(kept)
        if key not in self._known:
            self._known[key] = self.accuracy(key) >= self.least
        return self._known[key]


def keep_float(
    source: Path,
    build: Callable[[Collection[str]], Path],
    layers: Sequence[str],
    excluded: Mapping[str, str],
    engine: str,
    pictures: np.ndarray,
    goal: AccuracyGoal,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, str] | None:
    """The convolutions to keep float, `excluded` among them, and why; None where not even all of them would do.

    Args:
        source: the float artefact.
        build: makes the INT8 artefact that keeps these convolutions float.
        layers: all convolutions that may be INT8.
        excluded: those that stay float whatever it costs, and why.
        pictures: (n, 3, height, width) float32, letterboxed, to measure sensitivity on.
        progress: wraps the layers, for a progress bar.

    Each convolution alone is made INT8, and what that does to the maps (`map_error`) set against the time that it takes
    in the float model: those that hurt most for the time they save come first. Of that order the shortest beginning
    that meets the goal is found by bisection; then those in it that save most time are tried in INT8 again.
    """
    free = [layer for layer in layers if layer not in excluded]
    reg_max = int(json.loads(yolort.Detector(source, tuned=False).metadata["yolort"])["reg_max"])
    exact = raw_maps(source, engine, pictures)
    errors = {}
    for layer in progress(free):
        alone = build([other for other in layers if other != layer])
        errors[layer] = map_error(reg_max, exact, raw_maps(alone, engine, pictures))
    taken = times(source, engine, free)
    order = sorted(free, key=lambda layer: -errors[layer] / taken[layer])

    def kept(count: int) -> set[str]:
        return {*excluded, *order[:count]}

    enough = 1
    while enough < len(order) and not goal.met(kept(enough)):
        enough *= 2
    enough = min(enough, len(order))
    if not goal.met(kept(enough)):
        return None
    short = enough // 2 if enough > 1 else 0  # not enough
    while enough - short > 1:
        middle = (enough + short) // 2
        if goal.met(kept(middle)):
            enough = middle
        else:
            short = middle
    chosen = kept(enough)
    for layer in sorted(order[:enough], key=lambda layer: -taken[layer])[:_MOST_TRIALS]:
        if len(chosen) > 1 and goal.met(chosen - {layer}):
            chosen -= {layer}
    return {
        layer: excluded.get(layer) or f"error {errors[layer]:.4f} alone in INT8, {taken[layer]:.2f} ms"
        for layer in chosen
    }


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


def raw_maps(model: Path, engine: str, pictures: np.ndarray, device: str | int = "") -> list[np.ndarray]:
    """What the engine gives for (n, 3, height, width) float32: boxes and scores of each level in turn, (n, c, h, w)."""
    detector = yolort.Detector(model, engine=engine, device=device, precision="fp32", tuned=False)
    batch = max(detector.batch, 1)
    rows = [detector.infer(np.repeat(picture[None], batch, axis=0)) for picture in pictures]
    return [np.concatenate([row[index][:1] for row in rows]) for index in range(len(rows[0]))]
