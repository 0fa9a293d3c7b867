"""Labelled images: Ultralytics' `data.yaml` with YOLO label files, and COCO JSON.

Files are untrusted: they are parsed, never evaluated, and a `download` entry of a `data.yaml` is not run.
"""

from __future__ import annotations

import errno
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import yolort
from yolort import _atomic, _core
from yolort.images import below, find, is_image, left_out
from yolort.tools.yaml_reader import read_yaml

__all__ = [
    "Dataset",
    "LabelError",
    "Sample",
    "letterboxed",
    "list_images",
    "listed",
    "load_dataset",
    "splits",
    "trainable",
    "write_for_ultralytics",
]

_MAX_BYTES = {".txt": 8 << 20, ".json": 4 << 30}
_MAX_CLASSES = 65536


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

        The same names in another order, upper or lower case, are put into the model's. Of names that differ a
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


def load_dataset(data: str | Path, split: str = "val", images: str | Path | None = None) -> Dataset:
    """Reads the labels of a data set; the images are only looked for.

    Args:
        data: a `data.yaml` of Ultralytics (`path`, `train`, `val`, `test`, `names` or `nc`; a split is a folder, a list
            of paths in a .txt, or several of them; the labels of images/a/1.jpg are labels/a/1.txt), the name of one
            that Ultralytics ships ("coco8.yaml"), which it then downloads where it must, or a COCO JSON file.
        split: "train", "val" or "test", of a `data.yaml`.
        images: the folder of the images of a COCO JSON file; default: the JSON file's own, its images/, or,
            of annotations/instances_X.json, the images/, X/ or images/X/ beside annotations/.

    Raises:
        FileNotFoundError: no such file, folder or split.
        LabelError: the description or a label file is damaged (with its line), there are no images, no labels at all,
            or a class that is not in `names`.
    """
    path = Path(data)
    if path.suffix.lower() == ".json":
        dataset = _read_coco(path, Path(images) if images else None)
    elif path.suffix.lower() in (".yaml", ".yml"):
        if images is not None:
            raise ValueError("images is for COCO JSON; a data.yaml says where its images are")
        dataset = _read_yolo(path, split)
    else:
        raise ValueError(f"data must be a data.yaml or a COCO .json, not '{data}'")
    if not dataset.samples:
        raise LabelError(f"{data}: the split holds no images")
    if not any(len(sample.classes) for sample in dataset.samples):
        raise LabelError(f"{data}: none of the {len(dataset.samples)} images has a label ({_label_hint(dataset)})")
    return dataset


def letterboxed(paths: Sequence[str | Path], size: tuple[int, int]) -> np.ndarray:
    """Image files as the network takes them: (n, 3, height, width) float32; `size` is (height, width)."""
    out = np.empty((len(paths), 3, *size), np.float32)
    for index, path in enumerate(paths):
        _core.letterbox(yolort.images.read(path), out[index : index + 1])
    return out


def list_images(data: str | Path, split: str = "train") -> list[Path]:
    """The image files of a folder or glob pattern, a .txt of paths, a split of a `data.yaml`, or COCO JSON, sorted.

    Labels are not looked at. Raises FileNotFoundError, LabelError where the description is damaged or lists none.
    """
    path = Path(data)
    ending = path.suffix.lower()
    if ending in (".yaml", ".yml"):
        files = _yolo_files(path, split)[0]
    elif ending == ".txt":
        files = _images_of(path, path.name, [path.parent])
    elif ending == ".json":
        files = [sample.path for sample in _read_coco(path, None).samples]
    else:
        files = find(path)
    if not files:
        raise LabelError(f"{data}: the split holds no images")
    return sorted(set(files))


def splits(data: str | Path) -> list[str]:
    """The splits that a `data.yaml` file names; of anything else none."""
    path = Path(data)
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return []
    described = _parse_yaml(path)
    return [name for name in ("train", "val", "test") if described.get(name)]


