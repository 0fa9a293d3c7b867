"""The contract that every engine keeps: the same model gives the same detections and the same errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import IMAGE, NAMES, Make, Target, boxes_output, metadata, raw_outputs, write_onnx


def test_boxes_head(target: Target, make_model: Make) -> None:
    model = make_model(boxes_output((32, 32, 16, 8, 0.9, 1), (33, 32, 16, 8, 0.8, 1), (33, 32, 16, 8, 0.7, 0)))
    detector = target.detector(model)
    assert detector.engine == target.engine
    assert detector.device.startswith(target.device)
    assert detector.head == "boxes"
    assert detector.names == dict(enumerate(NAMES))
    assert detector.imgsz == (64, 64)
    found = detector(IMAGE)
    assert found.classes.tolist() == [1, 0]  # the second box duplicates the first
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-3)
    np.testing.assert_allclose(found.boxes[0], [24, 28, 40, 36], atol=0.1)
    assert len(detector(IMAGE, iou=0.95)) == 3
    assert len(detector(IMAGE, agnostic=True)) == 1
    assert len(detector(IMAGE, conf=0.8)) == 1
    assert len(detector(IMAGE, classes=[2])) == 0
    assert len(detector(IMAGE, max_det=1)) == 1
    assert len(detector(IMAGE)) == 2  # overrides apply to one call
    assert detector.speed.inference > 0


def test_infer(target: Target, make_model: Make) -> None:
    detector = target.detector(make_model(raw_outputs(), metadata(head="raw")))
    before = detector(IMAGE)
    outputs = detector.infer(np.random.default_rng(0).random((1, 3, 64, 64), np.float32))
    for output, expected in zip(outputs, raw_outputs().values(), strict=True):
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, expected[None], atol=0.01)
    np.testing.assert_array_equal(detector(IMAGE).boxes, before.boxes)
    for shape in ((1, 3, 64, 32), (3, 64, 64), (2, 3, 64, 64)):
        with pytest.raises(ValueError, match="expected"):
            detector.infer(np.zeros(shape, np.float32))
    with pytest.raises(TypeError):
        detector.infer(np.zeros((1, 3, 64, 64), np.float64))


def test_end2end_head(target: Target, make_model: Make) -> None:
    rows = np.zeros((300, 6), np.float32)
    rows[0] = 24, 28, 40, 36, 0.9, 1
    rows[1] = 25, 28, 41, 36, 0.8, 1  # no NMS: both stay
    found = target.detector(make_model({"out0": rows}, metadata(head="end2end")))(IMAGE)
    assert found.classes.tolist() == [1, 1]
    np.testing.assert_allclose(found.boxes[1], [25, 28, 41, 36], atol=0.1)


@pytest.mark.parametrize(("head", "count"), [("raw", 1), ("raw-e2e", 2)])
def test_raw_head(target: Target, make_model: Make, head: str, count: int) -> None:
    detector = target.detector(make_model(raw_outputs(), metadata(head=head)))
    assert detector.head == head
    found = detector(IMAGE)
    assert found.classes.tolist() == [2] * count
    np.testing.assert_allclose(found.boxes[0], [16, 24, 32, 56], atol=0.1)
    np.testing.assert_allclose(found.scores[0], 1 / (1 + np.exp(-2)), atol=1e-3)


def test_boxes_return_to_the_original_image(target: Target, make_model: Make) -> None:
    detector = target.detector(make_model(boxes_output((32, 32, 200, 16, 0.9, 1))))
    found = detector(np.zeros((160, 320, 3), np.uint8))  # 5 times as wide as the input, 16 rows of padding above
    np.testing.assert_allclose(found.boxes[0], [0, 40, 320, 120], atol=0.5)
    assert found.shape == (160, 320)


def test_lists_and_clones_agree(target: Target, make_model: Make) -> None:
    detector = target.detector(make_model(boxes_output((32, 32, 16, 8, 0.9, 1))))
    images = [np.full((h, w, 3), 9, np.uint8) for h, w in [(64, 64), (30, 80), (200, 100), (1, 1)]]
    single = [detector(image).boxes for image in images]
    for found in (detector(images), detector.clone()(images)):
        for one, expected in zip(found, single, strict=True):
            np.testing.assert_array_equal(one.boxes, expected)
    assert detector([]) == []


def test_clones_run_in_threads(target: Target, make_model: Make) -> None:
    detector = target.detector(make_model(boxes_output((32, 32, 16, 8, 0.9, 1))))
    failures: list[BaseException] = []

    def work(mine: yolort.Detector) -> None:
        try:
            for _ in range(20):
                assert len(mine(IMAGE)) == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (detector, detector, detector.clone())]
    for thread in threads:
        thread.start()
    del detector  # clones outlive the original
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite(target: Target, make_model: Make, bad: float) -> None:
    outputs = boxes_output((32, 32, 16, 8, 0.9, 1))
    outputs["out0"][5, 2] = bad
    detector = target.detector(make_model(outputs))
    with pytest.raises(yolort.EngineError, match="NaN or infinity"):
        detector(IMAGE)


def test_outputs_that_match_no_head(target: Target, make_model: Make) -> None:
    with pytest.raises(yolort.ModelError, match=r"4 \+ 3 classes"):
        target.detector(make_model({"out0": np.zeros((9, 4), np.float32)}))
    with pytest.raises(yolort.ModelError, match="do not fit the head 'raw'"):
        target.detector(make_model(boxes_output(), metadata(head="raw")))
    with pytest.raises(yolort.ModelError, match="do not fit"):
        target.detector(make_model(raw_outputs(), metadata(head="raw", imgsz=128)))


def test_inputs_that_are_not_images(target: Target, make_model: Make) -> None:
    with pytest.raises(yolort.ModelError, match=r"2 input"):
        target.detector(make_model(boxes_output(), inputs=2))
    if target.engine != "ncnn":
        for shape in ([64, 64], [1, 3, 64]):
            with pytest.raises(yolort.ModelError, match="input"):
                target.detector(make_model(boxes_output(), shape=shape))


def test_metadata_that_is_missing(target: Target, make_model: Make) -> None:
    outputs = boxes_output((32, 32, 16, 8, 0.9, 1))
    bare = make_model(outputs, {})
    with pytest.raises(yolort.ModelError, match="give (names|imgsz)="):
        target.detector(bare)
    with pytest.raises(yolort.ModelError, match="give names="):
        target.detector(bare, imgsz=64)
    detector = target.detector(bare, names=NAMES, imgsz=(64, 64))
    assert detector(IMAGE).classes.tolist() == [1]
    assert target.detector(bare, names=dict(enumerate(NAMES)), imgsz=64).names == detector.names
    with pytest.raises(ValueError, match="keys must be"):
        target.detector(bare, names={0: "a", 2: "b"}, imgsz=64)


def test_metadata_that_is_hostile(target: Target, make_model: Make, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    evil = metadata() | {"names": f"__import__('pathlib').Path({str(trap)!r}).touch()"}
    with pytest.raises(yolort.ModelError, match="names"):
        target.detector(make_model(boxes_output(), evil))
    assert not trap.exists()
    for change in (
        {"imgsz": [-64, 64]},
        {"imgsz": [10**9, 64]},
        {"names": {10**9: "a"}},
        {"task": "depth"},
    ):
        with pytest.raises(yolort.ModelError, match=next(iter(change))):
            target.detector(make_model(boxes_output(), metadata() | change, shape=[1, 3, 64, 64]))
    with pytest.raises(yolort.ModelError, match="newer yolort"):
        target.detector(make_model(boxes_output(), metadata(format=2, head="raw")))


def test_files_that_are_damaged(target: Target, make_model: Make) -> None:
    model = make_model(boxes_output((32, 32, 16, 8, 0.9, 1)))
    files = sorted(model.glob("model*")) if model.is_dir() else [model]
    for file in files:
        whole = file.read_bytes()
        for damaged in (b"", whole[: len(whole) // 2], b"garbage" * 100, bytes(len(whole))):
            file.write_bytes(damaged)
            if file.suffix == ".bin" and len(damaged) >= len(whole):
                continue  # changed weights are still valid weights
            with pytest.raises(yolort.ModelError):
                target.detector(model)
        file.write_bytes(whole)
    assert len(target.detector(model)(IMAGE)) == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_a_model_in_memory(target: Target, make_model: Make, kind: Callable[[bytes], Any]) -> None:
    if target.engine == "ncnn":
        pytest.skip("ncnn reads files")
    model = make_model(boxes_output((32, 32, 16, 8, 0.9, 1)))
    form = "tensorrt" if target.engine == "tensorrt" else "onnx"
    whole = model.read_bytes()
    data = kind(whole)
    detector = target.detector(data, format=form)
    del data
    expected = target.detector(model)(IMAGE)
    assert len(expected) == 1
    for one in (detector, detector.clone()):
        np.testing.assert_array_equal(one(IMAGE).boxes, expected.boxes)
    assert detector.names == dict(enumerate(NAMES))
    for damaged in (whole[: len(whole) // 2], b"garbage" * 100, bytes(1000)):
        with pytest.raises(yolort.ModelError, match='model "in memory"'):
            target.detector(kind(damaged), format=form)


def test_bytes_that_are_not_a_model(tmp_path: Path) -> None:
    model = write_onnx(tmp_path, boxes_output(), metadata())
    data = model.read_bytes()
    with pytest.raises(ValueError, match='format is "ncnn", expected onnx or tensorrt'):
        yolort.Detector(data, format="ncnn")
    with pytest.raises(TypeError, match="expected the bytes of a model"):
        yolort.Detector(model, format="onnx")
    with pytest.raises(yolort.ModelError, match='model "in memory"'):
        yolort.Detector(b"", format="onnx")
    with pytest.raises(yolort.EngineError, match="does not read this format"):
        yolort.Detector(data, format="onnx", engine="ncnn")


def test_arguments_out_of_range(target: Target, make_model: Make) -> None:
    model = make_model(boxes_output())
    refused: list[tuple[dict[str, Any], str]] = [
        ({"threads": 0}, "threads"),
        ({"threads": -1}, "threads"),
        ({"conf": 1.5}, "conf"),
        ({"iou": -0.1}, "iou"),
        ({"max_det": 0}, "max_det"),
        ({"classes": [3]}, "classes"),
        ({"precision": "int3"}, "precision"),
        ({"imgsz": 0}, "imgsz"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            target.detector(model, **options)
    detector = target.detector(model)
    with pytest.raises(ValueError, match="conf"):
        detector(IMAGE, conf=float("nan"))
    with pytest.raises((ValueError, yolort.EngineError), match="device"):
        yolort.Detector(model, engine=target.engine, device="abacus")
    assert target.detector(model, threads=1)(IMAGE) is not None


def test_the_embedded_model_agrees_with_onnxruntime(target: Target, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    image = yolort.images.read(yolort.demo_image())
    reference = yolort.Detector(yolort.demo_model("onnx"), engine="onnxruntime")(image)
    model = yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx")
    if target.engine == "tensorrt":
        model = pytest.importorskip("yolort.tools.export.tensorrt").build_engine(model, output=tmp_path / "demo.engine")
    found = target.detector(model, precision=None if target.engine == "onnxruntime" else "fp32")(image)
    assert len(reference) >= 6
    assert len(found) == len(reference)
    np.testing.assert_allclose(found.scores, reference.scores, atol=2e-3)
    assert found.classes.tolist() == reference.classes.tolist()
    np.testing.assert_allclose(found.boxes, reference.boxes, atol=1)


def test_engines_that_are_not_there(tmp_path: Path) -> None:
    model = write_onnx(tmp_path, boxes_output(), metadata())
    with pytest.raises(ValueError, match="engines are:"):
        yolort.Detector(model, engine="warp")
    with pytest.raises(yolort.EngineError, match="does not read this format.*Available for it: .*onnxruntime"):
        yolort.Detector(model, engine="ncnn")


def test_a_library_that_is_not_installed() -> None:
    program = """
