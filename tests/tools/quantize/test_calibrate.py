"""`yolort calibrate`: its measurements, and errors for invalid images and files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.data.samples import LabelError
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.export.pipeline import export
from yolort.tools.models.onnx_graph import GraphError, read_graph
from yolort.tools.quantize import activations
from yolort.tools.quantize.activations import CalibrationError
from yolort.tools.quantize.calibrate import Calibration, calibrate, observe
from yolort.tools.quantize.histogram import Histogram


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 6 scenes for calibration and 4 for scoring."""
    return write_dataset(tmp_path_factory.mktemp("scenes"), train=6, val=4, progress=False)


@pytest.fixture(scope="session")
def model() -> Path:
    return Path(yolort.demo_model("onnx"))


def every_value(model: Path, data: Path) -> dict[str, np.ndarray]:
    """All activations for all images of a folder, computed directly with ONNX Runtime."""
    import onnxruntime
    from yolort import _core

    graph = read_graph(model)
    whole = onnx.load(model)
    del whole.graph.output[:]
    names = [name for name in graph.shapes if name != graph.input.name]
    for read, node in zip(graph.nodes, whole.graph.node, strict=True):
        assert read.op_type == node.op_type
    whole.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = []
    for path in sorted((data.parent / "images" / "train").iterdir()):
        picture = np.empty((1, 3, 320, 320), np.float32)
        _core.letterbox(yolort.images.read(path), picture)
        rows.append(session.run(names, {graph.input.name: picture}))
    return {name: np.stack([row[index] for row in rows]) for index, name in enumerate(names)}


def test_ranges_are_those_of_all_values(model: Path, scenes: Path) -> None:
    done = calibrate(model, scenes, method="minmax")
    values = every_value(model, scenes)
    assert set(done.ranges) == {*values, "images"}
    graph = read_graph(model)
    for name, seen in values.items():
        low, high, peak = done.ranges[name].low, done.ranges[name].high, done.ranges[name].peak
        slack = 1e-4 * max(float(np.abs(seen).max()), 1)
        assert low <= min(float(seen.min()), 0) + slack
        assert high >= max(float(seen.max()), 0) - slack
        if graph.producer[name].op_type == "Conv":
            assert low == pytest.approx(min(float(seen.min()), 0), abs=slack)
            assert high == pytest.approx(max(float(seen.max()), 0), abs=slack)
        assert peak == pytest.approx(max(-low, high))
    for node in graph.convolutions:
        if node.input[0] in done.means and node.input[0] != "images":
            exact = values[node.input[0]].mean((0, 1, 3, 4))
            np.testing.assert_allclose(done.means[node.input[0]], exact, atol=1e-4 * max(1, np.abs(exact).max()))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"batch": 4}, {"dynamic": True}])
def test_batches(options: dict[str, Any], checkpoint: Callable[[str], Path], scenes: Path, tmp_path: Path) -> None:
    """Six images with an incomplete last batch give the same counts as one at a time."""
    one = export(checkpoint("yolo26n"), imgsz=64, output=tmp_path / "one.onnx")
    many = export(checkpoint("yolo26n"), imgsz=64, output=tmp_path / "many.onnx", **options)
    singly, done = calibrate(one, scenes), calibrate(many, scenes, batch=4, imgsz=64)
    names = {*singly.ranges} & {*done.ranges}
    assert len(names) > 0.9 * len(singly.ranges)
    for name in names:
        assert done.ranges[name].peak == pytest.approx(singly.ranges[name].peak, rel=0.01, abs=1e-4)
    assert {*done.means} == {*singly.means}
    for name, mean in singly.means.items():
        np.testing.assert_allclose(done.means[name], mean, atol=1e-3)


def test_means_are_of_the_first_images(model: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibrate(model, scenes, method="minmax")
    monkeypatch.setattr(activations, "_AVERAGED", 2)
    done = calibrate(model, scenes, method="minmax")
    assert done.ranges == whole.ranges
    order = np.random.default_rng(0).permutation(6)
    values = every_value(model, scenes)
    for name in done.means:
        exact = values[name][order[:2]].mean((0, 1, 3, 4))
        np.testing.assert_allclose(done.means[name], exact, atol=1e-4 * max(1, np.abs(exact).max()))


@pytest.mark.slow
def test_methods_cut_off_more_and_more(model: Path, scenes: Path) -> None:
    seen = observe(model, scenes)
    minmax, high, low = (
        seen.calibration("minmax"),
        seen.calibration("percentile", 99.99),
        seen.calibration("percentile", 99),
    )
    entropy = seen.calibration("entropy")
    assert minmax.ranges == calibrate(model, scenes, method="minmax").ranges
    for node in read_graph(model).convolutions:
        one, two, three = (done.ranges[node.input[0]].peak for done in (minmax, high, low))
        assert one >= two >= three
        assert one >= entropy.ranges[node.input[0]].peak > 0
    assert sum(one.peak for one in low.ranges.values()) < 0.9 * sum(one.peak for one in minmax.ranges.values())


def test_histogram_percentile() -> None:
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part * np.float32(1))
    other = Histogram()
    other.add(np.array([1000], np.float32))  # bins grow
    for percent in (90, 99, 99.9):
        bounds = histogram.percentile(percent)
        np.testing.assert_allclose(bounds, np.percentile(values, [100 - percent, percent]), atol=0.01)
    histogram.merge(other)
    assert histogram.percentile(100)[1] == pytest.approx(1000, rel=2e-3)
    np.testing.assert_allclose(histogram.percentile(99), np.percentile(values, [1, 99]), atol=1.01)


