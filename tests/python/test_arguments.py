"""Arguments of a Detector: wrong ones give a one-sentence error in every interface."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import IMAGE

pytest.importorskip("onnxruntime")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(scope="module")
def detector(model: Path) -> yolort.Detector:
    return yolort.Detector(model, engine="onnxruntime")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 4 * CORES + 1}, ValueError, f"expected 1 to {4 * CORES}, 4 for each core"),
        ({"threads": 100_000}, ValueError, "threads is 100000"),
        ({"threads": 0}, ValueError, f"threads is 0, expected 1 to {4 * CORES}"),
        ({"threads": True}, TypeError, "threads: expected a whole number, got bool True"),
        ({"threads": 2.0}, TypeError, "threads: expected a whole number, got float 2.0"),
        ({"threads": "2"}, TypeError, "threads: expected a whole number, got str '2'"),
        ({"threads": 2**31}, ValueError, "threads is 2147483648"),
        ({"conf": "0.5"}, TypeError, "conf: expected a number, got str '0.5'"),
        ({"conf": True}, TypeError, "conf: expected a number, got bool True"),
        ({"conf": float("nan")}, ValueError, "conf"),
        ({"iou": None}, TypeError, "iou: expected a number, got NoneType None"),
        ({"max_det": 0}, ValueError, "max_det is 0"),
        ({"max_det": True}, TypeError, "max_det: expected a whole number"),
        ({"agnostic": 1}, TypeError, "agnostic: expected True or False"),
        ({"imgsz": (64,)}, ValueError, "imgsz: expected a side or (height, width)"),
        ({"imgsz": "64"}, TypeError, "imgsz: expected a whole number"),
        ({"imgsz": 64.0}, TypeError, "imgsz: expected a whole number"),
        ({"imgsz": 0}, ValueError, "imgsz is 0"),
        ({"imgsz": True}, TypeError, "imgsz: expected a whole number"),
        ({"imgsz": np.array([64, 64, 64])}, ValueError, "imgsz: expected a side or (height, width)"),
        ({"imgsz": {}}, ValueError, "imgsz: expected a side or (height, width)"),
        ({"names": "abc"}, TypeError, "names: expected a list of class names"),
        ({"names": [1, 2, 3]}, TypeError, "names: a class name must be text, got int 1"),
        ({"names": []}, ValueError, "names: expected one class name or more"),
        ({"names": {1: "a"}}, ValueError, "names: keys must be 0 to 0"),
        ({"precision": 16}, TypeError, "precision: expected text, got int 16"),
        ({"engine": 3}, TypeError, "engine: expected text, got int 3"),
        ({"engine": "warp"}, ValueError, 'engine "warp" is unknown'),
        ({"scales": "640"}, TypeError, "scales: expected a whole number"),
        ({"scales": [640, None]}, TypeError, "scales: expected a whole number"),
        ({"scale_models": [3]}, TypeError, "scale_models: expected a path"),
        ({"scale_models": 3}, TypeError, "scale_models: expected a path, got int 3"),
        ({"scale_models": None}, TypeError, "scale_models: expected a path, got NoneType None"),
        ({"tuned": None}, TypeError, "tuned: expected True or False"),
        ({"classes": []}, ValueError, "classes is empty, so nothing would be detected; None keeps all"),
        ({"classes": 3}, ValueError, "3 is not a class of this model, expected 0 to 2"),
        ({"classes": -1}, ValueError, "classes is -1"),
        ({"classes": True}, TypeError, "classes: expected a whole number, got bool True"),
        ({"classes": [0.0]}, TypeError, "classes: expected a whole number, got float 0.0"),
        ({"classes": np.array([True, False, True])}, TypeError, "classes: expected a whole number"),
        ({"classes": "zebra"}, ValueError, "the model has no class 'zebra'; it has zero, driver's licence, two"),
    ],
)
def test_errors_are_one_sentence(model: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        yolort.Detector(model, **{"engine": "onnxruntime", **options})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


class _Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


#: Values that are invalid for all or nearly all arguments.
ODD: list[Any] = [
    None, True, 0, -1, 2**40, -(2**70), 10**5000, 1.5, float("nan"), 1e300, 1j, "", "x", "\x1b[31m", "\ud800", b"x",
    [], [0], [None], (1, 2, 3), {}, {0: 1}, set(), iter([1]), np.array([0, 1]), np.array([1.5]), np.array(["a"]),
    np.float32(0.5), np.bool_(True), Path("x"), int, len, object(), _Odd(),
]  # fmt: skip
OPTIONS = [
    "engine", "device", "threads", "precision", "conf", "iou", "max_det", "classes", "agnostic", "multi_label", "names",
    "imgsz", "rect", "tuned", "profile", "augment", "scales", "flip", "merge", "scale_models",
]  # fmt: skip


def check_sentence(call: Callable[[], object]) -> None:
    """A call that may be valid; if not, the error must be one sentence of ours."""
    try:
        call()
    except (TypeError, ValueError, yolort.Error, OSError) as error:
        text = str(error)
        assert 10 < len(text) < 300, text
        assert "\n" not in text
        assert not re.search(
            "incompatible|Invoked|unhashable|no attribute|not iterable|ambiguous|not supported between|codec|digits",
            text,
        ), text


@pytest.mark.parametrize("name", ["model", *OPTIONS])
def test_wrong_arguments_give_our_own_errors(name: str, model: Path) -> None:
    for odd in ODD:
        given = {"model": model, "engine": "onnxruntime", "threads": 1, name: odd}
        check_sentence(lambda given=given: yolort.Detector(given.pop("model"), **given))  # type: ignore[misc]


@pytest.mark.parametrize("name", list(yolort._types.Settings.__annotations__))
def test_wrong_settings_give_our_own_errors(name: str, detector: yolort.Detector) -> None:
    with yolort.Batcher(detector, workers=1) as batcher:
        for odd in ODD:
            check_sentence(lambda odd=odd: detector(IMAGE, **{name: odd}))  # type: ignore[misc]
            check_sentence(lambda odd=odd: batcher.submit(IMAGE, **{name: odd}).result(60))  # type: ignore[misc]
        assert len(batcher.submit(IMAGE).result(60)) == 3  # the worker lives


def test_other_wrong_arguments_give_our_own_errors(detector: yolort.Detector) -> None:
    for odd in ODD:
        check_sentence(lambda odd=odd: detector(odd))  # type: ignore[misc]
        check_sentence(lambda odd=odd: detector.infer(odd))  # type: ignore[misc]
        check_sentence(lambda odd=odd: yolort.devices(odd))  # type: ignore[misc]
        for name in ("policy", "buffer", "workers", "max_batch", "max_wait"):
            if not isinstance(odd, type(iter([]))):
                check_sentence(lambda odd=odd, name=name: detector.stream(iter([IMAGE]), **{name: odd}).close())  # type: ignore[misc]


def test_settings_are_one_list() -> None:
    assert list(yolort._checks._SETTINGS) == list(yolort._types.Settings.__annotations__)


def test_settings_of_the_wrong_type_are_refused_when_they_are_given(detector: yolort.Detector) -> None:
    """Checked before the worker, which would be stopped by a comparison of arrays."""
    with yolort.Batcher(detector, workers=1, max_wait=0.1) as batcher:
        wrong: dict[str, Any]
        for wrong in ({"conf": np.array([0.1, 0.2])}, {"conf": "0.5"}, {"format": 3}, {"augment": "no"}, {"size": 3}):
            with pytest.raises(TypeError, match=next(iter(wrong))):
                batcher.submit(IMAGE, **wrong)
            with pytest.raises(TypeError, match=next(iter(wrong))):
                detector.stream(iter([IMAGE]), **wrong)
        assert len(batcher.submit(IMAGE).result(60)) == 3


def test_tensors_for_infer(detector: yolort.Detector) -> None:
    tensor = np.zeros((1, 3, 64, 128), np.float32)
    assert detector.infer(tensor[..., ::2])[0].shape == (1, 7, 4)  # not contiguous
    for wrong in (tensor.astype(np.float64), [1.0], None):
        with pytest.raises(TypeError, match=r"^tensor: expected a numpy array of float32, got"):
            detector.infer(wrong)  # type: ignore[arg-type]


def test_sizes_of_arrays(model: Path) -> None:
    assert yolort.Detector(model, engine="onnxruntime", imgsz=np.array([64, 64])).imgsz == (64, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, 3, ["a.onnx"], b"a\0b.onnx", "a\0b.onnx", "", b"gone.onnx"])
def test_invalid_models(given: Any) -> None:
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match="^model"):
        yolort.Detector(given)


def test_numbers_of_numpy_are_taken(model: Path) -> None:
    detector = yolort.Detector(
        model, engine="onnxruntime", threads=np.int64(1), conf=np.float32(0.75), max_det=np.int32(5), imgsz=np.int64(64)
    )
    assert detector(IMAGE).classes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": 4 * CORES + 1}, r"damaged \(threads\)"),
        ({"use": "."}, "damaged .*same folder"),
        ({"use": "m\0.onnx"}, "damaged .*same folder"),
        ({"precision": "bf16"}, r"asks for what cannot run \(precision .*delete it or run yolort tune"),
        ({"device": "vulkan:0"}, "asks for what cannot run .*vulkan:0.*not supported by onnxruntime"),
        ({"use": "other.onnx"}, "asks for what cannot run .*other.onnx"),
    ],
)
def test_a_record_that_cannot_be_right(change: dict[str, Any], message: str, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.read_bytes())
    record = {
        "format": 1, "machine": yolort._core.machine(), "bytes": path.stat().st_size, "engine": "onnxruntime",
        "device": "", "precision": "", "threads": 1, "use": "", **change,
    }  # fmt: skip
    (tmp_path / "other.onnx").write_bytes(b"damaged")
    path.with_name("m.onnx.tuned.json").write_text(json.dumps(record))
    with pytest.raises(yolort.ModelError, match=f"tuning record .*tuned.json.*{message}"):
        yolort.Detector(path)


@pytest.mark.parametrize("name", ["workers", "max_batch", "queue"])
@pytest.mark.parametrize("value", [0, True, 2.5, "2", 10**10])
def test_counts_of_a_batcher(name: str, value: Any, detector: yolort.Detector) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        yolort.Batcher(detector, **{name: value})


def test_workers_are_bounded(detector: yolort.Detector) -> None:
    for start in (lambda: yolort.Batcher(detector, workers=4 * CORES + 1),
                  lambda: detector.stream(iter([IMAGE]), workers=100_000)):  # fmt: skip
        with pytest.raises(ValueError, match=f"expected 1 to {4 * CORES}"):
            start()


def test_sources_are_bounded(detector: yolort.Detector) -> None:
    """Each source is read in a thread."""
    with pytest.raises(ValueError, match="source: 100000 sources"):
        detector.stream(["a.mp4"] * 100_000)


def test_threads_of_the_c_api_are_bounded(model: Path) -> None:
    """The limit is in C++, which all interfaces use."""
    with pytest.raises(ValueError, match=f"expected 1 to {4 * CORES}"):
        yolort._core.Detector(
            model, yolort.Detector(model, engine="onnxruntime")._thresholds({}), format="", engine="onnxruntime",
            device="", precision="", threads=100_000, names=[], imgsz=None, rect=None, tuned=False, profile=False,
            augment=False, scales=[], flip=True, merge="wbf", scale_models=[], engine_options={},
            flip_idx=[], skeleton=[], channels="", resize="", mean=[], std=[],
        )  # fmt: skip
