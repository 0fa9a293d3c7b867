"""Matches detections with labels: pycocotools' COCOeval for boxes, masks, keypoints and oriented boxes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from yolort import Detections
from yolort.tools.data.samples import Outline, Sample
from yolort.tools.evaluate import ultralytics_rule

__all__ = [
    "KINDS", "Found", "Kind", "Matches", "about", "as_coco", "drawn", "evaluated", "interval", "keep",
    "matches_of", "weighted_aps",
]  # fmt: skip

#: Areas in square pixels, COCO's.
_AREAS = {"all": [0, 1e10], "small": [0, 32**2], "medium": [32**2, 96**2], "large": [96**2, 1e10]}


@dataclass(frozen=True)
class Kind:
    """A way to compare detections with labels."""

    name: str  # name of the compared shapes
    metric: str  # display name of its mAP
    coco: str  # pycocotools' name
    max_det: int  # maximum number of detections per class and image


KINDS = {
    "box": Kind("box", "mAP50-95", "bbox", 100),
    "mask": Kind("mask", "mask mAP50-95", "segm", 100),
    "keypoints": Kind("keypoints", "keypoint mAP50-95", "keypoints", 20),
    "rotated": Kind("rotated", "mAP50-95", "bbox", 300),  # Ultralytics' limit: aerial images have many objects
}


@dataclass(frozen=True)
class Found:
    """The detections of an image, in a form that is small enough to keep for thousands of images."""

    detections: Detections  # without masks
    masks: list[dict[str, Any]] | None = None  # COCO's run-length encoding of each
    #: (n, 10) bool for each kind except "box": whether Ultralytics' val counts it as correct at IoU 0.50, 0.55, ...
    hits: dict[str, np.ndarray] | None = None


def keep(truth: Sample, found: Detections, imgsz: tuple[int, int] | None, sigmas: Sequence[float] | None) -> Found:
    """Reduces an image's detections to what the metrics need.

    Args:
        truth: labels of the image, in pixels.
        found: the detections.
        imgsz: height and width of the network input, because Ultralytics compares masks at a quarter of it; None: those
            of the image.
        sigmas: OKS sigmas of the keypoints; None: the defaults.

    Raises LabelError if the labels and the model have different keypoints.
    """
    masks, hits = None, {}
    truth = truth.without_crowds()
    if found.masks is not None and truth.outlines is not None:
        masks = found.masks.rle()
        hits["mask"] = ultralytics_rule.mask_hits(truth, found, imgsz)
    if found.keypoints is not None and truth.keypoints is not None:
        hits["keypoints"] = ultralytics_rule.keypoint_hits(truth, found, sigmas)
    if found.rotated is not None and truth.outlines is not None:
        hits["rotated"] = ultralytics_rule.rotated_hits(truth, found)
    light = Detections(
        found.boxes, found.scores, found.classes, keypoints=found.keypoints, rotated=found.rotated, shape=found.shape
    )
    return Found(light, masks, hits)


@dataclass(frozen=True)
class Matches:
    """Detections of one class, best score first, and how they were matched at 10 IoU thresholds."""

    scores: np.ndarray  # (n,)
    image: np.ndarray  # (n,) index of the image
    hit: np.ndarray  # (10, n) bool
    ignored: np.ndarray  # (10, n) bool: on a crowd
    truths: np.ndarray  # (images,) number of objects in the labels


def evaluated(kind: Kind, both: tuple[Any, Any], sigmas: Sequence[float] | None, sizes: Sequence[str]) -> Any:
    """Runs pycocotools' COCOeval for each object size ("all", "small", "medium", "large"); `both`: the result of
    `as_coco`.
    """
    from pycocotools.cocoeval import COCOeval

    class Rotated(COCOeval):  # type: ignore[misc]
        """COCOeval with the probabilistic IoU (arXiv:2106.06072)."""

        def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803 (pycocotools' names)
            there, seen = self._gts[imgId, catId], self._dts[imgId, catId]
            order = np.argsort([-one["score"] for one in seen], kind="mergesort")[: self.params.maxDets[-1]]
            if not there or not len(order):
                return []
            boxes = [np.array([one["rotated"] for one in side]) for side in (there, [seen[at] for at in order])]
            return ultralytics_rule.rotated_iou(*boxes).T

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        evaluator = Rotated if kind.name == "rotated" else COCOeval
        evaluation = evaluator(*both, kind.coco)
        params = evaluation.params
        params.areaRngLbl, params.areaRng = list(sizes), [_AREAS[size] for size in sizes]
        params.maxDets = [kind.max_det]
        if kind.name == "keypoints":
            count = len(next(iter(both[0].anns.values()))["keypoints"]) // 3
            params.kpt_oks_sigmas = np.array(sigmas or ultralytics_rule.usual_sigmas(count))
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def as_coco(kind: Kind, truths: Sequence[Sample], found: Sequence[Found], classes: int) -> tuple[Any, Any]:
    """Labels and detections as pycocotools' COCO."""
    notes: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    arrays = []  # for boxes only, which is faster
    for image, (truth, seen) in enumerate(zip(truths, found, strict=True), 1):
        for at, note in enumerate(_notes(kind, truth)):
            sides = truth.boxes[at, 2:] - truth.boxes[at, :2]
            notes.append(
                {
                    "id": len(notes) + 1,
                    "image_id": image,
                    "category_id": int(truth.classes[at]),
                    "bbox": [*truth.boxes[at, :2].tolist(), *sides.tolist()],
                    "area": float(truth.area[at]),
                    "iscrowd": int(truth.crowd[at]),
                    **note,
                }
            )
        boxes = seen.detections.boxes.astype(np.float64)
        sizes = boxes[:, 2:] - boxes[:, :2]
        columns = (
            np.full(len(boxes), image), boxes[:, :2], sizes, seen.detections.scores, seen.detections.classes,
        )  # fmt: skip
        array = np.column_stack([np.asarray(column, np.float64) for column in columns])
        arrays.append(array)
        if kind.name != "box":
            rows += [
                {"image_id": image, "category_id": int(row[6]), "score": float(row[5]), **extra}
                for row, extra in zip(array, _results(kind, seen, array), strict=True)
            ]
    results = np.concatenate(arrays) if kind.name == "box" else rows
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress and a table
        return _indexed(notes, results, [truth.size or (0, 0) for truth in truths], classes)


