"""Several images in one run: each gets the same results as alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yolort
from known_models import IMAGE, Target, boxes_output, metadata, raw_outputs, write_onnx


def write_unrolled(path: Path, batch: int, *, told: bool = True) -> Path:
    """An Ultralytics export with nms=True and dynamic=True: only the first `batch` images of a run have detections."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    row = np.array([[[8, 8, 24, 24, 0.9, 1]]], np.float32)
    constants = {"zero": np.int64(0), "one": np.int64(1), "most": np.int64(batch), "rows": np.array([-1, 1, 1]),
                 "row": row, "nought": np.float32(0)}  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["index"]),
        helper.make_node("Less", ["index", "most"], ["first"]),
        helper.make_node("Cast", ["first"], ["kept"], to=floats),
        helper.make_node("Reshape", ["kept", "rows"], ["column"]),
        helper.make_node("Mul", ["column", "row"], ["boxes"]),
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "unrolled",
        [helper.make_tensor_value_info("images", floats, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("output0", floats, ["n", 1, 6])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    said = {**metadata(), "batch": batch, "args": {"batch": batch, "nms": True, "dynamic": True}}
    for key, value in said.items() if told else ():
        entry = made.metadata_props.add()
        entry.key, entry.value = key, str(value)
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_no_run_has_more_images_than_the_graph_unrolls(engine: str, batch: int, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    detector = yolort.Detector(write_unrolled(tmp_path / "m.onnx", batch), engine=engine)
    assert detector.batch == batch
    for count in (1, 2, 3, 8, 17):
        assert [len(found) for found in detector([IMAGE] * count)] == [1] * count
    with yolort.Batcher(detector) as batcher:
        futures = [batcher.submit(IMAGE) for _ in range(20)]
        assert [len(future.result(60)) for future in futures] == [1] * 20
    with yolort.Batcher(detector, max_batch=8) as batcher:
        futures = [batcher.submit(IMAGE) for _ in range(20)]
        assert [len(future.result(60)) for future in futures] == [1] * 20
    with detector.stream(iter([IMAGE] * 9), max_batch=4) as stream:
        assert [len(frame.detections) for frame in stream] == [1] * 9
    with pytest.raises(ValueError, match=f"expected 1 to {batch}"):
        detector.infer(np.zeros((batch + 1, 3, 64, 64), np.float32))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_that_says_nothing_of_itself_may_be_unrolled(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    model = write_unrolled(tmp_path / "m.onnx", 1, told=False)
    detector = yolort.Detector(model, engine=engine, names=["a", "b"], imgsz=64)
    assert detector.head == "end2end"
    assert detector.batch == 1
    assert [len(found) for found in detector([IMAGE] * 5)] == [1] * 5


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_real_export_with_nms(batch: int, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics' own export, which needs an importable torchvision."""
    pytest.importorskip("openvino" if format == "openvino" else "onnxruntime")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    ultralytics = pytest.importorskip("ultralytics")
    monkeypatch.chdir(tmp_path)
    network = ultralytics.YOLO("yolov8n.yaml")
    path = network.export(format=format, nms=True, dynamic=True, batch=batch, imgsz=64, conf=1e-6)
    images = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8) for seed in range(5)]
    detector = yolort.Detector(path, conf=1e-6)
    assert detector.batch == batch
    one_by_one = [detector(image) for image in images]
    assert all(map(len, one_by_one))
    for alone, together in zip(one_by_one, detector(images), strict=True):
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-2)


def test_a_list_gives_the_results_of_its_images(target: Target) -> None:
    """On every engine, with a model whose outputs depend on the images."""
    model = yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx")
    if target.engine == "tensorrt":
        pytest.skip("the embedded model is no engine")
    detector = target.detector(model)
    scene = yolort.images.read(yolort.demo_image())
    images = [scene, scene[:, ::-1], scene[::2], scene[100:300], np.zeros_like(scene)]
    for alone, together in zip([detector(image) for image in images], detector(images), strict=True):
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=0.5)
        assert together.classes.tolist() == alone.classes.tolist()


def test_a_dynamic_batch_runs_at_once(tmp_path: Path) -> None:
    """A model whose output has too few rows for the batch is refused instead of read out of bounds."""
    pytest.importorskip("onnxruntime")
    model = write_onnx(tmp_path, boxes_output((32, 32, 16, 8, 0.9, 1)), metadata(), shape=["n", 3, "h", "w"])
    for engine in ("onnxruntime", "openvino"):
        detector = yolort.Detector(model, engine=engine, imgsz=(64, 32))
        assert detector.imgsz == (64, 32)
        assert len(detector(IMAGE)) == 1
        with pytest.raises(yolort.EngineError, match="2 images"):
            detector([IMAGE, IMAGE])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_images_of_mixed_shapes_give_the_same_results_as_alone(engine: str, tmp_path: Path) -> None:
    """Each image is padded only to the stride, independent of the others; the score is the mean of the padded image."""
    pytest.importorskip(engine)
    shape = ["n", 3, "h", "w"]
    model = write_onnx(tmp_path, boxes_output((16, 16, 16, 8, 1, 1)), metadata(imgsz=128), shape=shape, per_image=True)
    detector = yolort.Detector(model, engine=engine)
    assert detector.rect
    sides = [(64, 128), (128, 64), (50, 128), (64, 128), (128, 128), (64, 128), (20, 300), (128, 64)]
    images = [np.full((*side, 3), 120 + 10 * i, np.uint8) for i, side in enumerate(sides)]
    together = detector(images)
    for image, found in zip(images, together, strict=True):
        alone = detector(image)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
        np.testing.assert_array_equal(found.boxes, alone.boxes)
    assert together[0].scores[0] == pytest.approx(120 / 255, abs=1e-5)  # 64 x 128 needs no padding
    square = yolort.Detector(model, engine=engine, rect=False)
    assert not square.rect
    assert square(images[0]).scores[0] == pytest.approx((120 + 114) / 2 / 255, abs=1e-5)
    with yolort.Batcher(detector) as batcher:
        futures = [batcher.submit(image) for image in images]
        for future, found in zip(futures, together, strict=True):
            np.testing.assert_allclose(future.result(60).scores, found.scores, atol=1e-6)


def test_the_size_of_a_dynamic_model_is_a_multiple_of_its_stride(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    model = write_onnx(tmp_path, boxes_output(), metadata(), shape=[1, 3, "h", "w"])
    detector = yolort.Detector(model, engine="onnxruntime", imgsz=(100, 64))
    assert detector.imgsz == (128, 64)
    assert "imgsz 100 x 64 is not a multiple of the model's stride, 32; it runs at 128 x 64" in caplog.text


HEADS = {
    "boxes": boxes_output((32, 32, 16, 8, 0.9, 1), (10, 20, 8, 8, 0.8, 0), (33, 32, 16, 8, 0.7, 1)),
    "end2end": {
        "out0": np.array([[24, 28, 40, 36, 0.9, 1], [6, 16, 14, 24, 0.6, 0], [0, 0, 8, 8, 0.4, 2]], np.float32)
    },
    "raw": raw_outputs(),
    "raw-e2e": raw_outputs(),
}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", ["n", 1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_a_dynamic_batch_gives_the_results_of_single_images(
    head: str, batch: str | int, engine: str, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    model = write_onnx(tmp_path, HEADS[head], metadata(head=head), shape=[batch, 3, 64, 64], per_image=True)
    detector = yolort.Detector(model, engine=engine)
    assert detector.batch == (batch if isinstance(batch, int) else 0)
    images = [np.full((64 + i, 64, 3), 120 + 7 * i, np.uint8) for i in range(19)]  # more than fits in one run
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
