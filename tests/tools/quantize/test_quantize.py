"""`yolort quantize`: INT8 models give the float models' detections, and are written completely or not at all."""

from __future__ import annotations

import importlib
import json
import platform
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.data.dataset import letterboxed
from yolort.tools.evaluate.benchmark import Benchmark, Case, Row, benchmark
from yolort.tools.evaluate.validate import validate
from yolort.tools.export.pipeline import export
from yolort.tools.models.onnx_graph import GraphError, read_graph
from yolort.tools.quantize import ncnn_int8, ncnn_model
from yolort.tools.quantize.activations import CalibrationError, Range
from yolort.tools.quantize.calibrate import Calibration, calibrate
from yolort.tools.quantize.quantize import QuantizeError, quantize

quantizing = importlib.import_module("yolort.tools.quantize.quantize")  # the module, not the function of its name

ONNX, NCNN = Path(yolort.demo_model("onnx")), Path(yolort.demo_model("ncnn"))


def accuracy(model: Path, scenes: Path, engine: str) -> float:
    return float(validate(model, scenes, resamples=0, engine=engine, precision="fp32").metrics.map50_95)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "engine"),
    [
        ("openvino", "openvino"),
        ("onnxruntime", "onnxruntime"),
        ("arm", "onnxruntime"),
        ("gpu", "onnxruntime"),
        ("gpu", "openvino"),  # with its default passes, it computes signed INT8 wrongly
    ],
)
def test_onnx(target: str, engine: str, calibration: Calibration, scenes: Path, tmp_path: Path) -> None:
    if not next(one for one in yolort.engines() if one.name == engine).available:
        pytest.skip(f"engine {engine} is not here")
    done = quantize(ONNX, calibration, target=target, measure=False, output=tmp_path / "int8.onnx")
    assert done.megabytes[1] < 0.5 * done.megabytes[0]
    assert done.changed < 0.5
    assert accuracy(done.path, scenes, engine) > accuracy(ONNX, scenes, engine) - 0.03
    detector = yolort.Detector(done.path, engine=engine)
    assert detector.precision.startswith("int8")  # and the precision of its float layers
    own = json.loads(detector.metadata["yolort"])
    assert own["engine"] == {"gpu": "tensorrt", "openvino": "openvino"}.get(target, "onnxruntime")
    assert own["quantization"]["calibration"]["sha256"] == calibration.sha256
    if target == engine:
        assert yolort.Detector(done.path).engine == engine  # the target engine
    made = onnx.load(done.path)
    types = [node.op_type for node in made.graph.node]
    float_types = [node.op_type for node in onnx.load(ONNX).graph.node]
    assert types.count("Conv") == float_types.count("Conv")
    producers = {output: node for node in made.graph.node for output in node.output}
    zero_points = {one.name: one for one in made.graph.initializer}
    floats = {one.name for one in read_graph(ONNX).heads} | read_graph(ONNX).attention
    if target in ("onnxruntime", "arm"):
        floats |= read_graph(ONNX).stem
    signs = set()
    for node in made.graph.node:
        if node.op_type == "Conv":
            quantised = node.input[1] in producers  # weights after a DequantizeLinear
            assert quantised == (node.name not in floats)
        if node.op_type == "QuantizeLinear":
            signs.add(zero_points[node.input[2]].data_type)
    assert signs == {onnx.TensorProto.INT8 if target in ("arm", "gpu") else onnx.TensorProto.UINT8}


@pytest.mark.parametrize("options", [{"per_channel": False}, {"reduce_range": True}])
def test_granularity(options: dict[str, Any], calibration: Calibration, tmp_path: Path) -> None:
    done = quantize(ONNX, calibration, measure=False, output=tmp_path / "int8.onnx", **options)
    weights = [
        onnx.numpy_helper.to_array(one)
        for one in onnx.load(done.path).graph.initializer
        if len(one.dims) == 4 and one.data_type == onnx.TensorProto.INT8
    ]
    assert weights
    assert max(int(np.abs(one).max()) for one in weights) <= (64 if "reduce_range" in options else 127)
    full = [one for one in weights if all(np.abs(row).max() > 60 for row in one)]
    assert (len(full) == len(weights)) == options.get("per_channel", True)


@pytest.mark.parametrize("mode", ["dynamic", "weights"])
def test_without_calibration(mode: str, scenes: Path, tmp_path: Path) -> None:
    done = quantize(ONNX, mode=mode, measure=False, output=tmp_path / "int8.onnx")
    assert done.megabytes[1] < 0.5 * done.megabytes[0]
    assert accuracy(done.path, scenes, "onnxruntime") > accuracy(ONNX, scenes, "onnxruntime") - 0.03


