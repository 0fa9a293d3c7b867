"""A float model beside the INT8 models that are made of it, on the engine they are for."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import yolort
from yolort.tools.evaluate.evaluator import THRESHOLDS, Evaluator
from yolort.tools.quantize.builders import Builder

__all__ = ["Comparison"]


class Comparison:
    """Builds, opens and scores each INT8 model once; they differ in the convolutions that stay float.

    A model lasts until the next one is built.
    """

    def __init__(self, builder: Builder, folder: Path, engine: str, evaluator: Evaluator | None) -> None:
        """`folder`: where models are built. `evaluator`: the labelled images of `score`."""
        self.builder, self.engine, self.evaluator = builder, engine, evaluator
        self._path = folder / f"built{builder.ending}"
        self._built: frozenset[str] | None = None
        self._detector: yolort.Detector | None = None
        self._scores: dict[frozenset[str], tuple[float, float]] = {}

    @cached_property
    def source(self) -> yolort.Detector:
        """The float model. Raises what `Detector` raises."""
        return self._open(self.builder.source)

    @cached_property
    def source_score(self) -> tuple[float, float]:
        """mAP50-95 of the float model and its confidence of the best F1, 0 to 1."""
        return self._score(self.source)

    def build(self, floats: Collection[str]) -> Path:
        """The INT8 model in which the convolutions `floats` stay float."""
        kept = frozenset(floats)
        if kept != self._built:
            self._built = self._detector = None
            self.builder.build(self._path, kept)
            self._built = kept
        return self._path

    def open(self, floats: Collection[str]) -> yolort.Detector:
        """A detector of `build`. Raises what `Detector` raises."""
        path = self.build(floats)
        self._detector = self._detector or self._open(path)
        return self._detector

    def score(self, floats: Collection[str]) -> tuple[float, float]:
        """mAP50-95 of `build` and its confidence of the best F1, 0 to 1."""
        kept = frozenset(floats)
        if kept not in self._scores:
            self._scores[kept] = self._score(self.open(kept))
        return self._scores[kept]

    def _open(self, path: Path) -> yolort.Detector:
        return yolort.Detector(path, engine=self.engine, precision="fp32", tuned=False, **THRESHOLDS)

    def _score(self, detector: yolort.Detector) -> tuple[float, float]:
        assert self.evaluator
        scores = self.evaluator.score(detector)
        return scores.map50_95, scores.best_conf
