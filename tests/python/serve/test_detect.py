"""POST /detect: files, forms, thresholds, and images that are refused."""

from __future__ import annotations

import gzip
import struct
import types
import zlib
from typing import Any

import numpy as np
import pytest
import yolort
from serving import SAMPLE, cv2, error_of, png
from yolort import serve
from yolort.serve import options, protocol


def test_detect(client: Any, expected: yolort.Detections) -> None:
    answers = [
        client.post("/detect", content=SAMPLE),
        client.post("/detect", content=SAMPLE, headers={"content-type": "image/jpeg"}),
        client.post("/detect", files={"file": ("scene.jpg", SAMPLE)}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["detections"] == expected.to_dict()["detections"]
        assert found["shape"] == [480, 640]


def test_detect_takes_thresholds(client: Any, expected: yolort.Detections) -> None:
    found = client.post("/detect?conf=0.8&classes=3,5&max_det=2", content=SAMPLE).json()["detections"]
    best = [one for one in expected.to_dict()["detections"] if one["class"] in (3, 5) and one["score"] > 0.8]
    assert found == best[:2]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("conf=2", "query.conf"),
        ("conf=nan", "query.conf"),
        ("max_det=0", "query.max_det"),
        ("classes=cat", "query.classes"),
        ("classes=999", "999"),
        ("threshold=0.5", "query.threshold"),
    ],
)
def test_thresholds_out_of_range(client: Any, query: str, message: str) -> None:
    assert message in error_of(client.post(f"/detect?{query}", content=SAMPLE), 400)


@pytest.mark.parametrize("body", [b"", b"this is no image", SAMPLE[:20], b"GIF89a" + bytes(50)])
def test_what_is_no_image(client: Any, body: bytes) -> None:
    assert "the image is empty, damaged or not one of" in error_of(client.post("/detect", content=body), 400)


def test_an_image_whose_header_lies(client: Any) -> None:
    """It passes the header check, and is the only one to fail in the worker."""
    assert "image is damaged" in error_of(client.post("/detect", content=png(40, 40)[:45]), 400)


def test_a_form_without_a_file(client: Any) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    assert "no file" in error_of(client.post("/detect", content=b"--x--\r\n", headers=boundary), 400)


def test_pixels_are_limited_before_decoding(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yolort.images, "decode", None)  # not called
    assert "1000 x 600 pixels, more than the 500000" in error_of(client.post("/detect", content=png(600, 1000)), 413)
    assert client.post("/detect", content=png(20000, 20000)).status_code == 413


def test_options_of_a_form(client: Any, expected: yolort.Detections) -> None:
    best = expected.to_dict()["detections"][:1]
    parts = [("max_det", (None, "1")), ("file", ("scene.jpg", SAMPLE)), ("conf", (None, "0.3"))]
    for files in (parts, parts[::-1]):
        assert client.post("/detect", files=files).json()["detections"] == best
    assert "conf: given in the query and in the form" in error_of(client.post("/detect?conf=0.1", files=parts), 400)
    for name, value in (("conf", "x"), ("warp", "9")):
        wrong = [(name, (None, value)), ("file", ("scene.jpg", SAMPLE))]
        assert f"form.{name}" in error_of(client.post("/detect", files=wrong), 400)


def test_a_name_of_several_classes() -> None:
    detector: Any = types.SimpleNamespace(names={0: "cat", 1: "dog", 2: "cat"})
    assert options._classes("cat", detector, "query") == [0, 2]
    assert options._classes("dog,2,cat", detector, "query") == [1, 2, 0]


def test_classes_by_name(client: Any, detector: yolort.Detector) -> None:
    found = client.post(f"/detect?classes={detector.names[3]}", content=SAMPLE).json()["detections"]
    assert {one["name"] for one in found} == {detector.names[3]}


