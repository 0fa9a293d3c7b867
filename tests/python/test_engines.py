"""The contract that every engine keeps: the same model gives the same detections and the same errors."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import NAMES, Target, boxes_output, metadata, write_onnx

IMAGE = np.full((64, 64, 3), 50, np.uint8)
Make = Callable[..., Path]


def raw_outputs() -> dict[str, np.ndarray]:
    """Two levels of a 64 x 64 input: one object of class 2 in cell (x 1, y 2) of stride 16, with its twin beside it."""
    maps = {
        "out0": np.zeros((4, 4, 4), np.float32),
        "out1": np.full((3, 4, 4), -9, np.float32),
        "out2": np.zeros((4, 2, 2), np.float32),
        "out3": np.full((3, 2, 2), -9, np.float32),
    }
    maps["out1"][2, 2, 1] = 2
    maps["out0"][:, 2, 1] = 0.5, 1, 0.5, 1
    maps["out1"][2, 2, 2] = 1
    maps["out0"][:, 2, 2] = 1.5, 1, -0.5, 1
    return maps


def test_boxes_head(target: Target, make_model: Make) -> None:
    model = make_model(boxes_output((32, 32, 16, 8, 0.9, 1), (33, 32, 16, 8, 0.8, 1), (33, 32, 16, 8, 0.7, 0)))
    detector = target.detector(model)
    assert detector.engine == target.engine
    assert detector.device.startswith(target.device)
    assert detector.head == "boxes"
    assert detector.names == dict(enumerate(NAMES))
    assert detector.imgsz == (64, 64)
    found = detector(IMAGE)
    assert found.classes.tolist() == [1, 0]  # the second box is the first one's twin
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-3)
    np.testing.assert_allclose(found.boxes[0], [24, 28, 40, 36], atol=0.1)
    assert len(detector(IMAGE, iou=0.95)) == 3
    assert len(detector(IMAGE, agnostic=True)) == 1
    assert len(detector(IMAGE, conf=0.8)) == 1
    assert len(detector(IMAGE, classes=[2])) == 0
    assert len(detector(IMAGE, max_det=1)) == 1
    assert len(detector(IMAGE)) == 2  # overrides last one call
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
    del detector  # clones outlive the one they came from
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


def test_outputs_that_fit_no_head(target: Target, make_model: Make) -> None:
    with pytest.raises(yolort.ModelError, match=r"4 \+ 3 classes"):
        target.detector(make_model({"out0": np.zeros((9, 4), np.float32)}))
    with pytest.raises(yolort.ModelError, match="do not fit the head 'raw'"):
        target.detector(make_model(boxes_output(), metadata(head="raw")))
    with pytest.raises(yolort.ModelError, match="do not fit"):
        target.detector(make_model(raw_outputs(), metadata(head="raw", imgsz=128)))


def test_inputs_that_are_no_image(target: Target, make_model: Make) -> None:
    with pytest.raises(yolort.ModelError, match=r"2 input"):
        target.detector(make_model(boxes_output(), inputs=2))
    if target.engine != "ncnn":
        for shape in ([1, 1, 64, 64], [1, 3, 64]):
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
        {"task": "segment"},
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
                continue  # weights of another value are still weights
            with pytest.raises(yolort.ModelError):
                target.detector(model)
        file.write_bytes(whole)
    assert len(target.detector(model)(IMAGE)) == 1


def test_arguments_out_of_range(target: Target, make_model: Make) -> None:
    model = make_model(boxes_output())
    for options, message in [
        ({"threads": 0}, "threads"),
        ({"threads": -1}, "threads"),
        ({"conf": 1.5}, "conf"),
        ({"iou": -0.1}, "iou"),
        ({"max_det": 0}, "max_det"),
        ({"classes": [3]}, "classes"),
        ({"precision": "int3"}, "precision"),
        ({"imgsz": 0}, "imgsz"),
    ]:
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


def demo_detector(target: Target, **options: Any) -> yolort.Detector:
    model = yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx")
    return target.detector(model, precision=None if target.engine == "onnxruntime" else "fp32", **options)


@pytest.mark.parametrize("merge", ["wbf", "nms"])
def test_a_view_merged_alone_is_a_plain_look(target: Target, merge: str) -> None:
    pytest.importorskip("cv2")
    image = yolort.images.read(yolort.demo_image())
    expected = demo_detector(target)(image)
    for options in ({"augment": True}, {"scales": [320]}, {"scales": 320}):
        detector = demo_detector(target, flip=False, merge=merge, **options)
        assert [view[:3] for view in detector.views] == [(320, False, (320, 320))]
        for found in (detector(image), detector(image, augment=False)):
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.classes, expected.classes)


@pytest.mark.parametrize("merge", ["wbf", "nms"])
def test_a_mirrored_picture_gives_mirrored_boxes(target: Target, merge: str) -> None:
    """Its views are those of the picture itself, in another order."""
    pytest.importorskip("cv2")
    image = yolort.images.read(yolort.demo_image())[:, :-13]  # a width that the letterbox has to round
    detector = demo_detector(target, merge=merge, scales=[320, 271], conf=0.3)
    found, turned = detector(image), detector(image[:, ::-1])
    assert len(found) >= 6
    assert turned.classes.tolist() == found.classes.tolist()
    np.testing.assert_allclose(turned.scores, found.scores, atol=1e-4)
    sides = image.shape[1] - turned.boxes[:, [2, 0]]
    np.testing.assert_allclose(sides, found.boxes[:, [0, 2]], atol=0.05)
    np.testing.assert_allclose(turned.boxes[:, [1, 3]], found.boxes[:, [1, 3]], atol=0.05)
    plain = demo_detector(target, conf=0.5)(image)
    for box, cls in zip(plain.boxes, plain.classes, strict=True):  # what one view is sure of, all of them confirm
        others = found.boxes[found.classes == cls]
        sides = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
        common = sides.clip(0).prod(axis=1)
        union = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common
        assert (common / union).max() > 0.7


def test_views_are_mirrored_back(target: Target, make_model: Make) -> None:
    """A network that finds a box on the left whatever it sees: in the mirrored view that is one on the right."""
    model = make_model(boxes_output((24, 32, 16, 8, 0.9, 1)))
    assert target.detector(model).views == []
    found = target.detector(model, augment=True, merge="nms")(np.zeros((32, 64, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[16, 12, 32, 20], [32, 12, 48, 20]], atol=0.1)
    np.testing.assert_allclose(found.scores, [0.9, 0.9], atol=1e-3)
    detector = target.detector(model, augment=True)
    np.testing.assert_allclose(detector(IMAGE).scores, [0.45, 0.45], atol=1e-3)  # one view of two
    assert detector.speed.inference > 0
    assert len(detector(IMAGE, conf=0.44)) == 2
    assert len(detector(IMAGE, conf=0.46)) == 0
    assert len(detector(IMAGE, max_det=1)) == 1
    assert len(detector(IMAGE, classes=[2])) == 0
    assert len(detector(IMAGE, augment=False)) == 1
    for one in (*detector([IMAGE, IMAGE]), detector.clone()(IMAGE)):
        np.testing.assert_array_equal(one.boxes, detector(IMAGE).boxes)


def test_an_artefact_a_scale(target: Target, make_model: Make) -> None:
    small = make_model(boxes_output((16, 32, 16, 8, 0.9, 1)))
    large = make_model(boxes_output((32, 64, 32, 16, 0.5, 1), anchors=7), metadata(imgsz=128))
    detector = target.detector(small, scale_models=large, flip=False)
    assert [view.imgsz for view in detector.views] == [(64, 64), (128, 128)]
    assert [view.model for view in detector.views] == [str(small), str(large)]
    for _ in range(2):
        found = detector(IMAGE)
        np.testing.assert_allclose(found.boxes, [[8, 28, 24, 36]], atol=0.1)
        np.testing.assert_allclose(found.scores, [0.7], atol=1e-3)
    # Between the sizes an image lies in the middle of the larger input: 100 of 128 pixels, from 14 on.
    (view,) = target.detector(small, scales=[100], scale_models=[large], flip=False).views
    assert (view.scale, view.imgsz) == (100, (128, 128))
    found = target.detector(small, scales=[100], scale_models=[large], flip=False)(IMAGE)
    np.testing.assert_allclose(found.boxes, [np.subtract([16, 56, 48, 72], 14) * 0.64], atol=0.1)


def test_scales_that_cannot_run(target: Target, make_model: Make) -> None:
    model = make_model(boxes_output((16, 32, 16, 8, 0.9, 1)))
    with pytest.raises(ValueError, match=r"128 is larger than any input: model .* is fixed to 64 x 64; export"):
        target.detector(model, scales=[64, 128])
    with pytest.raises(ValueError, match="8 is out of range, expected 32 to 16384"):
        target.detector(model, scales=[8])
    with pytest.raises(ValueError, match="64 stands there twice"):
        target.detector(model, scales=[64, 64])
    with pytest.raises(ValueError, match='merge is "mean", expected wbf or nms'):
        target.detector(model, merge="mean")
    with pytest.raises(ValueError, match="no scale runs on"):
        target.detector(model, scales=[64], scale_models=[make_model(boxes_output(), metadata(imgsz=128))])
    with pytest.raises(yolort.ModelError, match="has other classes than"):
        target.detector(model, scale_models=[make_model(boxes_output(), metadata(["a", "b", "c"], imgsz=128))])
    with pytest.raises(FileNotFoundError, match="nothing"):
        target.detector(model, scale_models=[model.parent / "nothing.onnx"])
    with pytest.raises(ValueError, match="construct it with augment or scales"):
        target.detector(model)(IMAGE, augment=True)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_dynamic_model_runs_at_each_scale(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    model = write_onnx(tmp_path, boxes_output((32, 32, 16, 8, 0.9, 1)), metadata(), shape=[1, 3, "h", "w"])
    detector = yolort.Detector(model, engine=engine, scales=[64, 100], flip=False, merge="nms")
    assert [view.imgsz for view in detector.views] == [(64, 64), (128, 128)]  # padded to the stride
    found = detector(IMAGE)
    np.testing.assert_allclose(found.boxes[0], [24, 28, 40, 36], atol=0.1)
    np.testing.assert_allclose(found.boxes[1], np.subtract([24, 28, 40, 36], 14) * 0.64, atol=0.1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_model_that_is_dynamic_in_name_only(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    onnx = pytest.importorskip("onnx")
    path = write_onnx(tmp_path, boxes_output((32, 32, 16, 8, 0.9, 1)), metadata(), shape=[1, 3, "h", "w"])
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 3, 64 * 64]), "size"))
    model.graph.node.insert(0, onnx.helper.make_node("Reshape", ["images", "size"], ["flat"]))
    model.graph.node[1].input[0] = "flat"
    path.write_bytes(model.SerializeToString())
    assert len(yolort.Detector(path, engine=engine)(IMAGE)) == 1
    with pytest.raises(yolort.EngineError, match="cannot run at 128 x 128 for the scale 128"):
        yolort.Detector(path, engine=engine, scales=[64, 128])


def test_a_dynamic_batch_runs_at_once(tmp_path: Path) -> None:
    """And a model whose output lacks the rows of the batch is refused, not read past its end."""
    pytest.importorskip("onnxruntime")
    model = write_onnx(tmp_path, boxes_output((32, 32, 16, 8, 0.9, 1)), metadata(), shape=["n", 3, "h", "w"])
    for engine in ("onnxruntime", "openvino"):
        detector = yolort.Detector(model, engine=engine, imgsz=(64, 32))
        assert detector.imgsz == (64, 32)
        assert len(detector(IMAGE)) == 1
        with pytest.raises(yolort.EngineError, match="2 images"):
            detector([IMAGE, IMAGE])


HEADS = {
    "boxes": boxes_output((32, 32, 16, 8, 0.9, 1), (10, 20, 8, 8, 0.8, 0), (33, 32, 16, 8, 0.7, 1)),
    "end2end": {"out0": np.float32([[24, 28, 40, 36, 0.9, 1], [6, 16, 14, 24, 0.6, 0], [0, 0, 8, 8, 0.4, 2]])},
    "raw": raw_outputs(),
    "raw-e2e": raw_outputs(),
}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", ["n", 1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_a_list_of_a_dynamic_batch_is_what_its_images_are_one_by_one(
    head: str, batch: str | int, engine: str, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    model = write_onnx(tmp_path, HEADS[head], metadata(head=head), shape=[batch, 3, 64, 64], per_image=True)
    detector = yolort.Detector(model, engine=engine)
    assert detector.batch == (batch if isinstance(batch, int) else 0)
    images = [np.full((64 + i, 64, 3), 120 + 7 * i, np.uint8) for i in range(19)]  # more than one run takes
    one_by_one = [detector(image) for image in images]
    assert len({float(found.scores[0]) for found in one_by_one}) == len(images)
    for count in (2, 3, 4, 19):
        for alone, together in zip(one_by_one, detector(images[:count]), strict=False):
            assert together.classes.tolist() == alone.classes.tolist()
            np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-3)
            np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
    with yolort.Batcher(detector, max_batch=8) as batcher:
        for alone, future in zip(one_by_one, [batcher.submit(image) for image in images], strict=True):
            np.testing.assert_allclose(future.result(60).scores, alone.scores, atol=1e-5)


def test_engines_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = write_onnx(tmp_path, boxes_output(), metadata())
    with pytest.raises(ValueError, match="engines are:"):
        yolort.Detector(model, engine="warp")
    with pytest.raises(yolort.EngineError, match="does not read this format.*Available for it: .*onnxruntime"):
        yolort.Detector(model, engine="ncnn")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(yolort.EngineError, match="pip install onnxruntime"):
        yolort.Detector(model, engine="onnxruntime")


def test_a_library_that_is_not_installed() -> None:
    program = """