@pytest.mark.slow
def test_file(model: Path, scenes: Path, tmp_path: Path) -> None:
    done = calibrate(model, scenes)
    done.save(tmp_path / "calibration.json")
    read = Calibration.load(tmp_path / "calibration.json")
    assert read.ranges == done.ranges
    assert read.sha256 == done.sha256
    assert read.images == done.images
    assert len(read.images) == 6
    assert calibrate(model, scenes).sha256 == done.sha256
    assert calibrate(model, scenes, images=3).sha256 != done.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: "{", "not a calibration"),
        (lambda _: "[]", "no 'format'"),
        (lambda _: "[" * 100_000, "not a calibration"),
        (lambda read: json.dumps({**read, "format": 9}), "newer yolort"),
        (
            lambda read: json.dumps({key: value for key, value in read.items() if key != "ranges"}),
            "'ranges' is missing",
        ),
        (lambda read: json.dumps({**read, "ranges": {"x": [0, float("nan"), 1]}}), "the range of 'x'"),
        (lambda read: json.dumps({**read, "ranges": {"x": [1, 2, 2]}}), "the range of 'x'"),
        (lambda read: json.dumps({**read, "means": {"x": [float("inf")]}}), "a mean is not finite"),
        (lambda read: json.dumps({**read, "imgsz": 640}), "not a calibration"),
        (lambda read: json.dumps({**read, "imgsz": "32"}), "imgsz: '32' is not a list"),
        (lambda read: json.dumps({**read, "images": "abc"}), "images: 'abc' is not a list"),
        (lambda read: json.dumps({**read, "ranges": {"x": "012"}}), "ranges of 'x': '012' is not a list"),
        (lambda read: json.dumps({**read, "means": {"x": "1.5"}}), "means of 'x': '1.5' is not a list"),
        (lambda read: json.dumps({**read, "convolutions": "abc"}), "convolutions: 'abc' is not a list"),
        (lambda read: json.dumps({**read, "convolutions": ["abc"]}), "a convolution: 'abc' is not a list"),
    ],
)
def test_damaged_file(change: Any, says: str, model: Path, scenes: Path, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    calibrate(model, scenes, method="minmax", images=2).save(path)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(CalibrationError, match=says):
        Calibration.load(path)


def pictures(folder: Path, count: int, value: int | None = None) -> Path:
    folder.mkdir()
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 255, (40, 60, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), noise if value is None else np.full_like(noise, value))
    return folder


def test_few_images_give_a_warning(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fewer than 32, which are nearly as good as 194 according to docs/benchmarks/int8.md."""
    folder = pictures(tmp_path / "some", 32)
    observe(model, folder, histograms=False)
    assert "ranges may be too narrow" not in caplog.text
    observe(model, folder, images=31, histograms=False)
    assert "only 31 images" in caplog.text


@pytest.mark.slow
def test_bad_images(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CalibrationError, match="a single color"):
        calibrate(model, pictures(tmp_path / "black", 3, 0))
    with pytest.raises(CalibrationError, match="one image is not representative"):
        calibrate(model, pictures(tmp_path / "one", 1))
    with pytest.raises((LabelError, FileNotFoundError, yolort.Error), match="empty|no images|none"):
        calibrate(model, pictures(tmp_path / "empty", 0))
    with pytest.raises(FileNotFoundError):
        calibrate(model, tmp_path / "absent")
    mixed = pictures(tmp_path / "mixed", 3)
    (mixed / "0.png").write_bytes(b"no picture")
    assert len(calibrate(model, mixed).images) == 2
    assert "skipped" in caplog.text
    for path in mixed.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(yolort.ImageError, match="none of the 3 images"):
        calibrate(model, mixed)


@pytest.mark.slow
def test_images_that_are_scored_are_refused(model: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "scenes", train=2, val=2, progress=False)
    train, val = (data.parent / "images" / split for split in ("train", "val"))
    shutil.copy(next(iter(sorted(val.iterdir()))), train / "copy.jpg")  # under another name
    with pytest.raises(CalibrationError, match="1 of the 3 images are also used for scoring"):
        calibrate(model, data)
    with pytest.raises(CalibrationError, match="2 of the 2"):
        calibrate(model, data, split="val")
    assert len(calibrate(model, data, split="val", allow_overlap=True).images) == 2


def test_a_split_that_was_not_exported(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Roboflow names a test split that it does not export."""
    data = write_dataset(tmp_path / "scenes", train=2, val=1, progress=False)
    data.write_text(data.read_text() + "test: ../test/images\n")
    assert len(calibrate(model, data).images) == 2
    assert "split 'test' cannot be compared with the images" in caplog.text


def test_activations_that_are_not_finite(model: Path, scenes: Path, tmp_path: Path) -> None:
    broken = onnx.load(model)
    weights = next(one for one in broken.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[0] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(broken, tmp_path / "nan.onnx")
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate(tmp_path / "nan.onnx", scenes)


def test_models_that_cannot_be_calibrated(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(GraphError, match="not an ONNX model"):
        calibrate(tmp_path / "garbage.onnx", scenes)
    decoded = onnx.load(yolort.demo_model("onnx"))
    for entry in decoded.metadata_props:
        if entry.key == "yolort":
            entry.value = json.dumps({**json.loads(entry.value), "head": "boxes"})
    onnx.save(decoded, tmp_path / "boxes.onnx")
    with pytest.raises(GraphError, match="its head is 'boxes'"):
        calibrate(tmp_path / "boxes.onnx", scenes)
    with pytest.raises(FileNotFoundError):
        calibrate(tmp_path / "absent.onnx", scenes)


@pytest.mark.parametrize(
    "arguments", [{"images": 1}, {"batch": 0}, {"method": "magic"}, {"percentile": 10}, {"imgsz": 640}]
)
def test_bad_arguments(arguments: dict[str, Any], model: Path, scenes: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        calibrate(model, scenes, **arguments)