def trainable(paths: Sequence[Path]) -> list[Path]:
    """Those of the images that Ultralytics trains on; it passes over the others without a word, this warns of them.

    Raises LabelError if there are none.
    """
    from ultralytics.data.utils import IMG_FORMATS

    kept = [path for path in paths if path.suffix.lower().removeprefix(".") in IMG_FORMATS]
    if others := sorted({path.suffix.lower() for path in paths} - {path.suffix.lower() for path in kept}):
        what = f"Ultralytics does not train on {len(paths) - len(kept)} image(s) ({', '.join(others)})"
        if not kept:
            raise LabelError(f"{what}, and there are no others")
        warnings.warn(what, stacklevel=3)
    return kept


def write_for_ultralytics(data: str | Path, folder: Path) -> str:
    """What Ultralytics' training is given as `data`: a data.yaml in `folder` with the images and names that were read.

    Ultralytics would read the user's file itself: look for the images elsewhere, and run what `download` says where it
    does not find them. A data set that it ships is given by its name.
    """
    if not Path(data).is_file():
        return str(data)
    described: dict[str, Any] = {}
    for split in ("train", "val"):
        files, names = _yolo_files(Path(data), split)
        listing = folder / f"{split}.txt"
        _atomic.write(listing, "".join(f"{file.absolute()}\n" for file in trainable(files)), update=True)
        described |= {split: str(listing.absolute()), "names": names}
    text = f"# {_atomic.MARK}\n" + yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
    _atomic.write(folder / "data.yaml", text, update=True)
    return str((folder / "data.yaml").absolute())


# --- Ultralytics


def _read_yolo(path: Path, split: str) -> Dataset:
    files, names = _yolo_files(path, split)
    return Dataset(str(path), [_read_labels(file, len(names)) for file in files], names)


def _yolo_files(path: Path, split: str) -> tuple[list[Path], dict[int, str]]:
    """The images of a split, sorted, and the names of the classes."""
    if path.is_file():
        described = _parse_yaml(path)
        roots = [path.parent / str(described.get("path") or ""), Path(str(described.get("path") or ""))]
    elif path.name == str(path):
        described = _from_ultralytics(path.name, split)
        roots = [Path()]
    else:
        raise FileNotFoundError(f"no such file: {path}")
    names = _names(path, described)
    wanted = described.get(split) or (described.get("validation") if split == "val" else None)
    for key, value in (("path", described.get("path")), (split, wanted)):
        entries = value if isinstance(value, list) and key == split else [value]
        if not all(entry is None or isinstance(entry, (str, int, float)) for entry in entries):
            raise LabelError(f"{path}: '{key}' is {str(value)[:60]!r}, expected a path")
    if not wanted:
        there = ", ".join(name for name in ("train", "val", "test") if described.get(name))
        raise FileNotFoundError(f"{path} has no split '{split}'; it has: {there or 'none'}")
    files: list[Path] = []
    for entry in wanted if isinstance(wanted, list) else [wanted]:
        files += _images_of(path, str(entry), roots)
    return sorted(set(files)), names


def _from_ultralytics(name: str, split: str) -> dict[str, Any]:
    from ultralytics.data.utils import check_det_dataset

    try:
        described: dict[str, Any] = check_det_dataset(name, split=split)
    except Exception as error:  # its own kinds, and whatever the download meets
        raise FileNotFoundError(f"no such file: {name}; Ultralytics cannot provide it either: {error}") from error
    return described


def _parse_yaml(path: Path) -> dict[str, Any]:
    try:
        described = read_yaml(path)
    except ValueError as error:
        raise LabelError(f"{path} is no YAML: {error}") from error
    if not isinstance(described, dict):
        raise LabelError(f"{path} is no data.yaml: it has no keys")
    return described


def _names(path: Path, described: dict[str, Any]) -> dict[int, str]:
    names = described.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    nested = [name for name in names.values() if isinstance(name, (dict, list))] if isinstance(names, dict) else []
    if nested:
        raise LabelError(f"{path}: 'names' holds {str(nested[0])[:60]!r}, which is no name of a class")
    if isinstance(names, dict) and (
        odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, (str, int, float))]
    ):
        warnings.warn(
            f"{path}: a class is named {odd[0]}, as Ultralytics reads it: YAML has other words for true, false and "
            "nothing, and dates; put the name in quotes if it is another",
            stacklevel=2,
        )
    if names is None and isinstance(described.get("nc"), int) and 0 < described["nc"] <= _MAX_CLASSES:
        names = {cls: str(cls) for cls in range(described["nc"])}
    if not isinstance(names, dict) or not 0 < len(names) <= _MAX_CLASSES or set(names) != set(range(len(names))):
        raise LabelError(f"{path}: 'names' must list the classes, or be a mapping of 0, 1, 2, ... to them")
    if described.get("nc", len(names)) != len(names):
        raise LabelError(f"{path}: 'nc' is {str(described['nc'])[:60]}, but 'names' lists {len(names)} classes")
    return {cls: str(names[cls]) for cls in range(len(names))}


