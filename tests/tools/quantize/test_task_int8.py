"""INT8 for segmentation, poses, oriented boxes and classification: random weights, generated images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
import yolort

pytest.importorskip("ultralytics")

from yolort.tools.evaluate.raw_maps import changed, map_error
from yolort.tools.export.pipeline import export
from yolort.tools.models.onnx_graph import read_graph
from yolort.tools.quantize import ncnn_int8, ncnn_model
from yolort.tools.quantize.calibrate import calibrate
from yolort.tools.quantize.export_int8 import export_int8
from yolort.tools.quantize.quantize import quantize

SIDE = 64


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight parts of the embedded image."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    image = yolort.images.read(yolort.demo_image())
    for at in range(8):
        Image.fromarray(image[at * 8 : at * 8 + 200, at * 8 : at * 8 + 200, ::-1]).save(folder / f"{at}.png")
    return folder


Make = Callable[[str], Path]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ["yolo11n-seg", "yolo26n-pose", "yolov8n-obb"])
def test_onnx_and_ncnn(architecture: str, checkpoint: Make, tmp_path: Path, pictures: Path) -> None:
    source = checkpoint(architecture)
    onnx = export(source, imgsz=SIDE, output=tmp_path / "float.onnx")
    calibration = calibrate(onnx, pictures, images=8)
    graph = read_graph(onnx)
    assert all(node.op_type == "Conv" for node in graph.heads)  # prototypes too, before their activation
    assert len(graph.heads) == len(graph.outputs)
    ncnn = export(source, imgsz=SIDE, format="ncnn", output=tmp_path / "float_ncnn_model")
    assert len(ncnn_int8.heads(ncnn_model.read(ncnn))) == len(graph.outputs)
    for model, options in (
        (onnx, {"target": "onnxruntime"}),
        (onnx, {"target": "openvino"}),
        (ncnn, {"format": "ncnn"}),
        (ncnn, {"format": "ncnn", "stock": True}),
    ):
        output = tmp_path / f"int8{'_ncnn_model' if model is ncnn else '.onnx'}"
        done = quantize(model, calibration, measure=False, output=output, **options)
        found = yolort.Detector(done.path, tuned=False, conf=0.0)
        assert "int8" in found.precision
        assert done.changed < 0.9
        assert found.task == yolort.Detector(onnx, tuned=False).task


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_one_step_keeps_the_skeleton(
    checkpoint: Make, class_names: dict[int, str], tmp_path: Path, pictures: Path
) -> None:
    """`export_int8` passes the data.yaml of poses to the export, which reads limbs and mirrored points from it."""
    flip = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    for split in ("train", "val"):
        images, labels = (tmp_path / part / split for part in ("images", "labels"))
        for folder in (images, labels):
            folder.mkdir(parents=True)
        for at, picture in enumerate(sorted(pictures.iterdir())[slice(0, 4) if split == "train" else slice(4, 8)]):
            (images / f"{split}{at}.png").write_bytes(picture.read_bytes())
            (labels / f"{split}{at}.txt").write_text("0 0.5 0.5 0.5 0.5" + " 0.5 0.5 2" * 17 + "\n")
    described = {"kpt_shape": [17, 3], "flip_idx": flip, "skeleton": [[0, 1], [2, 3]]}
    splits = {split: f"images/{split}" for split in ("train", "val")}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({**splits, **described, "names": class_names}))
    output = tmp_path / "int8_openvino_model"
    source = checkpoint("yolo11n-pose")
    done = export_int8(source, data, format="openvino", imgsz=SIDE, images=4, measure=False, output=output)
    assert done.metric == "keypoint mAP50-95"
    found = yolort.Detector(done.path, tuned=False)
    own = json.loads(found.metadata["yolort"])
    assert own["skeleton"] == described["skeleton"]
    assert own["flip_idx"] == described["flip_idx"]
    assert found.metadata["kpt_shape"].replace(" ", "") == "[17,3]"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", ["onnx", "ncnn", "openvino"])
def test_a_classifier_from_its_checkpoint(
    format: str, checkpoint: Make, class_names: dict[int, str], tmp_path: Path, pictures: Path
) -> None:
    for split in ("train", "val"):
        for at, picture in enumerate(sorted(pictures.iterdir())[slice(0, 4) if split == "train" else slice(4, 8)]):
            folder = tmp_path / "data" / split / f"class {at % len(class_names)}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / picture.name).write_bytes(picture.read_bytes())
    ending = {"onnx": ".onnx"}.get(format, f"_{format}_model")
    source, output = checkpoint("yolo26n-cls"), tmp_path / f"int8{ending}"
    done = export_int8(source, tmp_path / "data", format=format, imgsz=SIDE, images=4, measure=False, output=output)
    assert done.metric == "top-1"
    assert done.floats and set(done.floats.values()) == {"attention", "stem"}  # measured: docs/benchmarks/tasks.md
    found = yolort.Classifier(done.path, tuned=False)
    assert "int8" in found.precision
    image = yolort.images.read(yolort.demo_image())
    floats = export(source, imgsz=SIDE, output=tmp_path / "float.onnx")
    expected = yolort.Classifier(floats, tuned=False)(image).probs
    assert np.abs(found(image).probs - expected).max() < 0.1


def test_additional_values_of_tasks_are_compared() -> None:
    """The error of raw maps includes coefficients and prototypes, and non-finite values in both."""
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(1, channels, side, side)) for side in (8, 4) for channels in (4, 3, 5)]
    maps = [one.astype(np.float32) for one in [*maps, rng.normal(size=(1, 6, 16, 16))]]
    assert map_error(1, maps, maps) == 0
    assert changed(maps, maps) == 0
    for at in (2, 5, 6):
        other = [one.copy() for one in maps]
        other[at] += 0.5
        assert map_error(1, maps, other) > 0.01
        other[at][0, 0, 0, 0] = np.nan
        assert np.isnan(changed(maps, other))
    probs = [np.array([[0.9, 0.1]], np.float32)]
    assert changed(probs, [probs[0][:, ::-1]]) > 0.8
    assert changed(probs, probs) == 0
