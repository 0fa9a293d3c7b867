"""Images in one folder per class, for classifiers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from yolort.images import below, is_image
from yolort.tools._yaml import read_yaml
from yolort.tools.data.samples import MAX_CLASSES, Dataset, LabelError, Sample

__all__ = ["read_folders", "split_folder"]

_SPLITS = {"train": ("train",), "val": ("val", "validation", "test"), "test": ("test", "val")}
_WNID = re.compile(r"n\d{8}")  # ImageNet's class names


def split_folder(path: Path, split: str) -> Path:
    """The folder of a split: `path`/train and so on, or `path` itself if it has no splits.

    Raises FileNotFoundError if the folder does not exist or has only other splits.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no such folder: {path}")
    found = next((path / name for name in _SPLITS.get(split, (split,)) if (path / name).is_dir()), None)
    there = sorted({name for names in _SPLITS.values() for name in names if (path / name).is_dir()})
    if found is None and there:
        raise FileNotFoundError(f"{path} has no split '{split}'; it has: {', '.join(there)}")
    return found or path


def read_folders(path: Path, split: str) -> Dataset:
    """The images of a split; each folder in it is a class, in alphabetical order.

    Raises FileNotFoundError like `split_folder`, and LabelError if there are no folders with images.
    """
    root = split_folder(path, split)
    folders = sorted(one for one in root.iterdir() if one.is_dir())
    if not folders or len(folders) > MAX_CLASSES:
        raise LabelError(f"{root} has {len(folders)} folders; expected one of each class, with its images")
    samples = [_sample(image, cls) for cls, folder in enumerate(folders) for image in sorted(_images(folder))]
    names = [folder.name for folder in folders]
    if all(_WNID.fullmatch(name) for name in names):
        names = _of_imagenet(names)
    return Dataset(str(path), samples, dict(enumerate(names)), task="classify")


def _images(folder: Path) -> list[Path]:
    return [file for file in below(folder) if is_image(file)]


def _sample(image: Path, cls: int) -> Sample:
    nothing = np.zeros(1)
    return Sample(image, np.zeros((1, 4)), np.array([cls]), nothing.astype(bool), nothing, False)


def _of_imagenet(names: list[str]) -> list[str]:
    """The words for ImageNet's class codes, from Ultralytics."""
    import ultralytics

    known = read_yaml(Path(ultralytics.__file__).parent / "cfg" / "datasets" / "ImageNet.yaml")["map"]
    return [str(known.get(name, name)) for name in names]
