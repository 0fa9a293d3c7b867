"""Detection or classification in a stream of images: reading, inference and the consumer's work overlap, in bounded
memory.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from yolort import _checks
from yolort._types import DetectorLike, Result, Settings
from yolort.batcher import WORKERS, Batcher
from yolort.detections import Detections
from yolort.sources import Arrays, Source, SourceImage, StreamSource, split

Policy: TypeAlias = Literal["all", "latest"]

_POLICIES = ("all", "latest")
_JOIN = 15.0  # seconds to wait for a reader in a system call; it is a daemon


@dataclass(frozen=True, eq=False)
class Frame(Generic[Result]):
    """One image of a stream and its result.

    Attributes:
        image: the array, (height, width, 3) BGR uint8 unless the source is an iterator of other arrays.
        result: `Detections` or `Classification`; its `path` is set for image files.
        index: number of the image in its source, from 0; dropped images under "latest" are counted, too.
        source: index of the source in the list given to `stream`, otherwise 0.
        time: seconds from the start of the video, if the source reports it, otherwise None.
        captured: `time.monotonic()` after the image was read.
    """

    image: npt.NDArray[np.uint8]
    result: Result
    index: int
    source: int
    time: float | None
    captured: float

    @property
    def detections(self) -> Detections:
        """`result` of a Detector; raises TypeError if it is a Classification."""
        if not isinstance(self.result, Detections):
            raise TypeError("this frame has a Classification; use frame.result")
        return self.result


@dataclass(eq=False)
class _Entry:
    """An image in the pipeline. Until a worker starts on it, "latest" may replace it with a newer one."""

    image: SourceImage
    index: int
    captured: float
    started: bool = False
    result: Any = None  # or the exception


@dataclass(eq=False)
class _Track:
    """One source: its images in the pipeline, in order, and how it ended."""

    source: Source
    number: int
    latest: bool
    entries: deque[_Entry] = field(default_factory=deque)
    ended: bool = False
    error: Exception | None = None


class _Pipeline:
    """State shared by readers, workers and the consumer."""

    def __init__(self, tracks: list[_Track], batcher: Batcher[Any], buffer: int, settings: dict[str, Any]) -> None:
        self.tracks = tracks
        self.batcher = batcher
        self.buffer = buffer
        self.settings = settings  # for arrays, see `_checks.settings`; for images that yolort decodes, which are BGR:
        self.decoded = {name: value for name, value in settings.items() if name != "format"}
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.dropped = 0

    def read(self, track: _Track) -> None:
        """The thread of a reader."""
        try:
            start: float | None = None
            last = 0.0
            for index, image in enumerate(track.source.read(self.stopping)):
                now = time.monotonic()
                if image.time is not None and image.time < last:  # the next video
                    start = None
                last = image.time or 0.0
                if track.latest and not track.source.live and image.time is not None:  # a file plays at its own rate
                    start = now - image.time if start is None else start
                    self.stopping.wait(max(start + image.time - now, 0))
                if not self.offer(track, _Entry(image, index, time.monotonic())):
                    break
        except Exception as error:
            track.error = error
        finally:
            with self.changed:
                track.ended = True
                self.changed.notify_all()

    def offer(self, track: _Track, entry: _Entry) -> bool:
        """Add an image to the pipeline once there is room; returns False when the stream stops."""
        with self.changed:
            if track.latest and track.entries and not track.entries[-1].started:
                waiting = track.entries[-1]
                waiting.image, waiting.index, waiting.captured = entry.image, entry.index, entry.captured
                self.dropped += 1
                return not self.stopping.is_set()
            self.changed.wait_for(lambda: track.latest or self.stopping.is_set() or len(track.entries) < self.buffer)
            if self.stopping.is_set():
                return False
            track.entries.append(entry)
        settings = self.settings if isinstance(track.source, Arrays) else self.decoded
        future = self.batcher.submit_lazily(partial(self.start, entry), **settings)
        future.add_done_callback(partial(self.finish, track, entry))
        return True

    def start(self, entry: _Entry) -> npt.NDArray[np.uint8]:
        with self.changed:
            entry.started = True
            return entry.image.pixels

    def finish(self, track: _Track, entry: _Entry, result: Future[Any]) -> None:
        if result.cancelled():  # the stream stops
            return
        with self.changed:
            entry.started = True
            # Not the future itself: its callback holds this entry, so the image would be freed only by the garbage
            # collector.
            entry.result = result.exception() or result.result()
            if track.latest and entry in track.entries:  # otherwise a newer one has overtaken it
                while track.entries[0] is not entry:
                    track.entries.popleft()
                    self.dropped += 1
            self.changed.notify_all()

    def take(self) -> Frame[Any] | None:
        """Wait for the next result, taking the sources in turns; None at the end."""
        with self.changed:
            while not self.stopping.is_set():
                for track in self.tracks:
                    if track.entries and track.entries[0].result is not None:
                        self.tracks.remove(track)
                        self.tracks.append(track)
                        self.changed.notify_all()
                        return _frame(track, track.entries.popleft())
                    if track.ended and not track.entries and track.error is not None:
                        raise track.error
                if all(track.ended and not track.entries for track in self.tracks):
                    return None
                self.changed.wait()
        return None

    def stop(self, readers: list[threading.Thread]) -> None:
        if not self.batcher.running:  # a forked process
            return
        self.stopping.set()
        with self.changed:
            self.changed.notify_all()
        self.batcher.close(cancel=True)
        for reader in readers:
            if reader is not threading.current_thread():  # the last reference may be dropped within a user's source
                reader.join(_JOIN)


def _frame(track: _Track, entry: _Entry) -> Frame[Any]:
    found = entry.result
    if isinstance(found, BaseException):
        raise found
    found.path = entry.image.path
    return Frame(entry.image.pixels, found, entry.index, track.number, entry.image.time, entry.captured)


class Stream(Iterator[Frame[Result]]):
    """Frames of one or more sources, each in its own order; created by `Detector.stream`.

    Iterate over it with `for` or `async for`. It stops when the sources end, on an error or Ctrl-C, on `close()`, at
    the end of a `with`, and when its last reference is dropped.
    """

    def __init__(
        self,
        detector: DetectorLike[Result],
        source: StreamSource | Sequence[StreamSource],
        policy: Policy | None,
        buffer: int,
        workers: int | None,
        batching: dict[str, Any],
        settings: Settings,
    ) -> None:
        """See `Detector.stream`."""
        if _checks.text("policy", policy) not in ("", *_POLICIES):
            raise ValueError(f"policy is {policy!r}, expected one of {', '.join(_POLICIES)}")
        buffer = _checks.integer("buffer", buffer)
        checked = _checks.settings(settings, detector.names)
        sources = split(source)
        tracks = [
            _Track(source, number, (policy or _default(source)) == "latest") for number, source in enumerate(sources)
        ]
        self._tracks = tuple(tracks)
        if workers is None:
            workers = 1 if len(tracks) == 1 and tracks[0].latest else WORKERS
        batcher = Batcher(detector, queue=len(tracks) * buffer, workers=workers, **batching)
        self._pipeline = _Pipeline(tracks, batcher, buffer, checked)
        readers = [
            threading.Thread(
                target=self._pipeline.read, args=(track,), name=f"yolort-reader-{track.number}", daemon=True
            )
            for track in tracks
        ]
        for reader in readers:
            reader.start()
        # The threads hold the pipeline, not this object, so a stream that was never closed still stops when collected
        # or at exit.
        self._finalizer = weakref.finalize(self, self._pipeline.stop, readers)

    @property
    def dropped(self) -> int:
        """Number of images that "latest" has dropped so far."""
        return self._pipeline.dropped

    @property
    def problems(self) -> list[str]:
        """One sentence for each source that could not be read completely so far: skipped files, truncated videos."""
        return [problem for track in self._tracks for problem in track.source.problems]

    def __iter__(self) -> Stream[Result]:
        return self

    def __next__(self) -> Frame[Result]:
        frame = self._take()
        if frame is None:
            raise StopIteration
        return frame

    def __aiter__(self) -> Stream[Result]:
        return self

    async def __anext__(self) -> Frame[Result]:
        import asyncio  # slow to import, and few streams need it

        frame = await asyncio.to_thread(self._take)
        if frame is None:
            raise StopAsyncIteration
        return frame

    def close(self) -> None:
        """Stop reading, drop the images in the pipeline and wait for the threads; a loop that waits for a frame
        ends.
        """
        self._finalizer()

    def __enter__(self) -> Stream[Result]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _take(self) -> Frame[Result] | None:
        if self._finalizer.alive and not self._pipeline.batcher.running:
            raise RuntimeError(
                "this Stream was created before the process forked; create it in the process that uses it"
            )
        try:
            frame = self._pipeline.take()
        except BaseException:  # Ctrl-C, too
            self.close()
            raise
        if frame is None:
            self.close()
        return frame


def _default(source: Source) -> Policy:
    return "latest" if source.live else "all"
