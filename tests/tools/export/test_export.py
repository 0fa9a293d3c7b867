"""`yolort.tools.export.pipeline`: compares exports with the torch model, and tests errors."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("onnxruntime")

from exported_models import image, left_in, load, run_onnx  # noqa: E402
from yolort.tools.export.pipeline import export  # noqa: E402
from yolort.tools.models.checkpoints import CheckpointError  # noqa: E402
from yolort.tools.models.heads import ExportError, with_head  # noqa: E402

Checkpoint = Callable[[str], Path]


def check_metadata(read: dict[str, Any], path: Path, head: str, reg_max: int, engine: str) -> None:
    assert read["imgsz"] == [64, 96]
    assert (read["task"], read["stride"], read["batch"], read["channels"]) == ("detect", 32, 1, 3)
    assert read["end2end"] is (head == "raw-e2e")
    assert read["license"] == "CC0"
    assert {"description", "date", "version"} <= read.keys()
    own = json.loads(read["yolort"])
    assert own.pop("parameters") > 1e6
    assert own.pop("gflops") > 0.05
    assert own == {
        "format": 1,
        "head": head,
        "strides": [8, 16, 32],
        "reg_max": reg_max,
        "input": {"shape": [1, 3, 64, 96], "colour": "rgb", "scale": 255, "pad": 114},
        "precision": "fp32",
        "engine": engine,
        "source": {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
    }


def test_onnx_metadata(checkpoint: Checkpoint, class_names: dict[int, str], tmp_path: Path) -> None:
    path = checkpoint("yolo26n")
    made = onnx.load(export(path, head="raw-e2e", imgsz=(64, 96), output=tmp_path / "m.onnx"))
    read: dict[str, Any] = {prop.key: prop.value for prop in made.metadata_props}
    for key in ("names", "imgsz", "stride", "batch", "channels", "end2end"):
        read[key] = ast.literal_eval(read[key])
    assert read["names"] == class_names
    check_metadata(read, path, "raw-e2e", 1, "any")
    assert made.opset_import[0].version == 17


@pytest.mark.usefixtures("ncnn")
def test_ncnn_metadata(checkpoint: Checkpoint, class_names: dict[int, str], tmp_path: Path) -> None:
    path = checkpoint("yolo11n")
    made = export(path, format="ncnn", imgsz=(64, 96), output=tmp_path / "m_ncnn_model")
    text = (made / "metadata.yaml").read_text(encoding="utf-8")
    read = yaml.safe_load(text)
    assert read["names"] == class_names
    check_metadata(read, path, "raw", 16, "ncnn")
    (line,) = (line for line in text.splitlines() if line.startswith("yolort:"))
    assert line.startswith("yolort: '{")
    assert line.endswith("}'")


def test_defaults_are_beside_the_source_at_the_size_of_the_training(checkpoint: Checkpoint, tmp_path: Path) -> None:
    source = tmp_path / "mine.v2.pt"
    source.write_bytes(checkpoint("yolov8n").read_bytes())
    made = export(str(source), opset=20)
    assert made == tmp_path / "mine.v2.onnx"
    graph = onnx.load(made)
    assert [side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 96, 96]
    assert graph.opset_import[0].version == 20
    assert left_in(tmp_path) == ["mine.v2.onnx", "mine.v2.pt"]


def test_shipped_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state()
    first = run_onnx(export("yolo26n.yaml", imgsz=64), image(64, 64))
    assert torch.equal(torch.get_rng_state(), state)
    assert left_in(tmp_path) == ["yolo26n.onnx"]
    again = run_onnx(export("yolo26n.yaml", imgsz=64, output="again.onnx"), image(64, 64))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[1].shape == (1, 80, 8, 8)


def test_own_architecture_wins_over_the_shipped_one(tmp_path: Path) -> None:
    import ultralytics

    shipped = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8.yaml"
    mine = tmp_path / "yolov8n.yaml"
    mine.write_text(shipped.read_text(encoding="utf-8").replace("nc: 80", "nc: 2"), encoding="utf-8")
    made = export(mine, imgsz=64)
    assert made == tmp_path / "yolov8n.onnx"
    maps = run_onnx(made, image(64, 64))
    assert maps[1].shape == (1, 2, 8, 8)
    assert sum(weight.size for weight in map(onnx.numpy_helper.to_array, onnx.load(made).graph.initializer)) < 4e6


@pytest.mark.parametrize("imgsz", [0, 16, 100, -64, 8224, (64,), (64, 64, 64), (64, 65), 64.0, (64, "64"), True])
def test_bad_imgsz(imgsz: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match="^imgsz"):
        export(checkpoint("yolov8n"), imgsz=imgsz, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"format": "tflite"}, "format must be one of onnx, ncnn, openvino"),
        ({"precision": "int8"}, "precision must be one of fp32, fp16"),
        ({"batch": 0}, "batch is 0, expected 1 to 128"),
        ({"batch": 2, "format": "ncnn"}, "batch must be 1"),
        ({"dynamic": True, "format": "ncnn"}, "size is fixed"),
        ({"head": "end2end", "format": "ncnn"}, "no top-k"),
        ({"head": "maps"}, "head must be one of raw, raw-e2e, boxes, end2end"),
        ({"opset": 9}, "within 13..20"),
        ({"opset": 17, "format": "ncnn"}, "opset is for onnx"),
        ({"output": "m.bin"}, "must be named"),
        ({"output": ".onnx"}, "must be named"),
        ({"output": "m.onnx", "format": "ncnn"}, "must be named"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], says: str, checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match=says):
        export(checkpoint("yolov8n"), imgsz=64, **arguments)


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such model file: .*none\.pt"):
        export(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match=r"no such model file: yolo99n\.yaml"):
        export("yolo99n.yaml")
    with pytest.raises(ValueError, match="must be an Ultralytics checkpoint"):
        export("model.onnx")


def test_not_a_checkpoint(tmp_path: Path, checkpoint: Checkpoint) -> None:
    whole = checkpoint("yolov8n").read_bytes()
    torch.save({"weights": torch.zeros(3)}, tmp_path / "tensors.pt")
    for name, content in {
        "text.pt": b"not a model",
        "empty.pt": b"",
        "half.pt": whole[: len(whole) // 2],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name} is not a PyTorch checkpoint"):
            export(tmp_path / name)
    with pytest.raises(CheckpointError, match="holds no Ultralytics model"):
        export(tmp_path / "tensors.pt")
    assert left_in(tmp_path) == ["empty.pt", "half.pt", "tensors.pt", "text.pt"]


class Hostile:
    """Unpickling it creates the folder `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_hostile_checkpoint_runs_no_code(tmp_path: Path, checkpoint: Checkpoint) -> None:
    marker = tmp_path / "pwned"
    torch.save({"model": load(checkpoint("yolov8n")), "x": Hostile(marker)}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="mkdir, which no checkpoint"):
        export(tmp_path / "bad.pt", imgsz=64)
    assert not marker.exists()


def test_other_tasks_are_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(ExportError, match="boxes"):
        export(checkpoint("yolo11n-cls"), head="boxes", output=tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match="describes a segment model"):
        export("yolo11n-seg.yaml", output=tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match="not Linear"):
        with_head(torch.nn.Linear(1, 1))
    assert left_in(tmp_path) == []


def test_absent_branches_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r'"raw-e2e" needs the one-to-one branch.*use "raw"'):
        export(checkpoint("yolov8n"), head="raw-e2e", imgsz=64, output=tmp_path / "m.onnx")
    fused = load(checkpoint("yolo26n"))
    fused.model[-1].end2end = True
    fused.fuse(verbose=False)
    with pytest.raises(ExportError, match=r'"raw" needs the one-to-many branch.*use "raw-e2e"'):
        with_head(fused)
    assert left_in(tmp_path) == []


def test_unwritable_outputs(tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint("yolov8n")
    (tmp_path / "file").write_text("")
    (tmp_path / "d.onnx").mkdir()
    (tmp_path / "f_ncnn_model").write_text("")
    precious = tmp_path / "p_ncnn_model"
    precious.mkdir()
    (precious / "thesis.txt").write_text("")
    for name, format, error in [
        ("none/m.onnx", "onnx", FileNotFoundError),
        ("file/m.onnx", "onnx", FileNotFoundError),
        ("d.onnx", "onnx", IsADirectoryError),
        ("f_ncnn_model", "ncnn", NotADirectoryError),
        ("p_ncnn_model", "ncnn", FileExistsError),
    ]:
        with pytest.raises(error):
            export(path, format=format, imgsz=64, output=tmp_path / name)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(PermissionError, match="choose another output"):
        export(path, imgsz=64, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == ["d.onnx", "f_ncnn_model", "file", "p_ncnn_model"]
