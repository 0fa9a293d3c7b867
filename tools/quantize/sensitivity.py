"""Chooses the convolutions to keep in float, so that an INT8 model keeps its accuracy at the lowest cost in time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools._stages import stage
from yolort.tools.evaluate.profile import profile
from yolort.tools.evaluate.raw_maps import map_error
from yolort.tools.quantize.comparison import Comparison

__all__ = ["keep_float", "times"]

_MAX_TRIALS = 10  # attempts to return a layer to INT8


def keep_float(
    comparison: Comparison,
    excluded: Mapping[str, str],
    min_accuracy: float,
    images: Sequence[np.ndarray],
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, str] | None:
    """The convolutions to keep in float, including `excluded`, and why; None if even all of them are not enough.

    Args:
        comparison: the float model and its INT8 models.
        excluded: convolutions that always stay float, and why.
        min_accuracy: accuracy to reach, 0 to 1, by the task's metric.
        images: (height, width, 3) BGR uint8 each, to measure sensitivity on.
        progress: wraps the layers, for a progress bar.

    Each convolution is quantized alone, and the error of the maps (`map_error`) is divided by its time in the float
    model. Convolutions are ranked by this quotient, and bisection finds the fewest top-ranked ones that reach
    `min_accuracy`; then those that save the most time are tried in INT8 again.
    """
    stage("searching for the layers that must stay float")
    layers = list(comparison.builder.layers)
    free = [layer for layer in layers if layer not in excluded]
    source = comparison.source
    reg_max = int(json.loads(source.metadata.get("yolort") or "{}").get("reg_max", 1))
    exact = comparison.maps(source, images)
    errors = {}
    for layer in progress(free):
        alone = comparison.open([other for other in layers if other != layer])
        errors[layer] = map_error(reg_max, exact, comparison.maps(alone, images))
    taken = times(comparison.builder.source, comparison.engine, free)
    order = sorted(free, key=lambda layer: -errors[layer] / taken[layer])

    def kept(count: int) -> set[str]:
        return {*excluded, *order[:count]}

    def enough(floats: Collection[str]) -> bool:
        return comparison.score(floats)[0] >= min_accuracy

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
    """The smallest count from 1 to `limit` that is enough, by doubling and bisection; None if even `limit` is not."""
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


def times(source: Path, engine: str, layers: Sequence[str]) -> dict[str, float]:
    """Milliseconds of each layer in the float model, from the engine's profiler; layers it does not list share the rest
    equally.
    """
    told: dict[str, float] = {}
    for layer in profile(source, engine=engine, precision="fp32", runs=10).layers:
        name = layer.name.removesuffix("/WithoutBiases")  # OpenVINO's name for a convolution whose bias it split off
        told[name] = told.get(name, 0.0) + layer.ms
    found = {layer: told.get(layer, 0.0) for layer in layers}
    known = [ms for ms in found.values() if ms > 0]
    typical = float(np.median(known)) if known else 1.0
    return {layer: ms or typical for layer, ms in found.items()}
