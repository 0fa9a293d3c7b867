"""Accuracy of detections: COCO metrics by pycocotools; curves, confusion matrix and plots by Ultralytics."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from yolort import Detections
from yolort.tools.data.samples import LabelError, Sample
from yolort.tools.evaluate.matching import (
    KINDS,
    Found,
    Kind,
    as_coco,
    drawn,
    evaluated,
    interval,
    keep,
    matches_of,
    weighted_aps,
)
from yolort.tools.evaluate.ultralytics_rule import rotated_truths

__all__ = ["TASK_KINDS", "ClassMetrics", "Metrics", "Scores", "plain", "score", "without_a_screen"]

#: What is compared for each task; models are judged by the first.
TASK_KINDS = {"detect": ("box",), "segment": ("mask", "box"), "pose": ("keypoints", "box"), "obb": ("rotated",)}

_SIZES = ("small", "medium", "large")  # pycocotools' sizes: below 32^2, to 96^2, above


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class; nan if the data has no object of it."""

    name: str
    images: int  # that have one
    instances: int
    map50_95: float
    map50: float
    precision: float  # at the confidence with the best mean F1, IoU 0.5
    recall: float
    f1: float


@dataclass(frozen=True)
class Metrics:
    """Fractions, 0 to 1; nan for a size without objects."""

    metric: str  # display name of `map50_95`
    images: int
    instances: int
    map50_95: float  # COCO: mean over classes and over IoU 0.50, 0.55, ... 0.95
    map50_95_ci: tuple[float, float] | None  # 95 % interval, by resampling the images
    map50: float
    map75: float
    map_small: float  # objects below 32 x 32 pixels
    map_medium: float
    map_large: float  # above 96 x 96
    map50_95_ultralytics: float  # the same detections by the formula of Ultralytics' val
    map50_ultralytics: float
    precision: float  # at best_conf and IoU 0.5, mean over the classes
    recall: float
    f1: float
    best_conf: float  # confidence with the best mean F1
    classes: list[ClassMetrics]
    box: Metrics | None = None  # metrics of the boxes, if masks or keypoints are compared

    @property
    def value(self) -> float:
        """Name of the metric that models of this task are compared by."""
        return self.map50_95

    @property
    def value_ci(self) -> tuple[float, float] | None:
        """Its interval."""
        return self.map50_95_ci

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; nan becomes None."""
        return plain(self)


def plain(metrics: Any) -> dict[str, Any]:
    """A dataclass of figures as values for JSON; nan becomes None. `value` and `value_ci` hold the figure of
    `metric`.
    """

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: of(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [of(item) for item in value]
        return None if isinstance(value, float) and np.isnan(value) else value

    out: dict[str, Any] = of({**asdict(metrics), "value": metrics.value, "value_ci": metrics.value_ci})
    return out


class Scores:
    """The outcome of `score`. Figures are computed on first use, because comparing models needs only a few."""

    def __init__(
        self,
        truths: Sequence[Sample],
        found: Sequence[Found],
        names: dict[int, str],
        resamples: int,
        kind: Kind = KINDS["box"],
        sigmas: Sequence[float] | None = None,
    ) -> None:
        self.box: Scores | None = None  # scores of the boxes, if something else is compared
        self._kind, self._sigmas = kind, sigmas
        if not any((~truth.crowd).any() for truth in truths):
            raise LabelError(f"none of the {len(truths)} images has an object to be found")
        self._truths, self._found, self._names, self._resamples = truths, found, names, resamples
        self._coco = as_coco(kind, truths, found, len(names))
        whole = self._evaluated("all")
        self._precision = whole.eval["precision"][..., 0, 0]  # IoU x recall x class
        self._recalls: np.ndarray = whole.params.recThrs
        self._matches = matches_of(whole, len(truths), len(names))

    @property
    def metric(self) -> str:
        """Name of the metric that models of this task are compared by."""
        return self._kind.metric

    @property
    def value(self) -> float:
        """The value of that metric, 0 to 1: `map50_95`."""
        return self.map50_95

    @property
    def second(self) -> float:
        """The secondary metric: `map50`."""
        return self.map50

    @property
    def map50_95(self) -> float:
        """COCO's mAP: mean over the classes and over IoU 0.50, 0.55, ... 0.95."""
        return _mean(self._precision)

    @property
    def map50(self) -> float:
        """COCO's mAP at IoU 0.50."""
        return _mean(self._precision[0])

    @property
    def best_conf(self) -> float:
        """The confidence with the best mean F1 at IoU 0.5."""
        from ultralytics.utils.metrics import smooth

        return float(self._curves["conf"][smooth(self._curves["f1"].mean(0), 0.1).argmax()])

    @property
    def class_confs(self) -> dict[str, float]:
        """The confidence with the best F1 at IoU 0.5 per class name. Classes without a true detection are omitted; if
        classes share a name, the lowest confidence is used.
        """
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
            metric=self.metric,
            images=len(self._truths),
            instances=int(sum(matches.truths.sum() for matches in self._matches)),
            map50_95=self.map50_95,
            map50_95_ci=interval(self._matches, self._recalls, self._resamples) if self._resamples else None,
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
            box=self.box.metrics if self.box else None,
        )

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Means over the classes at `conf` (1000,): precision, recall, f1; `pr` is the precision at recall `conf`."""
        means = {name: self._curves[name].mean(axis=0) for name in ("precision", "recall", "f1", "pr")}
        return {"conf": self._curves["conf"], **means}

    @property
    def confusion(self) -> np.ndarray:
        """(classes + 1, classes + 1) counts, [detected, true]; the last index is the background. Conf 0.25, IoU
        0.45.
        """
        matrix: np.ndarray = self._confusion.matrix
        return matrix

    def draws(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """mAP50-95 and mAP50, (count,) each, on images drawn with replacement.

        The draws are the same for all models scored on the same number of images, so the differences between two models
        form a paired bootstrap (Efron 1979).
        """
        every = drawn(len(self._truths), count)
        both = np.array([weighted_aps(self._matches, self._recalls, weights) for weights in every])
        return both.mean(axis=1), both[:, 0]

    def save_plots(self, folder: Path) -> None:
        """Writes PR, F1, P and R curves (also of the boxes, as Box_*) and the confusion matrix as PNG files."""
        self._save_curves(folder, "")
        if self.box:
            self.box._save_curves(folder, "Box_")
        with without_a_screen():
            self._confusion.plot(normalize=True, save_dir=str(folder))

    def _save_curves(self, folder: Path, prefix: str) -> None:
        from ultralytics.utils.metrics import plot_mc_curve, plot_pr_curve

        curves, conf = self._curves, self._curves["conf"]
        names = {row: self._names[int(cls)] for row, cls in enumerate(curves["classes"])}
        with without_a_screen():
            plot_pr_curve(conf, curves["pr"], curves["ap"], folder / f"{prefix}PR_curve.png", names)
            for name, label in (("f1", "F1"), ("precision", "Precision"), ("recall", "Recall")):
                plot_mc_curve(conf, curves[name], folder / f"{prefix}{label}_curve.png", names, ylabel=label)

    def _evaluated(self, *sizes: str) -> Any:
        return evaluated(self._kind, self._coco, self._sigmas, sizes)

    @cached_property
    def _curves(self) -> dict[str, Any]:
        """Ultralytics' curves of each class in `classes`, and precision, recall and F1 at the best mean F1 (`best`)."""
        from ultralytics.utils.metrics import ap_per_class

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class without detections
            _, _, *best, ap, present, precision, recall, f1, conf, pr = ap_per_class(*self._counted())
        curves = {"conf": conf, "precision": precision, "recall": recall, "f1": f1, "pr": pr, "ap": ap}
        return {**curves, "classes": present, "best": best}

    def _counted(self) -> tuple[np.ndarray, ...]:
        """The arguments of Ultralytics' `ap_per_class`: hits (n, 10), scores (n,), classes (n,), classes of the
        objects.

        Boxes are matched by pycocotools, which supports crowds; other shapes as in Ultralytics' val.
        """
        if self._kind.name != "box":
            seen = [one.detections for one in self._found]
            hits = np.concatenate([(one.hits or {})[self._kind.name] for one in self._found])
            targets = np.concatenate([truth.classes[~truth.crowd] for truth in self._truths])
            columns = (np.concatenate([getattr(one, name) for one in seen]) for name in ("scores", "classes"))
            return (hits, *columns, targets)
        hits = np.concatenate([(m.hit & ~m.ignored)[:, ~m.ignored[0]] for m in self._matches], axis=1).T
        confs = np.concatenate([m.scores[~m.ignored[0]] for m in self._matches])
        classes = np.concatenate([np.full((~m.ignored[0]).sum(), cls) for cls, m in enumerate(self._matches)])
        targets = np.concatenate([np.full(m.truths.sum(), cls) for cls, m in enumerate(self._matches)])
        return hits, confs, classes, targets

    @cached_property
    def _confusion(self) -> Any:
        return _confusion(self._truths, self._found, self._names, self._kind.name == "rotated")


