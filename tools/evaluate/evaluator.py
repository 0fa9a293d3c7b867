"""Scores several models on one split of labeled images; labels and images are read once.

evaluator = Evaluator("data.yaml")
before = evaluator.score(evaluator.open("yolo26n.onnx")).map50_95
after = evaluator.score(evaluator.open("yolo26n-int8.onnx")).map50_95
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yolort
from yolort.tools.data.dataset import load_dataset
from yolort.tools.data.samples import Dataset, Sample
from yolort.tools.evaluate.classified import ClassifiedScores
from yolort.tools.evaluate.detectors import open_detector, task_of
from yolort.tools.evaluate.matching import KINDS, keep
from yolort.tools.evaluate.metrics import TASK_KINDS, Scores, score

__all__ = ["THRESHOLDS", "AnyScores", "Evaluator", "Run", "metric_of"]

AnyScores: TypeAlias = Scores | ClassifiedScores

#: The thresholds of Ultralytics' val.
THRESHOLDS: dict[str, Any] = {"conf": 0.001, "iou": 0.7, "max_det": 300, "multi_label": True}
_IMAGE_BYTES = 1 << 30

Progress = Callable[[Sequence[Sample]], Iterable[Sample]]


@dataclass
class Run:
    """A model's detections in the readable images, in order."""

    dataset: Dataset  # with the classes of the model
    resamples: int = 0  # weights of the images in each draw, for the intervals
    truths: list[Sample] = field(default_factory=list)  # boxes in pixels
    found: dict[bool, list[Any]] = field(default_factory=dict)  # `Found` or best classes, by whether it augments
    ms: dict[bool, list[float]] = field(default_factory=dict)  # per image; keys: with augmentation or not

    def scores(self, augment: bool | None = None) -> AnyScores:
        """Scores of the detections with or without augmentation; `augment` None: with augmentation if it was run."""
        found = self.found[max(self.found) if augment is None else augment]
        dataset = self.dataset
        if dataset.task == "classify":
            return ClassifiedScores(self.truths, found, dataset.names, self.resamples)
        return score(
            self.truths, found, dataset.names, resamples=self.resamples, task=dataset.task, sigmas=dataset.sigmas
        )


def metric_of(task: str) -> str:
    """Name of the figure that models of a task are compared by."""
    return ClassifiedScores.metric if task == "classify" else KINDS[TASK_KINDS[task][0]].metric


class Evaluator:
    """Labeled images, and models run on them."""

    def __init__(
        self,
        data: str | Path,
        split: str = "val",
        images: str | Path | None = None,
        *,
        task: str = "detect",
        image_bytes: int = _IMAGE_BYTES,
    ) -> None:
        """Reads the labels.

        Args:
            data, split, images, task: see `load_dataset`.
            image_bytes: bytes of decoded images to keep for the next model; others are read again for each model.

        Raises what `load_dataset` raises.
        """
        self.data = str(data)
        self.dataset = load_dataset(data, split, images, task=task)
        self.unreadable: dict[Path, str] = {}  # reason for each image that cannot be read; complete after the first run
        self.resized: dict[Path, str] = {}  # one sentence per image whose size differs from the labels
        self._images: dict[Path, np.ndarray] = {}
        self._free = image_bytes

    @property
    def metric(self) -> str:
        """Name of the metric that models of the task are compared by."""
        return metric_of(self.dataset.task)

    def open(self, model: str | Path, **options: Any) -> Any:
        """`open_detector` with the thresholds of Ultralytics' val, unless `options` gives others.

        Raises ValueError for a model of another task than the labels.
        """
        if (task := task_of(model)) != self.dataset.task:
            raise ValueError(f"{model}: its task is {task}, but the labels were read for {self.dataset.task}")
        return open_detector(model, **{**THRESHOLDS, **options})

    def score(self, detector: Any) -> AnyScores:
        """Scores of the detector, augmented if it was opened so; without an interval. Raises what `run` raises."""
        return self.run(detector).scores()

    def run(self, detector: Any, progress: Progress = iter, resamples: int = 0) -> Run:
        """Detects in or classifies all images; if the detector augments, alternately without and with augmentation.

        Unreadable images are skipped and listed in `unreadable`.

        Raises:
            LabelError: the model's classes are not those of the data (see `Dataset.with_classes_of`).
            ImageError: none of the images can be read.
            Anything that the detector raises.
        """
        run = Run(self.dataset.with_classes_of(detector.names), resamples)
        augments = (False, True) if getattr(detector, "views", ()) else (False,)
        for augment in augments:
            run.found[augment], run.ms[augment] = [], []
        for sample, image in self._read(progress(run.dataset.samples), detector.channels):
            run.truths.append(sample)
            for augment in augments if len(run.truths) % 2 else augments[::-1]:
                found = detector(image) if self.dataset.task == "classify" else detector(image, augment=augment)
                run.ms[augment].append(sum(detector.speed))
                run.found[augment].append(self._kept(sample, found, detector.imgsz))
        if not run.truths:
            first = next(iter(self.unreadable.values()))
            raise yolort.ImageError(f"none of the {len(self.dataset.samples)} images can be read; the first: {first}")
        return run

    def _kept(self, truth: Sample, found: Any, imgsz: tuple[int, int]) -> Any:
        """Keeps only what scoring needs, because all masks and scores of thousands of images would not fit in
        memory.
        """
        if self.dataset.task == "classify":
            return np.array(found.top5)
        return keep(truth, found, imgsz, self.dataset.sigmas)

    def labelled(self, count: int, channels: int = 3) -> list[np.ndarray]:
        """The first images that contain an object, at most `count`: (height, width, 3) BGR uint8, or with `channels`
        channels.
        """
        samples = [sample for sample in self.dataset.samples if len(sample.classes)]
        return [image for _, image in self._read(samples[:count], channels)]

    def _read(self, samples: Iterable[Sample], channels: int) -> Iterator[tuple[Sample, np.ndarray]]:
        """Yields each readable image, with its boxes in pixels."""
        for sample in samples:
            image = self._images.get(sample.path)
            if image is None:
                try:
                    image = yolort.images.read(sample.path, channels)
                except (yolort.ImageError, OSError) as error:
                    self.unreadable[sample.path] = str(error)
                    continue
                if sample.size not in (None, image.shape[:2]):
                    height, width = sample.size
                    self.resized[sample.path] = (
                        f"{sample.path} has {image.shape[1]} x {image.shape[0]} pixels, not {width} x {height}"
                    )
                if image.nbytes <= self._free:
                    self._free -= image.nbytes
                    self._images[sample.path] = image
            yield sample.in_pixels(*image.shape[:2]), image
