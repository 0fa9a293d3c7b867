"""`Comparison`: each INT8 model is built, opened and scored once."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import yolort
from yolort.tools.quantize.builders import Builder
from yolort.tools.quantize.comparison import Comparison


class Copies(Builder):
    """A builder whose INT8 models are copies of the float model."""

    ending, engine = ".onnx", "onnxruntime"

    def __init__(self) -> None:
        self.source = Path(yolort.demo_model("onnx"))
        self.built: list[set[str]] = []

    def build(self, path: Path, floats: Collection[str]) -> None:
        self.built.append(set(floats))
        shutil.copy(self.source, path)


def test_models_are_built_and_opened_once(tmp_path: Path) -> None:
    builder = Copies()
    comparison = Comparison(builder, tmp_path, "onnxruntime", None)
    assert comparison.source is comparison.source
    first = comparison.open(["a", "b"])
    assert comparison.open({"b", "a"}) is first
    assert comparison.build(["a", "b"]).is_file()
    assert builder.built == [{"a", "b"}]
    assert comparison.open(["a"]) is not first
    comparison.build(["a", "b"])  # the previous one was deleted
    assert builder.built == [{"a", "b"}, {"a"}, {"a", "b"}]