def _indexed(notes: list[dict[str, Any]], results: Any, sizes: list[tuple[int, int]], classes: int) -> tuple[Any, Any]:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": at, "height": height, "width": width} for at, (height, width) in enumerate(sizes, 1)],
        "categories": [{"id": cls, "name": str(cls)} for cls in range(classes)],
        "annotations": notes,
    }
    coco.createIndex()
    loaded = coco.loadRes(results) if len(results) else COCO()
    if not loaded.dataset:
        loaded.dataset = {**coco.dataset, "annotations": []}
        loaded.createIndex()
    return coco, loaded


def _notes(kind: Kind, truth: Sample) -> list[dict[str, Any]]:
    """Additional fields of the annotations of a kind."""
    if kind.name == "mask":
        assert truth.outlines is not None and truth.size is not None
        return [{"segmentation": run_lengths(outline, truth.size)} for outline in truth.outlines]
    if kind.name == "keypoints":
        assert truth.keypoints is not None
        return [
            {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
            for points in truth.keypoints
        ]
    if kind.name == "rotated":
        return [{"rotated": box.tolist()} for box in ultralytics_rule.rotated_truths(truth)]
    return [{} for _ in truth.boxes]


def _results(kind: Kind, seen: Found, array: np.ndarray) -> list[dict[str, Any]]:
    """Fields of the detections of a kind."""
    if kind.name == "mask":
        return [{"segmentation": mask} for mask in seen.masks or []]
    if kind.name == "keypoints":
        points = seen.detections.keypoints
        assert points is not None
        flat = np.concatenate([points[..., :2], np.ones((*points.shape[:2], 1), np.float32)], axis=2)
        return [{"keypoints": one.ravel().tolist()} for one in flat]
    rotated = seen.detections.rotated
    assert rotated is not None
    return [{"bbox": row[1:5].tolist(), "rotated": one} for row, one in zip(array, rotated.tolist(), strict=True)]


def run_lengths(outline: Outline, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's run-length encoding of an outline in pixels, in an image of (height, width)."""
    if isinstance(outline, dict):
        return outline
    from pycocotools import mask

    parts = mask.frPyObjects([part.ravel().tolist() for part in outline], *size)
    whole: dict[str, Any] = mask.merge(parts)
    return whole


def matches_of(evaluation: Any, images: int, classes: int) -> list[Matches]:
    """pycocotools' matching per class, for objects of all sizes."""
    out = []
    for cls in range(classes):
        of_class = evaluation.evalImgs[cls * images : (cls + 1) * images]
        there = [(image, one) for image, one in enumerate(of_class) if one is not None]
        counts = [len(one["dtScores"]) for _, one in there]
        scores = np.array([value for _, one in there for value in one["dtScores"]], np.float64)
        image = np.repeat([image for image, _ in there], counts).astype(np.int64)
        order = np.argsort(-scores, kind="mergesort")  # the same order of ties as pycocotools
        empty = np.zeros((10, 0), bool)
        hit = np.concatenate([empty, *(one["dtMatches"] > 0 for _, one in there)], axis=1)
        ignored = np.concatenate([empty, *(one["dtIgnore"].astype(bool) for _, one in there)], axis=1)
        truths = np.zeros(images, np.int64)
        for at, one in there:
            truths[at] = int((np.asarray(one["gtIgnore"]) == 0).sum())
        out.append(Matches(scores[order], image[order], hit[:, order], ignored[:, order], truths))
    return out


def interval(matches: list[Matches], recalls: np.ndarray, resamples: int) -> tuple[float, float]:
    """95 % interval: mAP50-95 plus and minus 1.96 standard errors, from images drawn with replacement (Efron 1979).

    Percentiles of the draws would be biased: images drawn twice and classes not drawn both raise a draw's mAP.
    """
    images = len(matches[0].truths)
    draws = [weighted_aps(matches, recalls, weights).mean() for weights in drawn(images, resamples)]
    middle = float(weighted_aps(matches, recalls, np.ones(images, np.int64)).mean())
    return about(middle, np.array(draws))


def about(middle: float, draws: np.ndarray) -> tuple[float, float]:
    """A value plus and minus 1.96 standard deviations of its draws, cut to 0 and 1."""
    error = float(np.nanstd(draws, ddof=1))
    return max(middle - 1.96 * error, 0.0), min(middle + 1.96 * error, 1.0)


def drawn(images: int, count: int) -> np.ndarray:
    """(count, images): how often each image occurs in each resample."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=count)


def weighted_aps(matches: list[Matches], recalls: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(10,): mAP at IoU 0.50, 0.55, ... if image i counts `weights[i]` times; with all ones it equals pycocotools'
    result.
    """
    means = []
    for one in matches:
        total = int(weights @ one.truths)
        if total == 0:
            continue
        weight = weights[one.image]
        found = np.cumsum(one.hit * ~one.ignored * weight, axis=1)
        false = np.cumsum(~one.hit * ~one.ignored * weight, axis=1)
        precision = found / np.maximum(found + false, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        envelope = np.column_stack([envelope, np.zeros(len(envelope))])
        at = [np.searchsorted(row, recalls, side="left") for row in found / total]
        means.append([row[where].mean() for row, where in zip(envelope, at, strict=True)])
    return np.mean(means, axis=0) if means else np.full(10, np.nan)
