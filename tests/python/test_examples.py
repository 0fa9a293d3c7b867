"""The Python examples run with the embedded model; tests/install/test_sdk.py runs those in C and C++."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yolort

EXAMPLES = Path(__file__).parents[2] / "examples"
cv2 = pytest.importorskip("cv2")


def run(example: str, *arguments: object, warnings: str = "error") -> list[str]:
    """The output lines of an example."""
    command = [sys.executable, "-W", warnings, EXAMPLES / "python" / example, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected() -> yolort.Detections:
    return yolort.Detector(yolort.demo_model("ncnn"))(yolort.images.read(yolort.demo_image()), conf=0.4)


def test_an_image_is_detected_in_and_drawn(expected: yolort.Detections, tmp_path: Path) -> None:
    output = tmp_path / "drawn.png"
    lines = run("detect_image.py", yolort.demo_model("ncnn"), yolort.demo_image(), output)
    assert len(lines) >= len(expected) > 0
    image = yolort.images.read(yolort.demo_image())
    assert yolort.images.read(output).shape == image.shape
    assert not np.array_equal(yolort.images.read(output), image)


def test_objects_are_counted_in_each_frame(expected: yolort.Detections, tmp_path: Path) -> None:
    for index in range(2):
        (tmp_path / f"{index}.jpg").write_bytes(yolort.demo_image().read_bytes())
    lines = run("count_in_stream.py", yolort.demo_model("ncnn"), tmp_path)
    assert [line.split(maxsplit=1)[0] for line in lines] == ["0", "1"]
    assert sum(map(int, re.findall(r": (\d+)", lines[0]))) == len(expected)


def test_a_folder_is_detected_in(expected: yolort.Detections, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(yolort.demo_image().read_bytes())
    output = tmp_path / "found.jsonl"
    assert len(run("detect_folder.py", yolort.demo_model("ncnn"), tmp_path, output)) == 1
    line = json.loads(output.read_text())
    assert line["path"] == str(tmp_path / "a.jpg")
    assert len(line["detections"]) == len(expected)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """The demo image, three times; replaces a webcam, which is read in the same way."""
    image = yolort.images.read(yolort.demo_image())
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, image.shape[1::-1])
    for _ in range(3):
        writer.write(image)
    writer.release()
    return path


def test_a_video_is_drawn_into(video: Path, tmp_path: Path) -> None:
    output = tmp_path / "drawn.avi"
    assert run("annotate_video.py", yolort.demo_model("ncnn"), video, output, 2) == ["2 frames"]
    drawn, plain = cv2.VideoCapture(str(output)), cv2.VideoCapture(str(video))
    (read, first), (_, original) = drawn.read(), plain.read()
    assert read
    assert first.shape == original.shape
    assert not np.array_equal(first, original)
    assert [drawn.read()[0], drawn.read()[0]] == [True, False]


def test_objects_are_counted_with_supervision(video: Path) -> None:
    pytest.importorskip("supervision")
    lines = run("count_with_supervision.py", yolort.demo_model("ncnn"), video, warnings="default")
    counts = [[int(number) for number in re.findall(r"\d+", line)] for line in lines]
    found = next(iter(yolort.Detector(yolort.demo_model("ncnn")).stream(str(video), conf=0.4)))
    left = found.detections.boxes[:, [0, 2]].mean(1) < found.image.shape[1] / 2
    assert counts == [[index, len(left), left.sum()] for index in range(3)]
    assert 0 < left.sum() < len(left)


@contextmanager
def serving(*program: object) -> Iterator[str]:
    """The address of a server running in a separate Python process."""
    command = [sys.executable, *map(str, program)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        watchdog = threading.Timer(300, server.kill)
        watchdog.start()
        try:
            assert server.stderr
            addresses = (re.search(r"running on (http://\S+)", line) for line in server.stderr)
            yield next(found[1] for found in addresses if found)
        finally:
            server.terminate()
            server.communicate()
            watchdog.cancel()


def test_an_application_of_fastapi_answers(expected: yolort.Detections) -> None:
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package)
    with serving(EXAMPLES / "python/fastapi_app.py", yolort.demo_model("ncnn"), 0) as url:
        assert len(run("ask_server.py", yolort.demo_image(), url)) == len(expected)


def test_a_server_is_asked(expected: yolort.Detections) -> None:
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(package)
    program = "import sys, yolort; from yolort import serve; "
    program += "serve.run(serve.create_app(yolort.Detector(yolort.demo_model('ncnn'))), port=0)"
    with serving("-c", program) as url:
        assert len(run("ask_server.py", yolort.demo_image(), url)) == len(expected)


def test_the_list_of_examples_is_complete() -> None:
    listed = set(re.findall(r"^\| `([\w/]+\.\w+)", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    files = [path for path in EXAMPLES.rglob("*.*") if path.is_file() and "__pycache__" not in path.parts]
    assert listed == {str(path.relative_to(EXAMPLES)) for path in files if path.suffix not in (".md", ".txt")}
