"""Models of gray and multispectral images through the tools: exported, calibrated, quantized, scored; not trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yolort

pytest.importorskip("ultralytics")

import cv2
import torch
from yolort.tools.evaluate.benchmark import Case, benchmark
from yolort.tools.evaluate.profile import profile
from yolort.tools.evaluate.validate import validate
from yolort.tools.export.pipeline import export
from yolort.tools.models.checkpoints import CheckpointError, load_checkpoint
from yolort.tools.models.heads import with_head
from yolort.tools.quantize.calibrate import calibrate
from yolort.tools.quantize.quantize import quantize

NAMES = {0: "red", 1: "green", 2: "blue"}


@pytest.fixture(scope="module")
def of_channels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Function that returns a checkpoint with this number of input channels."""
    from ultralytics.nn.tasks import DetectionModel

    folder = tmp_path_factory.mktemp("channels")

    def make(channels: int) -> Path:
        path = folder / f"{channels}.pt"
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                model = DetectionModel("yolo26n.yaml", ch=channels, nc=len(NAMES), verbose=False)
                for module in model.modules():
                    if isinstance(module, torch.nn.BatchNorm2d):  # keeps activations from vanishing
                        torch.nn.init.normal_(module.bias, 0, 0.2)
            model.names = NAMES
            torch.save({"model": model.eval().half(), "train_args": {"task": "detect", "imgsz": 96}}, path)
        return path

    return make


@pytest.fixture(scope="module")
def bands(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of the images of `blocks` with six channels, stored as TIFF pages."""
    root = tmp_path_factory.mktemp("bands")
    for source in sorted(blocks.parent.rglob("*.png")):
        image = np.asarray(cv2.imread(str(source)), np.uint8)
        target = root / source.relative_to(blocks.parent).with_suffix(".tiff")
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwritemulti(str(target), [*cv2.split(image), *cv2.split(255 - image)])
        labels = target.parents[2] / "labels" / target.parent.name / f"{target.stem}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_bytes((blocks.parent / labels.relative_to(root)).read_bytes())
    data = root / "data.yaml"
    data.write_text("train: images/train\nval: images/val\nnames: [red, green, blue]\nchannels: 6\n")
    return data


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn"])
def test_exported(channels: int, engine: str, of_channels: Callable[[int], Path], tmp_path: Path) -> None:
    if not next(one for one in yolort.engines() if one.name == engine).available:
        pytest.skip(f"engine {engine} is not here")
    format, ending = ("onnx", ".onnx") if engine == "onnxruntime" else (engine, f"_{engine}_model")
    path = export(of_channels(channels), format=format, imgsz=96, output=tmp_path / f"x{ending}")
    detector = yolort.Detector(path, engine=engine, precision="fp32")
    assert detector.channels == channels
    image = np.random.default_rng(0).integers(0, 256, (96, 96, channels), np.uint8)
    planes = np.moveaxis(image, 2, 0)[None] / np.float32(255)
    model = load_checkpoint(of_channels(channels)).model
    with torch.inference_mode():
        expected = with_head(model, "raw")(torch.from_numpy(planes))
    for output, maps in zip(detector.infer(planes), expected, strict=True):
        assert np.abs(output - maps.numpy()).max() < 1e-3 * max(1.0, float(maps.abs().max()))
    found = detector(image[:, :, 0] if channels == 1 else image, conf=0.0)
    assert len(found)
    np.save(tmp_path / "image.npy", image)
    if channels == 6:
        (of_file,) = detector([tmp_path / "image.npy"], conf=0.0)
        np.testing.assert_array_equal(of_file.boxes, found.boxes)
        with pytest.raises(ValueError, match="has 3 channel.*takes 6"):
            detector(image[:, :, :3])


@pytest.mark.slow
def test_calibrated_quantized_and_scored(of_channels: Callable[[int], Path], bands: Path, tmp_path: Path) -> None:
    model = export(of_channels(6), imgsz=96, output=tmp_path / "float.onnx")
    calibration = calibrate(model, bands)
    assert len(calibration.images) == 12
    done = quantize(model, calibration, measure=False, output=tmp_path / "int8.onnx")
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 6), np.uint8)
    expected, found = (yolort.Detector(one, conf=0.0)(image) for one in (model, done.path))
    assert abs(found.scores[:5] - expected.scores[:5]).max() < 0.05
    for one in (model, done.path):
        scored = validate(one, bands, resamples=0).metrics
        assert (scored.images, scored.instances) == (4, 9)
    (row,) = benchmark(chosen=[Case(str(model), "onnxruntime")], runs=2, warmup=0, latency_only=True).rows
    assert not row.error
    assert profile(model, runs=2, engine="onnxruntime").layers


def test_training_takes_color(of_channels: Callable[[int], Path]) -> None:
    trainer = pytest.importorskip("yolort.tools.train.trainer")
    with pytest.raises(CheckpointError, match="images with 6 channels; training supports only 3"):
        trainer.check_trainable(load_checkpoint(of_channels(6)).model)


def test_pruning_takes_color(of_channels: Callable[[int], Path]) -> None:
    pytest.importorskip("torch_pruning")
    from yolort.tools.prune.prunable import PruneError, open_model

    with pytest.raises(PruneError, match="images with 6 channels, not 3"):
        open_model(load_checkpoint(of_channels(6)).model)
