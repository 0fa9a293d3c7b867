"""Limits on images: the size is read from the header and checked before decoding."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yolort
from image_files import BOMBS, COLOR, RGB, bmp, encoded, tiff_of
from yolort import _image_header, images

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize("name", BOMBS)
def test_pixels_are_bounded_before_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)  # not called
    with pytest.raises(yolort.ImageError, match=rf"more than the limit of {2**27}; raise it with YOLORT_MAX_PIXELS"):
        images.decode(BOMBS[name])


@pytest.mark.parametrize(
    "data",
    [
        b"v/1\1 OpenEXR",
        b"P6\n000000000050000 50000\n255\n",
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y   50000   +X   50000\n",
        b"II*\0" + struct.pack("<IHHHIiHHIi", 8, 2, 256, 9, 1, 50_000, 257, 9, 1, 50_000),  # signed sides
        b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 256, 16, 1, 38, 257, 16, 1, 38) + struct.pack("<IQ", 0, 50_000),
    ],
)
def test_images_of_unknown_size_are_not_decoded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)  # not called
    with pytest.raises(yolort.ImageError, match="empty, damaged or in an unknown format"):
        images.decode(data)


def test_the_bound_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORT_MAX_PIXELS", "100")
    with pytest.raises(yolort.ImageError, match="160 x 90 pixels, more than the limit of 100"):
        images.decode(encoded(".png", COLOR))
    monkeypatch.setenv("YOLORT_MAX_PIXELS", "14400")
    assert images.decode(encoded(".png", COLOR)).shape == COLOR.shape
    for wrong in ("x", "-1", "0", "9" * 5000, "²"):
        monkeypatch.setenv("YOLORT_MAX_PIXELS", wrong)
        with pytest.raises(ValueError, match="YOLORT_MAX_PIXELS is"):
            images.decode(encoded(".png", COLOR))


def test_headers_of_nonsense() -> None:
    """Every prefix of every format, followed by noise, gives a size or None, quickly."""
    random = np.random.default_rng(0)
    for data in [*BOMBS.values(), encoded(".png", COLOR), encoded(".jpg", COLOR), b""]:
        for end in range(min(len(data), 100) + 1):
            _image_header.read(data[:end])
        for _ in range(200):
            noise = bytearray(data[:64] + random.bytes(64))
            noise[random.integers(2, len(noise))] = random.integers(0, 256)
            _image_header.read(bytes(noise))
    for format in ("bmp", "png", "pnm", "tiff"):
        for data in (tiff_of(RGB), bmp(32, (1, 2, 3), COLOR), encoded(".png", COLOR.astype(np.uint16)), BOMBS["pam"]):
            for end in range(min(len(data), 200)):
                _image_header.layout(format, data[:end])
            for _ in range(100):
                noise = bytearray(data[:300])
                noise[random.integers(2, len(noise))] = random.integers(0, 256)
                _image_header.layout(format, bytes(noise))
    assert _image_header.read(b"\xff\xd8" + b"\xff\xfe\0\x02" * 5000) is None
    assert _image_header.read(b"\xff\xd8" + b"\xff" * 100_000) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["webp", "png", "tiff", "gif", "avif"])
def test_bombs_take_no_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(BOMBS[name])
    program = f"""
import re, yolort
yolort.images.opencv()
def peak(): return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) >> 10
before = peak()
try:
    yolort.images.read({str(tmp_path / "bomb")!r})
except yolort.ImageError:
    print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 50  # MiB


@pytest.mark.parametrize("kind", [b"IDAT", b"fdAT"])
def test_a_truncated_png_takes_no_memory(kind: bytes) -> None:
    def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
        return struct.pack(">I", len(data) if length is None else length) + kind + data + bytes(4)

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    tail = chunk(kind, b"abc", 2**31 - 16)
    with pytest.raises(images.ImageError, match="a chunk is truncated"):
        images.decode(head + tail)
