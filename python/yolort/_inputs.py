"""The images that a call of `Detector` or `Classifier` is given: arrays, files, folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from yolort import _checks, images
from yolort._types import Array, ImagePath, Result, Source, is_array

#: Gives a result for each array, whose path (or None) and channel order (None: the usual one) are beside it.
Run: TypeAlias = "Callable[[list[Array], Sequence[str | None], Sequence[str | None]], list[Result]]"


def run_on(source: Source, format: str | None, channels: int, run: Run[Result]) -> Result | list[Result]:
    """`run` on an image, a path, a list of either, a folder or a glob pattern: one result, or a list of them.

    `format` is that of arrays, not of files. Files of a folder that cannot be read are left out, each with a
    UserWarning at the caller's caller. Raises FileNotFoundError, ImageError, TypeError, and what `run` raises.
    """
    if is_array(source):
        return run([source], [None], [format])[0]
    if isinstance(source, (str, bytes, os.PathLike)):
        path = os.fsdecode(_checks.path("source", source))
        if os.path.exists(path) and not os.path.isdir(path):
            return run([images.read(path, channels)], [path], [None])[0]
        out: list[Result] = []
        for file in images.find(path):  # one at a time: a folder may not fit in memory
            try:
                array = images.read(file, channels)
            except (images.ImageError, FileNotFoundError) as error:
                warnings.warn(f"left out: {error}", stacklevel=3)
                continue
            out += run([array], [os.fspath(file)], [None])
        return out
    if not isinstance(source, Sequence) or isinstance(source, (bytearray, memoryview)):
        raise TypeError(f"source: expected an image (an array), a path or a list of them, got {type(source).__name__}")
    items = cast("Sequence[Array | ImagePath]", source)
    arrays = [_read(item, channels) for item in items]
    paths = [None if is_array(item) else os.fsdecode(item) for item in items]
    return run(arrays, paths, [format if is_array(item) else None for item in items])


def _read(item: Array | ImagePath, channels: int) -> Array:
    if is_array(item):
        return item
    if isinstance(item, (str, bytes, os.PathLike)):
        return images.read(item, channels)
    raise TypeError(f"image: expected an array of uint8 or a path, got {type(item).__name__}")
