"""Accuracy of an artifact, measured with the same `Detector` that users run.

from yolort.tools import validate
validate("yolo26n_ncnn_model", "coco128.yaml").metrics.map50_95
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from yolort import Detections, View, _atomic
from yolort.tools.data.samples import Sample
from yolort.tools.evaluate.classified import ClassifiedScores
from yolort.tools.evaluate.detectors import task_of
from yolort.tools.evaluate.evaluator import THRESHOLDS, AnyScores, Evaluator

__all__ = ["Augmentation", "Validation", "validate"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Augmentation:
    """The comparison for test-time augmentation: the same detector on the same images without it."""

    views: list[View]
    plain: AnyScores  # without
    ms: tuple[float, float]  # median of an image: without, with
    latency_ratio: float  # median over the images of the ratio with / without, measured in succession

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "views": [view._asdict() for view in self.views],
            "plain": self.plain.metrics.to_dict(),
            "ms_plain": round(self.ms[0], 3),
            "ms": round(self.ms[1], 3),
            "latency_ratio": round(self.latency_ratio, 4),
        }


class Validation:
    """The outcome of `validate`."""

    def __init__(
        self,
        scores: AnyScores,
        unreadable: list[str],
        described: dict[str, Any],
        augmentation: Augmentation | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.scores = scores
        self.unreadable = unreadable  # reason for each skipped image
        self.described = described  # model, engine, data, settings
        self.augmentation = augmentation  # None: no augmentation
        self.notes = list(notes)  # reasons why the model could score higher than these figures

    @property
    def metrics(self) -> Any:
        """The figures: `Metrics`, or `ClassifiedMetrics` of a classifier."""
        return self.scores.metrics

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON: `metrics`, mean `curves` at 101 confidences, `confusion`, and the settings."""
        every = slice(None, None, 10)
        curves = {name: np.round(values[every], 5).tolist() for name, values in self.scores.curves.items()}
        return {
            **self.described,
            "augmentation": self.augmentation and self.augmentation.to_dict(),
            "unreadable": self.unreadable,
            "notes": self.notes,
            "metrics": self.metrics.to_dict(),
            "curves": curves,
            "confusion": self.scores.confusion.astype(int).tolist(),
        }

    def save_conf(self, path: str | Path) -> None:
        """Writes the confidence with the best F1 of each class as JSON for `Detector(conf=path)`.

        Args:
            path: the file to write, *.json; a file that yolort did not write is refused.

        Raises:
            ValueError: the model is a classifier, whose scores have no threshold.
            FileExistsError: the file exists and yolort did not write it.
        """
        if isinstance(self.scores, ClassifiedScores):
            raise ValueError("a classifier has no confidence thresholds to save")
        text = json.dumps({"writer": _atomic.MARK, "conf": self.scores.class_confs}, indent=1, allow_nan=False)
        _atomic.write(path, text.encode())

    def save(self, folder: str | Path) -> None:
        """Writes metrics.json and the plots (PR, F1, P, R, confusion matrix) into a folder, all or nothing.

        A folder of an earlier run is replaced. A folder with anything else is refused with FileExistsError, and the
        message says where the result was saved instead.
        """
        with _atomic.writing(folder) as built:
            built.mkdir()
            text = json.dumps({"writer": _atomic.MARK, **self.to_dict()}, indent=1, allow_nan=False)
            (built / "metrics.json").write_text(text, encoding="utf-8")
            self.scores.save_plots(built)


# Long for its documentation.
def validate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    images: str | Path | None = None,
    resamples: int = 200,
    progress: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
    **options: Any,
) -> Validation:
    """Runs a model on labeled images and scores its detections.

    Args:
        model: a model for `Detector`; or a checkpoint (.pt), run by Ultralytics, as the baseline.
        data: see `load_dataset`; the labels are read for the task of the model.
        split: see `load_dataset`.
        images: see `load_dataset`.
        resamples: see `score`.
        progress: wraps the samples, for a progress bar.
        **options: options of `Detector`. Thresholds default to those of Ultralytics' val (conf 0.001, iou 0.7,
            max_det 300, multi_label). With test-time augmentation, each image is run with and without it, for
            `Validation.augmentation`. Checkpoints support only `augment`, which is Ultralytics' own.

    `Validation.unreadable` lists images that could not be read and were skipped.

    Raises:
        FileNotFoundError, LabelError: see `load_dataset`, and `Dataset.with_classes_of` for other classes.
        ImageError: none of the images can be read.
        ModelError, EngineError, ValueError: see `Detector`.
    """
    task = task_of(model)
    evaluator = Evaluator(data, split, images, task=task, image_bytes=0)
    detector = evaluator.open(model, **options)
    run = evaluator.run(detector, progress, resamples)
    augmentation = None
    if views := getattr(detector, "views", []):
        augmentation = Augmentation(
            views,
            run.scores(False),
            (float(np.median(run.ms[False])), float(np.median(run.ms[True]))),
            float(np.median(np.divide(run.ms[True], run.ms[False]))),
        )
    thresholds = {key: options.get(key, default) for key, default in THRESHOLDS.items()} if task != "classify" else {}
    described = {
        "task": task,
        "model": str(model),
        "engine": detector.engine,
        "device": detector.device,
        "precision": detector.precision,
        "imgsz": list(detector.imgsz),
        "data": run.dataset.name,
        "split": split,
        **thresholds,
    }
    notes = list(run.dataset.notes)
    if task != "classify":
        notes += _caps(detector, thresholds, [one.detections for one in run.found[max(run.found)]])
    if resized := list(evaluator.resized.values()):
        notes.append(
            f"{len(resized)} image(s) are of another size than the data say, so boxes may not fit: {resized[0]}"
        )
    return Validation(run.scores(), list(evaluator.unreadable.values()), described, augmentation, notes)


_USUAL_CONF = 0.01  # thresholds up to this value hardly reduce mAP
_USUAL_MAX_DET = 100  # COCO's


def _caps(detector: Any, thresholds: dict[str, Any], found: Sequence[Detections]) -> list[str]:
    """Sentences about settings that keep mAP below what the network could reach."""
    out = []
    args = detector.metadata.get("args", "")
    if re.search(r"'?nms'?: true", args, re.IGNORECASE):
        lowest = min((float(one.scores.min()) for one in found if len(one)), default=None)
        seen = "" if lowest is None else f"; the lowest score that it gave is {lowest:.2f}"
        out.append(
            "NMS is in the graph of this export, with its own thresholds (Ultralytics' default confidence is "
            f"0.25{seen}): what is below them is lost, and mAP is lower than that of the model; export without nms to "
            "measure that"
        )
    if thresholds["conf"] > _USUAL_CONF:
        out.append(f"conf {thresholds['conf']:g} leaves out detections that mAP counts; the usual value is 0.001")
    if thresholds["max_det"] < _USUAL_MAX_DET:
        out.append(f"max_det {thresholds['max_det']} leaves out detections that mAP counts; the usual value is 300")
    return out
