"""Inputs of a Detector: arrays of every kind, paths, lists, folders."""

from __future__ import annotations

import ctypes
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import NAMES, boxes_output, metadata, write_onnx

pytest.importorskip("onnxruntime")
cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> yolort.Detector:
    model = write_onnx(tmp_path_factory.mktemp("model"), boxes_output((32, 32, 16, 8, 0.9, 1)), metadata())
    return yolort.Detector(model, engine="onnxruntime")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("b.png", "a.jpg", "ünï.PNG"):
        cv2.imencode(Path(name).suffix.lower(), np.full((40, 60, 3), 77, np.uint8))[1].tofile(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def letterbox(image: np.ndarray, height: int, width: int, format: str | None = None) -> np.ndarray:
    out = np.full((1, 3, height, width), -1, np.float32)
    yolort._core.letterbox(image, out, format)
    return out


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 10000, 3), (10000, 1, 3), (50, 40), (50, 40, 1), (50, 40, 4)])
def test_shapes(detector: yolort.Detector, shape: tuple[int, ...]) -> None:
    found = detector(np.zeros(shape, np.uint8))
    assert len(found) == 1
    assert found.shape == shape[:2]
    assert (found.boxes[:, 2:] <= [shape[1], shape[0]]).all()


def test_a_huge_image_with_few_bytes(detector: yolort.Detector) -> None:
    rows = np.lib.stride_tricks.as_strided(np.zeros(60000 * 2, np.uint8), (20000, 20000, 3), (1, 3, 1))
    assert len(detector(rows[:, :, :])) == 1


