"""Accuracy of classifications: top-1 and top-5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools.data.samples import LabelError, Sample
from yolort.tools.evaluate.matching import about, drawn
from yolort.tools.evaluate.metrics import plain, without_a_screen

__all__ = ["ClassifiedMetrics", "ClassifiedScores"]

_SHOWN = 100  # maximum number of classes in the confusion matrix plot


@dataclass(frozen=True)
class ClassTops:
    """Figures of one class; nan if the data has no images of it."""

    name: str
    images: int
    top1: float
    top5: float


@dataclass(frozen=True)
class ClassifiedMetrics:
    """Fractions of the images, 0 to 1."""

    metric: str  # "top-1"
    images: int
    top1: float  # share of images whose best class is correct
    top1_ci: tuple[float, float] | None  # 95 % interval, by resampling the images
    top5: float  # share of images with the correct class among the five best
    classes: list[ClassTops]

    @property
    def value(self) -> float:
        """The metric that classifiers are compared by."""
        return self.top1

    @property
    def value_ci(self) -> tuple[float, float] | None:
        """Its interval."""
        return self.top1_ci

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; nan becomes None."""
        return plain(self)


class ClassifiedScores:
    """Top-1 and top-5 of classified images, with the interface of `Scores`."""

    metric = "top-1"
    best_conf: float | None = None  # classifiers have no threshold
    box = None
    curves: dict[str, np.ndarray] = {}  # noqa: RUF012 (never changed)

    def __init__(
        self, truths: Sequence[Sample], found: Sequence[np.ndarray], names: dict[int, str], resamples: int
    ) -> None:
        """`found`: the best classes of each image, (5,) or fewer, best first. Raises LabelError if there are no
        images.
        """
        if not truths:
            raise LabelError("there are no images to classify")
        self._names, self._resamples = names, resamples
        self._truths = np.array([int(truth.classes[0]) for truth in truths])
        self._best = np.array([int(best[0]) for best in found])
        self._top1 = self._best == self._truths
        self._top5 = np.array([cls in best for cls, best in zip(self._truths, found, strict=True)])

    @property
    def value(self) -> float:
        """Top-1, 0 to 1."""
        return float(self._top1.mean())

    @property
    def second(self) -> float:
        """Top-5, 0 to 1."""
        return float(self._top5.mean())

    @cached_property
    def metrics(self) -> ClassifiedMetrics:
        """All figures."""
        classes = []
        for cls, name in self._names.items():
            of = self._truths == cls
            tops = [float(hits[of].mean()) if of.any() else float("nan") for hits in (self._top1, self._top5)]
            classes.append(ClassTops(name, int(of.sum()), *tops))
        interval = about(self.value, self.draws(self._resamples)[0]) if self._resamples else None
        count = len(self._truths)
        return ClassifiedMetrics(self.metric, count, self.value, interval, float(self._top5.mean()), classes)

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes) counts, [best class, true]."""
        matrix = np.zeros((len(self._names),) * 2)
        np.add.at(matrix, (self._best, self._truths), 1)
        return matrix

    def draws(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Top-1 and top-5, (count,) each, on images drawn with replacement; see `Scores.draws`."""
        images = len(self._truths)
        every = drawn(images, count)
        return every @ self._top1 / images, every @ self._top5 / images

    def save_plots(self, folder: Path) -> None:
        """Writes the confusion matrix of the classes that occur, at most 100, as a PNG file."""
        from ultralytics.utils.metrics import ConfusionMatrix

        there = np.flatnonzero((self.confusion.sum(0) + self.confusion.sum(1)) > 0)[:_SHOWN]
        matrix = ConfusionMatrix({row: self._names[int(cls)] for row, cls in enumerate(there)}, task="classify")
        matrix.matrix = self.confusion[np.ix_(there, there)]
        with without_a_screen():
            matrix.plot(normalize=True, save_dir=str(folder))
