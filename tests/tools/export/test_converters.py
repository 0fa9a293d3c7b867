"""Compares every format with its torch model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
onnxruntime = pytest.importorskip("onnxruntime")

from exported_models import image, left_in, load, reference, run_ncnn, run_onnx  # noqa: E402
from yolort.tools._formats import FORMATS  # noqa: E402
from yolort.tools.export.pipeline import export  # noqa: E402
from yolort.tools.models.heads import ExportError, with_head  # noqa: E402

Checkpoint = Callable[[str], Path]
FAMILIES = [
    ("yolov8n", "raw"),
    pytest.param("yolo11n", "raw", marks=pytest.mark.slow),
    pytest.param("yolo26n", "raw", marks=pytest.mark.slow),
    ("yolo26n", "raw-e2e"),
]


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


DECODED = [
    (format, head)
    for format in ("onnx", "openvino", "ncnn")
    for head in ("boxes", "end2end")
    if (format, head) != ("ncnn", "end2end")
]


def as_ultralytics(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The output of an artifact in Ultralytics' own runtime."""
    import ultralytics.nn.autobackend as autobackend
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()
    backend = autobackend.AutoBackend(str(path), device=torch.device("cpu"), verbose=False)
    output = backend(torch.from_numpy(pixels))
    output = output[0] if isinstance(output, (list, tuple)) else output
    return np.asarray(output).reshape(1, *np.shape(output)[-2:])


@pytest.mark.slow
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

    monkeypatch.setattr(checks, "check_requirements", lambda *_, **__: True)  # it would install packages
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
    theirs = exact if format != "openvino" else 1  # because Ultralytics lets OpenVINO compute in bf16
    for got, atol in ((detector.infer(pixels)[0], exact), (as_ultralytics(made, pixels), theirs)):
        if head == "end2end":  # rows of near ties may change places, their scores do not
            np.testing.assert_allclose(got[..., 4], expected[..., 4], atol=0.02)
        else:
            np.testing.assert_allclose(got, expected, atol=atol)
    assert detector.head == head
    assert detector.names == class_names


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert yolort.Detector(tmp_path / "m.onnx", engine="onnxruntime").precision == "fp16"
    assert "BatchNorm into their convolutions" in caplog.text
    assert "MB in fp16" in caplog.text


def test_pruned_widths(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """If the layers of a checkpoint differ from its YAML, the module is exported."""
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
