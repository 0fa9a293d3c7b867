"""Image files: finding, reading and writing them. OpenCV does the work and is imported at the first use."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from yolort import _atomic
from yolort._core import Error

ENDINGS = {".bmp", ".dib", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class ImageError(Error):
    """A file that cannot be read or written as an image."""


def opencv() -> ModuleType:
    """The cv2 module.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"reading, drawing and writing image files needs OpenCV ({error}); "
            "pip install opencv-python-headless, or pass images as numpy arrays"
        ) from error
    return cv2


def find(source: str | os.PathLike[str]) -> list[Path]:
    """The image files of a source, sorted.

    Args:
        source: a file, a folder (its own images, not those of folders below), or a glob pattern (`**` goes deeper).

    Raises:
        FileNotFoundError: nothing there.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [entry for entry in path.iterdir() if entry.suffix.lower() in ENDINGS and entry.is_file()]
        if not found:
            raise FileNotFoundError(f"folder {os.fspath(source)!r} holds no images ({', '.join(sorted(ENDINGS))})")
    else:
        matches = map(Path, glob.glob(os.fspath(source), recursive=True))
        found = [entry for entry in matches if entry.suffix.lower() in ENDINGS and entry.is_file()]
        if not found:
            raise FileNotFoundError(f"{os.fspath(source)!r} is no image, no folder, and matches no images")
    return sorted(found)


def read(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Decode an image file to (height, width, 3) BGR uint8, turned as its EXIF orientation says.

    Raises:
        FileNotFoundError: no such file.
        ImageError: not an image, damaged, or larger than OpenCV's limit (2^30 pixels).
        ImportError: OpenCV is not installed.
    """
    opencv()
    # Not imread: it cannot open every Unicode path, and hides why it fails.
    return decode(np.fromfile(path, np.uint8), f"image {os.fspath(path)!r}")


def decode(data: bytes | npt.NDArray[np.uint8], name: str = "image") -> npt.NDArray[np.uint8]:
    """Decode the bytes of an image file, as `read` does; `name` is what an error calls it.

    Raises:
        ImageError, ImportError: as `read`.
    """
    cv2 = opencv()
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error as error:
        raise ImageError(f"{name} cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{name} is empty, damaged or of an unknown format")
    return np.asarray(image, np.uint8)


def write(
    path: str | os.PathLike[str], image: npt.NDArray[np.uint8], *, sources: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Encode an image, (height, width, 3) BGR uint8, in the format of the path's ending.

    The file appears whole or not at all, and replaces only an image that yolort wrote (all end in a mark that decoders
    ignore), and none of `sources`.

    Raises:
        ImageError: the ending is unknown, or the file must not or cannot be written.
        ImportError: OpenCV is not installed.
    """
    cv2 = opencv()
    name = f"image {os.fspath(path)!r}"
    try:
        done, data = cv2.imencode(Path(path).suffix, image)
    except cv2.error as error:
        raise ImageError(f"{name} cannot be encoded: {error.err}") from error
    if not done:
        raise ImageError(f"{name} cannot be encoded as {Path(path).suffix!r}")
    try:
        _atomic.write(path, data.tobytes() + _atomic.MARK.encode(), sources=sources)
    except OSError as error:
        raise ImageError(f"{name} cannot be written: {error.strerror or error}") from error