def _unnamed(names: dict[int, str]) -> bool:
    """Whether classes have numbers instead of names, as of a data.yaml with `nc` only, or a model that tells none."""
    return all(name in (str(cls), f"class{cls}") for cls, name in names.items())


def _images_of(path: Path, entry: str, roots: list[Path]) -> list[Path]:
    places = [root / entry for root in roots]
    for one in places:
        _check_length(path, one)
    place = next((one for one in places if one.exists()), None)
    if place is None:
        raise FileNotFoundError(
            f"{path}: '{entry}' is not there; looked for {', '.join(map(str, dict.fromkeys(places)))}"
        )
    if place.is_dir():
        entries = list(below(place))
        if unread := left_out(entries):
            warnings.warn(f"{place}: {unread}", stacklevel=2)
        return [file for file in entries if is_image(file)]
    if place.suffix.lower() != ".txt":
        raise LabelError(f"{path}: '{entry}' is neither a folder nor a .txt of image paths")
    files = []
    for line in _text(place).splitlines():
        if line.strip():
            file = Path(line.strip())
            file = file if file.is_absolute() else place.parent / file
            if len(line) > 60:  # of up to 4 bytes a character; no shorter one is too long
                _check_length(place, file)
            files.append(file)
    return files


def _check_length(named_in: Path, path: Path) -> None:
    """LabelError for a path that is too long for the system, whose own error names no file that says it."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            text = str(path)
            raise LabelError(
                f"{named_in}: the path '{text[:40]}...{text[-20:]}' of {len(text)} characters is too long"
            ) from None
    except ValueError:  # no path at all, and so not there
        pass


def _label_file(image: Path) -> Path:
    """Ultralytics' rule: the last folder `images` of the path becomes `labels`, the ending .txt."""
    parts = list(image.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read_labels(image: Path, classes: int) -> Sample:
    """Lines of `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon; a missing file is an empty image."""
    file = _label_file(image)
    rows: list[list[float]] = []
    _check_length(image.parent, file)
    if file.exists():
        for number, line in enumerate(_text(file).splitlines(), 1):
            words = line.split()
            if words:
                rows.append(_box(f"{file}, line {number}", words, classes))
    rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]  # Ultralytics drops what stands twice
    values = np.array(rows, np.float64).reshape(-1, 5)
    boxes = values[:, 1:]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Sample(image, boxes, values[:, 0].astype(np.int64), np.zeros(len(rows), bool), area, True)


