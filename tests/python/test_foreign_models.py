"""Real-world models: incomplete metadata, other heads, other channels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import NAMES, boxes_output, metadata, write_ncnn, write_onnx

IMAGE = np.full((50, 100, 3), 90, np.uint8)  # letterboxed into 64 x 64: scaled by 0.64, 16 rows above
ROW = [6.4, 22.4, 32, 40.2]  # in the network input; and in the image
BOX = [10, 10, 50, 37.8125]


def said(**other: Any) -> dict[str, Any]:
    """Ultralytics' metadata from before it had end-to-end heads."""
    return {key: value for key, value in {**metadata(), **other}.items() if key != "end2end"}


def opened(model: Path, engine: str = "onnxruntime", **options: Any) -> yolort.Detector:
    return yolort.Detector(model, engine=engine, **options)


def check_box(found: yolort.Detections, box: list[float], score: float, cls: int) -> None:
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], box, atol=1e-3)
    assert (round(float(found.scores[0]), 4), int(found.classes[0])) == (score, cls)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_yolov10_without_the_key_end2end(tmp_path: Path, engine: str) -> None:
    rows = np.array([[*ROW, 0.75, 2], [*ROW, 0.1, 1], [0] * 6, [0] * 6, [0] * 6], np.float32)
    detector = opened(write_onnx(tmp_path, {"output0": rows}, said()), engine)
    assert detector.head == "end2end"
    check_box(detector(IMAGE), BOX, 0.75, 2)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("data", [said(), {}], ids=["metadata", "none"])
def test_yolov5_with_objectness(tmp_path: Path, engine: str, data: dict[str, Any]) -> None:
    center = [19.2, 31.3, 25.6, 17.8]
    rows = np.zeros((9, 8), np.float32)
    rows[3] = [*center, 0.8, 0.1, 0.9, 0.2]
    rows[4] = [*center, 0.7, 0.1, 0.9, 0.2]  # NMS drops it
    rows[5] = [*center, 0.2, 1, 1, 1]
    detector = opened(write_onnx(tmp_path, {"output0": rows}, data), engine, names=NAMES, imgsz=64)
    assert detector.head == "rows"
    check_box(detector(IMAGE), BOX, 0.72, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_rows_that_say_their_image(tmp_path: Path, engine: str) -> None:
    row = np.array([0, *ROW, 2, 0.75], np.float32)
    detector = opened(write_onnx(tmp_path, {"output": row}, {}), engine, names=NAMES, imgsz=64)
    assert detector.head == "indexed"
    for _ in range(2):
        check_box(detector(IMAGE), BOX, 0.75, 2)


def test_as_many_rows_as_there_are_objects(tmp_path: Path) -> None:
    """The number of rows depends on the image: only bright images have any."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    rows = np.array([[0, *ROW, 2, 0.75], [0, *ROW, 1, 0.5]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Greater", ["mean", "limits"], ["kept"]),
        helper.make_node("Compress", ["rows", "kept"], ["output"], axis=0),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([0.1, 0.4], np.float32), "limits"),
        onnx.numpy_helper.from_array(rows, "rows"),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("images", float32, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", float32, ["n", 7])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "rows.onnx"
    path.write_bytes(model.SerializeToString())
    detector = opened(path, names=NAMES)
    for level, count in ((255, 2), (0, 0), (90, 1), (255, 2), (0, 0)):
        assert len(detector(np.full((64, 64, 3), level, np.uint8))) == count


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_rtdetr_by_its_metadata(tmp_path: Path, engine: str) -> None:
    rows = np.array([[0.3, 0.25, 0.4, 0.5, 0.75, 2], [0.5, 0.5, 0.1, 0.1, 0.2, 0]], np.float32)
    detector = opened(write_onnx(tmp_path, {"output0": rows}, {**metadata(), "head": "RTDETRDecoder"}), engine)
    check_box(detector(IMAGE), [10, 0, 50, 25], 0.75, 2)  # fractions of the image, independent of its proportions
    assert not detector.rect


@pytest.mark.parametrize("where", ["metadata", "option"])
def test_rtdetr_whose_images_are_padded(tmp_path: Path, where: str) -> None:
    """Settings of the model or user take precedence over RT-DETR's defaults."""
    rows = np.array([[0.5, 0.5, 0.4, 0.25, 0.75, 2]], np.float32)
    data = {**metadata(), "head": "RTDETRDecoder"}
    if where == "metadata":
        data["yolort"] = json.dumps({"format": 1, "head": "end2end", "input": {"resize": "letterbox"}})
    options = {"resize": "letterbox"} if where == "option" else {}
    detector = opened(write_onnx(tmp_path, {"output0": rows}, data), **options)
    check_box(detector(IMAGE), [30, 12.5, 70, 37.5], 0.75, 2)  # 100 x 50 pixels in a square of 100


def test_rtdetr_of_two_classes_that_gives_a_score_for_each(tmp_path: Path) -> None:
    """Its rows have the same shape as rows with score and class, but are not misread silently."""
    rows = np.array([[0.3, 0.25, 0.4, 0.5, 0.75, 0.2]], np.float32)
    data = {**metadata(NAMES[:2]), "head": "RTDETRDecoder"}
    detector = opened(write_onnx(tmp_path, {"output0": rows}, data))
    with pytest.raises(yolort.ModelError, match="which is not a whole number"):
        detector(IMAGE)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_rows_of_a_model_in_memory_at_another_size(tmp_path: Path, engine: str) -> None:
    """The file is deleted by then, and is not read again."""
    rows = np.zeros((9, 8), np.float32)
    rows[3] = [19.2, 31.3, 25.6, 17.8, 0.8, 0.1, 0.9, 0.2]
    path = write_onnx(tmp_path, {"output0": rows}, said(), shape=[1, 3, "height", "width"])
    data = path.read_bytes()
    path.unlink()
    detector = yolort.Detector(data, format="onnx", engine=engine, names=NAMES, imgsz=64)
    assert detector.rect
    assert len(detector(IMAGE)) == 1  # at 32 x 64
    assert len(detector(np.full((64, 64, 3), 90, np.uint8))) == 1


def with_grid_sample(path: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 2), np.float32), "places"))
    model.graph.node.append(onnx.helper.make_node("GridSample", ["images", "places"], ["sampled"]))
    onnx.save(model, path)
    return path


