"""Streams of cameras and URLs: lost ones are reopened, and ones that cannot be opened are errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from streaming import threads
from yolort import sources

cv2 = pytest.importorskip("cv2")


class Capture:
    """A fake cv2.VideoCapture: returns the images of one connection after another, then nothing."""

    connections: list[int]  # images of each

    def __init__(self, *address: Any) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.open(*address)

    def open(self, *_: Any) -> bool:
        self.left = self.connections.pop(0) if self.connections else 0
        return True

    def isOpened(self) -> bool:  # noqa: N802
        return bool(self.left)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.zeros((8, 8, 3), np.uint8)) if self.left >= 0 else (False, None)

    def get(self, what: int) -> float:
        return -1.0 if what == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        self.left = 0


@pytest.mark.parametrize("address", [0, "rtsp://camera/1"])
def test_a_lost_camera_is_opened_again(
    detector: yolort.Detector, monkeypatch: pytest.MonkeyPatch, address: int | str, caplog: pytest.LogCaptureFixture
) -> None:
    Capture.connections = [3, 0, 0, 4]
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(sources, "FIRST_PAUSE", 0.001)
    with detector.stream(address, policy="all") as stream:
        assert [next(stream).index for _ in range(7)] == list(range(7))
    assert not threads()
    pauses = [record.args[1] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses[:3] == [0.001, 0.002, 0.004]


def test_a_network_stream_that_breaks(
    detector: yolort.Detector, scenes: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera that speaks MJPEG over HTTP and hangs up after five images, each time."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=image")
            self.end_headers()
            for scene in scenes[:5]:
                data = cv2.imencode(".jpg", scene)[1].tobytes()
                self.wfile.write(b"--image\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
                self.wfile.write(data + b"\r\n")

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(sources, "FIRST_PAUSE", 0.01)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/video.mjpg"
        with detector.stream(url, policy="all") as stream:
            frames = [next(stream) for _ in range(12)]
        assert all(len(frame.detections) for frame in frames)
        assert [frame.index for frame in frames] == list(range(12))
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def no_video(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("this is no video")
    return folder / "notes.mp4"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (no_video, "notes.mp4' cannot be opened: OpenCV finds no video there"),
        (lambda _: 99, "camera 99 cannot be opened: OpenCV finds no camera there"),
        (lambda _: "http://user:secret@127.0.0.1:9/x", r"'http://\*\*\*@127.0.0.1:9/x' cannot be opened"),
    ],
)
def test_models_that_cannot_be_opened(
    detector: yolort.Detector, tmp_path: Path, source: Callable[[Path], Any], message: str
) -> None:
    with pytest.raises(yolort.SourceError, match=message):
        next(detector.stream(source(tmp_path)))
    assert not threads()
