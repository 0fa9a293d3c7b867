"""`yolort.tools.export.pipeline` against the torch model it exports, and what it does when something is wrong."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import yolort
from yolort import _core

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
onnxruntime = pytest.importorskip("onnxruntime")

from yolort.tools import export as exporting  # noqa: E402
from yolort.tools._formats import FORMATS  # noqa: E402
from yolort.tools.export.pipeline import export  # noqa: E402
from yolort.tools.models.checkpoints import CheckpointError  # noqa: E402
from yolort.tools.models.heads import ExportError, with_head  # noqa: E402

Checkpoint = Callable[[str], Path]
FAMILIES = [("yolov8n", "raw"), ("yolo11n", "raw"), ("yolo26n", "raw"), ("yolo26n", "raw-e2e")]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The models are too small for more, and pools of threads that spin slow each other down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ncnn() -> Any:
    pytest.importorskip("pnnx")
    return pytest.importorskip("ncnn")


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, height, width), dtype=np.float32)


def load(path: Path) -> Any:
    return torch.load(path, weights_only=False)["model"].float().eval()


def reference(path: Path, head: str, pixels: np.ndarray) -> list[np.ndarray]:
    """The raw maps of the checkpoint as it is, not fused, from its own branches."""
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


@pytest.mark.parametrize(("family", "head"), FAMILIES)
def test_onnx_computes_the_raw_maps(family: str, head: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    made = export(checkpoint(family), head=head, imgsz=(64, 96), output=tmp_path / "m.onnx")
    assert made == tmp_path / "m.onnx"
    pixels = image(64, 96)
    expected = reference(checkpoint(family), head, pixels)
    reg_max = 1 if family == "yolo26n" else 16
    assert [map.shape for map in expected[:2]] == [(1, 4 * reg_max, 8, 12), (1, 3, 8, 12)]
    for got, want in zip(run_onnx(made, pixels), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-4)
    assert left_in(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize(("family", "head"), FAMILIES)
def test_ncnn_computes_the_raw_maps(family: str, head: str, checkpoint: Checkpoint, tmp_path: Path, ncnn: Any) -> None:
    made = export(checkpoint(family), format="ncnn", head=head, imgsz=(64, 96), output=tmp_path / "m_ncnn_model")
    pixels = image(64, 96)
    for got, want in zip(run_ncnn(ncnn, made, pixels), reference(checkpoint(family), head, pixels), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-3, rtol=1e-3)
    assert left_in(tmp_path) == ["m_ncnn_model"]
    assert left_in(made) == [".yolort.json", "metadata.yaml", "model.ncnn.bin", "model.ncnn.param"]


def test_heads_of_yolo26_differ(checkpoint: Checkpoint) -> None:
    model, pixels = load(checkpoint("yolo26n")), torch.from_numpy(image(64, 64))
    many, one = (with_head(model, head)(pixels) for head in ("raw", "raw-e2e"))
    assert all(not torch.allclose(a, b) for a, b in zip(many, one, strict=True))


@pytest.mark.parametrize("head", ["raw", "raw-e2e"])
def test_raw_maps_leaves_the_model_alone(head: str, checkpoint: Checkpoint) -> None:
    model = load(checkpoint("yolo26n")).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wants_gradient = [parameter.requires_grad for parameter in model.parameters()]
    cut = with_head(model, head)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in cut.modules())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [parameter.requires_grad for parameter in model.parameters()] == wants_gradient
    assert model.training
    assert not {id(value) for value in cut.parameters()} & {id(value) for value in model.parameters()}


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


def test_ncnn_metadata(checkpoint: Checkpoint, class_names: dict[int, str], tmp_path: Path, ncnn: Any) -> None:
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
    with pytest.raises(ValueError, match=r"multiples of 32 in 32\.\.8192"):
        export(checkpoint("yolov8n"), imgsz=imgsz, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"format": "tflite"}, "format must be one of onnx, ncnn, openvino"),
        ({"precision": "int8"}, "precision must be one of fp32, fp16"),
        ({"batch": 0}, "within 1..128"),
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
    """Unpickling it makes the folder `path`."""

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
    with pytest.raises(CheckpointError, match="holds a ClassificationModel; only detection"):
        export(checkpoint("yolo11n-cls"), output=tmp_path / "m.onnx")
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


@pytest.mark.parametrize("interruption", [ExportError, KeyboardInterrupt])
@pytest.mark.parametrize(("format", "name"), [("onnx", "m.onnx"), ("ncnn", "m_ncnn_model")])
def test_interrupted_export_changes_nothing(
    interruption: type[BaseException],
    format: str,
    name: str,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if format == "ncnn":
        pytest.importorskip("pnnx")

    def interrupt(*_: Any) -> None:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "verify", interrupt)
        with pytest.raises(interruption):
            export(checkpoint("yolov8n"), format=format, imgsz=64, output=tmp_path / name)
        assert left_in(tmp_path) == []
    made = export(checkpoint("yolov8n"), format=format, imgsz=64, output=tmp_path / name)
    files = [made] if made.is_file() else sorted(made.iterdir())
    before = [file.read_bytes() for file in files]
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "verify", interrupt)
        with pytest.raises(interruption):
            export(checkpoint("yolo11n"), format=format, imgsz=64, output=tmp_path / name)
    assert [file.read_bytes() for file in files] == before
    assert left_in(tmp_path) == [name]


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails as one to a full disk does
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from yolort.cli import main
main()
"""


