"""Accuracy of detections: COCO metrics by pycocotools; curves, confusion matrix and plots by Ultralytics."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from yolort import Detections
from yolort.tools.data.samples import LabelError, Sample

__all__ = ["ClassMetrics", "Metrics", "Scores", "score"]

_SIZES = ("small", "medium", "large")  # pycocotools': below 32^2, to 96^2, above


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class; nan if the data has no object of it."""

    name: str
    images: int  # that have one
    instances: int
    map50_95: float
    map50: float
    precision: float  # at the confidence of the best mean F1, IoU 0.5
    recall: float
    f1: float


@dataclass(frozen=True)
class Metrics:
    """Fractions, 0 to 1. A size that no object has gives nan."""

    images: int
    instances: int
    map50_95: float  # COCO: mean over classes and IoU 0.50, 0.55, ... 0.95
    map50_95_ci: tuple[float, float] | None  # 95 %, by resampling the images
    map50: float
    map75: float
    map_small: float  # objects below 32 x 32 pixels
    map_medium: float
    map_large: float  # above 96 x 96
    map50_95_ultralytics: float  # the same detections by the formula of Ultralytics' val
    map50_ultralytics: float
    precision: float  # at best_conf, IoU 0.5, mean over the classes
    recall: float
    f1: float
    best_conf: float  # where the mean F1 is best
    classes: list[ClassMetrics]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: nan is None."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            return None if isinstance(value, float) and np.isnan(value) else value

        out: dict[str, Any] = plain(asdict(self))
        return out


@dataclass(frozen=True)
class _Matches:
    """Detections of one class, best score first, and how pycocotools matched them at its 10 IoU thresholds."""

    scores: np.ndarray  # (n,)
    image: np.ndarray  # (n,) index of the image
    hit: np.ndarray  # (10, n) bool
    ignored: np.ndarray  # (10, n) bool: on a crowd
    truths: np.ndarray  # (images,) objects to be found