def score(
    truths: Sequence[Sample],
    found: Sequence[Detections | Found],
    names: dict[int, str],
    *,
    resamples: int = 200,
    task: str = "detect",
    sigmas: Sequence[float] | None = None,
) -> Scores:
    """Compares detections with labels.

    Args:
        truths: labels of each image, boxes in pixels.
        found: detections per image, with a low threshold (usually 0.001) and all classes of a box; complete, or reduced
            by `keep`.
        names: class names, 0 to n - 1.
        resamples: number of bootstrap resamples for the confidence interval; 0 omits it.
        task: "detect", "segment", "pose" or "obb"; decides what is compared. For segment and pose, the boxes are
            compared as well (`Scores.box`).
        sigmas: keypoint sigmas for OKS; None: COCO's for 17 keypoints, otherwise 1 / K for K keypoints, as in
            Ultralytics.

    Raises LabelError if there are no objects.
    """
    kept = [
        one if isinstance(one, Found) else keep(truth, one, None, sigmas)
        for truth, one in zip(truths, found, strict=True)
    ]
    first, *others = [Scores(truths, kept, names, resamples, KINDS[kind], sigmas) for kind in TASK_KINDS[task]]
    first.box = others[0] if others else None
    return first


def _confusion(truths: Sequence[Sample], found: Sequence[Found], names: dict[int, str], rotated: bool) -> Any:
    import torch
    from ultralytics.utils.metrics import ConfusionMatrix

    confusion = ConfusionMatrix(names, task="obb" if rotated else "detect")
    for truth, one in zip(truths, found, strict=True):
        counted, seen = ~truth.crowd, one.detections
        there = rotated_truths(truth) if rotated else truth.boxes.astype(np.float32)
        boxes = seen.rotated if rotated else seen.boxes
        confusion.process_batch(
            {
                "bboxes": torch.from_numpy(boxes),
                "conf": torch.from_numpy(seen.scores),
                "cls": torch.from_numpy(seen.classes),
            },
            {"bboxes": torch.from_numpy(there[counted]), "cls": torch.from_numpy(truth.classes[counted])},
        )
    return confusion


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


@contextlib.contextmanager
def without_a_screen() -> Any:
    """Context in which matplotlib draws without a display and without warnings."""
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # glyphs missing in the font
            yield
    finally:
        matplotlib.use(before)