@pytest.mark.parametrize("format", ["onnx", "ncnn", "openvino"])
@pytest.mark.parametrize("limit", [100_000, 6_000_000])
def test_full_disk(format: str, limit: int, checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxslim", "ncnn": "pnnx", "openvino": "openvino"}[format])
    target = tmp_path / f"m{FORMATS[format].ending}"
    arguments = [limit, "export", checkpoint("yolov8n"), "--format", format, "--imgsz", 64, "--output", target]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "yolort: error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(tmp_path) == []


def test_kill_removes_what_was_begun(checkpoint: Checkpoint, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "yolort",
        "export",
        str(checkpoint("yolov8n")),
        "--output",
        str(tmp_path / "m.onnx"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not left_in(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == 143
    assert left_in(tmp_path) == []


def test_wrong_results_are_refused(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = yolort.Detector.infer
    for wrong, says in [
        (lambda maps: [maps[0] + 10, *maps[1:]], "difference from torch: 80 pixels"),
        (lambda maps: [*maps[:-1], maps[-1] * 1.5], r"0\.\d+ of a score; accepted are 0\.25 and 0\.0025"),
        (lambda maps: [*maps[:-1], maps[-1] * np.nan], "nan of a score"),
        (lambda maps: maps[::-1], "outputs of shapes"),
    ]:
        monkeypatch.setattr(yolort.Detector, "infer", lambda self, x, wrong=wrong: wrong(right(self, x)))
        with pytest.raises(ExportError, match=says):
            export(checkpoint("yolo26n"), imgsz=64, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == []


def test_wrong_rows_are_refused(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = yolort.Detector.infer
    for column, shift in ((0, 3), (4, 0.1), (5, 7), (2, np.nan)):
        change = np.eye(6, dtype=np.float32)[column] * np.float32(shift)
        monkeypatch.setattr(yolort.Detector, "infer", lambda self, x, c=change: [rows + c for rows in right(self, x)])
        with pytest.raises(ExportError, match="difference from torch"):
            export(checkpoint("yolo26n"), head="end2end", imgsz=64, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == []


DECODED = [
    (format, head)
    for format in ("onnx", "openvino", "ncnn")
    for head in ("boxes", "end2end")
    if (format, head) != ("ncnn", "end2end")
]


def as_ultralytics(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The output of an artefact in Ultralytics' own runtime."""
    import ultralytics.nn.autobackend as autobackend
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()
    backend = autobackend.AutoBackend(str(path), device=torch.device("cpu"), verbose=False)
    output = backend(torch.from_numpy(pixels))
    output = output[0] if isinstance(output, (list, tuple)) else output
    return np.asarray(output).reshape(1, *np.shape(output)[-2:])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("format", "head"), DECODED)
@pytest.mark.filterwarnings("ignore")
def test_decoded_heads_load_in_ultralytics_too(
    format: str,
    head: str,
    precision: str,
    checkpoint: Checkpoint,
    class_names: dict[int, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in {"onnx": ["onnxruntime"], "openvino": ["openvino"], "ncnn": ["ncnn", "pnnx"]}[format]:
        pytest.importorskip(package)
    import ultralytics.utils.checks as checks

    monkeypatch.setattr(checks, "check_requirements", lambda *_, **__: True)  # it would install what it pins
    ending = FORMATS[format].ending
    made = export(
        checkpoint("yolo26n"),
        format=format,
        head=head,
        precision=precision,
        imgsz=(64, 96),
        output=tmp_path / f"m{ending}",
    )
    pixels = image(64, 96)
    with torch.inference_mode():
        expected = with_head(load(checkpoint("yolo26n")), head)(torch.from_numpy(pixels)).numpy()
    detector = yolort.Detector(made, precision="fp32")
    exact = 1e-2 if precision == "fp32" else 1
    theirs = exact if format != "openvino" else 1  # Ultralytics lets OpenVINO compute in bf16
    for got, atol in ((detector.infer(pixels)[0], exact), (as_ultralytics(made, pixels), theirs)):
        if head == "end2end":  # rows of near ties may change places, their scores do not
            np.testing.assert_allclose(got[..., 4], expected[..., 4], atol=0.02)
        else:
            np.testing.assert_allclose(got, expected, atol=atol)
    assert detector.head == head
    assert detector.names == class_names


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("head", ["raw", "boxes", "end2end"])
def test_dynamic_and_batched(format: str, head: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    ending = FORMATS[format].ending
    pixels = np.random.default_rng(5).integers(0, 256, (3, 60, 90, 3), np.uint8)
    made = {
        name: yolort.Detector(
            export(
                checkpoint("yolo26n"), format=format, head=head, imgsz=64, output=tmp_path / f"{name}{ending}", **how
            ),
            conf=0,
            multi_label=True,
            max_det=20,
        )
        for name, how in (("one", {}), ("three", {"batch": 3}), ("any", {"dynamic": True}))
    }
    assert [detector.batch for detector in made.values()] == [1, 3, 0]
    results = [detector(list(pixels)) for detector in made.values()]
    for name in ("boxes", "scores"):
        one, *others = ([getattr(found, name) for found in result] for result in results)
        for other in others:
            np.testing.assert_allclose(other, one, atol=1e-2)
    larger = yolort.Detector(tmp_path / f"any{ending}", imgsz=(96, 128), conf=0)
    assert larger.imgsz == (96, 128)
    assert len(larger(pixels[0])) > 0


def test_fp16_halves_the_file(checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("pnnx")
    caplog.set_level("INFO", "yolort")
    for format in ("onnx", "ncnn", "openvino"):
        ending, sizes = FORMATS[format].ending, []
        for precision in ("fp32", "fp16"):
            made = export(
                checkpoint("yolo11n"), format=format, precision=precision, imgsz=64, output=tmp_path / f"m{ending}"
            )
            sizes.append(sum(file.stat().st_size for file in ([made] if made.is_file() else made.iterdir())))
        assert sizes[1] < 0.6 * sizes[0]
        assert json.loads(yolort.Detector(made).metadata["yolort"])["precision"] == "fp16"
    assert yolort.Detector(tmp_path / "m.onnx").precision == "fp16"
    assert "BatchNorm into their convolutions" in caplog.text
    assert "MB in fp16" in caplog.text


def test_pruned_widths(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A checkpoint whose layers are not those of its YAML: what is exported is the module."""
    read = torch.load(checkpoint("yolov8n"), weights_only=False)
    first, second = read["model"].model[0], read["model"].model[1]
    first.conv.weight = torch.nn.Parameter(first.conv.weight[:9])
    first.conv.out_channels = first.bn.num_features = 9
    for name in ("weight", "bias"):
        setattr(first.bn, name, torch.nn.Parameter(getattr(first.bn, name)[:9]))
    for name in ("running_mean", "running_var"):
        setattr(first.bn, name, getattr(first.bn, name)[:9])
    second.conv.weight = torch.nn.Parameter(second.conv.weight[:, :9])
    second.conv.in_channels = 9
    torch.save(read, tmp_path / "pruned.pt")
    made = export(tmp_path / "pruned.pt", imgsz=64)
    weights = {tuple(onnx.numpy_helper.to_array(one).shape) for one in onnx.load(made).graph.initializer}
    assert (9, 3, 3, 3) in weights


def test_failure_of_pnnx_shows_its_log(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pnnx = pytest.importorskip("pnnx")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho unknown operator; exit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(pnnx, "EXEC_PATH", str(broken))
    with pytest.raises(ExportError, match=r"exit status 3\):\nunknown operator"):
        export(checkpoint("yolov8n"), format="ncnn", imgsz=64, output=tmp_path / "m_ncnn_model")
    assert left_in(tmp_path) == ["broken"]


def test_missing_converter_and_runtime(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxslim", None)
        with pytest.raises(ModuleNotFoundError, match="needs the package onnxslim"):
            export(checkpoint("yolov8n"), imgsz=64, output=tmp_path / "m.onnx")

    def unavailable(*_: Any, **__: Any) -> None:
        raise yolort.EngineError("the package onnxruntime is not installed")

    monkeypatch.setattr(yolort, "Detector", unavailable)
    assert export(checkpoint("yolov8n"), imgsz=64, output=tmp_path / "m.onnx").is_file()
    assert "not compared with torch: the package onnxruntime is not installed" in caplog.text


BROKEN = "import torchvision.extension\nraise RuntimeError('operator torchvision::nms does not exist')\n"
WORKING = "import torchvision.extension, torchvision.ops\n"
USE = """
import sys
from yolort.tools._ultralytics import allow_missing_torchvision

exporting = importlib.import_module("yolort.tools.export.pipeline")  # the module, not the function of its name
print(allow_missing_torchvision(), allow_missing_torchvision())
print(*sorted(name for name in sys.modules if name.startswith("torchvision")))
import torch, torchvision
from torchvision.ops import nms
boxes = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 10], [20, 20, 30, 30]], dtype=torch.float32)
print(nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist())
trace = lambda: torch.jit.trace(lambda boxes, scores: nms(boxes, scores, 0.5), (boxes, boxes[:, 0]))
for fails in (lambda: torchvision.models, trace):
    try:
        fails()
    except (AttributeError, RuntimeError) as error:
        print(error)
"""


@pytest.mark.parametrize("works", [False, True])
def test_torchvision_that_cannot_be_imported(works: bool, tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(WORKING if works else BROKEN)
    (package / "extension.py").write_text("")
    (package / "ops.py").write_text("import torch\ndef nms(boxes, scores, iou): return torch.tensor([7])\n")
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if works:
        assert lines[:2] == ["False False", "torchvision torchvision.extension torchvision.ops"]
        assert lines[2] == "[7]"
        assert "Ultralytics" not in done.stderr
    else:
        assert lines[:2] == ["True True", "torchvision torchvision.ops"]
        assert lines[2] == "[1, 2]"
        assert "operator torchvision::nms does not exist" in lines[3]
        assert lines[4].startswith("NMS cannot be exported here")
        assert done.stderr.count("using the NMS of Ultralytics") == 1


def test_engine(checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is Ultralytics', and what TensorRT is given is the ONNX export; the plan itself needs a GPU."""
    given: dict[str, Any] = {}

    def build(onnx_file: str, **options: Any) -> tuple[bytes, bytes, str]:
        given.update(options, nodes=len(onnx.load(onnx_file).graph.node))
        if options["onnx_fp16"]:
            given["half"] = onnx.load(options["onnx_fp16"]).graph.initializer[0].data_type
        return b"ftrt plan", b"", "10.16.0"

    here = type(yolort.engines()[0])("tensorrt", True, "")
    monkeypatch.setattr(yolort, "engines", lambda: [here])
    monkeypatch.setattr(_core, "build_engine", build)
    monkeypatch.setattr(exporting, "verify", lambda *_: "not run here")
    made = export(checkpoint("yolov8n"), format="engine", precision="fp16", imgsz=64, output=tmp_path / "m.engine")
    data = made.read_bytes()
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    assert data[4 + length :] == b"ftrt plan"
    assert header["names"] == {"0": "driver's cab", "1": 'a "sign"', "2": "naïve: #1"}
    assert header["yolort"]["tensorrt"] == "10.16.0"
    assert header["yolort"]["precision"] == "fp16"
    assert given["nodes"] > 50
    assert given["half"] == onnx.TensorProto.FLOAT16
    assert given["sizes"] == ((1, 32, 32), (1, 64, 64), (16, 128, 128))
    monkeypatch.undo()
    if not next(one for one in yolort.engines() if one.name == "tensorrt").available:
        with pytest.raises(yolort.EngineError, match="tensorrt"):
            yolort.Detector(made)


def test_engine_without_tensorrt(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    if next(one for one in yolort.engines() if one.name == "tensorrt").available:
        pytest.skip("TensorRT is here")
    with pytest.raises(yolort.EngineError, match="built on the GPU that runs it"):
        export(checkpoint("yolov8n"), format="engine", output=tmp_path / "m.engine")
    assert list(tmp_path.iterdir()) == []