def test_rtdetr_by_its_graph(tmp_path: Path) -> None:
    rows = np.array([[0.3, 0.25, 0.4, 0.5, 0.1, 0.2, 0.75], [0] * 7, [0] * 7, [0] * 7], np.float32)
    path = write_onnx(tmp_path, {"output0": rows}, said())
    with pytest.raises(yolort.ModelError, match="export it again"):  # the shape alone says nothing
        opened(path)
    check_box(opened(with_grid_sample(path))(IMAGE), [10, 0, 50, 25], 0.75, 2)


def test_placeholder_names(tmp_path: Path) -> None:
    names = {i: f"class{i}" for i in range(999)}
    detector = opened(write_onnx(tmp_path, boxes_output((30, 30, 20, 20, 0.9, 2), anchors=9), said(names=names)))
    assert list(detector.names.values()) == ["class0", "class1", "class2"]
    assert detector(IMAGE).classes.tolist() == [2]
    ncnn = write_ncnn(tmp_path, boxes_output((30, 30, 20, 20, 0.9, 2), anchors=9), said(names=names))
    assert len(opened(ncnn, "ncnn").names) == 3


def test_names_that_do_not_fit_say_how_many_there_are(tmp_path: Path) -> None:
    path = write_onnx(tmp_path, boxes_output(anchors=21), said(names=dict(enumerate("abcd"))))
    with pytest.raises(yolort.ModelError, match="has 3 classes and the model names 4: give names= with 3 names"):
        opened(path)
    assert len(opened(path, names=NAMES).names) == 3


def test_folder_with_two_params(tmp_path: Path) -> None:
    folder = write_ncnn(tmp_path, boxes_output((30, 30, 20, 20, 0.9, 2)), metadata())
    for name in ("model.pnnx.param", "model.pnnx.bin"):
        (folder / name).write_bytes(b"of pnnx")
    assert len(opened(folder, "ncnn")(IMAGE)) == 1


