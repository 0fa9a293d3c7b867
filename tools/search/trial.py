"""Measurements of a trial of `optimize`; each function can run in a separate process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yolort.tools.search.pipeline import Pipeline
from yolort.tools.search.recipe import Recipe

__all__ = ["measure_accuracy", "measure_time", "prepare", "untrained"]

_RUNS = 60  # number of timed detections per trial, alternating with the baseline


def prepare(folder: str, data: str, base: Recipe, recipe: Recipe, seed: int, task: str) -> dict[str, Any]:
    """Builds what is timed; runs in a child process."""
    pipeline = Pipeline(folder, data, task)
    if recipe.engine != "tensorrt":  # TensorRT engines must be built on the machine that runs them
        pipeline.case(untrained(recipe, base), seed)
    return {}


def untrained(recipe: Recipe, base: Recipe) -> Recipe:
    """The same network before fine-tuning or distillation, which do not change its speed."""
    return replace(recipe, finetune=0, epochs=base.epochs, teacher=None)


def measure_time(folder: str, data: str, base: Recipe, recipe: Recipe, seed: int, task: str) -> dict[str, Any]:
    """Measures milliseconds (before training after pruning) and MB."""
    pipeline = Pipeline(folder, data, task)
    reference = pipeline.case(base, seed)
    first = pipeline.latency([reference], _RUNS)[0]
    pair = [reference, pipeline.case(untrained(recipe, base), seed)]
    rows = pipeline.latency(pair, _RUNS) if pair[0] != pair[1] else [first, first]
    interval = (ratio := rows[1].ratio(rows[0])) and [ratio.low, ratio.high]
    # Times a trial alternately with the reference; all trials are compared with the reference's time in the first
    # trial.
    return {"ms": first.p50 * rows[1].p50 / rows[0].p50, "size_mb": rows[1].size_mb, "ratio": interval}


def measure_accuracy(folder: str, data: str, _base: Recipe, recipe: Recipe, seed: int, task: str) -> dict[str, Any]:
    """Measures the accuracy of the artifact, training it first if its recipe says so."""
    accuracy = Pipeline(folder, data, task).accuracy(recipe, seed)
    return {"accuracy": 100 * accuracy.value, "interval": [100 * bound for bound in accuracy.interval]}
