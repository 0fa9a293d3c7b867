"""An engine that a user has written in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yolort
from known_models import boxes_output, metadata, raw_outputs, write_onnx

IMAGE = np.full((64, 64, 3), 50, np.uint8)
END2END = {"out0": np.array([[24, 28, 40, 36, 0.9, 1], [6, 16, 14, 24, 0.6, 0], [0, 0, 8, 8, 0.4, 2]], np.float32)}
HEADS = {
    "boxes": boxes_output((32, 32, 16, 8, 0.9, 1), (10, 20, 8, 8, 0.8, 0), (33, 32, 16, 8, 0.7, 1)),
    "end2end": END2END,
    "raw": raw_outputs(),
    "raw-e2e": raw_outputs(),
}


class ConstantEngine:
    """Returns the same arrays for every image."""

    input_shape = (0, 64, 64)
    device = "abacus:0 wood"
    precision = ""

    def __init__(self, outputs: Sequence[npt.NDArray[Any]], dtype: type = np.float32) -> None:
        self.outputs: list[npt.NDArray[Any]] = [output.astype(dtype) for output in outputs]
        self.dtype = dtype
        self.seen: list[float] = []

    def input(self, batch: int, height: int, width: int) -> npt.NDArray[Any]:
        self.array: npt.NDArray[Any] = np.zeros((batch, 3, height, width), self.dtype)
        return self.array

    def run(self) -> list[npt.NDArray[Any]]:
        self.seen.append(float(self.array.mean()))
        return [np.repeat(output[None], len(self.array), axis=0) for output in self.outputs]

    def layer_times(self) -> list[tuple[str, str, float]]:
        return [("beads", "Add", 0.5)]

    def clone(self) -> ConstantEngine:
        return ConstantEngine(self.outputs, self.dtype)


@pytest.fixture(autouse=True)
def unregister() -> Iterator[None]:
    yield
    yolort._core.unregister_engine("abacus")


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    """A file whose metadata names a head."""

    def write(head: str) -> Path:
        return write_onnx(tmp_path, HEADS[head], metadata(head=head), shape=["n", 3, 64, 64], per_image=False)

    return write


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("head", HEADS)
def test_every_kind_of_output(head: str, dtype: type, model: Callable[[str], Path]) -> None:
    pytest.importorskip("onnxruntime")
    path = model(head)
    loaded: list[Any] = []

    def load(*given: Any) -> ConstantEngine:
        loaded.append(given)
        return ConstantEngine(list(HEADS[head].values()), dtype)

    yolort.register_engine("abacus", load, formats=["onnx"])
    expected = yolort.Detector(path, engine="onnxruntime")(IMAGE)
    assert len(expected)
    detector = yolort.Detector(path, engine="abacus", device="abacus:0", threads=1, profile=True)
    assert loaded == [(str(path), "abacus:0", "", 1, True)]
    assert (detector.engine, detector.device, detector.precision, detector.head) == (
        "abacus",
        "abacus:0 wood",
        "fp32",
        head,
    )
    for found in (detector(IMAGE), *detector([IMAGE, IMAGE, IMAGE]), detector.clone()(IMAGE)):
        assert found.classes.tolist() == expected.classes.tolist()
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.02 if dtype is np.float16 else 1e-5)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3 if dtype is np.float16 else 1e-6)
    assert detector.layer_times()[0].name == "beads"


def test_images_reach_the_engine(model: Callable[[str], Path]) -> None:
    engine = ConstantEngine(list(END2END.values()))
    yolort.register_engine("abacus", lambda *_: engine, formats=["onnx"])
    yolort.Detector(model("end2end"), engine="abacus")(np.full((64, 64, 3), 51, np.uint8))
    assert engine.seen[-1] == pytest.approx(0.2)


def test_why_an_engine_cannot_run(model: Callable[[str], Path]) -> None:
    def broken(*_: Any) -> ConstantEngine:
        raise OSError("the beads are lost")

    yolort.register_engine("abacus", broken, formats=["onnx"], devices=lambda: ["abacus:0 wood"])
    status = {entry.name: entry for entry in yolort.engines()}["abacus"]
    assert status.available
    assert yolort.devices("abacus") == ["abacus:0 wood"]
    with pytest.raises(yolort.EngineError, match='engine "abacus": the beads are lost'):
        yolort.Detector(model("boxes"), engine="abacus")
    yolort.register_engine("abacus", broken, formats=["onnx"], unavailable=lambda: "no table here")
    with pytest.raises(yolort.EngineError, match="no table here"):
        yolort.Detector(model("boxes"), engine="abacus")
    assert yolort.Detector(model("boxes")).engine != "abacus"


def test_registrations_that_are_refused() -> None:
    def load(*_: Any) -> ConstantEngine:
        raise AssertionError

    for name in ("", "ncnn", "openvino", "onnxruntime", "tensorrt"):
        with pytest.raises(ValueError, match="name"):
            yolort.register_engine(name, load, formats=["onnx"])
    for formats in ([], ["pickle"], "onnx"):
        with pytest.raises(ValueError, match="formats"):
            yolort.register_engine("abacus", load, formats=formats)