import sys, numpy
sys.path[:] = [path for path in sys.path if not path.endswith("-packages")]
import yolort
print(*(entry for entry in yolort.engines() if entry.name in ("onnxruntime", "openvino")))
"""
    hints = ("VIRTUAL_ENV", "CONDA_PREFIX", "YOLORT_LIBRARY_PATH", "YOLORT_ONNXRUNTIME")
    environment = {name: value for name, value in os.environ.items() if name not in hints}
    out = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert out.stdout.count("available=False") == 2
    assert "pip install openvino" in out.stdout
    assert "pip install onnxruntime" in out.stdout


def test_every_device_that_is_listed_detects(target: Target, make_model: Make) -> None:
    model = make_model({"output0": np.zeros((5, 4), np.float32)}, metadata(["a"]))
    devices = yolort.devices(target.engine)
    assert devices[0].lower().startswith("cpu")
    for device in (text.split(" ")[0] for text in devices):
        found = yolort.Detector(model, engine=target.engine, device=device)
        assert found.device.lower().startswith(device.lower())
        assert len(found(np.zeros((8, 8, 3), np.uint8))) == 0
    with pytest.raises(ValueError, match="not known"):
        yolort.devices("abacus")


def test_the_environment_forces_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = write_onnx(tmp_path, boxes_output(), metadata())
    monkeypatch.setenv("YOLORT_ENGINE", "onnxruntime")
    assert yolort.Detector(model).engine == "onnxruntime"
    monkeypatch.setenv("YOLORT_ENGINE", "openvino")
    assert yolort.Detector(model).engine == "openvino"
    assert yolort.Detector(model, engine="onnxruntime").engine == "onnxruntime"


def test_ncnn_survives_a_fork() -> None:
    """A forked child has none of the parent's threads and must start its own."""
    program = """
import os, sys, numpy, warnings, yolort
warnings.simplefilter("ignore", DeprecationWarning)
detector = yolort.Detector(yolort.demo_model("ncnn"), threads=2)
image = numpy.full((320, 320, 3), 99, numpy.uint8)
detector(image)
child = os.fork()
detector(image)
if child == 0:
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 7)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
