"""Streams: order, policies, back-pressure, errors, and that they stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from streaming import Gated, threads

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def video(scenes: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "scenes.avi"
    height, width = scenes[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, (width, height))
    for scene in scenes:
        writer.write(scene)
    writer.release()
    return path


def stream_of(gated: Gated, source: Any, policy: Any, **options: Any) -> yolort.Stream[yolort.Detections]:
    return yolort.Detector.stream(gated, source, policy=policy, **options)  # type: ignore[arg-type]


def numbered(total: int | None = None) -> Iterator[np.ndarray]:
    for _ in range(total) if total else count():
        yield np.zeros((8, 8, 3), np.uint8)


def assert_same(found: yolort.Detections, expected: yolort.Detections) -> None:
    assert len(expected)
    for column in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))


def test_arrays_in_order(detector: yolort.Detector, scenes: list[np.ndarray]) -> None:
    frames = list(detector.stream(iter(scenes), workers=3))
    assert [frame.index for frame in frames] == list(range(len(scenes)))
    for frame, scene in zip(frames, scenes, strict=True):
        assert frame.image is scene
        assert_same(frame.detections, detector(scene))
    assert not threads()


def test_a_video_stream_gives_the_results_of_a_loop(detector: yolort.Detector, video: Path) -> None:
    capture = cv2.VideoCapture(str(video))
    for frame in detector.stream(video, conf=0.4):
        done, image = capture.read()
        assert done
        np.testing.assert_array_equal(frame.image, image)
        assert_same(frame.detections, detector(image, conf=0.4))
        assert frame.time == pytest.approx(frame.index / 50, abs=1e-3)
    assert not capture.read()[0]


def test_a_folder(detector: yolort.Detector, scenes: list[np.ndarray], tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        yolort.images.write(tmp_path / name, scenes[0])
    (tmp_path / "aa.jpg").write_bytes(b"this is no JPEG")
    with pytest.warns(UserWarning, match="skipped: image .*aa.jpg"):
        frames = list(detector.stream(tmp_path))
    assert [frame.detections.path for frame in frames] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert_same(frames[0].detections, detector(scenes[0]))


def test_format_is_of_arrays_only(
    detector: yolort.Detector, scenes: list[np.ndarray], video: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scenes[0])
    of_video = [frame.detections for frame in detector.stream(video)]
    turned = scenes[0][..., ::-1]
    several: list[Any] = [tmp_path, tmp_path / "a.png", video, iter([turned, turned])]
    frames = list(detector.stream(several, format="rgb"))
    for source, frames_of in enumerate((1, 1, len(scenes), 2)):
        found = [frame.detections for frame in frames if frame.source == source]
        expected = of_video if source == 2 else [detector(scenes[0])] * frames_of
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    with yolort.Batcher(detector, workers=1) as batcher:  # also accepts a path
        assert_same(batcher.submit(tmp_path / "a.png", format="rgb").result(60), detector(scenes[0]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format is 'xyz'"):
        detector.stream(video, format="xyz")


def test_many_sources_keep_their_order(detector: yolort.Detector, scenes: list[np.ndarray], video: Path) -> None:
    several: list[Any] = [iter(scenes), video, iter(scenes[::-1])]
    frames = list(detector.stream(several))
    for source in range(3):
        assert [frame.index for frame in frames if frame.source == source] == list(range(len(scenes)))
    backwards = [frame for frame in frames if frame.source == 2]
    assert_same(backwards[0].detections, detector(scenes[-1]))


def test_all_reads_no_further_than_the_buffer(detector: yolort.Detector) -> None:
    read = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal read
        for image in numbered():
            read += 1
            yield image

    with detector.stream(source(), buffer=3) as stream:
        for taken, _ in zip(range(1, 6), stream, strict=False):
            time.sleep(0.05)  # far longer than reading takes
            assert read <= taken + 4  # three in the pipeline, and one waiting for room


def test_latest_drops_what_waits_for_the_network(gated: Gated) -> None:
    read_all = threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield from numbered(20)
        read_all.set()

    with stream_of(gated, source(), "latest", workers=1) as stream:
        assert gated.entered.wait(60)
        assert read_all.wait(60)
        gated.gate.set()
        indices = [frame.index for frame in stream]
    assert indices[-1] == 19
    assert indices == sorted(set(indices))
    assert sum(count for count, _ in gated.calls) <= 3  # the current one, and at most one taken before the last
    assert stream.dropped == 20 - len(indices)


def test_latest_drops_what_waits_for_the_consumer(gated: Gated) -> None:
    gated.gate.set()

    def source() -> Iterator[np.ndarray]:
        for number, image in enumerate(numbered(10)):
            while len(gated.calls) < number:  # every image is processed
                time.sleep(0.001)
            yield image

    with stream_of(gated, source(), "latest", workers=1) as stream:
        while len(gated.calls) < 10 or stream.dropped < 9:
            time.sleep(0.001)
        assert [frame.index for frame in stream] == [9]


def test_latest_plays_a_file_at_its_own_rate(detector: yolort.Detector, video: Path) -> None:
    start = time.monotonic()
    frames = list(detector.stream(video, policy="latest"))
    assert frames[-1].index == 29
    for frame in frames:
        assert frame.time is not None
        assert frame.captured - start >= frame.time


def test_images_are_freed_without_garbage_collection(detector: yolort.Detector) -> None:
    images: list[weakref.ref[np.ndarray]] = []

    def source() -> Iterator[np.ndarray]:
        for image in numbered(40):
            images.append(weakref.ref(image))
            yield image

    gc.disable()
    try:
        with detector.stream(source(), buffer=2) as stream:
            for frame in stream:
                assert sum(image() is not None for image in images) <= 10
                del frame
    finally:
        gc.enable()


def test_an_error_of_the_source_comes_after_its_frames(detector: yolort.Detector) -> None:
    def source() -> Iterator[np.ndarray]:
        yield from numbered(3)
        raise OSError("the cable is out")

    stream = detector.stream(source())
    assert [next(stream).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the cable is out"):
        next(stream)
    assert list(stream) == []
    assert not threads()


def test_files_that_are_not_images_are_errors(detector: yolort.Detector) -> None:
    with pytest.raises(TypeError, match="uint8"):
        list(detector.stream([np.zeros((8, 8, 3), np.float32)]))
    assert not threads()


@pytest.mark.parametrize("leave", ["close", "break", "raise"])
def test_it_stops_when_it_is_left(detector: yolort.Detector, leave: str) -> None:
    def loop() -> None:
        stream = detector.stream(numbered())
        for _ in stream:
            if leave == "close":
                stream.close()
            elif leave == "break":
                break
            else:
                raise KeyError

    try:
        loop()
    except KeyError as error:
        error.__traceback__ = None
    assert not threads()


def test_closing_ends_a_loop_that_waits(gated: Gated) -> None:
    stream = stream_of(gated, numbered(), "all")
    got: list[yolort.Frame[yolort.Detections]] = []
    consumer = threading.Thread(target=lambda: got.extend(stream))
    consumer.start()
    assert gated.entered.wait(60)
    closing = threading.Thread(target=stream.close)
    closing.start()
    consumer.join(60)
    assert not consumer.is_alive()
    assert got == []
    gated.gate.set()
    closing.join(60)
    assert not threads()


PROGRAM = """
import itertools, numpy, yolort
detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
stream = detector.stream(numpy.zeros((64, 64, 3), numpy.uint8) for _ in itertools.count())
print(next(stream).index, flush=True)
"""


def test_ctrl_c_ends_it() -> None:
    program = PROGRAM + "for _ in stream: pass"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "0\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


def test_ctrl_c_is_tested_under_nohup() -> None:
    command = [sys.executable, "-m", "pytest", "-q", f"{__file__}::{test_ctrl_c_ends_it.__name__}"]
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    done = subprocess.run(ignoring, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_one_left_open_does_not_hold_the_interpreter() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_asynchronous_iteration(detector: yolort.Detector, scenes: list[np.ndarray]) -> None:
    async def indices() -> list[int]:
        return [frame.index async for frame in detector.stream(iter(scenes))]

    assert asyncio.run(indices()) == list(range(len(scenes)))


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("nothing.mp4", {}, FileNotFoundError, "nothing.mp4"),
        ([], {}, ValueError, "empty"),
        (2.5, {}, TypeError, "got float"),
        (b"bytes", {}, TypeError, "got bytes"),
        (np.zeros((8, 8, 3), np.uint8), {}, TypeError, "got ndarray"),
        ([], {"policy": "newest"}, ValueError, "policy is 'newest', expected one of all, latest"),
        ([], {"buffer": 0}, ValueError, "buffer is 0"),
        (["a", 0], {"workers": 0}, FileNotFoundError, "'a'"),
    ],
)
def test_wrong_use(
    detector: yolort.Detector, source: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        detector.stream(source, **options)
    assert not threads()


FORKED = """
import os, numpy, yolort
detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
batcher = yolort.Batcher(detector)
stream = detector.stream(numpy.zeros((64, 64, 3), numpy.uint8) for _ in range(100))
next(stream)
child = os.fork()
if not child:
    for use in (lambda: next(stream), lambda: batcher.submit(numpy.zeros((8, 8, 3), numpy.uint8))):
        try: use()
        except RuntimeError as error: print(error, flush=True)
    del stream, batcher  # close nothing of the parent's
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(list(stream)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_share_the_batcher() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "this Stream was created before the process forked" in lines[0]
    assert "this Batcher is closed, or was created before the process forked" in lines[1]
    assert lines[2] == "99"
