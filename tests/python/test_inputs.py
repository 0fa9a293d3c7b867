"""Images that a call accepts, and regions of images."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from yolort import _fetch

pytest.importorskip("cv2")
FILE = yolort.demo_image()


@pytest.fixture
def image() -> np.ndarray:
    return np.asarray(yolort.images.read(FILE))


def same(found: yolort.Detections, expected: yolort.Detections) -> None:
    assert len(expected)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.classes, expected.classes)


def one(detector: yolort.Detector, source: Any) -> yolort.Detections:
    found = detector(source)
    assert isinstance(found, yolort.Detections)
    return found


def test_every_kind_of_image_gives_the_same(detector: yolort.Detector, image: np.ndarray) -> None:
    pillow = pytest.importorskip("PIL.Image")
    expected = detector(image)
    data = FILE.read_bytes()
    opened = pillow.fromarray(image[..., ::-1])
    for source in (opened, str(FILE), FILE, data, bytearray(data), memoryview(data)):
        same(one(detector, source), expected)
    batches: list[Any] = [[opened, data, image], np.stack([image, image]), (FILE, opened)]
    for several in batches:
        for found in detector(several):
            same(found, expected)
    assert [found.path for found in detector([FILE, image])] == [str(FILE), None]
    gray = pillow.fromarray(image[..., ::-1]).convert("L")
    same(one(detector, gray), detector(np.asarray(gray), format="gray"))


def test_the_error_for_a_wrong_input_says_what_is_expected(detector: yolort.Detector, image: np.ndarray) -> None:
    pillow = pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match=r"channels first.*image\.transpose\(1, 2, 0\)"):
        detector(np.ascontiguousarray(image.transpose(2, 0, 1)))
    with pytest.raises(yolort.ImageError, match="mode 'I;16' has more than 8 bits"):
        detector(pillow.fromarray(np.zeros((64, 64), np.uint16)))
    with pytest.raises(TypeError, match="expected an array of uint8, a PIL image, a path, a URL"):
        detector(5)  # type: ignore[call-overload]
    with pytest.raises(yolort.ImageError, match="damaged|cannot be read|truncated"):
        detector(FILE.read_bytes()[:300])
    with pytest.raises(FileNotFoundError):
        detector(b"none.jpg")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"conf": "0.5"}, "conf: expected a number"),
        ({"max_det": 1.5}, "max_det"),
        ({"classes": ["whale"]}, "whale"),
        ({"region": (5, 5, 5, 9)}, "region: expected x1 < x2"),
        ({"region": [(0, 0), (1, 1)] * 9000}, "3 to 10000 corners"),
        ({"region": "all"}, "region: expected x1, y1, x2, y2"),
        ({"region": (0, 0, float("nan"), 4)}, "region: expected"),
        ({"region": (99990, 0, 99999, 9)}, "is outside the image"),
        ({"confidence": 0.5}, "confidence"),
    ],
)
def test_settings_out_of_range(
    detector: yolort.Detector, image: np.ndarray, settings: dict[str, object], says: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        detector(image, **settings)  # type: ignore[call-overload]


def test_a_class_by_name(detector: yolort.Detector, image: np.ndarray) -> None:
    name = detector.names[int(detector(image).classes[0])]
    assert {detector.names[cls] for cls in detector(image, classes=[name]).classes.tolist()} == {name}
    same(detector(image, classes=np.array([np.int64(0)])[0:1].tolist() + list(detector.names)), detector(image))


def test_a_threshold_for_each_class(detector: yolort.Detector, image: np.ndarray) -> None:
    every = detector(image, conf=0.05)
    classes = sorted(set(every.classes.tolist()))
    assert len(classes) > 2
    first, second = classes[0], detector.names[classes[1]]
    least = dict.fromkeys(detector.names, 0.25)
    least |= {first: float(every[every.classes == first].scores.max()) + 1e-4, classes[1]: 0.05}
    expected = every[[score > least[cls] for cls, score in zip(every.classes.tolist(), every.scores, strict=True)]]
    asked: Any = {first: least[first], second: 0.05}
    same(detector(image, conf=asked), expected)
    own = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn", conf=asked)
    same(own(image), expected)
    same(own.clone()(image), expected)
    same(own(image, conf=0.05), every)
    kept = [cls == classes[1] or (cls == first and score > 0.25) for cls, score in zip(
        every.classes.tolist(), every.scores, strict=True)]  # fmt: skip
    same(detector(image, conf={second: 0.05}, classes=[first, second]), every[kept])
    wrong: list[Any] = [{"whale": 0.5}, {999: 0.5}, {}, {first: 1.5}, {first: "0.5"}]
    for conf in wrong:
        with pytest.raises((TypeError, ValueError), match="conf"):
            detector(image, conf=conf)


def test_a_rectangle_is_a_crop(detector: yolort.Detector, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    left, top, right, bottom = width // 5, height // 6, width - 20, height - 30
    crop = detector(np.ascontiguousarray(image[top:bottom, left:right]))
    found = detector(image, region=(left, top, right, bottom))
    assert len(crop)
    assert found.shape == (height, width)
    np.testing.assert_allclose(found.boxes, crop.boxes + np.array([left, top, left, top]), atol=1e-3)
    np.testing.assert_array_equal(found.scores, crop.scores)
    same(detector(image, region=(-50, -50, width + 50, height + 50)), detector(image))


def test_a_polygon_keeps_detections_with_their_center_inside(detector: yolort.Detector, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    whole = detector(image)
    triangle = [(0, 0), (width, 0), (0, height)]
    found = detector(image, region=triangle)
    x, y = (whole.boxes[:, 0] + whole.boxes[:, 2]) / 2, (whole.boxes[:, 1] + whole.boxes[:, 3]) / 2
    inside = x / width + y / height < 1
    assert 0 < inside.sum() < len(whole)
    same(found, whole[inside])


def test_results_in_the_whole_image() -> None:
    part = yolort.Detections(
        np.array([[1, 2, 3, 4]], np.float32),
        np.array([0.5], np.float32),
        np.array([0], np.int64),
        keypoints=np.array([[[1, 2, 0.5]]], np.float32),
        names={0: "a"},
        skeleton=[(0, 0)],
        shape=(10, 10),
    )
    moved = part.in_image(100, 200, (500, 600))
    assert moved.boxes.tolist() == [[101, 202, 103, 204]]
    assert moved.keypoints is not None
    assert moved.keypoints.tolist() == [[[101, 202, 0.5]]]
    assert moved.skeleton == part.skeleton
    assert moved.shape == (500, 600)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("=")[2])
            self.end_headers()
        elif self.path == "/drip":
            try:
                for _ in range(200):
                    self.wfile.write(b"H")
                    time.sleep(0.05)
            except OSError:
                pass
        elif self.path.startswith("/image"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(FILE.read_bytes())
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_urls(detector: yolort.Detector, image: np.ndarray, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    found = one(detector, f"{site}/image.jpg?key=secret")
    same(found, detector(image))
    assert found.path is not None
    assert "secret" not in found.path
    same(detector([f"{site}/away?to=/image"])[0], found)
    same(one(detector, f"{site}/image of a café.jpg"), found)
    with pytest.raises(yolort.ImageError, match="the server answered 404"):
        detector(f"{site}/none.jpg")
    with pytest.raises(yolort.ImageError, match="cannot be fetched"):
        detector("http://127.0.0.1:1/a.jpg")
    with pytest.raises(yolort.ImageError):  # a redirect to another protocol
        detector(f"{site}/away?to=file:///etc/passwd")
    monkeypatch.setattr(_fetch, "MAX_BYTES", 2**20)
    with pytest.raises(yolort.ImageError, match="more than 1048576 bytes"):
        detector(f"{site}/endless")
    monkeypatch.setattr(_fetch, "MAX_BYTES", 2**40)
    monkeypatch.setattr(_fetch, "TIMEOUT", 0.2)
    for slow in ("/endless", "/drip"):
        with pytest.raises(yolort.ImageError, match="did not arrive within"):
            detector(site + slow)


def test_warmup(detector: yolort.Detector) -> None:
    detector.warmup()
    assert sum(detector.speed) > 0
    with pytest.raises((TypeError, ValueError), match="runs"):
        detector.warmup(0)


def test_results_are_saved_without_the_image(detector: yolort.Detector, image: np.ndarray, tmp_path: Path) -> None:
    found = one(detector, FILE)
    found.save(tmp_path / "drawn.png")
    np.testing.assert_array_equal(yolort.images.read(tmp_path / "drawn.png"), found.draw(image))
    np.testing.assert_array_equal(found.plot(), found.draw())
    assert [crop.shape for crop in found.crops()] == [crop.shape for crop in found.crops(image)]
    with pytest.raises(ValueError, match="pass the image; it can only be read again from a file"):
        detector(image).save(tmp_path / "other.png")


def test_json_and_data_frame(detector: yolort.Detector) -> None:
    import json

    found = one(detector, FILE)
    assert json.loads(found.to_json(indent=1)) == json.loads(json.dumps(found.to_dict()))
    pytest.importorskip("pandas")
    frame = found.to_dataframe()
    assert list(frame.columns) == ["x1", "y1", "x2", "y2", "score", "class", "name"]
    assert len(frame) == len(found)
    assert frame["name"][0] == found.names[int(found.classes[0])]
    buffer = io.StringIO()
    frame.to_csv(buffer)
    assert buffer.getvalue().count("\n") == len(found) + 1