def test_memory_layouts_give_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    expected = letterbox(image, 64, 64)
    wide = np.zeros((61, 90, 3), np.uint8)
    wide[:, 20:67] = image
    for view in (
        wide[:, 20:67],
        np.asfortranarray(image),
        image[::-1].copy()[::-1],
        image[:, ::-1].copy()[:, ::-1],
    ):
        np.testing.assert_array_equal(letterbox(view, 64, 64), expected)
    np.testing.assert_array_equal(letterbox(image[:, :, ::-1], 64, 64, "rgb"), expected)
    four = np.dstack([image, np.zeros((61, 47), np.uint8)])
    np.testing.assert_array_equal(letterbox(four, 64, 64), expected)
    np.testing.assert_array_equal(letterbox(four[:, :, [2, 1, 0, 3]], 64, 64, "rgba"), expected)
    np.testing.assert_array_equal(letterbox(pickle.loads(pickle.dumps(image)), 64, 64), expected)  # a dtype of its own
    gray = np.repeat(image[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(letterbox(image[:, :, 0], 64, 64), letterbox(gray, 64, 64))


@pytest.mark.parametrize("imgsz", [(640, 640), (384, 640), (320, 96)])
def test_letterbox_is_that_of_opencv(imgsz: tuple[int, int]) -> None:
    """Bit-identical: models were trained on cv2.resize(INTER_LINEAR), and a difference of one level changes their
    scores.
    """
    random = np.random.default_rng(1)
    height, width = imgsz
    sizes = [
        (720, 1280),
        (480, 640),
        (333, 517),
        (1080, 1920),
        (640, 640),
        (100, 57),
        (1, 1),
        (999, 1),
        (2, 3),
    ]
    for h, w in sizes + [tuple(random.integers(1, 900, 2)) for _ in range(20)]:
        image = random.integers(0, 256, (h, w, 3), np.uint8)
        ratio = min(height / h, width / w)
        new_w, new_h = max(round(w * ratio), 1), max(round(h * ratio), 1)
        resized = image if (w, h) == (new_w, new_h) else cv2.resize(image, (new_w, new_h))
        left, top = round((width - new_w) / 2 - 0.1), round((height - new_h) / 2 - 0.1)
        expected = np.full((height, width, 3), 114, np.uint8)
        expected[top : top + new_h, left : left + new_w] = resized
        got = letterbox(image, height, width)[0].transpose(1, 2, 0)[:, :, ::-1] * 255
        np.testing.assert_allclose(got, expected, atol=1e-4, err_msg=f"{w} x {h}")


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (None, TypeError, "NoneType"),
        (3, TypeError, "int"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, "5 x 0"),
        (np.zeros((5, 5, 3), np.float32), TypeError, "image \\* 255"),
        (np.zeros((5, 5, 3), np.int64), TypeError, "int64"),
        (np.zeros((5, 5, 2), np.uint8), ValueError, "shape"),
        (np.zeros((5,), np.uint8), ValueError, "shape"),
        (np.zeros((2, 2, 5, 5, 3), np.uint8), ValueError, "shape"),
        (np.zeros((70000, 1, 3), np.uint8), ValueError, "65535"),
        ([None], TypeError, "NoneType"),
        ("no such file.jpg", FileNotFoundError, "no such file"),
        ("/no/such/*.jpg", FileNotFoundError, "matches no images"),
    ],
)
def test_what_is_no_image(detector: yolort.Detector, bad: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        detector(bad)  # type: ignore[call-overload]


def test_the_error_for_a_checkpoint_shows_the_export_command(tmp_path: Path) -> None:
    (tmp_path / "yolo26n.pt").write_bytes(b"PK")
    with pytest.raises(yolort.ModelError, match=r"must be exported first: yolort export .*yolo26n\.pt"):
        yolort.Detector(tmp_path / "yolo26n.pt")


def test_format_must_fit(detector: yolort.Detector) -> None:
    with pytest.raises(ValueError, match="channel"):
        detector(np.zeros((5, 5, 3), np.uint8), format="gray")
    with pytest.raises(ValueError, match="expected bgr"):
        detector(np.zeros((5, 5, 3), np.uint8), format="cmyk")


def test_format_is_of_arrays_not_of_files() -> None:
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    path = yolort.demo_image()
    image = yolort.images.read(path)
    plain, alone = detector(image), detector(path, format="rgb")
    assert isinstance(alone, yolort.Detections)
    turned = np.ascontiguousarray(image[..., ::-1])
    assert len(detector(turned)) != len(plain) or not np.array_equal(detector(turned).scores, plain.scores)
    found = [alone, *detector([path], format="rgb"), *detector([turned, path, turned], format="rgb")]
    found += detector([image, path], format="bgr")
    for one in found:
        np.testing.assert_array_equal(one.scores, plain.scores)
        np.testing.assert_array_equal(one.boxes, plain.boxes)
    assert len(detector([path], format="gray")[0]) == len(plain)
    source: Any
    for source in (path, [path], path.parent / "*.jpg", image):
        with pytest.raises(ValueError, match="format is 'xyz', expected bgr, rgb, bgra, rgba or gray"):
            detector(source, format="xyz")


def test_paths(detector: yolort.Detector, folder: Path) -> None:
    one = detector(folder / "a.jpg")
    assert isinstance(one, yolort.Detections)
    assert one.path == os.fspath(folder / "a.jpg")
    assert one.shape == (40, 60)
    listed = detector([folder / "b.png", np.zeros((9, 9, 3), np.uint8), str(folder / "a.jpg")])
    assert [found.path and Path(found.path).name for found in listed] == ["b.png", None, "a.jpg"]
    for source in (folder, str(folder), str(folder / "*"), os.fspath(folder) + "/**"):
        found = detector(source)
        assert isinstance(found, list)
        assert [Path(one.path or "").name for one in found] == ["a.jpg", "b.png", "ünï.PNG"]
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no images"):
        detector(folder / "empty")


def test_unreadable_images(detector: yolort.Detector, folder: Path) -> None:
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    (folder / "c.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped.*(b.png|c.jpg)") as record:
        found = detector(folder)
    assert len(record) == 2
    assert len(found) == 2
    for path in ("b.png", "c.jpg"):
        with pytest.raises(yolort.ImageError, match=path):
            detector(folder / path)
    with pytest.raises(yolort.ImageError, match=r"b\.png"):
        detector([folder / "a.jpg", folder / "b.png"])


def test_it_tells_what_it_is(detector: yolort.Detector) -> None:
    assert "onnxruntime" in repr(detector)
    assert detector.metadata["task"] == "detect"
    assert detector.names[1] == NAMES[1]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx"):
        yolort.Detector(tmp_path / "nothing.onnx")
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(yolort.ModelError, match="yolort export"):
        yolort.Detector(tmp_path / "model.pt")


def test_arrays_of_another_library(detector: yolort.Detector) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (30, 47, 3), np.uint8)
    for tensor in (torch.from_numpy(image), torch.from_numpy(image).permute(2, 0, 1).contiguous().permute(1, 2, 0)):
        found = detector(tensor)
        assert found.shape == (30, 47)
        np.testing.assert_array_equal(found.boxes, detector(image).boxes)
        np.testing.assert_array_equal(letterbox(tensor, 64, 64), letterbox(image, 64, 64))
    with pytest.raises(TypeError, match="got float32; convert"):
        detector(torch.zeros(8, 8, 3))
    with pytest.raises(ValueError, match="shape"):
        detector(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


class CudaArray:
    """An array that claims to be in CUDA memory; it must not be read."""

    def __init__(self, shape: tuple[int, ...], typestr: str = "|u1", **own: object) -> None:
        self.shape = shape
        self.__cuda_array_interface__ = {"shape": shape, "typestr": typestr, "data": (64, False), "version": 3, **own}


class DlTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class DlpackArray:
    """The same in DLPack."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, bits: int = 8) -> None:
        self.shape = shape
        self._sides = [(ctypes.c_int64 * len(shape))(*values) if values else None for values in (shape, strides)]
        self._tensor = DlTensor(64, (2, 0), len(shape), (1, bits, 1, 0), *self._sides, 0)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, stream: int | None = None) -> object:
        assert stream == 1
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self._tensor), b"dltensor", None)


@pytest.mark.parametrize("kind", [CudaArray, DlpackArray])
def test_arrays_of_a_gpu_on_an_engine_of_the_cpu(detector: yolort.Detector, kind: Callable[..., Any]) -> None:
    for array in (kind((30, 40, 3)), kind((30, 40)), kind((30, 40, 3), strides=(200, 3, 1))):
        with pytest.raises(ValueError, match='CUDA memory, which engine "onnxruntime" on cpu does not read; copy them'):
            detector(array)
        with pytest.raises(TypeError, match="CUDA memory"):
            letterbox(array, 64, 64)
    with pytest.raises(ValueError, match="not contiguous within a row"):
        detector(kind((30, 40, 3), strides=(40, 1, 1200)))
    with pytest.raises(ValueError, match=r"shape \(3, 30, 40\) has the channels first"):
        detector(kind((3, 30, 40)))
    with pytest.raises(TypeError, match="expected uint8"):
        detector(kind((30, 40, 3), **({"bits": 32} if kind is DlpackArray else {"typestr": "<f4"})))
