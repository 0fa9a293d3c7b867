"""One split of labelled images that several models are scored on: labels and images are read once.

evaluator = Evaluator("data.yaml")
before = evaluator.score(evaluator.open("yolo26n.onnx")).map50_95
after = evaluator.score(evaluator.open("yolo26n-int8.onnx")).map50_95
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import Detections
from yolort.tools.data.dataset import load_dataset
from yolort.tools.data.samples import Dataset, Sample
from yolort.tools.evaluate.detectors import open_detector
from yolort.tools.evaluate.metrics import Scores, score

__all__ = ["THRESHOLDS", "Evaluator", "Run"]

#: The thresholds of Ultralytics' val.
THRESHOLDS: dict[str, Any] = {"conf": 0.001, "iou": 0.7, "max_det": 300, "multi_label": True}
_IMAGE_BYTES = 1 << 30

Progress = Callable[[Sequence[Sample]], Iterable[Sample]]


@dataclass
class Run:
    """A model's detections in the readable images, in order."""

    dataset: Dataset  # with the classes of the model
    truths: list[Sample] = field(default_factory=list)  # boxes in pixels
    found: dict[bool, list[Detections]] = field(default_factory=dict)  # by whether it augments
    ms: dict[bool, list[float]] = field(default_factory=dict)  # of each image, by whether it augments


class Evaluator:
    """Labelled images, and models run over them."""

    def __init__(
        self,
        data: str | Path,
        split: str = "val",
        images: str | Path | None = None,
        *,
        image_bytes: int = _IMAGE_BYTES,
    ) -> None:
        """Reads the labels.

        Args:
            data, split, images: see `load_dataset`.
            image_bytes: of decoded images to keep for the next model; the others are read for each model.

        Raises what `load_dataset` raises.
        """
        self.data = str(data)
        self.dataset = load_dataset(data, split, images)
        self.unreadable: dict[Path, str] = {}  # why, of each image that cannot be read; complete after the first run
        self.resized: dict[Path, str] = {}  # a sentence on each image whose size is not the one that the labels state
        self._images: dict[Path, np.ndarray] = {}
        self._free = image_bytes

    def open(self, model: str | Path, **options: Any) -> Any:
        """`open_detector` with the thresholds of Ultralytics' val, unless `options` gives others."""
        return open_detector(model, **{**THRESHOLDS, **options})

    def score(self, detector: Any) -> Scores:
        """Of what the detector finds, augmenting if it was made to; without an interval. Raises what `run` raises."""
        run = self.run(detector)
        return score(run.truths, run.found[max(run.found)], run.dataset.names, resamples=0)

    def run(self, detector: Any, progress: Progress = iter) -> Run:
        """Detects in every image; if the detector augments, without and with it in turns.

        Images that cannot be read are left out and listed in `unreadable`.

        Raises:
            LabelError: the model's classes are not those of the data (see `Dataset.with_classes_of`).
            ImageError: none of the images can be read.
            Anything that the detector raises.
        """
        run = Run(self.dataset.with_classes_of(detector.names))
        augments = (False, True) if detector.views else (False,)
        for augment in augments:
            run.found[augment], run.ms[augment] = [], []
        for sample, image in self._read(progress(run.dataset.samples), detector.channels):
            run.truths.append(sample)
            for augment in augments if len(run.truths) % 2 else augments[::-1]:
                run.found[augment].append(detector(image, augment=augment))
                run.ms[augment].append(sum(detector.speed))
        if not run.truths:
            first = next(iter(self.unreadable.values()))
            raise yolort.ImageError(f"none of the {len(self.dataset.samples)} images can be read; the first: {first}")
        return run

    def labelled(self, count: int, channels: int = 3) -> list[np.ndarray]:
        """The first images with an object in them, at most `count`: (height, width, 3) BGR uint8, or of `channels`."""
        samples = [sample for sample in self.dataset.samples if len(sample.classes)]
        return [image for _, image in self._read(samples[:count], channels)]

    def _read(self, samples: Iterable[Sample], channels: int) -> Iterator[tuple[Sample, np.ndarray]]:
        """Each image that can be read, with its boxes in pixels."""
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