def _box(where: str, words: list[str], classes: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) < 5 or len(values) % 2 == 0 or not all(map(math.isfinite, values)):
        raise LabelError(
            f"{where}: expected 'class cx cy w h' or 'class x1 y1 x2 y2 ...', got {' '.join(words)[:80]!r}"
        )
    cls, *rest = values
    if cls != int(cls) or not 0 <= cls < classes:
        raise LabelError(f"{where}: class {words[0]} is none of the {classes} classes")
    if not all(-0.01 <= value <= 1.01 for value in rest):  # the tolerance of Ultralytics (data/utils.py)
        raise LabelError(f"{where}: coordinates must be of the image's sides, 0 to 1, got {' '.join(words[1:])[:80]!r}")
    if len(rest) == 4:
        x, y, w, h = rest
        return [cls, x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    xs, ys = rest[::2], rest[1::2]
    return [cls, min(xs), min(ys), max(xs), max(ys)]


# --- COCO


def _read_coco(path: Path, folder: Path | None) -> Dataset:
    try:
        read = json.loads(_text(path))
        categories = sorted(read["categories"], key=lambda one: _id("category", one["id"]))
        index = dict(zip(_ids("category", categories), range(len(categories)), strict=True))
        names = {cls: str(one["name"]) for cls, one in enumerate(categories)}
        rows: dict[int, list[tuple[list[float], int, bool, float]]] = {one: [] for one in _ids("image", read["images"])}
        listed = [(_id("image", one["id"]), str(one["file_name"]), _size(one)) for one in read["images"]]
        for note in read["annotations"]:
            box, crowd, area = _coco_box(note)
            cls = index[_id("category", note["category_id"])]
            rows[_id("image", note["image_id"])].append((box, cls, crowd, area))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise LabelError(f"{path} is no COCO JSON of detections: {error}") from error
    except KeyError as error:
        raise LabelError(f"{path} is no COCO JSON of detections: {error} is missing") from error
    if not 0 < len(names) <= _MAX_CLASSES:
        raise LabelError(f"{path} has {len(names)} categories")
    samples = []
    entries: dict[str, int] = {}
    for identity, file_name, size in listed:
        found = rows[identity]
        file = _image_file(path, file_name, folder)
        if (other := entries.setdefault(os.path.normpath(file), identity)) != identity:
            raise LabelError(f"{path}: images {other} and {identity} are the same file, '{file_name}'")
        samples.append(
            Sample(
                file,
                np.array([row[0] for row in found], np.float64).reshape(-1, 4),
                np.array([row[1] for row in found], np.int64),
                np.array([row[2] for row in found], bool),
                np.array([row[3] for row in found], np.float64),
                False,
                size,
            )
        )
    return Dataset(str(path), samples, names)


def _id(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError(f"the id {str(value)[:60]!r} of {what} is no whole number")
    return int(value)


def _ids(what: str, entries: Iterable[dict[str, Any]]) -> list[int]:
    """The ids of images or categories, each of which is there once."""
    found = [_id(what, one["id"]) for one in entries]
    if len(set(found)) < len(found):
        twice = next(one for one, count in Counter(found).items() if count > 1)
        raise ValueError(f"the id {twice} of {what} stands twice")
    return found


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _coco_box(note: dict[str, Any]) -> tuple[list[float], bool, float]:
    """Of an annotation: x1 y1 x2 y2, whether it is a crowd, and the area."""
    x, y, w, h = (float(value) for value in note["bbox"])
    area, crowd = float(note.get("area", w * h)), note.get("iscrowd", 0)
    which = f"annotation {str(note.get('id'))[:60]} has"
    if not all(map(math.isfinite, (x, y, w, h))):
        raise ValueError(f"{which} a box that is not finite")
    if w < 0 or h < 0:
        raise ValueError(f"{which} a box of {w:g} x {h:g} pixels")
    if not 0 <= area < math.inf:
        raise ValueError(f"{which} an area of {area}")
    if crowd not in (0, 1):
        raise ValueError(f"{which} iscrowd {str(crowd)[:60]!r}, expected 0 or 1")
    return [x, y, x + w, y + h], bool(crowd), area


def _image_file(path: Path, file_name: str, folder: Path | None) -> Path:
    root, split = path.parent.parent, path.stem.rpartition("_")[2]  # COCO's: annotations/instances_val2017.json
    beside = [path.parent, path.parent / "images", root / "images", root / split, root / "images" / split, root]
    places = [folder] if folder else beside
    for place in places:
        if (place / file_name).is_file():
            return place / file_name
    raise FileNotFoundError(
        f"{path}: image '{file_name}' is not in {', '.join(map(str, places))}; say where with images="
    )


# --- both


def _text(path: Path) -> str:
    if not path.is_file():
        if path.exists():
            raise LabelError(f"{path} is no plain file")
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
        raise LabelError(f"{path} is no text: {error}") from error


def listed(names: dict[int, str]) -> str:
    """The first names of classes, for a message."""
    shown = [names[cls] for cls in sorted(names)[:3]]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")


def _label_hint(dataset: Dataset) -> str:
    first = dataset.samples[0]
    return f"looked for {_label_file(first.path)} and its like" if first.relative else "its annotations are empty"
