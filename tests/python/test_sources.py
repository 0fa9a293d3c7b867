"""Sources of streams: invalid sources are reported at once, and messages contain no passwords."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from yolort._addresses import without_secrets
from yolort.sources import split

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize(
    ("source", "error"),
    [(-1, ValueError), (-5, ValueError), (100, ValueError), (2**40, ValueError), (True, TypeError), (1.0, TypeError),
     (None, TypeError), (b"x.mp4", TypeError), ([], ValueError), ("", FileNotFoundError), ("a\0b", FileNotFoundError),
     ("gone.mp4", FileNotFoundError), ([0, -1], ValueError)],
)  # fmt: skip
def test_invalid_sources(source: Any, error: type[Exception]) -> None:
    with pytest.raises((error, ValueError), match="source|does not exist|no such|null"):
        split(source)


def test_cameras_by_numbers_of_numpy() -> None:
    (source,) = split(np.int64(3))
    assert source.live


SECRET = "p@ss:w/rd"
URLS = [
    f"rtsp://user:{SECRET}@camera.example/1",
    f"rtsp://user:{SECRET}@[::1/x",
    f"rtsp://user:{SECRET}@[::1]:99999999/x",
    f"rtsp://user:{SECRET}@camera.example:port/1",
    f"rtsp://{SECRET}@camera.example/1",
    f"http://user:{SECRET}@/x",
    f"http://camera.example/x?user=a&password={SECRET}&size=3",
    f"http://camera.example/x?access_token={SECRET}",
    f"http://camera.example/x?a=1;auth={SECRET}#end",
    f"rtmp://camera.example/live?streamKey={SECRET}",
    f"rtsp:/user:{SECRET}@camera.example/1",
    f"rtsp:user:{SECRET}@camera.example/1",
    f"rtsp:\\\\user:{SECRET}@camera.example",
    f"user:{SECRET}@camera.example/1",
    f"//user:{SECRET}@camera.example/1",
    f" RTSP://user:{SECRET}@camera.example/1",
    f"http://user:a?{SECRET}@camera.example/1",
    f"http://camera.example/x?loginuse=a&loginpas={SECRET}",
    f"http://camera.example/x?u=a&p={SECRET}",
    f"http://camera.example/x?{SECRET}",
    f"http://camera.example/x?p%61ss={SECRET}",
    f"http://camera.example/x%3Fpass={SECRET}",
    f"http://camera.example/x#jwt={SECRET}",
    f"http://camera.example/user=a_password={SECRET}_channel=1_stream=0.sdp",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_stays_secret(url: str, caplog: pytest.LogCaptureFixture) -> None:
    shown = without_secrets(url)
    assert not any(part in shown for part in ("p@ss", "ss:w", "w/rd", "user:"))
    assert "***" in shown
    caplog.set_level(logging.DEBUG)
    try:
        (source,) = split(url)
        text = repr(source._name)  # type: ignore[attr-defined]
    except yolort.SourceError as error:
        assert error.__cause__ is None
        text = str(error)
        assert "its host or port is malformed" in text
    assert "p@ss" not in text + caplog.text


@pytest.mark.parametrize("url", [URLS[0], URLS[10], URLS[13], URLS[16]])
def test_errors_for_stream_urls_hide_the_password(url: str) -> None:
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    for use in (
        lambda: yolort.Detector(url),
        lambda: yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn", scale_models=url),
        lambda: detector(url),
        lambda: detector([url]),
        lambda: detector(Path(url)),
        lambda: yolort.images.find(url),
        lambda: yolort.images.read(url),
    ):
        with pytest.raises((FileNotFoundError, yolort.ImageError)) as error:
            use()
        assert "is not a file; calls of a Detector accept" in str(error.value) or "is malformed" in str(error.value)
        assert "p@ss" not in "".join(traceback.format_exception_only(error.value))


def test_ffmpeg_prints_no_password() -> None:
    """For tcp it prints the whole address on standard error."""
    program = """
import yolort
try:
    next(yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn").stream("tcp://user:p%40ss@127.0.0.1:9"))
except yolort.SourceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "tcp://***@127.0.0.1:9" in done.stdout
    assert "p%40ss" not in done.stdout + done.stderr


@pytest.mark.parametrize("path", ["a@b.jpg", "photo:1.jpg", "dir/a:b@c/d.jpg?x=1", "x=1&y=2.mp4"])
def test_paths_stay(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"no image")
    if "a:b@c" not in path:
        assert without_secrets(path) == path
    with pytest.raises((yolort.ImageError, yolort.SourceError)):
        next(iter(split(path)[0].read(threading.Event())))


def write_video(path: bytes) -> None:
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter("video.avi", cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 64))
    for _ in range(3):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    Path("video.avi").rename(os.fsdecode(path))