import os, sys, numpy
sys.path[:] = [os.path.dirname(os.__file__)]
import yolort
print({entry.name: entry for entry in yolort.engines()}["openvino"])
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    out = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert "available=False" in out.stdout
    assert "pip install openvino" in out.stdout


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


def test_ncnn_computes_in_what_it_says(target: Target, make_model: Make) -> None:
    if target.engine != "ncnn":
        pytest.skip("the other engines compute in what the file holds, or refuse by themselves")
    model = make_model({"output0": np.full((5, 4), 0.75, np.float32)}, metadata(["a"]))
    refused = []
    for precision in ("fp32", "bf16", "fp16", "fp16-storage"):
        try:
            detector = target.detector(model, precision=precision)
        except yolort.EngineError as error:
            assert f"cannot compute in {precision} on {target.device or 'cpu'}" in str(error)
            refused.append(precision)
        else:
            assert detector.precision == precision
            assert len(detector(np.zeros((8, 8, 3), np.uint8))) > 0
    assert "fp32" not in refused
    assert target.detector(model).precision not in refused
    if target.device != "vulkan" and platform.machine() == "x86_64":  # ncnn would compute in fp32 and not say so
        assert refused == ["fp16", "fp16-storage"]


@pytest.mark.parametrize("device", ["cpu", "AUTO", "AUTO:CPU"])
def test_openvino_computes_in_what_it_says(device: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    if device != "cpu" and core.available_devices != ["CPU"]:
        pytest.skip("it may run elsewhere")
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    model = write_onnx(tmp_path, boxes_output(), metadata())
    for precision in ("fp32", "bf16", "fp16"):
        if precision.upper() in able:
            assert yolort.Detector(model, engine="openvino", device=device, precision=precision).precision == precision
        else:  # OpenVINO would compute in another and not say so
            with pytest.raises(yolort.EngineError, match=f"cannot compute in {precision} on cpu; it can in fp32"):
                yolort.Detector(model, engine="openvino", device=device, precision=precision)


def test_the_environment_forces_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = write_onnx(tmp_path, boxes_output(), metadata())
    assert yolort.Detector(model).engine == "onnxruntime"
    monkeypatch.setenv("YOLORT_ENGINE", "openvino")
    assert yolort.Detector(model).engine == "openvino"
    assert yolort.Detector(model, engine="onnxruntime").engine == "onnxruntime"


def test_ncnn_survives_a_fork(tmp_path: Path) -> None:
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


def test_a_failed_engine_package_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = write_onnx(tmp_path, boxes_output(), metadata())
    monkeypatch.setitem(sys.modules, "yolort.engines.onnxruntime", None)
    with warnings.catch_warnings(), pytest.raises(yolort.EngineError, match="onnxruntime"):
        yolort.Detector(model, engine="onnxruntime")
