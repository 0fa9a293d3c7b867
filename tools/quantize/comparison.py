"""Compares a float model with INT8 models built from it, on their target engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from yolort.tools.data.dataset import letterboxed
from yolort.tools.evaluate.detectors import open_detector
from yolort.tools.evaluate.evaluator import THRESHOLDS, Evaluator
from yolort.tools.evaluate.raw_maps import raw_maps
from yolort.tools.quantize.builders import Builder

__all__ = ["Comparison"]

Score: TypeAlias = "tuple[float, float | None]"  # accuracy, and confidence with the best F1 (None for a classifier)


class Comparison:
    """Builds, opens and scores INT8 models that differ in the convolutions kept in float, each only once.

    A model exists until the next one is built.
    """

    def __init__(self, builder: Builder, folder: Path, engine: str, evaluator: Evaluator | None) -> None:
        """`folder`: where models are built. `evaluator`: has the labeled images for `score`."""
        self.builder, self.engine, self.evaluator = builder, engine, evaluator
        self._path = folder / f"built{builder.ending}"
        self._built: frozenset[str] | None = None
        self._detector: Any | None = None
        self._scores: dict[frozenset[str], Score] = {}

    @cached_property
    def source(self) -> Any:
        """The float model. Raises what `Detector` raises."""
        return self._open(self.builder.source)

    @cached_property
    def source_score(self) -> Score:
        """Accuracy of the float model by its task's metric, and the confidence with the best F1, 0 to 1."""
        return self._score(self.source)

    def build(self, floats: Collection[str]) -> Path:
        """Builds the INT8 model in which the convolutions `floats` stay float."""
        kept = frozenset(floats)
        if kept != self._built:
            self._built = self._detector = None
            self.builder.build(self._path, kept)
            self._built = kept
        return self._path

    def open(self, floats: Collection[str]) -> Any:
        """Opens the result of `build`. Raises what `Detector` raises."""
        path = self.build(floats)
        self._detector = self._detector or self._open(path)
        return self._detector

    def score(self, floats: Collection[str]) -> Score:
        """Accuracy of the result of `build` by its task's metric, and the confidence with the best F1, 0 to 1."""
        kept = frozenset(floats)
        if kept not in self._scores:
            self._scores[kept] = self._score(self.open(kept))
        return self._scores[kept]

    def _open(self, path: Path) -> Any:
        return open_detector(path, engine=self.engine, precision="fp32", tuned=False, **THRESHOLDS)

    def _score(self, detector: Any) -> Score:
        assert self.evaluator
        scores = self.evaluator.score(detector)
        return scores.value, scores.best_conf

    def maps(self, detector: Any, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """A model's outputs for images, (height, width, 3) BGR uint8: raw maps, or the scores of a classifier."""
        if detector.task == "classify":
            return [np.array([detector(image).probs for image in images])]
        return raw_maps(detector, letterboxed(images, detector.imgsz, detector.channels))
