"""Accuracy of an artefact, measured through the `Detector` that ships.

from yolort.tools.val import validate
validate("yolo26n_ncnn_model", "coco128.yaml").metrics.map50_95
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import Detections, Detector
from yolort.tools.baseline import TorchDetector
from yolort.tools.data import Sample, load_dataset
from yolort.tools.files import folder_beside, place, replaceable
from yolort.tools.metrics import Metrics, Scores, score

__all__ = ["Validation", "open_detector", "validate"]

_log = logging.getLogger(__name__)

#: The thresholds of Ultralytics' val.
THRESHOLDS: dict[str, Any] = {"conf": 0.001, "iou": 0.7, "max_det": 300, "multi_label": True}

#: Test-time augmentation as Ultralytics has it for checkpoints (nn/tasks.py, _predict_augment): scale, mirrored.
_VIEWS = ((1.0, False), (0.83, True), (0.67, False))


class Validation:
    """The outcome of `validate`."""

    def __init__(self, scores: Scores, unreadable: list[str], described: dict[str, Any]) -> None:
        self.scores = scores
        self.unreadable = unreadable  # why, of each image that was left out
        self.described = described  # model, engine, data, settings

    @property
    def metrics(self) -> Metrics:
        """The figures."""
        return self.scores.metrics

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: `metrics`, mean `curves` at 101 confidences, `confusion`, and what was measured how."""
        every = slice(None, None, 10)
        curves = {name: np.round(values[every], 5).tolist() for name, values in self.scores.curves.items()}
        return {
            **self.described,
            "unreadable": self.unreadable,
            "metrics": self.metrics.to_dict(),
            "curves": curves,
            "confusion": self.scores.confusion.astype(int).tolist(),
        }

    def save(self, folder: str | Path) -> None:
        """Writes metrics.json and the plots (PR, F1, P, R, confusion matrix) into a folder, all or nothing.

        A folder of an earlier run is replaced; one that holds anything else is refused with FileExistsError.
        """
        target = Path(folder)
        replaceable(target, {".json", ".png"})
        with folder_beside(target) as work:
            built = work / "built"
            built.mkdir()
            self.scores.save_plots(built)
            text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
            (built / "metrics.json").write_text(text, encoding="utf-8")
            place(built, target)


def validate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    images: str | Path | None = None,
    augment: bool = False,
    resamples: int = 200,
    progress: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
    **options: Any,
) -> Validation:
    """Runs a model over labelled images and scores what it finds.

    Args:
        model: what `Detector` loads; or a checkpoint (.pt), run by Ultralytics, for the baseline.
        data, split, images: see `load_dataset`.
        augment: detect in two more views of each image (0.83 of the size and mirrored, 0.67) and merge with NMS.
        resamples: see `score`.
        progress: wraps the samples, for a progress bar.
        **options: of `Detector`: engine, device, threads, precision, imgsz; and its thresholds, by default those of
            Ultralytics' val (conf 0.001, iou 0.7, max_det 300, every class of a box).

    Images that cannot be read are left out, counted, and told in `Validation.unreadable`.

    Raises:
        FileNotFoundError, LabelError: see `load_dataset`; the model's classes are not those of the data.
        ImageError: none of the images can be read.
        Anything that `Detector` raises.
    """
    thresholds = {**THRESHOLDS, **{key: value for key, value in options.items() if key in THRESHOLDS}}
    dataset = load_dataset(data, split, images)
    detector = open_detector(model, **{**options, **thresholds})
    dataset = dataset.with_classes_of(detector.names)
    truths: list[Sample] = []
    found: list[Detections] = []
    unreadable: list[str] = []
    for sample in progress(dataset.samples):
        try:
            image = yolort.images.read(sample.path)
        except (yolort.ImageError, OSError) as error:
            unreadable.append(str(error))
            continue
        truths.append(sample.in_pixels(*image.shape[:2]))
        found.append(_augmented(detector, image, thresholds) if augment else detector(image))
    if not truths:
        raise yolort.ImageError(f"none of the {len(dataset.samples)} images can be read; the first: {unreadable[0]}")
    described = {
        "model": str(model),
        "engine": detector.engine,
        "device": detector.device,
        "precision": detector.precision,
        "imgsz": list(detector.imgsz),
        "data": dataset.name,
        "split": split,
        "augment": augment,
        **thresholds,
    }
    return Validation(score(truths, found, dataset.names, resamples=resamples), unreadable, described)


def open_detector(model: str | Path, **options: Any) -> Any:
    """`Detector`, or `TorchDetector` for a checkpoint, with what of the options that takes."""
    if Path(model).suffix != ".pt":
        return Detector(model, **options)
    options.pop("tuned", None)
    other = {key: options.pop(key, None) for key in ("engine", "device", "precision")}
    for key, only in (("engine", "torch"), ("device", "cpu"), ("precision", "fp32")):
        if other[key] not in (None, only):
            raise ValueError(f"{model}: a checkpoint runs with {key} {only}, not {other[key]}; export it for another")
    return TorchDetector(model, **options)


def _augmented(detector: Any, image: np.ndarray, thresholds: dict[str, Any]) -> Detections:
    cv2 = yolort.images.opencv()
    height, width = image.shape[:2]
    boxes, scores, classes = [], [], []
    for scale, mirrored in _VIEWS:
        # A larger canvas makes the letterbox shrink the image by `scale`; 114 is the letterbox's own padding.
        canvas = np.full((round(height / scale), round(width / scale), 3), 114, np.uint8)
        canvas[:height, :width] = image[:, ::-1] if mirrored else image
        view = detector(canvas)
        sides = view.boxes.copy()
        if mirrored:
            sides[:, [0, 2]] = width - sides[:, [2, 0]]
        boxes.append(sides.clip(0, [width, height, width, height]))
        scores.append(view.scores)
        classes.append(view.classes)
    box, value, cls = np.concatenate(boxes), np.concatenate(scores), np.concatenate(classes)
    corners = np.column_stack([box[:, :2], box[:, 2:] - box[:, :2]]).tolist()
    kept = cv2.dnn.NMSBoxesBatched(corners, value.tolist(), cls.tolist(), thresholds["conf"], thresholds["iou"])
    rows = np.array(kept, np.int64).reshape(-1)[: thresholds["max_det"]]
    return Detections(box[rows].astype(np.float32), value[rows], cls[rows], names=detector.names, shape=(height, width))
