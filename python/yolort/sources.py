"""The sources of a stream: video files, cameras, network streams, folders, iterators."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from yolort import _addresses, _checks, images
from yolort._core import Error

StreamSource: TypeAlias = "int | str | os.PathLike[str] | Iterable[npt.NDArray[np.uint8]]"

_log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds for a network stream to open or to deliver a frame
_LAST_CAMERA = 99  # OpenCV interprets the hundreds of an index as a backend number
_MAX_SOURCES = 1000  # threads
_WHOLE = 0.95  # a recording counts as complete from this share of its frames or length on
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a lost source is opened again, doubled each time


class SourceError(Error):
    """A video, camera or network stream that cannot be opened."""


class SourceImage(NamedTuple):
    """One image of a source."""

    pixels: npt.NDArray[np.uint8]
    time: float | None = None  #: seconds from the start of the video, if it reports one
    path: str | None = None


class Source(Protocol):
    """A source of images."""

    live: bool  #: it continues whether or not it is read
    problems: list[str]  #: one sentence for each part that could not be read so far

    def read(self, stopping: threading.Event, /) -> Iterator[SourceImage]:
        """The images in order, until the end or until `stopping` is set."""


def split(source: StreamSource | Sequence[StreamSource]) -> list[Source]:
    """The sources named by an argument of `stream`: a list or tuple gives several, unless it holds arrays.

    Raises:
        FileNotFoundError: no such file.
        TypeError, ValueError: not a source, or an empty list.
    """
    if isinstance(source, (list, tuple)) and not any(isinstance(item, np.ndarray) for item in source):
        if not source:
            raise ValueError("source: the list of sources is empty")
        if len(source) > _MAX_SOURCES:
            raise ValueError(
                f"source: {len(source)} sources, but each needs a thread; expected at most {_MAX_SOURCES}. Images "
                "that belong together are one source: a folder, a pattern, or an iterator of arrays"
            )
        return [_open(item) for item in source]
    return [_open(source)]  # type: ignore[arg-type]


def _open(source: StreamSource) -> Source:
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return Video(_checks.integer("source: the index of a camera", source, 0, _LAST_CAMERA))
    if isinstance(source, str) and _addresses.is_address(source) and not os.path.exists(source):
        return Video(source)
    if isinstance(source, (str, os.PathLike)):
        text = os.fsdecode(_checks.path("source", source))
        path = Path(text)
        if os.path.isfile(path) and path.suffix.lower() not in images.endings():
            return Video(path)
        return Files(images.find(text, videos=True), single=os.path.exists(path) and not os.path.isdir(path))
    if isinstance(source, Iterable) and not isinstance(source, (bytes, np.ndarray)):
        return Arrays(source)
    raise TypeError(
        f"source: expected a video file, a camera's index, a URL, a folder, an iterable of images or a list of these, "
        f"got {type(source).__name__}"
    )


def _tell(problems: list[str], problem: str) -> None:
    problems.append(problem)
    warnings.warn(problem, stacklevel=3)


class Arrays:
    """An iterable of images."""

    live = False

    def __init__(self, arrays: Iterable[npt.NDArray[np.uint8]]) -> None:
        self.problems: list[str] = []
        self._arrays = arrays

    def read(self, _: threading.Event) -> Iterator[SourceImage]:
        for array in self._arrays:
            yield SourceImage(array)


class Files:
    """Image and video files, one after another.

    Unreadable ones are skipped, each with a UserWarning, unless there is only one.
    """

    live = False

    def __init__(self, paths: list[Path], *, single: bool = False) -> None:
        self.problems: list[str] = []
        self._paths = paths
        self._single = single

    def read(self, stopping: threading.Event) -> Iterator[SourceImage]:
        for path in self._paths:
            try:
                if images.is_video(path):
                    frames = Video(path, self.problems).read(stopping)
                    yield from (frame._replace(path=os.fspath(path)) for frame in frames)
                    continue
                image = images.read(path)
            except (images.ImageError, FileNotFoundError, SourceError) as error:
                if self._single:
                    raise
                _tell(self.problems, f"skipped: {error}")
                continue
            yield SourceImage(image, path=os.fspath(path))


class Video:
    """A source that OpenCV captures from: a file, a camera's index, or a URL; opened again when lost, if it is live.

    A UserWarning reports a recording that ends earlier than it declares.
    """

    def __init__(self, address: int | str | Path, problems: list[str] | None = None) -> None:
        self.problems = [] if problems is None else problems
        # As bytes, because OpenCV crashes on text that is not valid UTF-8.
        self._address = os.fsencode(address.absolute()) if isinstance(address, Path) else address
        self._name = f"camera {address}" if isinstance(address, int) else _addresses.shown_path(os.fspath(address))
        self.live = not isinstance(address, Path)
        if isinstance(address, str) and not _is_url(address):
            raise SourceError(f"source {self._name} is not a valid URL: its host or port is malformed")
        if isinstance(address, Path) and not address.stat().st_size:  # also for /proc, where some files block
            raise SourceError(f"source {self._name} is empty")

    def read(self, stopping: threading.Event) -> Iterator[SourceImage]:
        capture = self._capture()
        count, seconds = 0, 0.0
        try:
            pause = FIRST_PAUSE
            while not stopping.is_set():
                done, image = capture.read()
                if done:
                    pause = FIRST_PAUSE
                    count, seconds = count + 1, capture.get(images.opencv().CAP_PROP_POS_MSEC) / 1e3
                    yield SourceImage(image, seconds)
                elif not self.live:
                    self._check_end(capture, count, seconds)
                    return
                else:
                    capture.release()
                    _log.warning("%s is lost; it is opened again in %.1f s", self._name, pause)
                    stopping.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    capture.open(*self._how())
        finally:
            capture.release()

    def _check_end(self, capture: Any, count: int, seconds: float) -> None:
        """Reports missing frames, by their number and their times, because either may be an estimate."""
        cv2 = images.opencv()
        stated, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        whole = stated / rate if rate > 0 else 0.0
        if not count:
            _tell(self.problems, f"source {self._name} holds no frame that can be read")
        elif count < min(stated - 2, _WHOLE * stated) and seconds < _WHOLE * whole:
            read = f"{count} of {stated:.0f} frames, {seconds:.1f} of {whole:.1f} s"
            _tell(self.problems, f"source {self._name} is damaged or incomplete: it ended after {read}")

    def _how(self) -> tuple[Any, ...]:
        cv2 = images.opencv()
        if isinstance(self._address, int) or not self.live:
            return (self._address,)
        limit = round(TIMEOUT * 1e3)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        return (self._address, cv2.CAP_FFMPEG, limits)

    def _capture(self) -> Any:
        cv2 = images.opencv()
        if self.live:  # FFmpeg would print addresses with passwords on standard error; OpenCV reads this variable once
            os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        try:
            capture = cv2.VideoCapture(*self._how())
            reason = f"OpenCV finds no {'camera' if self._is_camera() else 'video'} there"
        except cv2.error as error:
            capture, reason = None, error.err.replace(str(self._address), self._name)
        if capture is None or not capture.isOpened():
            hint = "; OPENCV_FFMPEG_LOGLEVEL=24 shows why, and passwords" if self._is_url() else ""
            raise SourceError(f"source {self._name} cannot be opened: {reason}{hint}")
        # A recording behind a URL ends; a camera has no length.
        self.live = self.live and (self._is_camera() or capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0)
        return capture

    def _is_camera(self) -> bool:
        return isinstance(self._address, int)

    def _is_url(self) -> bool:
        return self.live and not self._is_camera()


def _is_url(text: str) -> bool:
    try:
        text.encode()
        parts = urlsplit(text)
        return bool(parts.scheme) and (parts.scheme == "file" or bool(parts.hostname)) and parts.port != 0
    except ValueError:
        return False
