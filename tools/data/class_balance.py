"""Class frequencies and object sizes of a dataset, and weights that balance the classes."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from yolort import _atomic
from yolort.tools.data.dataset import check_trained_on, load_for_training
from yolort.tools.data.samples import LabelError

__all__ = ["ClassReport", "check_weighting", "class_report", "class_weights", "sample_weights", "to_json"]

#: Sides of a square object, in pixels of the network's input, at COCO's limits between small, medium and large.
SIZES = (32.0, 96.0)


@dataclass(frozen=True)
class ClassReport:
    """Contents of a split; arrays of length `classes` are indexed by class."""

    data: str
    split: str
    imgsz: int
    names: dict[int, str]
    instances: np.ndarray  # (classes,) int64: objects
    images: np.ndarray  # (classes,) int64: images with at least one
    total_images: int
    empty_images: int  # without any object
    classes: np.ndarray  # (objects,) int64
    sides: np.ndarray  # (objects,) float64: square root of the area, in pixels of an input of side `imgsz`

    @property
    def ratio(self) -> float:
        """Ratio of the most frequent class to the rarest one that occurs."""
        there = self.instances[self.instances > 0]
        return float(there.max() / there.min())

    @property
    def absent(self) -> list[str]:
        """Names of the classes without an object."""
        return [self.names[int(cls)] for cls in np.flatnonzero(self.instances == 0)]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Headings and one row per class, most frequent first."""
        headings = ["class", "images", "objects", "share %", "small", "medium", "large", "median side px"]
        rows: list[list[object]] = []
        for cls in np.argsort(-self.instances, kind="stable").tolist():
            sides = self.sides[self.classes == cls]
            small, medium = (int((sides < limit).sum()) for limit in SIZES)
            share = 100 * self.instances[cls] / len(self.classes)
            median = f"{np.median(sides):.1f}" if len(sides) else "-"
            counted = [small, medium - small, len(sides) - medium]
            rows.append(
                [self.names[cls], int(self.images[cls]), int(self.instances[cls]), f"{share:.2f}", *counted, median]
            )
        return headings, rows

    def save(self, folder: str | Path) -> None:
        """Writes classes.csv (the table) and classes.png (counts and sizes) to an existing folder."""
        out = io.StringIO()
        headings, rows = self.table()
        marked: list[list[Any]] = [[*headings, "writer"], *([*row, _atomic.MARK] for row in rows)]
        csv.writer(out, lineterminator="\n").writerows(marked)
        _atomic.write(Path(folder) / "classes.csv", out.getvalue())
        with _atomic.writing(Path(folder) / "classes.png") as picture:
            self._plot(picture)

    def _plot(self, path: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        order = np.argsort(self.instances, kind="stable")
        shown = [self.names[int(cls)].replace("$", r"\$") for cls in order]
        figure = Figure(figsize=(11, 1.6 + 0.22 * max(len(order), 8)), layout="constrained")
        FigureCanvasAgg(figure)
        counts, sizes = figure.subplots(1, 2)
        bars = counts.barh(shown, self.instances[order], color="#0072b2")
        counts.bar_label(bars, padding=3)
        counts.set_xscale("symlog")
        counts.set_xlim(0, 2 * max(self.instances.max(), 1))  # room for the numbers
        counts.set(title="Objects per class", xlabel="number of objects")
        sizes.hist(self.sides, bins=np.geomspace(max(self.sides.min(), 1), self.sides.max() + 1, 40), color="#009e73")
        sizes.set_xscale("log")
        for limit in SIZES:
            sizes.axvline(limit, color="#d55e00", linestyle="--")
        sizes.set(
            title="Object sizes",
            xlabel=f"square root of the area, pixels at imgsz {self.imgsz}; lines: {SIZES[0]:.0f} and {SIZES[1]:.0f}",
            ylabel="number of objects",
        )
        figure.savefig(path, dpi=120, metadata={"Software": _atomic.MARK})


def class_report(data: str | Path, imgsz: int, split: str = "train", task: str = "detect") -> ClassReport:
    """Counts the training images and objects in a split of a `data.yaml`; `imgsz` is the side of the network's input in
    pixels.

    `task`: see `load_dataset`; for classification, the whole image counts as the object. Images that cannot be read are
    skipped, as in Ultralytics, each with a UserWarning.

    Raises what `load_for_training` raises (a label out of range: LabelError with file and line), LabelError if no image
    can be read.
    """
    dataset = load_for_training(data, split, task)
    count = len(dataset.names)
    instances, images = np.zeros(count, np.int64), np.zeros(count, np.int64)
    sides: list[np.ndarray] = []
    samples, unreadable = [], []
    for sample in dataset.samples:
        try:
            width, height = check_trained_on(sample.path)
        except OSError as error:
            unreadable.append(str(error))
            continue
        samples.append(sample)
        instances += np.bincount(sample.classes, minlength=count)
        images += np.bincount(np.unique(sample.classes), minlength=count)
        pixels = sample.in_pixels(height, width)
        area = pixels.area if task != "classify" else np.array([float(width * height)])
        sides.append(np.sqrt(area) * imgsz / max(width, height))
    for reason in unreadable:
        warnings.warn(f"skipped: {reason}", stacklevel=2)
    if not instances.any():  # `load_for_training` has found labels
        raise LabelError(f"{data}: no image of {split} that has labels can be read; {unreadable[0]}")
    classes = np.concatenate([sample.classes for sample in samples])
    empty = sum(not len(sample.classes) for sample in samples)
    total = len(samples)
    return ClassReport(
        str(data), split, imgsz, dataset.names, instances, images, total, empty, classes, np.concatenate(sides)
    )


def class_weights(
    counts: Sequence[int] | np.ndarray,
    method: str,
    *,
    clip: tuple[float, float] = (0.1, 10.0),
    beta: float = 0.999,
    names: dict[int, str] | None = None,
) -> np.ndarray:
    """A weight for each class from its number of objects n: (classes,) float64, within `clip`.

    - "median": median(n) / n, median frequency balancing (Eigen and Fergus, arXiv:1411.4734, section 6.3.2), counting
    objects instead of pixels;
    - "inverse": sum(n) / (classes * n);
    - "effective": (1 - beta) / (1 - beta^n), the inverse of the effective number of samples (Cui et al.,
      arXiv:1901.05555, equation 2), scaled to the mean 1 as there; `beta` is 0 (no weights) to below 1 (inverse).

    Raises LabelError for a class without objects (named with `names`), ValueError for invalid arguments.
    """
    check_weighting(method, clip, beta)
    numbers = np.asarray(counts, np.float64)
    _check_counts(numbers, names)
    if method == "median":
        weights = np.median(numbers) / numbers
    elif method == "inverse":
        weights = numbers.sum() / (len(numbers) * numbers)
    else:
        weights = (1 - beta) / (1 - beta**numbers)
        weights *= len(weights) / weights.sum()
    return weights.clip(*clip)


def check_weighting(method: str | None, clip: tuple[float, float], beta: float) -> None:
    """Raises ValueError for arguments that `class_weights` does not accept; None means no weighting."""
    if method not in (None, "median", "inverse", "effective"):
        raise ValueError(f"class weights must be median, inverse or effective, not {method!r}")
    if not 0 < clip[0] <= 1 <= clip[1]:
        raise ValueError(f"clip must be (low, high) with 0 < low <= 1 <= high, got {clip}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be 0 to below 1, got {beta}")


def sample_weights(
    images: Sequence[np.ndarray],
    classes: int,
    method: str,
    *,
    threshold: float | None = None,
    names: dict[int, str] | None = None,
) -> np.ndarray:
    """How often to draw each image, relative to the others: (images,) float64 with the mean 1.

    `images` holds the class indices of each image's objects. Images without objects keep their share.

    - "balanced": a class is drawn uniformly, then one of its objects; the weight is the probability that the image
      contains that object;
    - "repeat": repeat factor sampling (Gupta et al., LVIS, arXiv:1908.03195, appendix B.2): max over the classes of the
      image of max(1, sqrt(threshold / f)), where f is the share of images that contain the class. `threshold` is 0 to
      1, by default the median of f; classes above it are not drawn more often. LVIS uses 0.001.

    Raises LabelError for a class without objects, ValueError for other arguments.
    """
    per_image = np.array([np.bincount(found.astype(np.int64), minlength=classes) for found in images], np.float64)
    totals = per_image.sum(0)
    _check_counts(totals, names)
    labelled = per_image.any(1)
    weights = np.ones(len(per_image))
    if method == "balanced":
        drawn = (per_image / totals).sum(1)[labelled]
        weights[labelled] = drawn / drawn.mean()
    elif method == "repeat":
        share = (per_image > 0).mean(0)
        limit = float(np.median(share)) if threshold is None else threshold
        if not 0 <= limit <= 1:
            raise ValueError(f"the repeat threshold must be a share of the images, 0 to 1, got {limit}")
        factor = np.maximum(1, np.sqrt(limit / share))
        weights[labelled] = np.where(per_image > 0, factor, 0).max(1)[labelled]
    else:
        raise ValueError(f"sampling must be balanced or repeat, not {method!r}")
    scaled: np.ndarray = weights / weights.mean()
    return scaled


def _check_counts(counts: np.ndarray, names: dict[int, str] | None) -> None:
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        shown = ", ".join((names or {}).get(int(cls), f"class {cls}") for cls in absent[:5])
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise LabelError(
            f"no object of {shown}{more} among the training labels, so it has no frequency for weighting; label "
            "some, or "
            "remove it from the data.yaml"
        )


def to_json(report: ClassReport, method: str, clip: tuple[float, float], weights: np.ndarray) -> dict[str, Any]:
    """Record of class weights: how they were computed, with counts and weights by class name."""
    names = [report.names[cls] for cls in range(len(report.names))]
    return {
        "writer": _atomic.MARK,
        "data": report.data,
        "split": report.split,
        "method": method,
        "clip": list(clip),
        "counts": dict(zip(names, report.instances.tolist(), strict=True)),
        "weights": dict(zip(names, np.round(weights, 6).tolist(), strict=True)),
    }
