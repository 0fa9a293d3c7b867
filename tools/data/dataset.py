"""Labelled images: Ultralytics' `data.yaml` with YOLO label files, and COCO JSON.

Files are untrusted: they are parsed, never evaluated, and a `download` entry of a `data.yaml` is not run.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import yolort
from yolort import _atomic, _core
from yolort.images import below, find, is_image
from yolort.tools._ultralytics import install_nothing
from yolort.tools.data.coco import read_coco
from yolort.tools.data.folders import read_folders
from yolort.tools.data.places import images_of, label_files
from yolort.tools.data.samples import Dataset, LabelError
from yolort.tools.data.yolo import read_description, read_yolo, yolo_files

__all__ = [
    "check_trained_on",
    "data_sha256",
    "fill_input",
    "image_size",
    "letterboxed",
    "list_images",
    "load_dataset",
    "load_for_training",
    "of_channels",
    "sample_image",
    "splits",
    "trainable",
    "write_for_ultralytics",
]

#: Keys of a data.yaml that describe keypoints.
_OF_POSES = ("kpt_shape", "flip_idx", "kpt_names", "kpt_oks_sigmas")
_MIN_SIDE = 10  # pixels: Ultralytics' `verify_image`
#: Characters in a path that cannot be written to Ultralytics' list of images.
_UNSPELLABLE = re.compile(r"[\n-\r\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")


def load_dataset(
    data: str | Path, split: str = "val", images: str | Path | None = None, *, task: str = "detect"
) -> Dataset:
    """Reads the labels of a data set; images are located but not read.

    Args:
        data: a `data.yaml` of Ultralytics (`path`, `train`, `val`, `test`, `names` or `nc`; a split is a folder, a list
            of paths in a .txt, or several of them; the labels of images/a/1.jpg are labels/a/1.txt, also behind links,
            or beside the images), the name of one that Ultralytics ships ("coco8.yaml"; downloaded if necessary), or a
            COCO JSON file. `path` is relative to the file, the working folder, or Ultralytics'
            `datasets_dir`; paths in a .txt to that file, the data set, or the working folder. Windows separators are
            accepted, and an extra "../" at the beginning, as Roboflow writes it.
        split: "train", "val" or "test", of a `data.yaml`.
        images: the folder of the images of a COCO JSON file; default: the JSON file's own, its images/, or,
            of annotations/instances_X.json, the folder images/, X/ or images/X/ beside annotations/.
        task: task that the labels are read for. "detect" uses the boxes of any labels; "segment" needs polygons (in
            COCO JSON also run lengths), "pose" keypoints according to `kpt_shape`, "obb" polygons, which are replaced
            by their smallest rectangle. For "classify", `data` is a folder with train/, val/ and test/, or one of
            these; each folder in it is a class.

    Raises:
        FileNotFoundError: a file, folder or split does not exist.
        LabelError: the description or a label file is damaged or not of the task (with its line), there are no images,
            no labels at all, or a class that is not in `names`.
    """
    path = Path(data)
    if task == "classify":
        if images is not None or not path.is_dir():
            raise ValueError(f"data must be a folder with a folder of images for each class, not '{data}'")
        dataset = read_folders(path, split)
    elif path.suffix.lower() == ".json":
        dataset = read_coco(path, Path(images) if images else None, task)
    elif path.suffix.lower() in (".yaml", ".yml"):
        if images is not None:
            raise ValueError("images applies only to COCO JSON; a data.yaml names its image folders")
        dataset = read_yolo(path, split, task)
    else:
        inside = sorted(file for ending in ("*.yaml", "*.yml", "*.json") for file in path.glob(ending))
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise ValueError(f"data must be a data.yaml or a COCO .json, not '{data}'{hint}")
    if not dataset.samples:
        raise LabelError(f"{data}: the split has no images")
    if not any(len(sample.classes) for sample in dataset.samples):
        raise LabelError(f"{data}: none of the {len(dataset.samples)} images has a label ({_label_hint(dataset)})")
    return dataset if task == "classify" else replace(dataset, notes=(*dataset.notes, *_empty_boxes(dataset)))


def letterboxed(images: Sequence[str | Path | np.ndarray], size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """Images as network input: (n, channels, height, width) float32; `size` is (height, width).

    `images`: files, or pixels: (height, width, 3) BGR uint8, or with another number of channels.
    """
    out = np.empty((len(images), channels, *size), np.float32)
    for index, image in enumerate(images):
        pixels = image if isinstance(image, np.ndarray) else yolort.images.read(image, channels)
        _core.letterbox(pixels, out[index : index + 1])
    return out


def fill_input(image: np.ndarray, out: np.ndarray, task: str = "detect") -> None:
    """Converts an image, (height, width, 3) BGR uint8, to network input in `out`, (channels, height, width) float32:
    letterboxed, or for a square classifier resized by the shorter side and center-cropped.
    """
    if task != "classify":
        _core.letterbox(image, out[None])
        return
    from PIL import Image

    height, width = out.shape[1:]
    picture = Image.fromarray(image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1]))
    size = (width, height)
    if height == width:
        shorter = min(picture.size)
        size = tuple(int(height * side / shorter) for side in picture.size)  # type: ignore[assignment]
    resized = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    top, left = (round((side - to) / 2) for side, to in zip(resized.shape[:2], (height, width), strict=True))
    middle = resized[top : top + height, left : left + width]
    out[:] = middle if middle.ndim == 2 else middle.transpose(2, 0, 1)


def sample_image(channels: int = 3) -> np.ndarray:
    """The embedded image: (height, width, 3) BGR uint8, or with other channels (`of_channels`)."""
    return of_channels(yolort.images.read(yolort.demo_image()), channels)


def of_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An image for a model that accepts neither gray nor color images, made by repeating channels."""
    if channels in (1, 3) or image.ndim != 3 or image.shape[2] == channels:
        return image
    return np.ascontiguousarray(image[:, :, np.arange(channels) % image.shape[2]])