class TestChannels:
    @pytest.fixture(params=["onnxruntime", "openvino"])
    def make(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., yolort.Detector]:
        """A model whose score is the mean of its input."""

        def make(count: int, **options: Any) -> yolort.Detector:
            outputs = boxes_output((32, 32, 64, 64, 1, 1))
            path = write_onnx(tmp_path, outputs, said(), shape=[1, count, 64, 64], per_image=True)
            return opened(path, request.param, **{"conf": 0.01, **options})

        return make

    def test_gray(self, make: Callable[..., yolort.Detector]) -> None:
        cv2 = pytest.importorskip("cv2")
        detector = make(1)
        assert detector.channels == 1
        image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        for form in (gray, gray[..., None], image, np.dstack([image, gray])):
            (score,) = detector(form).scores
            assert score == pytest.approx(gray.mean() / 255, abs=1e-4)
        rgb = detector(image[..., ::-1], format="rgb")
        assert rgb.scores == pytest.approx(gray.mean() / 255, abs=1e-4)

    def test_six(self, make: Callable[..., yolort.Detector], tmp_path: Path) -> None:
        detector = make(6)
        image = np.random.default_rng(0).integers(0, 256, (64, 64, 6), np.uint8)
        np.save(tmp_path / "image.npy", image)
        np.save(tmp_path / "deep.npy", image.astype(np.uint16) << 8)
        for found in detector([image, tmp_path / "image.npy", str(tmp_path / "deep.npy"), image[:, ::-1]]):
            assert found.scores == pytest.approx(image.mean() / 255, abs=1e-4)
        for wrong in (IMAGE, IMAGE[..., 0], np.zeros((8, 8, 4), np.uint8)):
            with pytest.raises(ValueError, match="the model takes 6"):
                detector(wrong)
        with pytest.raises(ValueError, match=r"\(height, width, 6\), as the model needs"):
            detector(np.zeros((8, 8, 7), np.uint8))

    def test_files_with_fewer_channels(self, make: Callable[..., yolort.Detector], tmp_path: Path) -> None:
        cv2 = pytest.importorskip("cv2")
        detector = make(6)
        pages = [np.full((64, 64), 40 * page, np.uint8) for page in range(6)]
        assert cv2.imwritemulti(str(tmp_path / "pages.tif"), pages)
        (found,) = detector([tmp_path / "pages.tif"])
        assert found.scores == pytest.approx(100 / 255, abs=1e-4)
        assert cv2.imwritemulti(str(tmp_path / "five.tif"), pages[:5])
        np.save(tmp_path / "three.npy", IMAGE)
        np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
        (tmp_path / "cut.npy").write_bytes((tmp_path / "three.npy").read_bytes()[:200])
        cv2.imwrite(str(tmp_path / "color.png"), IMAGE)
        for name in ("five.tif", "three.npy", "objects.npy", "cut.npy", "color.png"):
            with pytest.raises(yolort.ImageError, match="the model takes 6 channels: a TIFF of 6 pages"):
                detector(tmp_path / name)

    def test_order_mean_and_deviation(self, make: Callable[..., yolort.Detector]) -> None:
        (score,) = make(3, mean=(0.1, 0.2, 0.3), std=0.5)(np.full((64, 64, 3), 102, np.uint8)).scores
        assert score == pytest.approx((0.4 - 0.2) / 0.5, abs=1e-4)
        image = np.zeros((64, 64, 3), np.uint8)
        image[..., 0] = 255  # blue
        for channels, mean in (("rgb", (-0.5, 0, 0)), ("bgr", (0, 0, -0.5))):
            first = make(3, channels=channels, mean=mean, std=(4, 4, 1) if channels == "rgb" else (1, 4, 2))
            expected = {"rgb": (0.5 / 4 + 1) / 3, "bgr": (1 + 0.5 / 2) / 3}[channels]
            assert first(image).scores == pytest.approx(expected, abs=1e-4)

    def test_stretching(self, make: Callable[..., yolort.Detector]) -> None:
        found = make(3, resize="stretch")(IMAGE)
        share = 90 / 255  # the mean of the input: no padding with another brightness
        np.testing.assert_allclose(found.boxes, [[0, 0, 100 * share, 50 * share]], atol=0.01)
        assert found.scores == pytest.approx(share, abs=1e-4)

    def test_what_does_not_fit(self, make: Callable[..., yolort.Detector]) -> None:
        for options, error, match in (
            ({"channels": 6}, yolort.ModelError, "its graph takes 3 channel"),
            ({"channels": "lab"}, ValueError, "expected rgb, bgr or a number"),
            ({"resize": "crop"}, ValueError, "letterbox or stretch"),
            ({"mean": (0.5, 0.5)}, ValueError, "mean has 2 values"),
            ({"std": 0}, ValueError, "std is 0"),
            ({"mean": "half"}, TypeError, "expected a number"),
        ):
            with pytest.raises(error, match=match):
                make(3, **options)


def test_the_number_of_channels_of_an_ncnn_model(tmp_path: Path) -> None:
    folder = write_ncnn(tmp_path, boxes_output((30, 30, 20, 20, 0.9, 2)), said())
    assert opened(folder, "ncnn").channels == 3
    detector = opened(folder, "ncnn", channels=5)
    assert detector.channels == 5
    assert len(detector(np.zeros((40, 40, 5), np.uint8))) == 1
    assert detector.infer(np.zeros((1, 5, 64, 64), np.float32))[0].shape == (1, 7, 4)