@pytest.mark.parametrize("per_channel", [True, False])
def test_stock_ncnn(per_channel: bool, calibration: Calibration, scenes: Path, tmp_path: Path) -> None:
    output = tmp_path / "int8_ncnn_model"
    done = quantize(NCNN, calibration, format="ncnn", stock=True, per_channel=per_channel, measure=False, output=output)
    assert sorted(file.name for file in output.iterdir()) == [
        ".yolort.json", "metadata.yaml", "model.ncnn.bin", "model.ncnn.param", "model.ncnn.table",
    ]  # fmt: skip
    assert done.megabytes[1] < 0.4 * done.megabytes[0]
    assert done.changed < 0.5
    assert accuracy(output, scenes, "ncnn") > accuracy(NCNN, scenes, "ncnn") - 0.05
    assert yolort.Detector(output).precision == "int8"
    layers = {line.split()[1]: line for line in (output / "model.ncnn.param").read_text().splitlines()[2:]}
    rows = dict(line.split(" ", 1) for line in (output / "model.ncnn.table").read_text().splitlines())
    int8 = [name for name, line in layers.items() if " 8=" in line]
    assert set(rows) == {*int8, *(f"{name}_param_0" for name in int8)}
    fused = [line for line in layers.values() if " 8=10" in line]
    for name in int8:
        outputs = int(layers[name].split(" 0=")[1].split()[0])
        assert len(rows[f"{name}_param_0"].split()) == outputs
        assert float(rows[name]) > 0
    assert all(" 9=" not in line or int(line.split(" 9=")[1].split()[0]) <= 2 for line in fused)


def test_ncnn_reads_what_it_writes_again() -> None:
    layers = ncnn_model.read(NCNN)
    original = (NCNN / "model.ncnn.bin").read_bytes()
    assert b"".join(part for layer in layers for part in layer.data()) == original
    lines = [line.split() for line in (NCNN / "model.ncnn.param").read_text().splitlines()[2:] if line.strip()]
    assert [layer.line().split() for layer in layers] == lines


@pytest.mark.slow
def test_halves_of_onnx_are_found_in_ncnn(checkpoint: Callable[[str], Path], scenes: Path, tmp_path: Path) -> None:
    """Two convolutions in the ONNX export are one with a Slice in NCNN."""
    source = checkpoint("yolov8n")
    known = calibrate(export(source, output=tmp_path / "float.onnx"), scenes, method="minmax")
    layers = ncnn_model.read(export(source, format="ncnn", output=tmp_path / "float_ncnn_model"))
    found = ncnn_int8.convolutions(layers, known)
    assert len(known.convolutions) > len(found) == sum(layer.weights is not None for layer in layers)
    assert {one for pair in found.values() for one in pair} == set(known.convolutions)
    tensors: dict[str, str] = {}
    for layer in layers:  # a blob always maps to the same tensor
        if layer.weights is not None:
            taken = found[layer.name][0].input
            assert tensors.setdefault(layer.bottoms[0], taken) == taken


def test_cache_of_tensorrt(calibration: Calibration, tmp_path: Path) -> None:
    done = quantize(ONNX, calibration, format="cache", output=tmp_path / "int8.cache")
    first, *rows = done.path.read_text().splitlines()
    assert first == "TRT-8600-EntropyCalibration2"
    scales = {name: struct.unpack(">f", bytes.fromhex(bits))[0] for name, bits in (row.rsplit(": ", 1) for row in rows)}
    assert set(scales) == set(calibration.ranges)
    assert scales["images"] == pytest.approx(1 / 127)


