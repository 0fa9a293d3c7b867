"""What a call takes for an image: an array, a PIL image, a path, a URL, or the bytes of an image file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from yolort import _checks, images
from yolort._types import Array, ImageSource, Source

if TYPE_CHECKING:
    from typing_extensions import TypeIs

#: Modes of PIL whose pixels have 8 bits or fewer for each channel.
_PIL_MODES = ("1", "CMYK", "HSV", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")


class Input(NamedTuple):
    """One image."""

    array: Array
    path: str | None = None  #: the file or the URL (without secrets) it came from
    format: str | None = None  #: the order of the array's channels; None: that of arrays by default, BGR


def is_array(item: object) -> TypeIs[Array]:
    """Whether an object gives its pixels by DLPack, as numpy's arrays do, or by CUDA's array interface."""
    return hasattr(item, "__dlpack__") or hasattr(item, "__cuda_array_interface__")


def several(source: Source) -> list[Array | ImageSource] | None:
    """The images of a list or of a batch, (n, height, width, channels); None for one image. TypeError."""
    if is_array(source):
        return [cast("Any", source)[i] for i in range(source.shape[0])] if len(source.shape) == 4 else None
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes, bytearray, memoryview)):
        return list(source)
    return None


def read(item: Array | ImageSource, format: str | None, name: str = "image") -> Input:
    """The pixels of one image, and where they come from.

    Args:
        item: what the caller gave.
        format: the order of the channels of an array.
        name: what a message calls it.

    Raises:
        FileNotFoundError, ImageError: it cannot be read.
        TypeError, ValueError: it is no image.
    """
    if is_array(item):
        return Input(_channels_last(item, name), format=format)
    if type(item).__module__.partition(".")[0] == "PIL":
        return _of_pil(item, name)
    if isinstance(item, (bytes, bytearray, memoryview)) and not _is_path(item):
        return Input(images.decode(bytes(item), name))
    if not isinstance(item, (str, bytes, os.PathLike)):
        raise TypeError(
            f"{name}: expected an array of uint8, a PIL image, a path, a URL or the bytes of an image file, "
            f"got {_checks.shown(item)}"
        )
    text = os.fsdecode(item)
    if is_url(text):
        from yolort import _fetch  # urllib, which takes a while to import

        data = _fetch.fetch(text)
        return Input(images.decode(data, f"{name} {_checks.shown_path(text)}"), _checks.without_secrets(text))
    return Input(images.read(item), text)


def is_url(text: str) -> bool:
    """Whether text is the http or https URL of an image, and no file of such a name is there."""
    return text.lower().startswith(("http://", "https://")) and not os.path.exists(text)


def is_pattern(source: str | bytes | os.PathLike[str]) -> bool:
    """Whether a path, or bytes, stand for several images: a folder, or a pattern."""
    if isinstance(source, bytes) and not _is_path(source):
        return False
    path = os.fsdecode(_checks.path("source", source)) if not is_url(os.fsdecode(source)) else ""
    return bool(path) and (os.path.isdir(path) or not os.path.exists(path))


def _is_path(item: bytes | bytearray | memoryview) -> bool:
    """Whether bytes are those of a path, and not of an image file."""
    from yolort import _image_header  # importing yolort stays quick

    return isinstance(item, bytes) and (os.path.exists(item) or _image_header.read(item) is None)


def _of_pil(item: Any, name: str) -> Input:
    """Its pixels as they are: an orientation in its EXIF data is not applied, so that boxes are in its own pixels."""
    if item.mode == "L":
        return Input(np.asarray(item), format="gray")
    if item.mode not in _PIL_MODES:
        raise images.ImageError(
            f"{name}: a PIL image of mode {item.mode!r} has more than 8 bits a channel; scale it to 0 to 255 first"
        )
    return Input(np.asarray(item.convert("RGB")), format="rgb")


def _channels_last(array: Array, name: str) -> Array:
    shape = tuple(array.shape)
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise ValueError(
            f"{name}: shape {shape} has its channels first, expected (height, width, channels): "
            "image.transpose(1, 2, 0), or image.permute(1, 2, 0) of a tensor"
        )
    return array