class Scores:
    """The outcome of `score`. Each figure is computed when it is first read: comparing models needs but a few."""

    def __init__(
        self, truths: Sequence[Sample], found: Sequence[Detections], names: dict[int, str], resamples: int
    ) -> None:
        if not any((~truth.crowd).any() for truth in truths):
            raise LabelError(f"none of the {len(truths)} images has an object to be found")
        self._truths, self._found, self._names, self._resamples = truths, found, names, resamples
        self._coco = _coco(truths, found, len(names))
        whole = self._evaluated("all")
        self._precision = whole.eval["precision"][..., 0, 0]  # IoU x recall x class
        self._recalls: np.ndarray = whole.params.recThrs
        self._matches = _matches(whole, len(truths), len(names))

    @property
    def map50_95(self) -> float:
        """COCO: mean over the classes and IoU 0.50, 0.55, ... 0.95."""
        return _mean(self._precision)

    @property
    def map50(self) -> float:
        """COCO, at IoU 0.50."""
        return _mean(self._precision[0])

    @property
    def best_conf(self) -> float:
        """The confidence of the best mean F1 at IoU 0.5."""
        from ultralytics.utils.metrics import smooth

        return float(self._curves["conf"][smooth(self._curves["f1"].mean(0), 0.1).argmax()])

    @property
    def class_confs(self) -> dict[str, float]:
        """The confidence of the best F1 at IoU 0.5 of each class, by name; classes without a true detection are left
        out, and of classes with the same name the lowest counts."""
        from ultralytics.utils.metrics import smooth

        out: dict[str, float] = {}
        for cls, f1 in zip(self._curves["classes"], self._curves["f1"], strict=True):
            if f1.max() > 0:
                name, conf = self._names[int(cls)], round(float(self._curves["conf"][smooth(f1, 0.1).argmax()]), 4)
                out[name] = min(conf, out.get(name, conf))
        return out

    @cached_property
    def metrics(self) -> Metrics:
        """All figures."""
        curves = self._curves
        rows = {int(cls): row for row, cls in enumerate(curves["classes"])}
        per_class = []
        for cls, matches in enumerate(self._matches):
            row = rows.get(cls)
            best = [float("nan")] * 3 if row is None else [float(values[row]) for values in curves["best"]]
            count = matches.truths
            aps = [_mean(self._precision[:, :, cls]), _mean(self._precision[0, :, cls])]
            per_class.append(ClassMetrics(self._names[cls], int((count > 0).sum()), int(count.sum()), *aps, *best))
        by_size = self._evaluated(*_SIZES).eval["precision"]
        precision, recall, f1 = (float(values.mean()) for values in curves["best"])
        return Metrics(
            images=len(self._truths),
            instances=int(sum(matches.truths.sum() for matches in self._matches)),
            map50_95=self.map50_95,
            map50_95_ci=_interval(self._matches, self._recalls, self._resamples) if self._resamples else None,
            map50=self.map50,
            map75=_mean(self._precision[5]),
            map_small=_mean(by_size[:, :, :, 0]),
            map_medium=_mean(by_size[:, :, :, 1]),
            map_large=_mean(by_size[:, :, :, 2]),
            map50_95_ultralytics=float(curves["ap"].mean()),
            map50_ultralytics=float(curves["ap"][:, 0].mean()),
            precision=precision,
            recall=recall,
            f1=f1,
            best_conf=self.best_conf,
            classes=per_class,
        )

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Means over the classes at `conf` (1000,): precision, recall, f1; `pr` is the precision at recall `conf`."""
        means = {name: self._curves[name].mean(axis=0) for name in ("precision", "recall", "f1", "pr")}
        return {"conf": self._curves["conf"], **means}

    @property
    def confusion(self) -> np.ndarray:
        """(classes + 1, classes + 1) counts, [detected, true], the last is background; conf 0.25, IoU 0.45."""
        matrix: np.ndarray = self._confusion.matrix
        return matrix

    def draws(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """mAP50-95 and mAP50, (count,) each, of images drawn with replacement.

        The draws are the same for all models that are scored on as many images, so that the differences of two are
        those of a paired bootstrap (Efron 1979).
        """
        drawn = _drawn(len(self._truths), count)
        both = np.array([_weighted_aps(self._matches, self._recalls, weights) for weights in drawn])
        return both.mean(axis=1), both[:, 0]

    def save_plots(self, folder: Path) -> None:
        """Writes PR, F1, P and R curves and the confusion matrix as PNG files."""
        from ultralytics.utils.metrics import plot_mc_curve, plot_pr_curve

        curves, conf = self._curves, self._curves["conf"]
        names = {row: self._names[int(cls)] for row, cls in enumerate(curves["classes"])}
        with _without_a_screen():
            plot_pr_curve(conf, curves["pr"], curves["ap"], folder / "PR_curve.png", names)
            for name, label in (("f1", "F1"), ("precision", "Precision"), ("recall", "Recall")):
                plot_mc_curve(conf, curves[name], folder / f"{label}_curve.png", names, ylabel=label)
            self._confusion.plot(normalize=True, save_dir=str(folder))

    def _evaluated(self, *sizes: str) -> Any:
        """pycocotools' COCOeval of the objects of each size, at most 100 detections of an image."""
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            evaluated = COCOeval(*self._coco, "bbox")
            ranges = dict(zip(evaluated.params.areaRngLbl, evaluated.params.areaRng, strict=True))
            evaluated.params.areaRngLbl, evaluated.params.areaRng = list(sizes), [ranges[size] for size in sizes]
            evaluated.params.maxDets = [100]
            evaluated.evaluate()
            evaluated.accumulate()
        return evaluated

    @cached_property
    def _curves(self) -> dict[str, Any]:
        """Ultralytics' curves of each class of `classes`, and precision, recall and F1 at the best mean F1: `best`."""
        from ultralytics.utils.metrics import ap_per_class

        hits = np.concatenate([(m.hit & ~m.ignored)[:, ~m.ignored[0]] for m in self._matches], axis=1).T
        confs = np.concatenate([m.scores[~m.ignored[0]] for m in self._matches])
        classes = np.concatenate([np.full((~m.ignored[0]).sum(), cls) for cls, m in enumerate(self._matches)])
        targets = np.concatenate([np.full(m.truths.sum(), cls) for cls, m in enumerate(self._matches)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class of which nothing is found
            _, _, *best, ap, present, precision, recall, f1, conf, pr = ap_per_class(hits, confs, classes, targets)
        curves = {"conf": conf, "precision": precision, "recall": recall, "f1": f1, "pr": pr, "ap": ap}
        return {**curves, "classes": present, "best": best}

    @cached_property
    def _confusion(self) -> Any:
        return _confusion(self._truths, self._found, self._names)


def score(
    truths: Sequence[Sample],
    found: Sequence[Detections],
    names: dict[int, str],
    *,
    resamples: int = 200,
) -> Scores:
    """Compares detections with labels.

    Args:
        truths: labels of each image, boxes in pixels.
        found: detections of each, of a low threshold (0.001 is customary) and of every class of a box.
        names: of the classes, 0 to n - 1.
        resamples: number of bootstrap resamples for the confidence interval; 0 omits it.

    Raises LabelError if there are no objects.
    """
    return Scores(truths, found, names, resamples)


def _coco(truths: Sequence[Sample], found: Sequence[Detections], classes: int) -> tuple[Any, Any]:
    """Labels and detections as pycocotools' COCO."""
    from pycocotools.coco import COCO

    notes: list[dict[str, Any]] = []
    rows = []
    for image, (truth, detections) in enumerate(zip(truths, found, strict=True), 1):
        for box, cls, crowd, area in zip(truth.boxes, truth.classes, truth.crowd, truth.area, strict=True):
            x1, y1, x2, y2 = box.tolist()
            notes.append(
                {
                    "id": len(notes) + 1,
                    "image_id": image,
                    "category_id": int(cls),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
        boxes = detections.boxes.astype(np.float64)
        sizes = boxes[:, 2:] - boxes[:, :2]
        columns = (np.full(len(boxes), image), boxes[:, :2], sizes, detections.scores, detections.classes)
        rows.append(np.column_stack([np.asarray(column, np.float64) for column in columns]))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress and a table
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image + 1} for image in range(len(truths))],
            "categories": [{"id": cls, "name": str(cls)} for cls in range(classes)],
            "annotations": notes,
        }
        coco.createIndex()
        results = coco.loadRes(np.concatenate(rows)) if sum(map(len, rows)) else COCO()
        if not results.dataset:
            results.dataset = {**coco.dataset, "annotations": []}
            results.createIndex()
    return coco, results


def _matches(evaluated: Any, images: int, classes: int) -> list[_Matches]:
    """pycocotools' own matching, of objects of all sizes."""
    out = []
    for cls in range(classes):
        of_class = evaluated.evalImgs[cls * images : (cls + 1) * images]
        there = [(image, one) for image, one in enumerate(of_class) if one is not None]
        counts = [len(one["dtScores"]) for _, one in there]
        scores = np.array([value for _, one in there for value in one["dtScores"]], np.float64)
        image = np.repeat([image for image, _ in there], counts).astype(np.int64)
        order = np.argsort(-scores, kind="mergesort")  # pycocotools' order of ties
        empty = np.zeros((10, 0), bool)
        hit = np.concatenate([empty, *(one["dtMatches"] > 0 for _, one in there)], axis=1)
        ignored = np.concatenate([empty, *(one["dtIgnore"].astype(bool) for _, one in there)], axis=1)
        truths = np.zeros(images, np.int64)
        for at, one in there:
            truths[at] = int((np.asarray(one["gtIgnore"]) == 0).sum())
        out.append(_Matches(scores[order], image[order], hit[:, order], ignored[:, order], truths))
    return out


def _interval(matches: list[_Matches], recalls: np.ndarray, resamples: int) -> tuple[float, float]:
    """mAP50-95 and 1.96 of its standard errors about it, from images drawn with replacement (Efron 1979).

    Not the percentiles of the draws: an image drawn twice and a class not drawn at all both raise a draw's mAP.
    """
    images = len(matches[0].truths)
    draws = [_weighted_aps(matches, recalls, weights).mean() for weights in _drawn(images, resamples)]
    error = float(np.nanstd(draws, ddof=1))
    middle = float(_weighted_aps(matches, recalls, np.ones(images, np.int64)).mean())
    return max(middle - 1.96 * error, 0.0), min(middle + 1.96 * error, 1.0)


def _drawn(images: int, count: int) -> np.ndarray:
    """(count, images): how often each image is in each draw of as many."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=count)


def _weighted_aps(matches: list[_Matches], recalls: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(10,): mAP at IoU 0.50, 0.55, ... where image i counts `weights[i]` times; all ones gives pycocotools' own."""
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


def _confusion(truths: Sequence[Sample], found: Sequence[Detections], names: dict[int, str]) -> Any:
    import torch
    from ultralytics.utils.metrics import ConfusionMatrix

    confusion = ConfusionMatrix(names)
    for truth, detections in zip(truths, found, strict=True):
        counted = ~truth.crowd
        confusion.process_batch(
            {
                "bboxes": torch.from_numpy(detections.boxes),
                "conf": torch.from_numpy(detections.scores),
                "cls": torch.from_numpy(detections.classes),
            },
            {
                "bboxes": torch.from_numpy(truth.boxes[counted].astype(np.float32)),
                "cls": torch.from_numpy(truth.classes[counted]),
            },
        )
    return confusion


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


@contextlib.contextmanager
def _without_a_screen() -> Any:
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # glyphs that the font lacks
            yield
    finally:
        matplotlib.use(before)
