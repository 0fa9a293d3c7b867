"""Labels in memory: images, their boxes and the names of the classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yolort

__all__ = ["MAX_CLASSES", "Dataset", "LabelError", "Sample", "listed", "read_text"]

_MAX_BYTES = {".txt": 8 << 20, ".json": 4 << 30}
MAX_CLASSES = 65536


class LabelError(yolort.Error):
    """A label file or a description of a data set that is missing, damaged or does not fit."""


@dataclass(frozen=True)
class Sample:
    """An image and what is in it."""

    path: Path
    boxes: np.ndarray  # (n, 4) float64, x1 y1 x2 y2, of the image's sides (0 to 1) where `relative`, else in pixels
    classes: np.ndarray  # (n,) int64
    crowd: np.ndarray  # (n,) bool: a region that is not to be scored (COCO's iscrowd)
    area: np.ndarray  # (n,) float64, of the same unit squared: of COCO the segment's, else the box's
    relative: bool

    def in_pixels(self, height: int, width: int) -> Sample:
        """The same with boxes in pixels of an image of that size."""
        if not self.relative:
            return self
        sides = np.array([width, height, width, height], np.float64)
        return Sample(self.path, self.boxes * sides, self.classes, self.crowd, self.area * width * height, False)


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order, and the names of their classes, 0 to n - 1."""

    name: str
    samples: list[Sample]
    names: dict[int, str]

    def with_classes_of(self, names: dict[int, str]) -> Dataset:
        """The same with the class indices of a model.

        Raises LabelError where the number of classes differs, or where both have all names but in another order and
        one of them twice.
        """
        if len(names) != len(self.names):
            raise LabelError(
                f"the model has {len(names)} classes ({listed(names)}), the data {self.name} {len(self.names)} "
                f"({listed(self.names)}); they must be the same"
            )
        index = {name: cls for cls, name in names.items()}
        if names == self.names or len(index) != len(names) or set(index) != set(self.names.values()):
            return self  # names that are only spelt otherwise are taken in the order they stand
        order = np.array([index[self.names[cls]] for cls in range(len(names))])
        samples = [Sample(s.path, s.boxes, order[s.classes], s.crowd, s.area, s.relative) for s in self.samples]
        return Dataset(self.name, samples, names)


def read_text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    limit = _MAX_BYTES[path.suffix.lower()]
    if path.stat().st_size > limit:
        raise LabelError(f"{path} is larger than {limit >> 20} MiB")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} is no text: {error}") from error


def listed(names: dict[int, str]) -> str:
    """The first names of classes, for a message."""
    shown = [names[cls] for cls in sorted(names)[:3]]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")
