"""Image files: which are read, what they become, and what they may cost."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import yolort
from yolort import _image_header, images

cv2 = pytest.importorskip("cv2")
pillow = pytest.importorskip("PIL.Image", reason="writes test images; pip install pillow")

COLOR = images.read(yolort.demo_image())[:90, :160].copy()
GRAY = cv2.cvtColor(cv2.cvtColor(COLOR, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def encoded(ending: str, image: np.ndarray) -> bytes:
    data: bytes = cv2.imencode(ending, image)[1].tobytes()
    return data


def by_pillow(format: str, **options: object) -> bytes:
    out = io.BytesIO()
    pillow.fromarray(COLOR[..., ::-1]).save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("ending", "most"),
    [(".bmp", 0), (".png", 0), (".tiff", 0), (".ppm", 0), (".pam", 0), (".ras", 0), (".jp2", 1), (".jpg", 3),
     (".webp", 3), (".avif", 4), (".gif", 30)],
)  # fmt: skip
def test_what_is_read(ending: str, most: float, tmp_path: Path) -> None:
    if ending not in images.endings():
        pytest.skip(f"this OpenCV does not read {ending}")
    data = encoded(ending, COLOR)
    header = _image_header.read(data)
    assert header is not None
    assert (header.width, header.height) == (160, 90)
    (tmp_path / f"x{ending}").write_bytes(data)
    (found,) = images.find(tmp_path)
    assert np.abs(images.read(found).astype(int) - COLOR).mean() <= most


def test_endings_of_one_format(tmp_path: Path) -> None:
    for ending in (".jfif", ".jpe", ".mpo", ".JPG"):
        (tmp_path / f"x{ending}").write_bytes(encoded(".jpg", COLOR))
    assert len(images.find(tmp_path)) == 4


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(".jpg", COLOR))
    for name in ("b.cr2", "c.psd", "notes.txt", "labels.json"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"left out 2 image\(s\) of kinds that are not read here \(\.cr2, \.psd\)$"):
        assert len(images.find(tmp_path)) == 1
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no images.*left out 2 image"):
        images.find(tmp_path)


def test_heic_needs_its_package(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">II", 64, 64)
    (tmp_path / "a.heic").write_bytes(heic)
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        with pytest.raises(FileNotFoundError, match="pip install pillow-heif"):
            images.find(tmp_path)
        with pytest.raises(yolort.ImageError, match="is HEIC.*pip install pillow-heif"):
            images.read(tmp_path / "a.heic")
    else:
        with pytest.raises(yolort.ImageError, match="cannot be decoded"):
            images.read(tmp_path / "a.heic")


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bits(ending: str) -> None:
    np.testing.assert_array_equal(images.decode(encoded(ending, COLOR.astype(np.uint16) * 257)), COLOR)


@pytest.mark.parametrize("ending", [".pfm", ".tiff", ".hdr"])
def test_fractions_are_not_black(ending: str) -> None:
    found = images.decode(encoded(ending, COLOR.astype(np.float32) / 255))
    assert np.abs(found.astype(int) - COLOR).max() <= (6 if ending == ".hdr" else 0)
    odd = np.full((4, 4, 3), np.nan, np.float32)
    odd[0] = 7.0
    assert images.decode(encoded(".tiff", odd)).max(axis=(1, 2)).tolist() == [255, 0, 0, 0]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format: str, orientation: int) -> None:
    if format == "AVIF" and (".avif" not in images.endings() or format not in pillow.SAVE):
        pytest.skip("AVIF is not written or read here")
    from PIL import ImageOps

    exif = pillow.Exif()
    exif[0x0112] = orientation
    data = by_pillow(format, exif=exif, quality=100) if format != "TIFF" else by_pillow(format, exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(pillow.open(io.BytesIO(data))).convert("RGB"))[..., ::-1]
    found = images.decode(data)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker(progressive: bool) -> None:
    data = by_pillow("JPEG", progressive=progressive)
    np.testing.assert_array_equal(images.decode(data[:-2]), images.decode(data))
    for cut in (data[: len(data) // 2], data[:200], data[:4]):
        with pytest.raises(yolort.ImageError, match="damaged"):
            images.decode(cut)


def animation(width: int, height: int) -> bytes:
    """A WebP animation of one pixel on a canvas."""
    frame = by_frame()
    canvas = (
        b"VP8X" + struct.pack("<IB3x", 10, 2) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    )
    body = b"WEBP" + canvas + b"ANIM" + struct.pack("<I6x", 6)
    body += b"ANMF" + struct.pack("<I16x", 16 + len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def by_frame() -> bytes:
    out = io.BytesIO()
    pillow.new("RGB", (1, 1)).save(out, "WEBP", lossless=True)
    return out.getvalue()[12:]


def tiff(width: int, height: int, tile: int) -> bytes:
    entries = [(256, width), (257, height), (322, tile), (323, tile)]
    return (
        b"II*\0"
        + struct.pack("<IH", 8, len(entries))
        + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in entries)
    )


SOF = b"\0\x11\x08" + struct.pack(">HH", 65_000, 65_000) + bytes(20)
BOMBS = {
    "png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 50_000, 50_000) + bytes(5),
    "jpeg": b"\xff\xd8\xff\xc0" + SOF,
    "jpeg with a comment": b"\xff\xd8\xff\xfe\0\x04ab\xff\xff\xc2" + SOF,
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 30_000, -30_000) + bytes(30),
    "bmp of OS/2": b"BM" + bytes(12) + struct.pack("<IHH", 12, 60_000, 60_000) + bytes(30),
    "gif": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(20),
    "webp": animation(16_383, 16_383),
    "tiff": tiff(60_000, 60_000, 0),
    "a tile of tiff": tiff(16, 16, 16_368),
    "bigtiff": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2)
    + struct.pack("<HHQQ", 256, 4, 1, 60_000) + struct.pack("<HHQQ", 257, 4, 1, 60_000),
    "ppm": b"P6\n# a comment\n50000 50000\n255\n",
    "pfm": b"PF\n50000 50000\n-1.0\n",
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 50000 +X 50000\n",
    "jp2": b"\xff\x4f\xff\x51" + struct.pack(">HH8I", 47, 0, 50_000, 50_000, 0, 0, 50_000, 50_000, 0, 0),
    "avif": b"\0\0\0\x18ftypavif" + bytes(12) + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">II", 50_000, 50_000),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_pixels_are_bounded_before_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)  # not called
    with pytest.raises(yolort.ImageError, match=rf"more than the {2**27} that are decoded; YOLORT_MAX_PIXELS"):
        images.decode(BOMBS[name])


def test_the_bound_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORT_MAX_PIXELS", "100")
    with pytest.raises(yolort.ImageError, match="160 x 90 pixels, more than the 100"):
        images.decode(encoded(".png", COLOR))
    monkeypatch.setenv("YOLORT_MAX_PIXELS", "14400")
    assert images.decode(encoded(".png", COLOR)).shape == COLOR.shape
    for wrong in ("x", "-1", "0", "9" * 5000, "²"):
        monkeypatch.setenv("YOLORT_MAX_PIXELS", wrong)
        with pytest.raises(ValueError, match="YOLORT_MAX_PIXELS is"):
            images.decode(encoded(".png", COLOR))


def test_headers_of_nonsense() -> None:
    """Every beginning of every format, and noise behind it: a size or None, at once."""
    random = np.random.default_rng(0)
    for data in [*BOMBS.values(), encoded(".png", COLOR), encoded(".jpg", COLOR), b""]:
        for end in range(min(len(data), 100) + 1):
            _image_header.read(data[:end])
        for _ in range(200):
            noise = bytearray(data[:64] + random.bytes(64))
            noise[random.integers(2, len(noise))] = random.integers(0, 256)
            _image_header.read(bytes(noise))
    assert _image_header.read(b"\xff\xd8" + b"\xff\xfe\0\x02" * 5000) is None
    assert _image_header.read(b"\xff\xd8" + b"\xff" * 100_000) is None


def special(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "broken link":
        path.symlink_to(path.with_name("gone.jpg"))
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(10 << 30)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="such files are of Unix")
@pytest.mark.parametrize(
    ("kind", "error"),
    [("pipe", yolort.ImageError), ("folder", OSError), ("socket", OSError), ("device", yolort.ImageError),
     ("broken link", FileNotFoundError), ("sparse", yolort.ImageError)],
)  # fmt: skip
def test_what_is_no_file_is_not_waited_for(kind: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises((error, yolort.ImageError)):
        images.read(special(kind, tmp_path / "x.jpg"))


@pytest.mark.skipif(sys.platform == "win32", reason="such files are of Unix")
def test_models_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(yolort.ModelError, match="empty or cannot be read"):
        yolort.Detector(tmp_path / "x.onnx")
    folder = tmp_path / "x_ncnn_model"
    folder.mkdir()
    (folder / "model.ncnn.param").write_text("7767517\n")
    os.mkfifo(folder / "model.ncnn.bin")
    with pytest.raises(yolort.ModelError, match="are no file"):
        yolort.Detector(folder)


def tree(root: Path) -> None:
    for name in ("a.jpg", "dir[1]/b.jpg", "dir[1]/deep/c.jpg", ".hidden/d.jpg", "dir1/e.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(".jpg", COLOR))
    (root / "dir[1]" / "deep" / "up").symlink_to(root, target_is_directory=True)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("dir[1]/*.jpg", ["dir[1]/b.jpg"]),
        ("dir[1]", ["dir[1]/b.jpg"]),
        ("dir[0-9]/*.jpg", ["dir1/e.jpg"]),
        ("**/*.jpg", ["a.jpg", "dir1/e.jpg", "dir[1]/b.jpg", "dir[1]/deep/c.jpg"]),
        ("dir[1]/**/*.jpg", ["dir[1]/b.jpg", "dir[1]/deep/c.jpg"]),
        ("**/deep/*.jpg", ["dir[1]/deep/c.jpg"]),
        ("dir*/*.jpg", ["dir1/e.jpg", "dir[1]/b.jpg"]),
    ],
)
def test_patterns(pattern: str, found: list[str], tmp_path: Path) -> None:
    tree(tmp_path)
    if pattern == "dir[1]/**/*.jpg":  # the link leads to folders that are seen from there for the first time
        (tmp_path / "dir[1]" / "deep" / "up").unlink()
    names = [str(path.relative_to(tmp_path)) for path in images.find(tmp_path / pattern)]
    assert names == found


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as file:
        file.write(encoded(".png", COLOR))
    (found,) = images.find(tmp_path)
    assert images.read(found).shape == COLOR.shape
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    assert os.fsencode(detector(found).path or "") == path
    model = os.fsencode(tmp_path) + b"/\xff_ncnn_model"
    os.mkdir(model)
    for file in yolort.demo_model("ncnn").iterdir():
        with open(model + b"/" + os.fsencode(file.name), "wb") as copy:
            copy.write(file.read_bytes())
    for given in (model, os.fsdecode(model), Path(os.fsdecode(model))):
        assert len(yolort.Detector(given, engine="ncnn")(found)) == len(detector(found))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        yolort.Detector(b"\xff.onnx")
    onnx = os.fsencode(tmp_path) + b"/\xff.onnx"
    with open(onnx, "wb") as copy:
        copy.write(yolort.demo_model().read_bytes())
    with pytest.raises(yolort.ModelError, match="takes no path that is not UTF-8"):
        yolort.Detector(onnx, engine="onnxruntime")


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


def test_a_warning_does_not_stop_the_rest(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    for name, data in (("a.jpg", b"no image"), ("b.png", encoded(".png", COLOR)), ("c.webp", BOMBS["webp"])):
        (tmp_path / name).write_bytes(data)
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(detector(tmp_path)) == 1
    assert len(caught) == 2
