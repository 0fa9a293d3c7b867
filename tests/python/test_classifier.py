"""Classifier: preprocessing compared with Pillow's, scores on every engine, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import metadata, write_ncnn, write_onnx
from typer.testing import CliRunner
from yolort.cli.main import app

NAMES = ["cat", "dog", "owl", "fox", "hen", "elk"]
PROBS = np.array([0.1, 0.05, 0.5, 0.2, 0.1, 0.05], np.float32)


def said(**other: Any) -> dict[str, Any]:
    return {**metadata(NAMES), "task": "classify", "head": "Classify", "stride": 1, "imgsz": [32, 32], **other}


@pytest.fixture(params=["onnxruntime", "openvino", "ncnn"])
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> yolort.Classifier:
    if request.param == "ncnn":
        return yolort.Classifier(write_ncnn(tmp_path, {"out0": PROBS}, said()), engine="ncnn")
    return yolort.Classifier(write_onnx(tmp_path, {"output0": PROBS}, said()), engine=request.param)


def test_scores(classifier: yolort.Classifier, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.zeros((40, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    found = classifier(image)
    np.testing.assert_allclose(found.probs, PROBS)
    assert ("scores of classes need fp32" in classifier.explain()) == (classifier.engine != "onnxruntime")
    assert (found.top1, found.top5, found.name) == (2, [2, 3, 0, 4, 1], "owl")
    assert found.to_dict(1)["classes"] == [{"class": 2, "name": "owl", "score": 0.5}]
    assert repr(found).startswith("Classification(owl 0.50, fox 0.20, ")
    assert found.shape == (40, 50) and found.path is None
    several = classifier([image, tmp_path / "a.png", str(tmp_path / "a.png")])
    assert [one.top1 for one in several] == [2, 2, 2] and several[1].path == str(tmp_path / "a.png")
    of_folder = classifier(tmp_path)
    assert isinstance(of_folder, list) and [one.path for one in of_folder] == [str(tmp_path / "a.png")]
    assert classifier.clone()(image).top1 == 2
    assert (classifier.imgsz, classifier.channels, len(classifier.names)) == ((32, 32), 3, 6)


@pytest.fixture
def pixels(tmp_path: Path) -> Callable[..., yolort.Classifier]:
    """A model whose scores are its input."""

    def make(height: int, width: int, batch: int | str = 1, **options: Any) -> yolort.Classifier:
        onnx = pytest.importorskip("onnx")
        helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
        count = 3 * height * width
        graph = helper.make_graph(
            [helper.make_node("Flatten", ["images"], ["output0"])],
            "test",
            [helper.make_tensor_value_info("images", float32, [batch, 3, height, width])],
            [helper.make_tensor_value_info("output0", float32, [batch, count])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "pixels.onnx"
        path.write_bytes(model.SerializeToString())
        return yolort.Classifier(path, engine="onnxruntime", names=list(map(str, range(count))), **options)

    return make


def pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """torchvision's Resize and CenterCrop as in Ultralytics' classify_transforms: gray levels, RGB."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    if height != width:
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    short = min(picture.size)
    sides = [height if side == short else int(height * side / short) for side in picture.size]
    picture = picture.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)
    left, top = (round((side - height) / 2) for side in sides)
    return np.asarray(picture.crop((left, top, left + width, top + height))).astype(int)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_pixels_are_pillows(pixels: Callable[..., yolort.Classifier], height: int, width: int) -> None:
    pytest.importorskip("PIL")
    random = np.random.default_rng(0)
    sizes = [(480, 640), (641, 333), (64, 64), (31, 200), (2000, 3000), (65, 64), (1, 7), (20, 20)]
    images = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    images.append(yolort.images.read(yolort.demo_image()))
    images.append(np.kron(random.integers(0, 2, (30, 40, 1), np.uint8) * 255, np.ones((11, 11, 3), np.uint8)))
    classifier = pixels(height, width, "n")
    for image, found in zip(images, classifier(images), strict=True):
        levels = found.probs.reshape(3, height, width).transpose(1, 2, 0) * 255
        assert np.abs(levels - levels.round()).max() < 1e-3
        apart = np.abs(levels.round() - pillow(image, height, width)).max()
        assert apart <= (height != width)  # Pillow may resize columns first in this case


def test_other_ways_to_fill_the_input(pixels: Callable[..., yolort.Classifier]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    plain = pixels(32, 32)(image).probs.reshape(3, -1)
    normal = pixels(32, 32, mean=(0.1, 0.2, 0.3), std=0.5)(image).probs.reshape(3, -1)
    np.testing.assert_allclose(normal, (plain - np.array([[0.1], [0.2], [0.3]])) / 0.5, atol=1e-5)
    np.testing.assert_array_equal(pixels(32, 32, channels="bgr")(image).probs.reshape(3, -1), plain[::-1])
    stretched = pixels(32, 32, resize="stretch")(image).probs.reshape(3, 32, 32)[::-1].transpose(1, 2, 0) * 255
    pytest.importorskip("PIL")
    from PIL import Image

    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(stretched.round() - expected).max() <= 1


def test_a_result_is_saved_without_the_image(tmp_path: Path) -> None:
    found = yolort.Classification(np.array([0.2, 0.8], np.float32), path=str(yolort.demo_image()))
    image = yolort.images.read(yolort.demo_image())
    found.save(tmp_path / "drawn.png")
    np.testing.assert_array_equal(yolort.images.read(tmp_path / "drawn.png"), found.draw(image))
    with pytest.raises(ValueError, match="pass the image"):
        yolort.Classification(found.probs).draw()


def test_each_task_has_its_class(tmp_path: Path) -> None:
    path = write_onnx(tmp_path, {"output0": PROBS}, said())
    with pytest.raises(yolort.ModelError, match="its task is 'classify'; open it with Classifier"):
        yolort.Detector(path)
    with pytest.raises(yolort.ModelError, match="its task is 'detect'; open it with Detector"):
        yolort.Classifier(yolort.demo_model())
    with pytest.raises(yolort.ModelError, match="names= with a name for each class"):
        yolort.Classifier(path, names=["one", "two"])
    model = yolort.Classifier(path)
    with pytest.raises(TypeError, match="unexpected keyword argument .conf."):
        model(np.zeros((8, 8, 3), np.uint8), conf=0.5)  # type: ignore[call-overload]


def test_streams_and_batches(classifier: yolort.Classifier) -> None:
    images = [np.zeros((20, 30, 3), np.uint8)] * 5
    with classifier.stream(iter(images)) as stream:
        frames = list(stream)
    assert [frame.result.top1 for frame in frames] == [2] * 5
    with pytest.raises(TypeError, match="use frame.result"):
        _ = frames[0].detections
    with yolort.Batcher(classifier) as batcher:
        assert batcher.submit(images[0]).result().name == "owl"


def test_command_line(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = write_onnx(tmp_path, {"output0": PROBS}, said())
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((200, 300, 3), np.uint8))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app(), [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    line = json.loads(run("predict", str(image), "--model", str(path), "--json", "--save", str(tmp_path / "out")))
    assert line["classes"][0] == {"class": 2, "name": "owl", "score": 0.5}
    assert cv2.imread(str(tmp_path / "out" / "a.png")).any()
    assert "owl 0.50, fox 0.20" in run("predict", str(image), "--model", str(path))
    assert json.loads(run("stream", str(image), "--model", str(path)))["classes"][0]["name"] == "owl"
    facts = json.loads(run("info", str(path), "--json"))
    assert (facts["task"], facts["head"], facts["channels"]) == ("classify", "probs", 3)
