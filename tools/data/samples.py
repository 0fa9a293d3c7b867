"""Labels in memory: images, their boxes and the names of the classes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yolort

__all__ = [
    "MAX_CLASSES",
    "Dataset",
    "LabelError",
    "Outline",
    "Sample",
    "align_folders",
    "check_fits",
    "listed",
    "read_text",
]

_MAX_BYTES = {".txt": 8 << 20, ".json": 4 << 30}
MAX_CLASSES = 65536


class LabelError(yolort.Error):
    """A label file or dataset description is missing, damaged or does not fit."""


#: Outline of an object: polygons, each (n, 2) float64, x y in the unit of the boxes; or COCO's compressed run-length
#: encoding.
Outline: TypeAlias = "list[np.ndarray] | dict[str, Any]"


@dataclass(frozen=True)
class Sample:
    """An image and its labels."""

    path: Path
    boxes: np.ndarray  # (n, 4) float64, x1 y1 x2 y2; fractions of the image's sides if `relative`, otherwise pixels
    classes: np.ndarray  # (n,) int64
    crowd: np.ndarray  # (n,) bool: a region that is ignored in scoring (COCO's iscrowd)
    area: np.ndarray  # (n,) float64, in the same unit squared: the segment's for COCO, otherwise the box's
    relative: bool
    size: tuple[int, int] | None = None  # height and width of the image according to the labels (COCO)
    mixed: bool = False  # boxes and polygons in one label file (YOLO)
    outlines: tuple[Outline, ...] | None = None  # one per object, for segment and obb
    keypoints: np.ndarray | None = None  # (n, K, 3) float64, for pose: x, y, visibility (0: not labeled)

    def without_crowds(self) -> Sample:
        """The same without the regions that are ignored in scoring."""
        if not self.crowd.any():
            return self
        kept = ~self.crowd
        outlines = self.outlines and tuple(one for one, counts in zip(self.outlines, kept, strict=True) if counts)
        columns = {name: getattr(self, name)[kept] for name in ("boxes", "classes", "crowd", "area")}
        return replace(
            self, **columns, outlines=outlines, keypoints=None if self.keypoints is None else self.keypoints[kept]
        )

    def in_pixels(self, height: int, width: int) -> Sample:
        """The same in pixels of an image of this size.

        Raises LabelError for pixel masks of another image size.
        """
        if not self.relative:
            masks = [one for one in self.outlines or () if isinstance(one, dict)]
            if wrong := next((one for one in masks if one["size"] != [height, width]), None):
                raise LabelError(
                    f"{self.path} has {width} x {height} pixels, and a mask of it {wrong['size'][1]} x "
                    f"{wrong['size'][0]}"
                )
            return self if self.outlines is None else replace(self, size=(height, width))
        sides = np.array([width, height], np.float64)
        return replace(
            self,
            boxes=self.boxes * np.tile(sides, 2),
            area=self.area * width * height,
            relative=False,
            size=(height, width),
            outlines=self.outlines
            and tuple([part * sides for part in one] if isinstance(one, list) else one for one in self.outlines),
            keypoints=None if self.keypoints is None else self.keypoints * [width, height, 1],
        )


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order, and the names of their classes, 0 to n - 1."""

    name: str
    samples: list[Sample]
    names: dict[int, str]
    notes: tuple[str, ...] = ()  # possible problems
    task: str = "detect"  # task that the labels were read for
    kpt_shape: tuple[int, int] | None = None  # number of keypoints, and values per keypoint in a label
    sigmas: tuple[float, ...] | None = None  # OKS sigmas of the keypoints; None: the defaults

    def with_classes_of(self, names: dict[int, str]) -> Dataset:
        """The same with the class indices of a model.

        Equal names in another order are matched, ignoring case. If names differ, classes are matched by position, and a
        UserWarning and a note name the first difference.

        Raises LabelError if the number of classes differs, or if the same names are in another order and one of them
        occurs twice. For images in folders, see `align_folders`.
        """
        if self.task == "classify":
            return align_folders(self, names)
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
                f"the data {self.name} has the classes of the model in another order, and one of them twice, so they "
                "cannot be matched; rename them"
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


def check_fits(dataset: Dataset, network: Any, model: str | Path) -> None:
    """Raises LabelError if the classes or keypoints of a network, loaded from `model`, differ from the data's."""
    dataset.with_classes_of(network.names)
    shape = dataset.kpt_shape if dataset.task == "pose" else None
    if shape is not None and (count := network.model[-1].kpt_shape[0]) != shape[0]:
        raise LabelError(
            f"{model} finds {count} keypoints, the data {dataset.name} have {shape[0]}; train the model on these data "
            "first"
        )


def read_text(path: Path) -> str:
    if not path.is_file():
        if path.exists():
            raise LabelError(f"{path} is not a regular file")
        raise FileNotFoundError(f"no such file: {path}")
    limit = _MAX_BYTES[path.suffix.lower()]
    parts, size = [], 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):  # the size that the system reports may be wrong
            parts.append(part)
            size += len(part)
            if size > limit:
                raise LabelError(f"{path} is larger than {limit >> 20} MiB")
    try:
        return b"".join(parts).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} is not text: {error}") from error


def listed(names: dict[int, str]) -> str:
    """The first few class names, for a message."""
    shown = [names[cls] for cls in sorted(names)[:3]]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")


def align_folders(dataset: Dataset, names: dict[int, str]) -> Dataset:
    """Images in class folders, with the class indices of a model, as determined by Ultralytics.

    Folders are matched to the model's classes by name, ignoring case; images in other folders are skipped, with a note.
    If no folder has the name of a class, the folders in alphabetical order are the model's classes.

    Raises LabelError if their number then differs, or if no image is left.
    """
    index = {name.casefold(): cls for cls, name in names.items()}
    known = {cls: index[name.casefold()] for cls, name in dataset.names.items() if name.casefold() in index}
    notes = dataset.notes
    if not known:
        if len(names) != len(dataset.names):
            raise LabelError(
                f"{dataset.name} has folders of {len(dataset.names)} classes ({listed(dataset.names)}), none of which "
                f"is one of the {len(names)} of the model ({listed(names)})"
            )
        known = {cls: cls for cls in dataset.names}
        if not _unnamed(names):
            notes = (*notes, "class names: no folder has the name of a class; they are compared in alphabetical order")
            warnings.warn(notes[-1], stacklevel=3)
    elif twice := [name for name in dataset.names.values() if [*map(str.casefold, names.values())].count(name) > 1]:
        notes = (*notes, f"class names: the model has {twice[0]!r} twice; images of it count for the last of the two")
    kept = [sample for sample in dataset.samples if int(sample.classes[0]) in known]
    if len(kept) < len(dataset.samples):
        others = {cls: name for cls, name in dataset.names.items() if cls not in known}
        notes = (
            *notes,
            f"{len(dataset.samples) - len(kept)} image(s) are of {len(others)} classes that the model lacks "
            f"({listed(dict(enumerate(others.values())))}) and are left out",
        )
    if not kept:
        raise LabelError(f"{dataset.name}: no image is of a class of the model")
    samples = [replace(sample, classes=np.array([known[int(sample.classes[0])]])) for sample in kept]
    return replace(dataset, samples=samples, names=names, notes=notes)


def _unnamed(names: dict[int, str]) -> bool:
    """Whether classes have only numbers, as with a data.yaml with only `nc`, or a model without names."""
    return all(name in (str(cls), f"class{cls}") for cls, name in names.items())
