"""Conversion of ONNX files to TensorRT engines. TensorRT itself needs a GPU (tests/gpu)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yolort
from yolort import _core

onnx = pytest.importorskip("onnx")

from yolort.tools.export import tensorrt  # noqa: E402
from yolort.tools.export.tensorrt import EngineOptions, build_engine  # noqa: E402


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A fake TensorRT; records its arguments."""
    given: dict[str, Any] = {}

    def build(_: str, **options: Any) -> tuple[bytes, bytes, str]:
        given.update(options)
        given["half"] = options["onnx_fp16"] and onnx.load(options["onnx_fp16"]).graph.initializer[0].data_type
        return b"ftrt plan", b"times", "10.16.0"

    here = type(yolort.engines()[0])("tensorrt", True, "")
    monkeypatch.setattr(yolort, "engines", lambda: [here])
    monkeypatch.setattr(_core, "build_engine", build)
    monkeypatch.setattr(tensorrt, "_compare", lambda *_: "not run here")
    return given


def header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    length = int.from_bytes(data[:4], "little")
    assert data[4 + length :] == b"ftrt plan"
    about: dict[str, Any] = json.loads(data[4 : 4 + length])
    return about


def test_from_onnx(builder: dict[str, Any], tmp_path: Path) -> None:
    source = yolort.demo_model("onnx")
    times = tmp_path / "times.cache"
    options = EngineOptions(timing_cache=times, workspace=64, level=2, version_compatible=True, max_imgsz=(640, 960))
    made = build_engine(source, precision="fp16", output=tmp_path / "m.engine", options=options)
    told = header(made)
    detector = yolort.Detector(source, engine="onnxruntime")
    assert list(told["names"].values()) == list(detector.names.values())
    assert told["imgsz"] == list(detector.imgsz)
    assert told["yolort"]["precision"] == "fp16"
    assert (told["yolort"]["engine"], told["yolort"]["tensorrt"]) == ("tensorrt", "10.16.0")
    assert told["yolort"]["head"] == detector.head
    assert builder["half"] == onnx.TensorProto.FLOAT16
    assert builder["sizes"] == ((1, 32, 32), (1, *detector.imgsz), (16, 640, 960))
    assert (builder["workspace_mib"], builder["level"], builder["version_compatible"]) == (64, 2, True)
    assert builder["timing_cache"] == b""
    assert times.read_bytes() == b"times"
    build_engine(source, output=made, options=options)
    assert (builder["timing_cache"], builder["onnx_fp16"]) == (b"times", "")


def test_int8(builder: dict[str, Any], tmp_path: Path) -> None:
    cache = tmp_path / "m.cache"
    cache.write_bytes(b"TRT-8601-EntropyCalibration2\n")
    made = build_engine(
        yolort.demo_model("onnx"), output=tmp_path / "m.engine", options=EngineOptions(calibration=cache)
    )
    assert header(made)["yolort"]["precision"] == "int8"
    assert builder["calibration"] == cache.read_bytes()
    assert builder["int8"]


def test_q_dq_pairs_are_int8(builder: dict[str, Any], tmp_path: Path) -> None:
    """Without the flag, TensorRT 8.6 refuses them: seen on an H200."""
    source = onnx.load(yolort.demo_model("onnx"))
    build_engine(yolort.demo_model("onnx"), output=tmp_path / "m.engine")
    assert not builder["int8"]
    (last,) = [node for node in source.graph.node if source.graph.output[0].name in node.output]
    for op, name in (("QuantizeLinear", "quantised"), ("DequantizeLinear", source.graph.output[0].name)):
        start = "float" if op == "QuantizeLinear" else "quantised"
        source.graph.node.append(onnx.helper.make_node(op, [start, "scale", "zero"], [name]))
    last.output[list(last.output).index(source.graph.output[0].name)] = "float"
    source.graph.initializer.append(onnx.helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.1]))
    source.graph.initializer.append(onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [0]))
    onnx.save(source, tmp_path / "m.onnx")
    made = build_engine(tmp_path / "m.onnx", output=tmp_path / "m.engine")
    assert builder["int8"]
    assert header(made)["yolort"]["precision"] == "int8"


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workspace": 0}, "workspace"),
        ({"level": 6}, "level"),
        ({"max_batch": 0}, "max_batch"),
        ({"calibration": "missing.cache"}, "no such calibration cache"),
        ({"timing_cache": "missing/x"}, "no such folder"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        build_engine(yolort.demo_model("onnx"), output=tmp_path / "m.engine", options=EngineOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("builder")
def test_bad_models(tmp_path: Path) -> None:
    damaged = tmp_path / "m.onnx"
    damaged.write_bytes(b"\x08garbage\xff")
    lonely = tmp_path / "lonely.onnx"
    onnx.save(onnx.load(yolort.demo_model("onnx")), lonely, save_as_external_data=True, location="weights")
    (tmp_path / "weights").unlink()
    with pytest.raises(yolort.ModelError, match="not an ONNX file.*weights"):
        build_engine(lonely)
    lonely.unlink()
    with pytest.raises(yolort.ModelError, match="not an ONNX file"):
        build_engine(damaged)
    plain = onnx.load(yolort.demo_model("onnx"))
    del plain.metadata_props[:]
    onnx.save(plain, damaged)
    with pytest.raises(yolort.ModelError, match="has no metadata"):
        build_engine(damaged)
    with pytest.raises(FileNotFoundError, match="no such model"):
        build_engine(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"named \*\.engine"):
        build_engine(damaged, output=tmp_path / "m.plan")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.usefixtures("builder")
def test_the_old_engine_stays_where_a_build_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.engine"
    target.write_bytes(old := b"old, written by yolort")

    def fail(*_: Any, **__: Any) -> None:
        raise yolort.EngineError("out of memory")

    monkeypatch.setattr(_core, "build_engine", fail)
    with pytest.raises(yolort.EngineError, match="out of memory"):
        build_engine(yolort.demo_model("onnx"), output=target)
    assert target.read_bytes() == old
    assert list(tmp_path.iterdir()) == [target]
