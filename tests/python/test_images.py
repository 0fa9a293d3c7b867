"""Finding, reading and writing image files, and files that are not images."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from image_files import BOMBS, COLOR, box, encoded, ispe
from yolort import _image_header, images


@pytest.mark.parametrize(
    ("ending", "most"),
    [(".bmp", 0), (".png", 0), (".tiff", 0), (".ppm", 0), (".ras", 0), (".jp2", 1), (".jpg", 3),
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
    for ending, kinds in {
        ".jpg": ".jfif .jpe .mpo .pjpeg .pjp .JPG",
        ".png": ".apng",
        ".jp2": ".jpeg2000 .jpf .jpx",
        ".hdr": ".rgbe",
    }.items():
        for kind in kinds.split():
            (tmp_path / f"x{kind}").write_bytes(encoded(ending, COLOR))
    (tmp_path / "x.j2k").write_bytes(encoded(".jp2", COLOR).partition(b"jp2c")[2])
    found = images.find(tmp_path)
    assert len(found) == 12
    assert all(images.read(path).shape == COLOR.shape for path in found)


def test_skipped_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(".jpg", COLOR))
    for name in ("b.cr2", "c.psd", "notes.txt", "labels.json"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"skipped 2 image\(s\) in unsupported formats \(\.cr2, \.psd\)$"):
        assert len(images.find(tmp_path)) == 1
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no images.*skipped 2 image"):
        images.find(tmp_path)


def test_heic_needs_its_package(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + box(b"meta", ispe(64))
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
        with path.open("wb") as file:
            file.truncate(10 << 30)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="such files are of Unix")
@pytest.mark.parametrize(
    ("kind", "error"),
    [("pipe", yolort.ImageError), ("folder", yolort.ImageError), ("socket", yolort.ImageError),
     ("device", yolort.ImageError), ("broken link", FileNotFoundError), ("sparse", yolort.ImageError)],
)  # fmt: skip
def test_pipes_and_devices_do_not_block(kind: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match=r"image '.*x\.jpg' "):
        images.read(special(kind, tmp_path / "x.jpg"))


@pytest.mark.parametrize(
    ("path", "error"),
    [("a\0b.jpg", ValueError), ("x" * 5000, yolort.ImageError), ("", FileNotFoundError), ("~", FileNotFoundError),
     ("-", FileNotFoundError), (3, TypeError), (None, TypeError)],
)  # fmt: skip
def test_values_that_are_not_paths(path: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="image.{0,400}$"):
        images.read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that gives nothing")
def test_a_file_that_gives_nothing() -> None:
    with pytest.raises(yolort.ImageError):
        images.read("/proc/kmsg")


@pytest.mark.skipif(sys.platform == "win32", reason="such files are of Unix")
def test_models_that_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(yolort.ModelError, match="empty or cannot be read"):
        yolort.Detector(tmp_path / "x.onnx")
    with (tmp_path / "zeros.onnx").open("wb") as file:
        file.truncate(10 << 30)
    (tmp_path / "fields.onnx").write_bytes(b"\x08\0" * 1_000_000)
    for name in ("zeros.onnx", "fields.onnx"):  # reading them completely would take minutes
        with pytest.raises(yolort.ModelError, match="not an ONNX file"):
            yolort.Detector(tmp_path / name)
    folder = tmp_path / "x_ncnn_model"
    folder.mkdir()
    (folder / "model.ncnn.param").write_text("7767517\n")
    os.mkfifo(folder / "model.ncnn.bin")
    with pytest.raises(yolort.ModelError, match="are not a file"):
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
    if pattern == "dir[1]/**/*.jpg":  # the link leads to folders not visited before
        (tmp_path / "dir[1]" / "deep" / "up").unlink()
    names = [str(path.relative_to(tmp_path)) for path in images.find(tmp_path / pattern)]
    assert names == found


def test_names_that_are_not_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    Path(os.fsdecode(path)).write_bytes(encoded(".png", COLOR))
    (found,) = images.find(tmp_path)
    assert images.read(found).shape == COLOR.shape
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    for given in (found, path, os.fsdecode(path)):
        alone, (listed,) = detector(given), detector([given])
        assert isinstance(alone, yolort.Detections)
        assert os.fsencode(alone.path or "") == os.fsencode(listed.path or "") == path
    with pytest.raises(yolort.ImageError, match="cannot be encoded"):
        images.write(tmp_path / "x.\udcff", COLOR)
    model = os.fsencode(tmp_path) + b"/\xff_ncnn_model"
    Path(os.fsdecode(model)).mkdir()
    for part in yolort.demo_model("ncnn").iterdir():
        Path(os.fsdecode(model), part.name).write_bytes(part.read_bytes())
    for given in (model, os.fsdecode(model), Path(os.fsdecode(model))):
        assert len(yolort.Detector(given, engine="ncnn")(found)) == len(detector(found))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        yolort.Detector(b"\xff.onnx")


def test_one_image_that_cannot_be_read_does_not_end_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    special("socket", tmp_path / "a.jpg")
    special("broken link", tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(encoded(".png", COLOR))
    (tmp_path / "d.png").write_bytes(encoded(".png", COLOR))
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    listed = images.find(tmp_path)
    (tmp_path / "d.png").unlink()
    monkeypatch.setattr(images, "find", lambda _: listed)
    with pytest.warns(UserWarning, match=r"d\.png' does not exist") as warned:
        assert len(detector(tmp_path)) == 1
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize("ending", [".pfm", ".pbm", ".mpo", ".heic", ".xyz", ""])
def test_formats_that_are_not_written(ending: str, tmp_path: Path) -> None:
    with pytest.raises(yolort.ImageError, match="give it another ending, such as .png"):
        images.write(tmp_path / f"x{ending}", COLOR)


def test_a_warning_does_not_stop_the_rest(tmp_path: Path) -> None:
    for name, data in (("a.jpg", b"no image"), ("b.png", encoded(".png", COLOR)), ("c.webp", BOMBS["webp"])):
        (tmp_path / name).write_bytes(data)
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(detector(tmp_path)) == 1
    assert len(caught) == 2
