"""Frames of videos and cameras as lines of JSON, and with what was found drawn on them as a new video."""

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

_CAMERA_RATE = 25.0  # frames a second of what reports none


def line(source: str, frame: Frame[Any]) -> str:
    """What was found in a frame of a source, as JSON."""
    about = {"source": _addresses.without_secrets(source), "index": frame.index, "time": frame.time}
    return json.dumps({**about, **frame.result.to_dict()})


def check(path: Path, sources: Iterable[str]) -> None:
    """ValueError, OSError for a place where no video can be written."""
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"--save {path}: a video is written as .mp4")
    _atomic.check(path, sources=sources)


def rate(source: str) -> float:
    """Frames a second of a video file; 25 of anything else."""
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
    """A function that adds an image, (height, width, 3) BGR; the file appears at the end, whole or not at all.

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
                f"--save {path}: a frame has {width} x {height} pixels, and the first {size[0]} x {size[1]}"
            )
        writer.write(image)

    with _atomic.writing(path, sources=sources) as built:
        try:
            yield add
        finally:
            if writer is not None:
                writer.release()
        if writer is None:
            raise ValueError(f"--save {path}: there is no frame to write")
        with open(built, "ab") as file:  # a box that players skip
            file.write(struct.pack(">I4s", 8 + len(_atomic.MARK), b"free") + _atomic.MARK.encode())