def test_a_form_is_held_in_memory(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    large = png(400, 1200) + bytes(1_200_000)
    answer = client.post("/detect", files={"file": ("a.png", large)})
    assert answer.status_code == 200, answer.text


def jpeg(*segments: bytes) -> bytes:
    return SAMPLE[:2] + b"".join(segments) + SAMPLE[2:]


COMMENT = b"\xff\xfe\x00\x02"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (jpeg(COMMENT * 5000), 400, "damaged or not one of"),
        (jpeg(b"\xff" * 100_000), 400, "damaged or not one of"),
        (SAMPLE + b"\xff\xda" * 101, 413, "more than 100 scans"),
        (b"II*\0\x08\0\0\0" + bytes(100), 400, "not one of BMP, JPEG, PNG, WebP"),
    ],
)
def test_images_that_cost_time(client: Any, body: bytes, status: int, message: str) -> None:
    assert message in error_of(client.post("/detect", content=body), status)


def test_images_with_much_before_the_pixels(client: Any, expected: yolort.Detections) -> None:
    for body in (jpeg(COMMENT * 50), jpeg(b"\xff\xfe\xff\xff" + bytes(65533))):
        assert len(client.post("/detect", content=body).json()["detections"]) == len(expected)


def test_scans_are_bounded_by_their_pixels() -> None:
    data: bytes = cv2.imencode(".jpg", np.zeros((7000, 7000, 3), np.uint8))[1].tobytes() + b"\xff\xda" * 30
    with pytest.raises(yolort.serve.limits.TooLargeError, match="more than 20 scans"):
        protocol.decode(data, serve.Limits())


def test_texts_of_png_files_are_bounded(client: Any) -> None:
    """A decoder inflates 8 MB for each of these, which takes a minute in total."""
    packed = b"a\0\0" + zlib.compress(bytes(7_900_000), 9)
    text = struct.pack(">I", len(packed)) + b"zTXt" + packed + struct.pack(">I", zlib.crc32(b"zTXt" + packed))
    empty = bytes(4) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    plain = png(40, 40)
    assert client.post("/detect", content=plain[:33] + text * 2 + empty * 99 + plain[33:]).status_code == 200
    for chunks in (text * 33, empty * 100_001):
        assert "more than 32 text chunks" in error_of(
            client.post("/detect", content=plain[:33] + chunks + plain[33:]), 413
        )


def test_forms_as_clients_write_them(client: Any, expected: yolort.Detections) -> None:
    def form(*parts: bytes, mark: str = "x", encoding: str = "") -> Any:
        headers = {"content-type": f"multipart/form-data; charset=utf-8; boundary={mark}", "content-encoding": encoding}
        body = b"".join(parts)
        return client.post("/detect", content=gzip.compress(body) if encoding else body, headers=headers)

    def part(about: str, data: bytes) -> bytes:
        return (
            b"--x\r\nContent-Type: x\r\nContent-Disposition: form-data; "
            + about.encode()
            + b"\r\n\r\n"
            + data
            + b"\r\n"
        )

    file, end = part('name="file"; filename="Bär; \\"1\\".jpg"', SAMPLE), b"--x--\r\n"
    for answer in (
        form(file, end),
        form(b"preamble\r\n", file, end, b"epilogue"),
        form(file, end, mark='"x"'),
        form(file, end, encoding="gzip"),
        form(part("name=file; filename*=UTF-8''b.jpg", SAMPLE + b"\r\n--\r\n-x\r\n--y"), end),
    ):
        assert len(answer.json()["detections"]) == len(expected)
    field = part('name="conf"', b"0.5")
    for parts, message in (
        ((file, field, field, end), "form.conf: given twice"),
        ((file, file, end), "more than one file"),
        ((field, end), "no file"),
        ((file,), "no file"),
        ((part('filename="a"; name="conf"', b"x")[:40],), "no file"),
        ((file, b"--x\r\nno head\r\n", end), "is not terminated"),
        ((field * 20, file, end), "more than 16 parts"),
        ((part('name="conf"', bytes(5000)), file, end), "longer than 4096"),
        ((b"",), "no file"),
    ):
        assert message in error_of(form(*parts), 400)
    assert "no boundary" in error_of(form(file, end, mark=""), 400)
    assert "no boundary" in error_of(form(file, end, mark="x" * 71), 400)