@pytest.mark.parametrize("name", [b"\xff\xfe.avi", b"concat:x.avi", b"http:x@y.avi", b"%03d.avi"])
def test_videos_with_odd_names(name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV crashes on text that is not valid UTF-8."""
    monkeypatch.chdir(tmp_path)
    write_video(name)
    (source,) = split(os.fsdecode(name))
    assert not source.live
    assert len(list(source.read(threading.Event()))) == 3


def test_an_address_that_is_not_text() -> None:
    with pytest.raises(yolort.SourceError, match="malformed"):
        split("http://camera.example/\udcff")


def test_an_empty_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
    with pytest.raises(yolort.SourceError, match=r"x\.mp4' is empty"):
        split(str(tmp_path / "x.mp4"))


def test_the_only_image_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(yolort.ImageError, match=r"x\.jpg"):
        next(iter(split(str(tmp_path / "x.jpg"))[0].read(threading.Event())))
    with pytest.warns(UserWarning, match="skipped"):
        assert not list(split(str(tmp_path))[0].read(threading.Event()))


@pytest.mark.parametrize("url", ["rtsp://camera.example:554/1?channel=2", "http://[::1]:8080/x", "file:///a/b.mp4"])
def test_urls_without_secrets_stay(url: str) -> None:
    assert without_secrets(url) == url
    assert split(url)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://",
        "http://",
        "http:///x",
        "://x",
        "rtsp:/x",
        "http:\\\\a",
        "rtsp://[::1/x",
        "http://a:b/x",
        "http://a:0/",
    ],
)
def test_malformed_urls(url: str) -> None:
    with pytest.raises(yolort.SourceError, match="is not a valid URL: its host or port is malformed"):
        split(url)


def test_a_url_that_does_not_answer_is_named_without_secrets() -> None:
    (source,) = split("http://user:p@ss@127.0.0.1:9/none.mp4")
    with pytest.raises(yolort.SourceError, match=r"\*\*\*@127\.0\.0\.1:9") as error:
        next(iter(source.read(threading.Event())))
    assert error.value.__cause__ is None
    assert "p@ss" not in str(error.value)


def test_a_list_that_holds_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no images"):
        split([str(tmp_path)])


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with a.avi and b.avi of 40 frames, and b.avi without its second half."""
    rows = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), np.uint8)
    for name in ("a.avi", "b.avi"):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
        for row in rows:
            writer.write(row)
        writer.release()
    whole = (tmp_path / "b.avi").read_bytes()
    (tmp_path / "b.avi").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_video_that_ends_early_is_reported(videos: Path) -> None:
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    with detector.stream(videos / "a.avi") as stream:
        assert len(list(stream)) == 40
    assert stream.problems == []
    said = r"b\.avi' is damaged or incomplete: it ended after \d+ of 40 frames, 1\.\d of 4\.0 s"
    with pytest.warns(UserWarning, match=said), detector.stream(videos / "b.avi") as stream:
        assert 10 <= len(list(stream)) <= 20
    assert len(stream.problems) == 1
    with detector.stream(videos / "b.avi") as stream:
        next(stream)  # stopping early is not reported
    assert stream.problems == []


def test_folders_and_patterns_of_videos(videos: Path) -> None:
    """Videos and images in order of their names; unreadable files are skipped."""
    (videos / "b.avi").write_bytes(b"no video")
    (videos / "c.avi").write_bytes((videos / "a.avi").read_bytes())
    cv2.imwrite(str(videos / "d.png"), np.zeros((64, 64, 3), np.uint8))
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    said = r"skipped: source '.*b\.avi' cannot be opened"
    with pytest.warns(UserWarning, match=said), detector.stream(videos) as stream:
        frames = list(stream)
    assert [Path(str(frame.detections.path)).name for frame in frames] == ["a.avi"] * 40 + ["c.avi"] * 40 + ["d.png"]
    assert [frame.index for frame in frames] == list(range(81))
    assert len(stream.problems) == 1
    assert len(list(detector.stream(videos / "[ac].avi", policy="latest"))) > 1
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4' does not exist and matches no images or"):
        detector.stream(videos / "gone.mp4")


def test_errors_for_videos_and_bytes_given_as_images(videos: Path) -> None:
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    with pytest.raises(yolort.ImageError, match=r"its ending is that of a video; yolort stream and Detector\.stream"):
        detector(videos / "a.avi")
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4' does not exist"):
        detector(videos / "gone.mp4")
    encoded = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    assert detector(encoded).shape == (64, 64)
    for use in (yolort.images.read, yolort.images.find):
        with pytest.raises(
            ValueError, match=r"expected a path, got the bytes of an image file; use yolort\.images\.decode"
        ):
            use(encoded)
    image = videos / "x.mjpeg"
    image.write_bytes(encoded)
    assert yolort.images.read(image).shape == (64, 64, 3)