def list_images(data: str | Path, split: str = "train") -> list[Path]:
    """The sorted image files of a folder or glob pattern, a .txt of paths, a split of a `data.yaml`, or COCO JSON.

    If the folder has a subfolder named like the split, as for classifiers, the images of that one. Labels are not read.

    Raises FileNotFoundError, LabelError if the description is damaged or lists no images.
    """
    path = Path(data)
    ending = path.suffix.lower()
    if ending in (".yaml", ".yml"):
        files = yolo_files(path, split)[0]
    elif ending == ".txt":
        files = images_of(path, path.name, [path.parent])
    elif ending == ".json":
        files = [sample.path for sample in read_coco(path, None).samples]
    elif (path / split).is_dir():
        files = [file for file in below(path / split) if is_image(file)]
    else:
        files = find(path)
    if not files:
        raise LabelError(f"{data}: the split has no images")
    return sorted(set(files))


def splits(data: str | Path) -> list[str]:
    """The splits listed in a `data.yaml` file or present as subfolders; empty for anything else."""
    path = Path(data)
    if path.is_dir():
        return [name for name in ("train", "val", "test") if (path / name).is_dir()]
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return []
    described = read_description(path)
    return [name for name in ("train", "val", "test") if described.get(name)]


def load_for_training(data: str | Path, split: str, task: str = "detect") -> Dataset:
    """The images of a split that Ultralytics uses for training, see `trainable`.

    Raises what `load_dataset` and `trainable` raise; LabelError for a data.yaml with other than 3 `channels`, a label
    file with boxes and polygons (Ultralytics leaves it out), and if no image can be read.
    """
    path = Path(data)
    channels = read_description(path).get("channels") if path.is_file() and path.suffix != ".json" else None
    if channels not in (None, 3):
        raise LabelError(
            f"{data}: 'channels' is {str(channels)[:40]}, but training supports only images with 3 channels; "
            "without it "
            "gray images are read as color"
        )
    dataset = load_dataset(data, split, task=task)
    kept = set(trainable([sample.path for sample in dataset.samples]))
    samples = [sample for sample in dataset.samples if sample.path in kept]
    if mixed := next((sample for sample in samples if sample.mixed), None):
        raise LabelError(
            f"{label_files([mixed.path])[0]} contains boxes and polygons, which Ultralytics cannot train on in "
            "one file; "
            "write all objects as boxes"
        )
    _check_readable(data, split, [sample.path for sample in samples])
    return replace(dataset, samples=samples)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image in pixels according to PIL, which Ultralytics uses to check images.

    Raises OSError for a file that cannot be read as an image.
    """
    from PIL import Image

    if not path.is_file():  # reading a pipe would block
        raise FileNotFoundError(f"{path} is not a file")
    install_nothing()
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, Image.DecompressionBombError) as error:  # UnidentifiedImageError is one
        raise OSError(f"{path} cannot be read as an image: {error}") from error
    return width, height


def check_trained_on(path: Path) -> tuple[int, int]:
    """`image_size`; raises OSError also for an image that is too small for Ultralytics' training."""
    width, height = image_size(path)
    if min(width, height) < _MIN_SIDE:
        raise OSError(f"{path} has {width} x {height} pixels; Ultralytics trains on sides of {_MIN_SIDE} or more")
    return width, height


