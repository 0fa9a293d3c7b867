"""Frames of videos and cameras as lines of JSON, or annotated as a new video."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import yolort
from yolort import _addresses, _atomic

if TYPE_CHECKING:
    from yolort.stream import Frame

_CAMERA_RATE = 25.0  # frames per second, for sources that report none


def line(source: str, frame: Frame[Any]) -> str:
    """The detections in a frame of a source, as JSON."""
    about = {"source": _addresses.without_secrets(source), "index": frame.index, "time": frame.time}
    return json.dumps({**about, **frame.result.to_dict()})


def check(path: Path, sources: Iterable[str]) -> None:
    """Raises ValueError or OSError if no video can be written to this path."""
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"--save {path}: videos are written as .mp4; use that ending")
    _atomic.check(path, sources=sources)


def rate(source: str) -> float:
    """Frames per second of a video file; 25 for other sources."""
    if not Path(source).is_file():
        return _CAMERA_RATE
    cv2 = yolort.images.opencv()
    video = cv2.VideoCapture(source)
    found = float(video.get(cv2.CAP_PROP_FPS))
    video.release()
    return found if 0.1 <= found <= 1000 else _CAMERA_RATE


@contextmanager
def writing(
    path: Path, sources: Iterable[str], frames_per_second: float
) -> Iterator[Callable[[npt.NDArray[np.uint8]], None]]:
    """Yields a function that adds an image, (height, width, 3) BGR. The file is written atomically at the end.

    Raises ImageError if OpenCV cannot write videos, ValueError for images of different sizes.
    """
    cv2 = yolort.images.opencv()
    writer: Any = None
    size = (0, 0)

    def add(image: npt.NDArray[np.uint8]) -> None:
        nonlocal writer, size
        height, width = image.shape[:2]
        if writer is None:
            size = (width, height)
            writer = cv2.VideoWriter(str(built), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, size)
            if not writer.isOpened():
                raise yolort.ImageError(f"OpenCV cannot write the video {path}: it has no MPEG-4 encoder")
        if size != (width, height):
            raise ValueError(
                f"--save {path}: all frames must have the same size, but one has {width} x {height} pixels and "
                f"the first {size[0]} x {size[1]}"
            )
        writer.write(image)

    with _atomic.writing(path, sources=sources) as built:
        try:
            yield add
        finally:
            if writer is not None:
                writer.release()
        if writer is None:
            raise ValueError(f"--save {path}: the source has no frames")
        with open(built, "ab") as file:  # an MP4 box that players skip
            file.write(struct.pack(">I4s", 8 + len(_atomic.MARK), b"free") + _atomic.MARK.encode())
