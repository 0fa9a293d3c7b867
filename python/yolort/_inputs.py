"""The images that `Detector` and `Classifier` accept: an array, a PIL image, a path, a URL, or bytes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from yolort import _addresses, _checks, images
from yolort._types import Array, ImageSource, Result, Source, is_array

#: PIL modes with at most 8 bits per channel.
_PIL_MODES = ("1", "CMYK", "HSV", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")


class Input(NamedTuple):
    """One image."""

    array: Array
    path: str | None = None  #: file or URL (without secrets) that it came from
    format: str | None = None  #: channel order of the array; None: the default for arrays, BGR


def run_on(
    source: Source, format: str | None, channels: int, run: Callable[[list[Input]], list[Result]]
) -> Result | list[Result]:
    """Runs `run` on the images and returns one result for one image, or a list for several (a list, batch, folder or
    glob pattern).

    Args:
        source: see `Detector.__call__`.
        format: channel order of arrays.
        channels: number of channels of the network input, with which image files are read.
        run: returns a result per image.

    Unreadable files of a folder are skipped, each with a UserWarning attributed to the caller's caller. Raises
    FileNotFoundError, ImageError, TypeError, ValueError, and what `run` raises.
    """
    several = _several(source)
    if several is not None:
        return run([read(item, format, channels) for item in several])
    if not isinstance(source, (str, bytes, os.PathLike)) or not _is_pattern(source):
        return run([read(cast("Array | ImageSource", source), format, channels)])[0]
    out: list[Result] = []
    for file in images.find(source):  # one at a time: a folder may not fit in memory
        try:
            item = read(file, None, channels)
        except (images.ImageError, FileNotFoundError) as error:
            warnings.warn(f"skipped: {error}", stacklevel=3)
            continue
        out += run([item])
    return out


def _several(source: Source) -> list[Array | ImageSource] | None:
    """The images of a list or of a batch, (n, height, width, channels); None for one image."""
    if is_array(source):
        return [cast("Any", source)[i] for i in range(source.shape[0])] if len(source.shape) == 4 else None
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes, bytearray, memoryview)):
        return list(source)
    return None


def read(item: Array | ImageSource, format: str | None, channels: int) -> Input:
    """The pixels of one image, and where they come from."""
    if is_array(item):
        return Input(_channels_last(item, channels), format=format)
    if type(item).__module__.partition(".")[0] == "PIL":
        return _of_pil(item, channels)
    if isinstance(item, (bytes, bytearray, memoryview)) and not _is_path(item):
        return Input(images.decode(bytes(item), channels=channels))
    if not isinstance(item, (str, bytes, os.PathLike)):
        raise TypeError(
            "image: expected an array of uint8, a PIL image, a path, a URL or the bytes of an image file, "
            f"got {_checks.shown(item)}"
        )
    text = os.fsdecode(item)
    if is_url(text):
        from yolort import _fetch  # imports urllib, which takes a while

        data = _fetch.fetch(text)
        name = f"image {_addresses.shown_path(text)}"
        return Input(images.decode(data, name, channels), _addresses.without_secrets(text))
    return Input(images.read(item, channels), text)


def is_url(text: str) -> bool:
    """Whether text is an http or https URL, and not the name of an existing file."""
    return text.lower().startswith(("http://", "https://")) and not os.path.exists(text)


def _is_pattern(source: str | bytes | os.PathLike[str]) -> bool:
    """Whether a path, as text or bytes, stands for several images: a folder or a pattern."""
    if isinstance(source, bytes) and not _is_path(source):
        return False
    path = os.fsdecode(_checks.path("source", source)) if not is_url(os.fsdecode(source)) else ""
    return bool(path) and (os.path.isdir(path) or not os.path.exists(path))


def _is_path(item: bytes | bytearray | memoryview) -> bool:
    """Whether `bytes` are a path rather than the contents of an image file."""
    from yolort import _image_header  # imported here, so that importing yolort stays quick

    return isinstance(item, bytes) and (os.path.exists(item) or _image_header.read(item) is None)


def _of_pil(item: Any, channels: int) -> Input:
    """Its stored pixels. An EXIF orientation is not applied, so that boxes refer to the image as PIL shows it."""
    if channels not in (1, 3):
        raise images.ImageError(f"image: got a PIL image, but the model takes {channels} channels; pass an array")
    if item.mode == "L":
        return Input(np.asarray(item), format="gray")
    if item.mode not in _PIL_MODES:
        raise images.ImageError(
            f"image: a PIL image of mode {item.mode!r} has more than 8 bits per channel; scale it to 0 to 255 first"
        )
    return Input(np.asarray(item.convert("RGB")), format="rgb")


def _channels_last(array: Array, channels: int) -> Array:
    shape, known = tuple(array.shape), (1, 3, 4, channels)
    if len(shape) == 3 and shape[0] in known and shape[2] not in known:
        raise ValueError(
            f"image: shape {shape} has the channels first, expected (height, width, channels); use "
            "image.transpose(1, 2, 0), or image.permute(1, 2, 0) of a tensor"
        )
    return array
