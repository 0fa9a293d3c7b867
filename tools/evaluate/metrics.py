"""What detections are worth: COCO metrics by pycocotools; curves, confusion matrix and plots by Ultralytics."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from yolort import Detections
from yolort.tools.data.samples import LabelError, Sample

__all__ = ["ClassMetrics", "Metrics", "Scores", "score"]

_AREAS = ("all", "small", "medium", "large")  # pycocotools': below 32^2, to 96^2, above


@dataclass(frozen=True)
class ClassMetrics:
    """Of one class; nan where the data have none of it."""

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
    """The outcome of `score`: `metrics`, and what the plots are made of."""

    def __init__(
        self,
        metrics: Metrics,
        curves: dict[str, Any],
        names: dict[int, str],
        confusion: Any,
        matches: list[_Matches],
        recalls: np.ndarray,
    ) -> None:
        self.metrics = metrics
        self._matches = matches
        self._recalls = recalls
        self._curves = curves
        self._names = names
        self._confusion = confusion

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
        drawn = _drawn(len(self._matches[0].truths), count)
        both = np.array([_weighted_aps(self._matches, self._recalls, weights) for weights in drawn])
        return both.mean(axis=1), both[:, 0]

    def save_plots(self, folder: Path) -> None:
        """Writes PR, F1, P and R curves and the confusion matrix as PNG files."""
        from ultralytics.utils.metrics import plot_mc_curve, plot_pr_curve

        conf = self._curves["conf"]
        with _without_a_screen():
            plot_pr_curve(conf, self._curves["pr"], self._curves["ap"], folder / "PR_curve.png", self._names)
            for name, label in (("f1", "F1"), ("precision", "Precision"), ("recall", "Recall")):
                plot_mc_curve(conf, self._curves[name], folder / f"{label}_curve.png", self._names, ylabel=label)
            self._confusion.plot(normalize=True, save_dir=str(folder))


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
        resamples: of the images, for the confidence interval; 0 leaves it out.

    Raises LabelError where there is nothing to be found.
    """
    if not any((~truth.crowd).any() for truth in truths):
        raise LabelError(f"none of the {len(truths)} images has an object to be found")
    evaluated, stats = _coco(truths, found, len(names))
    matches = _matches(evaluated, len(truths), len(names))
    from ultralytics.utils.metrics import ap_per_class, smooth

    hits = np.concatenate([(m.hit & ~m.ignored)[:, ~m.ignored[0]] for m in matches], axis=1).T
    confs = np.concatenate([m.scores[~m.ignored[0]] for m in matches])
    classes = np.concatenate([np.full((~m.ignored[0]).sum(), cls) for cls, m in enumerate(matches)])
    targets = np.concatenate([np.full(m.truths.sum(), cls) for cls, m in enumerate(matches)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class of which nothing is found
        _, _, p, r, f1, ap, present, p_curve, r_curve, f1_curve, conf, pr = ap_per_class(hits, confs, classes, targets)
    rows = {int(cls): row for row, cls in enumerate(present)}
    precision = evaluated.eval["precision"]  # IoU x recall x class x area x maxDets
    per_class = []
    for cls in range(len(names)):
        row = rows.get(cls)
        values = [float("nan")] * 3 if row is None else [float(curve[row]) for curve in (p, r, f1)]
        count = matches[cls].truths
        aps = [_mean(precision[:, :, cls, 0, -1]), _mean(precision[0, :, cls, 0, -1])]
        per_class.append(ClassMetrics(names[cls], int((count > 0).sum()), int(count.sum()), *aps, *values))
    metrics = Metrics(
        images=len(truths),
        instances=int(sum(m.truths.sum() for m in matches)),
        map50_95=stats[0],
        map50_95_ci=_interval(matches, evaluated.params.recThrs, resamples) if resamples else None,
        map50=stats[1],
        map75=stats[2],
        map_small=stats[3],
        map_medium=stats[4],
        map_large=stats[5],
        map50_95_ultralytics=float(ap.mean()),
        map50_ultralytics=float(ap[:, 0].mean()),
        precision=float(p.mean()),
        recall=float(r.mean()),
        f1=float(f1.mean()),
        best_conf=float(conf[smooth(f1_curve.mean(0), 0.1).argmax()]),
        classes=per_class,
    )
    curves = {"conf": conf, "precision": p_curve, "recall": r_curve, "f1": f1_curve, "pr": pr, "ap": ap}
    shown = {row: names[cls] for cls, row in rows.items()}
    return Scores(metrics, curves, shown, _confusion(truths, found, names), matches, evaluated.params.recThrs)


def _coco(truths: Sequence[Sample], found: Sequence[Detections], classes: int) -> tuple[Any, list[float]]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

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
        evaluated = COCOeval(coco, results, "bbox")
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    return evaluated, [float("nan") if value < 0 else float(value) for value in evaluated.stats]


def _matches(evaluated: Any, images: int, classes: int) -> list[_Matches]:
    """pycocotools' own matching, of objects of all sizes."""
    out = []
    for cls in range(classes):
        start = cls * len(_AREAS) * images
        of_class = evaluated.evalImgs[start : start + images]
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
