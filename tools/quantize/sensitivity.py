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
from yolort.tools.evaluate.raw_maps import map_error, raw_maps

__all__ = ["AccuracyGoal", "keep_float", "times"]

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