def test_models_for_another_processor_are_not_timed(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(quantizing, "benchmark", lambda **_: pytest.fail("timed"))
    done = quantize(ONNX, calibration, target="arm", output=tmp_path / "arm.onnx")
    assert done.ms is None
    assert "it is made for ARM processors, and times here would not be those there: none were taken" in done.notes


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        (0.99, "INT8 is not measurably faster than the float model here on onnxruntime"),
        (1.5, "INT8 is slower than the float model here on onnxruntime"),
        (0.5, None),
    ],
)
def test_faster_only_if_the_interval_excludes_1(
    slow: float, says: str | None, calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4.70 and 4.76 ms do not differ if each varies by a tenth."""
    rng = np.random.default_rng(0)

    def measured(chosen: list[Case], **_: object) -> Benchmark:
        rows = [Row(case) for case in chosen]
        for turn in range(20):
            for row, factor in zip(rows, (1, slow), strict=True):
                row.add([[4.76 * factor * rng.normal(1, 0.1), 0, 4, 0] for _ in range(5)], turn)
        return Benchmark(rows, {}, {})

    monkeypatch.setattr(quantizing, "benchmark", measured)
    done = quantize(ONNX, calibration, target="onnxruntime", output=tmp_path / "int8.onnx")
    assert done.ratio is not None
    assert [note.partition(";")[0] for note in done.notes] == ([says] if says else [])
    for note in done.notes:  # names only available ones
        able = {one.name for one in yolort.engines() if one.available}
        assert ("--target openvino" in note) == ("openvino" in able)
        assert "bf16" not in note and "fp16" not in note  # ONNX Runtime computes in the file's precision


def test_dynamic_warns_that_it_is_slow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FileNotFoundError):
        quantize(tmp_path / "none.onnx", mode="dynamic")
    assert "dynamic INT8 is slow" in caplog.text


@pytest.mark.slow
def test_exclude_and_measure(calibration: Calibration, scenes: Path, tmp_path: Path) -> None:
    done = quantize(
        ONNX, calibration, exclude=["/model.3/*"], data=scenes, output=tmp_path / "int8.onnx", target="onnxruntime"
    )
    graph = read_graph(ONNX)
    kept = {"attention": len(graph.attention), "excluded": 1, "stem": len(graph.stem)}
    assert Counter(done.floats.values()) == kept
    assert done.ms and min(done.ms) > 0
    assert done.ratio and done.ratio.low <= done.ratio.value <= done.ratio.high
    assert done.accuracy and done.conf
    noted = json.loads(yolort.Detector(done.path).metadata["yolort"])["quantization"]
    assert noted["float"] == list(done.floats)
    assert noted["conf"] == pytest.approx(done.conf[1], abs=1e-3)
    with pytest.raises(ValueError, match="no convolution is named"):
        quantize(ONNX, calibration, exclude=["nothing"], output=tmp_path / "x.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "ncnn"])
def test_stem(form: str, calibration: Calibration, tmp_path: Path) -> None:
    """The stem stays float only if requested, and attention always, regardless of their names in the format."""
    made = {}
    for int8_stem in (None, True, False):
        source, output = (ONNX, "int8.onnx") if form == "onnx" else (NCNN, "int8_ncnn_model")
        how: dict[str, Any] = {"target": "onnxruntime"} if form == "onnx" else {"stock": True}
        done = quantize(
            source, calibration, format=form, int8_stem=int8_stem, measure=False, output=tmp_path / output, **how
        )
        made[int8_stem] = done.floats
    assert list(made[True].values()) == ["attention"] * 2
    assert made[None] == made[False]
    stem = [name for name, why in made[None].items() if why == "stem"]
    assert len(stem) + 2 == len(made[None])
    if form == "onnx":
        layers = {name.partition("/conv")[0].partition("/parts")[0] for name in stem}
        assert layers == {"/model.0", "/model.1", "/model.2/cv1"}
    else:
        assert len(stem) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scores_without_nms_stay_float(checkpoint: Callable[[str], Path], scenes: Path, tmp_path: Path) -> None:
    """The four convolutions before the scores of each level, and the stem; with NMS both are INT8."""
    model = checkpoint("yolo26n")
    reasons = {}
    for head in ("raw", "raw-e2e"):
        source = export(model, format="ncnn", head=head, imgsz=64, output=tmp_path / f"{head}_ncnn_model")
        ranges = calibrate(model, scenes, head=head, imgsz=64)
        output = tmp_path / f"{head}-int8_ncnn_model"
        done = quantize(source, ranges, format="ncnn", measure=False, output=output)
        reasons[head] = list(done.floats.values())
    assert "scores without NMS" not in reasons["raw"] and "stem" not in reasons["raw"]
    assert reasons["raw-e2e"].count("scores without NMS") == 3 * 4 and reasons["raw-e2e"].count("stem") == 3


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_calibration_of_another_model(
    calibration: Calibration, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    other = export(checkpoint("yolov8n"), output=tmp_path / "other.onnx")
    with pytest.raises(CalibrationError, match="another model"):
        quantize(other, calibration, output=tmp_path / "int8.onnx")
    folder = export(checkpoint("yolov8n"), format="ncnn", output=tmp_path / "other_ncnn_model")
    with pytest.raises(CalibrationError, match="not in the model that was calibrated"):
        quantize(folder, calibration, format="ncnn", output=tmp_path / "int8_ncnn_model")
    assert left_in(tmp_path) == ["other.onnx", "other_ncnn_model"]


def test_results_that_are_wrong_are_refused(calibration: Calibration, tmp_path: Path) -> None:
    ruined = replace(calibration, ranges={name: Range(-1e-3, 1e-3, 1e-3) for name in calibration.ranges})
    with pytest.raises(QuantizeError, match="gives wrong results"):
        quantize(ONNX, ruined, output=tmp_path / "int8.onnx")
    with pytest.raises(QuantizeError, match="gives wrong results"):
        quantize(NCNN, ruined, format="ncnn", output=tmp_path / "int8_ncnn_model")
    assert left_in(tmp_path) == []


def test_images_that_were_calibrated_on(scenes: Path, tmp_path: Path) -> None:
    known = calibrate(ONNX, scenes, split="val", allow_overlap=True, method="minmax")
    with pytest.raises(CalibrationError, match="8 of the 8 images"):
        quantize(ONNX, known, data=scenes, output=tmp_path / "int8.onnx")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("Sigmoid", "LSTM", 1).replace("Swish", "LSTM", 1), "INT8 is not written for"),
        (lambda text: text.replace("7767517", "1"), "no .param"),
        (lambda text: text.replace("Convolution", "Convolution x", 1), "not a line|damaged|not in the model|is a"),
        (lambda text: text.replace(" 6=", " 6=9", 1), "weights|not FP32"),
    ],
)
def test_damaged_ncnn(change: Any, says: str, calibration: Calibration, tmp_path: Path) -> None:
    folder = tmp_path / "bad_ncnn_model"
    folder.mkdir()
    for file in NCNN.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    param = folder / "model.ncnn.param"
    param.write_text(change(param.read_text()))
    with pytest.raises((GraphError, CalibrationError), match=says):
        quantize(folder, calibration, format="ncnn", output=tmp_path / "int8_ncnn_model")
    assert left_in(tmp_path) == ["bad_ncnn_model"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"format": "engine"}, "--target gpu"),
        ({"mode": "magic"}, "mode"),
        ({"target": "npu"}, "target"),
        ({"format": "ncnn", "target": "gpu"}, "target is for onnx"),
        ({"format": "ncnn", "mode": "dynamic"}, "is for onnx"),
        ({"stock": True}, "stock is for ncnn"),
        ({"max_drop": 1}, "needs data"),
        ({"calibration": None}, "needs a calibration"),
        ({"output": "int8.bin"}, "must be named"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], says: str, calibration: Calibration) -> None:
    given = {"calibration": calibration, **arguments}
    with pytest.raises(ValueError, match=says):
        quantize(ONNX, **given)


@pytest.mark.slow
def test_command_line(scenes: Path, tmp_path: Path) -> None:
    def run(*arguments: object, code: int = 0) -> str:
        command = [sys.executable, "-m", "yolort", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    assert "written to calibration.json" in run("calibrate", ONNX, "--data", scenes)
    quantize_it = ("quantize", ONNX, "--calibration", "calibration.json", "--no-measure")
    assert "written to int8.onnx" in run(*quantize_it, "--output", "int8.onnx")
    (tmp_path / "calibration.json").write_text("{}")
    assert "is not a calibration" in run(*quantize_it, "--output", "other.onnx", code=2)
    assert "cannot be combined" in run("quantize", ONNX, "--dynamic", "--weights-only", code=2)
    assert left_in(tmp_path) == ["calibration.json", "int8.onnx"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("aware", [False, True])
def test_int8_of_ultralytics(aware: bool, checkpoint: Callable[[str], Path], scenes: Path, tmp_path: Path) -> None:
    """Models quantized by Ultralytics, after or during training (`train(quantize=8)`), run and are measured as INT8."""
    import torch
    from ultralytics import YOLO

    source = tmp_path / "yolov8n.pt"
    shutil.copy(checkpoint("yolov8n"), source)
    model = YOLO(source)
    if aware:
        pytest.importorskip("modelopt", reason="training in INT8 needs nvidia-modelopt")
        from ultralytics.utils.torch_utils import prepare_qat

        prepare_qat(model.model.float(), [torch.rand(2, 3, 96, 96) for _ in range(2)], lambda batch: batch)
    exported = Path(model.export(format="onnx", imgsz=96, quantize=8, data=str(scenes)))
    types = {node.op_type for node in onnx.load(exported).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    engines = [one.name for one in yolort.engines() if one.available and one.name in ("onnxruntime", "openvino")]
    found = {engine: yolort.Detector(exported, engine=engine, tuned=False) for engine in engines}
    assert {one.precision for one in found.values()} == {"int8"}
    picture = yolort.images.read(yolort.demo_image())
    maps = [one.infer(letterboxed([yolort.demo_image()], (96, 96)))[0] for one in found.values()]
    for other in maps[1:]:
        np.testing.assert_allclose(other[:, 4:], maps[0][:, 4:], atol=0.05)
    assert all(len(one(picture, conf=0.0)) for one in found.values())
    rows = benchmark([exported], runs=2, warmup=1).rows
    assert rows
    assert not any(row.error for row in rows)
