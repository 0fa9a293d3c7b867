"""Models whose outputs are known, and the engines to run them on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yolort

NAMES = ["zero", "driver's licence", "two"]
IMAGE = np.full((64, 64, 3), 50, np.uint8)
Make = Callable[..., Path]  # the fixture make_model


class Target(NamedTuple):
    """An engine on a device."""

    engine: str
    device: str

    def detector(self, model: Any, **options: Any) -> yolort.Detector:
        return yolort.Detector(model, engine=self.engine, device=self.device, **options)


TARGETS = [
    Target("onnxruntime", "cpu"),
    Target("openvino", "cpu"),
    Target("ncnn", "cpu"),
    Target("ncnn", "vulkan"),
    Target("tensorrt", "cuda"),
]


def metadata(names: list[str] | None = None, *, head: str = "boxes", imgsz: int = 64, **own: Any) -> dict[str, Any]:
    """Ultralytics' metadata, with the key `yolort` for raw heads."""
    out: dict[str, Any] = {
        "description": "a model of a name so long that the YAML dumper folds it onto a second line of its own",
        "stride": 32,
        "task": "detect",
        "batch": 1,
        "imgsz": [imgsz, imgsz],
        "names": dict(enumerate(names or NAMES)),
        "end2end": head == "end2end",
    }
    if head.startswith("raw"):
        own = {"format": 1, "head": head, "strides": [16, 32], "reg_max": 1, **own}
    if own:
        out["yolort"] = json.dumps(own)
    return out


def write_onnx(
    folder: Path,
    outputs: dict[str, np.ndarray],
    data: dict[str, Any],
    *,
    inputs: int = 1,
    shape: Any = None,
    per_image: bool = False,
) -> Path:
    """An ONNX file whose outputs are constants (plus 0 x input); `shape` of the input, strings are dynamic.

    With `per_image`, the outputs for each image of a run are the constants times the mean of that image.
    """
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    imgsz = data.get("imgsz", [64, 64])
    shape = shape or [1, 3, *imgsz]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
    ]
    constants = [onnx.numpy_helper.from_array(np.float32(0), "nought")]
    for name, array in outputs.items():
        constants.append(onnx.numpy_helper.from_array(array[None].astype(np.float32), f"{name}_value"))
        if per_image:
            constants.append(onnx.numpy_helper.from_array(np.array([-1] + [1] * array.ndim), f"{name}_sides"))
            nodes.append(helper.make_node("ReduceMean", ["images"], [f"{name}_means"], axes=[1, 2, 3]))
            nodes.append(helper.make_node("Reshape", [f"{name}_means", f"{name}_sides"], [f"{name}_each"]))
            nodes.append(helper.make_node("Mul", [f"{name}_value", f"{name}_each"], [name]))
        else:
            nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [name]))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("images", float32, shape)]
        + [helper.make_tensor_value_info(f"extra{i}", float32, shape) for i in range(inputs - 1)],
        [
            helper.make_tensor_value_info(name, float32, [shape[0] if per_image else 1, *array.shape])
            for name, array in outputs.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in data.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, str(value)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def write_ncnn(
    folder: Path,
    outputs: dict[str, np.ndarray],
    data: dict[str, Any],
    *,
    inputs: int = 1,
    shape: Any = None,  # noqa: ARG001
) -> Path:
    """An NCNN folder whose outputs are constants. NCNN does not record `shape`."""
    yaml = pytest.importorskip("yaml")
    lines, weights = [], b""
    for i in range(inputs):
        lines += [
            f"Input in{i} 0 1 in{i}",
            f"Noop sink{i} 1 0 in{i}",
        ]  # ncnn treats an unread blob as an output
    for name, array in outputs.items():
        sides = " ".join(f"{key}={side}" for key, side in zip((0, 1, 2), reversed(array.shape), strict=False))
        lines.append(f"MemoryData {name} 0 1 {name} {sides}")
        weights += array.astype("<f4").tobytes()
    target = folder / "model_ncnn_model"
    target.mkdir()
    counts = f"{len(lines)} {inputs + len(outputs)}"
    (target / "model.ncnn.param").write_text("\n".join(["7767517", counts, *lines, ""]))
    (target / "model.ncnn.bin").write_bytes(weights)
    if data:
        (target / "metadata.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return target


def write_engine(folder: Path, outputs: dict[str, np.ndarray], data: dict[str, Any], **options: Any) -> Path:
    """A TensorRT engine built from the file of `write_onnx`."""
    onnx = write_onnx(folder, outputs, data, **options)
    plan, _, _ = yolort._core.build_engine(str(onnx), sizes=((1, 64, 64), (1, 64, 64), (4, 64, 64)))
    header = json.dumps(data).encode()
    path = folder / "model.engine"
    path.write_bytes(len(header).to_bytes(4, "little") + header + plan if data else plan)
    return path


def boxes_output(*rows: tuple[float, float, float, float, float, int], anchors: int = 4) -> dict[str, np.ndarray]:
    """A `boxes` head with NAMES: rows of cx cy w h score class."""
    out = np.zeros((4 + len(NAMES), anchors), np.float32)
    for i, (*box, score, cls) in enumerate(rows):
        out[:4, i] = box
        out[4 + cls, i] = score
    return {"out0": out}


def raw_outputs() -> dict[str, np.ndarray]:
    """Two levels of a 64 x 64 input: one object of class 2 in cell (x 1, y 2) of stride 16, with a duplicate in the
    next cell.
    """
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


def task_model(task: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Outputs and metadata of a model with a `boxes` head that finds two objects of 64 x 64 pixels in any image."""
    data = metadata(["thing"]) | {"task": task}
    first, second = [16, 32, 24, 24, 0.9], [48, 32, 16, 16, 0.8]
    added: dict[str, tuple[list[float], list[float]]] = {
        "detect": ([], []),
        "segment": ([1, 0], [0, 1]),
        "pose": ([10, 30, 0.9, 20, 40, 0.6, 14, 24, 0.1], [44, 28, 0.9, 50, 36, 0.8, 52, 26, 0.7]),
        "obb": ([0.3], [-0.6]),
    }
    of_first, of_second = added[task]
    rows = np.zeros((5 + len(of_first), 4), np.float32)
    rows[:, 0], rows[:, 1] = [*first, *of_first], [*second, *of_second]
    outputs = {"out0": rows}
    if task == "segment":  # the left half of the first object, and the whole of the second
        outputs["out1"] = np.full((2, 16, 16), -1, np.float32)
        outputs["out1"][0, :, :4] = outputs["out1"][1] = 1
    if task == "pose":
        data["kpt_shape"] = [3, 3]
        data["yolort"] = json.dumps({"format": 1, "head": "boxes", "flip_idx": [0, 2, 1], "skeleton": [[0, 1], [0, 2]]})
    return outputs, data
