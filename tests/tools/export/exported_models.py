"""Shared by the export tests: runs models with torch, ONNX Runtime and NCNN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
onnxruntime = pytest.importorskip("onnxruntime")


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, height, width), dtype=np.float32)


def load(path: Path) -> Any:
    return torch.load(path, weights_only=False)["model"].float().eval()


def reference(path: Path, head: str, pixels: np.ndarray) -> list[np.ndarray]:
    """The raw maps of the unfused checkpoint, from its own branches."""
    model = load(path)
    detect = model.model[-1]
    boxes, scores = (detect.one2one_cv2, detect.one2one_cv3) if head == "raw-e2e" else (detect.cv2, detect.cv3)
    features: list[Any] = []
    detect.register_forward_pre_hook(lambda _, arguments: features.extend(arguments[0]))
    with torch.inference_mode():
        model(torch.from_numpy(pixels))
        maps = [branch[i](features[i]) for i in range(detect.nl) for branch in (boxes, scores)]
    return [map.numpy() for map in maps]


def run_onnx(path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["images"]
    assert [node.name for node in session.get_outputs()] == ["box0", "cls0", "box1", "cls1", "box2", "cls2"]
    return [np.asarray(output) for output in session.run(None, {"images": pixels})]


def run_ncnn(ncnn: Any, path: Path, pixels: np.ndarray) -> list[np.ndarray]:
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(path / "model.ncnn.param")) == 0
    assert net.load_model(str(path / "model.ncnn.bin")) == 0
    extractor = net.create_extractor()
    borrowed = ncnn.Mat(pixels[0])
    extractor.input("in0", borrowed)
    return [np.array(extractor.extract(f"out{index}")[1])[None] for index in range(6)]


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())
