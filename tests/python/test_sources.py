"""Where streams come from: what is no source is said at once, and no message tells a password."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from yolort.sources import split, without_secrets

pytest.importorskip("cv2")


@pytest.mark.parametrize(
    ("source", "error"),
    [(-1, ValueError), (-5, ValueError), (100, ValueError), (2**40, ValueError), (True, TypeError), (1.0, TypeError),
     (None, TypeError), (b"x.mp4", TypeError), ([], ValueError), ("", FileNotFoundError), ("a\0b", FileNotFoundError),
     ("gone.mp4", FileNotFoundError), ([0, -1], ValueError)],
)  # fmt: skip
def test_what_is_no_source(source: Any, error: type[Exception]) -> None:
    with pytest.raises((error, ValueError), match="source|is no image|no such|null"):
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


@pytest.mark.parametrize("url", ["rtsp://camera.example:554/1?channel=2", "http://[::1]:8080/x", "file:///a/b.mp4"])
def test_urls_without_secrets_stay(url: str) -> None:
    assert without_secrets(url) == url
    assert split(url)


@pytest.mark.parametrize(
    "url", ["rtsp://", "http://", "http:///x", "://x", "rtsp://[::1/x", "http://a:b/x", "http://a:0/"]
)
def test_malformed_urls(url: str) -> None:
    with pytest.raises(yolort.SourceError, match="is no URL that can be opened: its host or port is malformed"):
        split(url)


def test_a_url_that_does_not_answer_is_named_without_secrets() -> None:
    (source,) = split("http://user:p@ss@127.0.0.1:9/none.mp4")
    with pytest.raises(yolort.SourceError, match=r"\*\*\*@127\.0\.0\.1:9") as error:
        next(iter(source.pictures(threading.Event())))
    assert error.value.__cause__ is None
    assert "p@ss" not in str(error.value)


def test_a_list_that_holds_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no images"):
        split([str(tmp_path)])
