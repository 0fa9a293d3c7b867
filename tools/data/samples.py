"""Labels in memory: images, their boxes and the names of the classes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
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
    size: tuple[int, int] | None = None  # height and width that the labels are said to be of (COCO)
    mixed: bool = False  # boxes and polygons in one label file (YOLO)

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
    notes: tuple[str, ...] = ()  # what may be wrong with it

    def with_classes_of(self, names: dict[int, str]) -> Dataset:
        """The same with the class indices of a model.

        The same names in another order, upper or lower case, are matched to the model's. Of names that differ a
        UserWarning and a note tell the first; they are taken in the order in which they stand.

        Raises LabelError where the number of classes differs, or where both have all names but in another order and
        one of them twice.
        """
        if len(names) != len(self.names):
            raise LabelError(
                f"the model has {len(names)} classes ({listed(names)}), the data {self.name} {len(self.names)} "
                f"({listed(self.names)}); they must be the same"
            )
        every = range(len(names))
        for spelt in (str, str.casefold):
            models, ours = [spelt(names[cls]) for cls in every], [spelt(self.names[cls]) for cls in every]
            if models == ours:
                return self
            if sorted(models) == sorted(ours) and len(set(ours)) == len(ours):
                index = {name: cls for cls, name in enumerate(models)}
                order = np.array([index[name] for name in ours])
                samples = [replace(sample, classes=order[sample.classes]) for sample in self.samples]
                return replace(self, samples=samples, names=names)
        if sorted(models) == sorted(ours):
            raise LabelError(
                f"the data {self.name} has the classes of the model in another order, and one of them twice: which is "
                "which cannot be told; rename them"
            )
        if _unnamed(names) or _unnamed(self.names):
            return self
        differ = [cls for cls in every if models[cls] != ours[cls]]
        note = (
            f"class names: {differ[0]} is {self.names[differ[0]][:60]!r} of the data {self.name} and "
            f"{names[differ[0]][:60]!r} of the model ({len(differ)} of {len(names)} differ); classes are compared by "
            "their numbers"
        )
        warnings.warn(note, stacklevel=2)
        return replace(self, notes=(*self.notes, note))


def read_text(path: Path) -> str:
    if not path.is_file():
        if path.exists():
            raise LabelError(f"{path} is not a regular file")
        raise FileNotFoundError(f"no such file: {path}")
    limit = _MAX_BYTES[path.suffix.lower()]
    parts, size = [], 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):  # what a file says of its size need not be so
            parts.append(part)
            size += len(part)
            if size > limit:
                raise LabelError(f"{path} is larger than {limit >> 20} MiB")
    try:
        return b"".join(parts).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} is not text: {error}") from error


def listed(names: dict[int, str]) -> str:
    """The first names of classes, for a message."""
    shown = [names[cls] for cls in sorted(names)[:3]]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")


def _unnamed(names: dict[int, str]) -> bool:
    """Whether classes have numbers instead of names, as of a data.yaml with `nc` only, or a model that tells none."""
    return all(name in (str(cls), f"class{cls}") for cls, name in names.items())
