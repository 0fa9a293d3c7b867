"""Ultralytics' `data.yaml` with YOLO label files."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from yolort.tools._yaml import read_yaml
from yolort.tools.data.labels import LabelFormat, read_labels
from yolort.tools.data.places import images_of, label_files, roots_of
from yolort.tools.data.samples import MAX_CLASSES, Dataset, LabelError

__all__ = ["read_description", "read_yolo", "yolo_files"]

_MAX_KEYPOINTS = 1000


def read_yolo(path: Path, split: str, task: str = "detect") -> Dataset:
    files, names, described = _described(path, split)
    form = _label_format(path, described, task, len(names))
    sigmas = _sigmas(path, described, form.kpt_shape[0]) if task == "pose" and form.kpt_shape else None
    samples = [read_labels(image, file, form) for image, file in zip(files, label_files(files), strict=True)]
    return Dataset(str(path), samples, names, task=task, kpt_shape=form.kpt_shape, sigmas=sigmas)


def yolo_files(path: Path, split: str) -> tuple[list[Path], dict[int, str]]:
    """The images of a split, sorted, and the names of the classes."""
    return _described(path, split)[:2]


def _described(path: Path, split: str) -> tuple[list[Path], dict[int, str], dict[str, Any]]:
    if path.is_file():
        described = read_description(path)
    elif path.name == str(path):
        described = _from_ultralytics(path.name, split)
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
    roots = roots_of(path, str(described.get("path") or "")) if path.is_file() else [Path()]
    for entry in wanted if isinstance(wanted, list) else [wanted]:
        files += images_of(path, str(entry), roots)
    return sorted(set(files)), names, described


def _from_ultralytics(name: str, split: str) -> dict[str, Any]:
    from ultralytics.data.utils import check_det_dataset

    try:
        described: dict[str, Any] = check_det_dataset(name, split=split)
    except Exception as error:  # Ultralytics' own exceptions, and those of the download
        raise FileNotFoundError(f"no such file: {name}; Ultralytics cannot provide it either: {error}") from error
    return described


def read_description(path: Path) -> dict[str, Any]:
    try:
        described = read_yaml(path)
    except ValueError as error:
        raise LabelError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(described, dict):
        raise LabelError(f"{path} is not a data.yaml: it has no keys")
    return described


def _names(path: Path, described: dict[str, Any]) -> dict[int, str]:
    names = described.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict):  # Ultralytics also accepts class numbers as text
        numbered = {_whole(key): name for key, name in names.items()}
        names = numbered if len(numbered) == len(names) else names
    nested = [name for name in names.values() if isinstance(name, (dict, list))] if isinstance(names, dict) else []
    if nested:
        raise LabelError(f"{path}: 'names' contains {str(nested[0])[:60]!r}, which is not a class name")
    if isinstance(names, dict) and (
        odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, (str, int, float))]
    ):
        warnings.warn(
            f"{path}: a class is named {odd[0]}, as Ultralytics reads it: YAML has other words for true, false and "
            "nothing, and dates; put the name in quotes if it is another",
            stacklevel=2,
        )
    count = _whole(described.get("nc"))
    if names is None and isinstance(count, int) and 0 < count <= MAX_CLASSES:
        names = {cls: str(cls) for cls in range(count)}
    if not isinstance(names, dict) or not 0 < len(names) <= MAX_CLASSES or set(names) != set(range(len(names))):
        raise LabelError(f"{path}: 'names' must list the classes, or be a mapping of 0, 1, 2, ... to them")
    if "nc" in described and count != len(names):
        raise LabelError(f"{path}: 'nc' is {str(described['nc'])[:60]}, but 'names' lists {len(names)} classes")
    return {cls: str(names[cls]) for cls in range(len(names))}


def _whole(value: Any) -> Any:
    """Converts a number given as text; anything else is unchanged."""
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else value


def _label_format(path: Path, described: dict[str, Any], task: str, classes: int) -> LabelFormat:
    """Raises LabelError for an invalid `kpt_shape`, or if it is missing for poses."""
    shape = described.get("kpt_shape")
    if shape is None:
        if task == "pose":
            raise LabelError(f"{path}: poses need 'kpt_shape', such as [17, 3]: keypoints, and 2 or 3 numbers of each")
        return LabelFormat(task, classes)
    is_shape = isinstance(shape, (list, tuple)) and len(shape) == 2 and all(type(one) is int for one in shape)
    if not is_shape or not 1 <= shape[0] <= _MAX_KEYPOINTS or shape[1] not in (2, 3):
        raise LabelError(f"{path}: 'kpt_shape' is {str(shape)[:60]}, expected [1 to {_MAX_KEYPOINTS}, 2 or 3]")
    return LabelFormat(task, classes, (shape[0], shape[1]))


def _sigmas(path: Path, described: dict[str, Any], count: int) -> tuple[float, ...] | None:
    """`kpt_oks_sigmas`; None: the defaults."""
    given = described.get("kpt_oks_sigmas")
    if given is None:
        return None
    if (
        not isinstance(given, list)
        or len(given) != count
        or not all(isinstance(one, (int, float)) and math.isfinite(one) and one > 0 for one in given)
    ):
        raise LabelError(f"{path}: 'kpt_oks_sigmas' is {str(given)[:60]}, expected {count} positive numbers")
    return tuple(map(float, given))
