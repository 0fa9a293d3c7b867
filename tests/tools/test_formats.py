"""The table of engines, formats and targets, and values derived from it."""

from __future__ import annotations

import pytest
import yolort
from yolort.tools._formats import ENGINES, EXPORTED, FORMATS, QUANTIZED, TARGETS, own_format


def test_every_engine_has_a_format_and_every_target_an_engine() -> None:
    names = {status.name for status in yolort.engines()}
    assert set(ENGINES) == set(TARGETS.values()) | {"ncnn"} == names
    assert {own_format(engine) for engine in ENGINES} == set(EXPORTED)
    assert all(engine.format in EXPORTED for engine in ENGINES.values())
    assert {engine.target for engine in ENGINES.values()} <= {*TARGETS, None}
    assert {*EXPORTED, *QUANTIZED} == set(FORMATS)
    assert [name for name, format in FORMATS.items() if format.is_folder] == ["ncnn", "openvino"]


def test_every_format_can_be_exported_and_every_target_quantized() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from yolort.tools.export.pipeline import CONVERTERS
    from yolort.tools.quantize.onnx_qdq import PLACEMENTS

    assert tuple(CONVERTERS) == EXPORTED
    assert set(PLACEMENTS) == set(TARGETS)