def _check_readable(data: str | Path, split: str, paths: Sequence[Path]) -> None:
    """Raises LabelError if no image can be read; stops at the first readable one.

    Images are read with PIL, like Ultralytics' check, and with the runtime, which refuses images that OpenCV reads as
    black.
    """
    reasons: list[Exception] = []
    for path in paths:
        try:
            check_trained_on(path)
            yolort.images.read(path)
        except (OSError, yolort.ImageError) as error:
            reasons.append(error)
        else:
            return
    raise LabelError(f"{data}: none of the {len(paths)} images of {split} can be trained on; the first: {reasons[0]}")


def trainable(paths: Sequence[Path]) -> list[Path]:
    """The images that Ultralytics uses for training; warns of the others, which Ultralytics skips silently.

    Raises LabelError if there are none.
    """
    from ultralytics.data.utils import IMG_FORMATS

    known = [path for path in paths if path.suffix.lower().removeprefix(".") in IMG_FORMATS]
    unspellable = [path for path in known if _UNSPELLABLE.search(str(path))]
    kept = [path for path in known if not _UNSPELLABLE.search(str(path))] if unspellable else known
    others = sorted({path.suffix.lower() for path in paths} - {path.suffix.lower() for path in known})
    others += [f"a name that is not UTF-8, or has several lines: {path}" for path in unspellable[:1]]
    if others:
        what = f"Ultralytics does not train on {len(paths) - len(kept)} image(s) ({', '.join(others)})"
        if not kept:
            raise LabelError(f"{what}, and there are no others")
        warnings.warn(what, stacklevel=3)
    return kept


def write_for_ultralytics(data: str | Path, folder: Path) -> str:
    """The `data` argument for Ultralytics' training: a data.yaml in `folder` with the images and names that were read.

    Given the user's file, Ultralytics might look for images elsewhere, or run `download` if it does not find them. For
    a dataset that Ultralytics ships it is the name, for a folder of classes the path.
    """
    if not Path(data).is_file():
        return str(data)
    given = read_description(Path(data))
    described: dict[str, Any] = {key: given[key] for key in _OF_POSES if key in given}
    for split in ("train", "val"):
        files, names = yolo_files(Path(data), split)
        listing = folder / f"{split}.txt"
        _atomic.write(listing, "".join(f"{file.absolute()}\n" for file in trainable(files)), update=True)
        described |= {split: str(listing.absolute()), "names": names}
    text = f"# {_atomic.MARK}\n" + yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
    _atomic.write(folder / "data.yaml", text, update=True)
    return str((folder / "data.yaml").absolute())


def _empty_boxes(dataset: Dataset) -> list[str]:
    """A note on boxes without width or height."""
    is_empty = {one.path: (one.boxes[:, 2:] <= one.boxes[:, :2]).any(axis=1) for one in dataset.samples}
    found = [(path, int(which.sum())) for path, which in is_empty.items() if which.any()]
    if not found:
        return []
    return [
        f"{sum(count for _, count in found)} object(s) have no width or no height, the first in {found[0][0]}: nothing "
        "can be found there, which lowers recall and mAP"
    ]


def _label_hint(dataset: Dataset) -> str:
    first = dataset.samples[0]
    if not first.relative:
        return "its annotations are empty"
    return f"looked for {label_files([first.path])[0]} and its like, and for labels beside the images"


@lru_cache(maxsize=16)
def data_sha256(data: str | Path, split: str, task: str = "detect") -> str:
    """Identifies a split: class names, and the name, size in bytes, modification time and labels of each image.

    Raises what `load_dataset` raises.
    """
    dataset = load_dataset(data, split, task=task)
    whole = hashlib.sha256(json.dumps(dataset.names).encode())
    for sample in dataset.samples:
        status = sample.path.stat()
        whole.update(f"{sample.path.name} {status.st_size} {status.st_mtime_ns}".encode())
        whole.update(sample.boxes.tobytes() + sample.classes.tobytes())
        for outline in sample.outlines or ():
            whole.update(
                json.dumps(outline if isinstance(outline, dict) else [one.tolist() for one in outline]).encode()
            )
        if sample.keypoints is not None:
            whole.update(sample.keypoints.tobytes())
    return whole.hexdigest()
