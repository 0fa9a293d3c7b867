"""Test-time augmentation: mirrored views, scales, and models of several sizes, on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import IMAGE, Make, Target, boxes_output, metadata, write_onnx


def demo_detector(target: Target, **options: Any) -> yolort.Detector:
    model = yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx")
    return target.detector(model, precision=None if target.engine == "onnxruntime" else "fp32", **options)


@pytest.mark.parametrize("merge", ["wbf", "nms"])
def test_merging_a_single_view_changes_nothing(target: Target, merge: str) -> None:
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
    """Its views equal those of the image itself, in another order."""
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
    for box, cls in zip(plain.boxes, plain.classes, strict=True):  # confirmed by all views
        others = found.boxes[found.classes == cls]
        sides = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
        common = sides.clip(0).prod(axis=1)
        union = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common
        assert (common / union).max() > 0.7


def test_views_are_mirrored_back(target: Target, make_model: Make) -> None:
    """A network that always finds a box on the left, which is on the right in the mirrored view."""
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
    # A scale between the sizes is centered in the larger input: 100 of 128 pixels, beginning at 14.
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
    with pytest.raises(ValueError, match="64 is given twice"):
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
