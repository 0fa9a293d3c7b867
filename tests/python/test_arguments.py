"""What the arguments of a Detector may be: each wrong one is a sentence, through every door."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import Target, boxes_output, metadata, write_onnx

pytest.importorskip("onnxruntime")

IMAGE = np.full((64, 64, 3), 50, np.uint8)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = boxes_output((16, 16, 8, 8, 0.9, 0), (32, 32, 8, 8, 0.8, 1), (48, 48, 8, 8, 0.7, 2))
    return write_onnx(tmp_path_factory.mktemp("model"), rows, metadata())


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
        ({"imgsz": (64,)}, ValueError, "imgsz: expected a side, or (height, width)"),
        ({"imgsz": "64"}, TypeError, "imgsz: expected a whole number"),
        ({"imgsz": 64.0}, TypeError, "imgsz: expected a whole number"),
        ({"imgsz": 0}, ValueError, "imgsz is 0"),
        ({"imgsz": True}, TypeError, "imgsz: expected a whole number"),
        ({"imgsz": np.array([64, 64, 64])}, ValueError, "imgsz: expected a side, or (height, width)"),
        ({"imgsz": {}}, ValueError, "imgsz: expected a side, or (height, width)"),
        ({"names": "abc"}, TypeError, "names: expected a list of class names"),
        ({"names": [1, 2, 3]}, TypeError, "names: a class name must be text, got int 1"),
        ({"names": []}, ValueError, "names: expected one class name or more"),
        ({"names": {1: "a"}}, ValueError, "names: keys must be 0 to 0"),
        ({"precision": 16}, TypeError, "precision: expected text, got int 16"),
        ({"engine": 3}, TypeError, "engine: expected text, got int 3"),
        ({"engine": "warp"}, ValueError, 'engine "warp" is not known'),
        ({"scales": "640"}, TypeError, "scales: expected a whole number"),
        ({"scales": [640, None]}, TypeError, "scales: expected a whole number"),
        ({"scale_models": [3]}, TypeError, "scale_models: expected a path"),
        ({"scale_models": 3}, TypeError, "scale_models: expected a path, got int 3"),
        ({"scale_models": None}, TypeError, "scale_models: expected a path, got NoneType None"),
        ({"tuned": None}, TypeError, "tuned: expected True or False"),
        ({"classes": []}, ValueError, "classes is empty, so nothing would be detected; None keeps all"),
        ({"classes": 3}, ValueError, "3 is no class of this model, which has 0 to 2"),
        ({"classes": -1}, ValueError, "classes is -1"),
        ({"classes": True}, TypeError, "classes: expected a whole number, got bool True"),
        ({"classes": [0.0]}, TypeError, "classes: expected a whole number, got float 0.0"),
        ({"classes": np.array([True, False, True])}, TypeError, "classes: expected a whole number"),
        ({"classes": "zebra"}, ValueError, "the model has no class 'zebra'; it has zero, driver's licence, two"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    model: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        yolort.Detector(model, **{"engine": "onnxruntime", **options})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


class _Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


#: What no argument, or hardly one, can be.
ODD: list[Any] = [
    None, True, 0, -1, 2**40, -(2**70), 10**5000, 1.5, float("nan"), 1e300, 1j, "", "x", "\x1b[31m", "\ud800", b"x",
    [], [0], [None], (1, 2, 3), {}, {0: 1}, set(), iter([1]), np.array([0, 1]), np.array([1.5]), np.array(["a"]),
    np.float32(0.5), np.bool_(True), Path("x"), int, len, object(), _Odd(),
]  # fmt: skip
OPTIONS = [
    "engine", "device", "threads", "precision", "conf", "iou", "max_det", "classes", "agnostic", "multi_label", "names",
    "imgsz", "tuned", "profile", "augment", "scales", "flip", "merge", "scale_models",
]  # fmt: skip


def check_sentence(call: Callable[[], object]) -> None:
    """Of a call that may well be right: if it is not, it is one sentence of ours."""
    try:
        call()
    except (TypeError, ValueError, yolort.Error, OSError) as error:
        text = str(error)
        assert 10 < len(text) < 300, text
        assert "\n" not in text
        assert not re.search(
            "incompatible|Invoked|unhashable|no attribute|not iterable|ambiguous|not supported|codec|digits", text
        ), text


@pytest.mark.parametrize("name", ["model", *OPTIONS])
def test_whatever_an_argument_is_no_binding_complains(name: str, model: Path) -> None:
    for odd in ODD:
        given = {"model": model, "engine": "onnxruntime", "threads": 1, name: odd}
        check_sentence(lambda given=given: yolort.Detector(given.pop("model"), **given))  # type: ignore[misc]


@pytest.mark.parametrize("name", list(yolort._types.Settings.__annotations__))
def test_whatever_a_setting_is_no_binding_complains(name: str, detector: yolort.Detector) -> None:
    with yolort.Batcher(detector, workers=1) as batcher:
        for odd in ODD:
            check_sentence(lambda odd=odd: detector(IMAGE, **{name: odd}))  # type: ignore[misc]
            check_sentence(lambda odd=odd: batcher.submit(IMAGE, **{name: odd}).result(60))  # type: ignore[misc]
        assert len(batcher.submit(IMAGE).result(60)) == 3  # the worker lives


def test_whatever_the_rest_is_no_binding_complains(detector: yolort.Detector) -> None:
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
    """Not in a worker, whom a comparison of arrays would end."""
    with yolort.Batcher(detector, workers=1, max_wait=0.1) as batcher:
        for wrong in ({"conf": np.array([0.1, 0.2])}, {"conf": "0.5"}, {"format": 3}, {"augment": "no"}, {"size": 3}):
            with pytest.raises(TypeError, match=next(iter(wrong))):
                batcher.submit(IMAGE, **wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=next(iter(wrong))):
                detector.stream(iter([IMAGE]), **wrong)  # type: ignore[arg-type]
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
def test_models_that_are_none(given: Any) -> None:
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match="^model"):
        yolort.Detector(given)


def test_numbers_of_numpy_are_taken(model: Path) -> None:
    detector = yolort.Detector(
        model, engine="onnxruntime", threads=np.int64(1), conf=np.float32(0.75), max_det=np.int32(5), imgsz=np.int64(64)
    )
    assert detector(IMAGE).classes.tolist() == [0, 1]


KINDS: list[tuple[Any, list[int]]] = [
    (0, [0]),
    (np.int64(0), [0]),
    (np.array(0), [0]),
    (np.array([0]), [0]),
    (np.array([0, 2]), [0, 2]),
    ([0, 0, 2], [0, 2]),
    ((1,), [1]),
    ({2}, [2]),
    (range(1, 3), [1, 2]),
    ("two", [2]),
    (["zero", "driver's licence"], [0, 1]),
    ([0, "two"], [0, 2]),
    (None, [0, 1, 2]),
]


@pytest.mark.parametrize(("classes", "kept"), KINDS)
def test_classes(classes: Any, kept: list[int], model: Path, detector: yolort.Detector) -> None:
    made = yolort.Detector(model, engine="onnxruntime", classes=classes)
    for one in (made, made.clone()):
        assert one(IMAGE).classes.tolist() == kept
    assert detector(IMAGE, classes=classes).classes.tolist() == kept
    with yolort.Batcher(detector) as batcher:
        found = [future.result(60) for future in [batcher.submit(IMAGE, classes=classes) for _ in range(3)]]
    assert [one.classes.tolist() for one in found] == [kept] * 3
    with detector.stream(iter([IMAGE] * 3), classes=classes) as stream:
        assert [frame.detections.classes.tolist() for frame in stream] == [kept] * 3


def test_classes_that_can_be_read_once(detector: yolort.Detector) -> None:
    with detector.stream(iter([IMAGE] * 3), classes=(index for index in (0, 2))) as stream:
        assert [frame.detections.classes.tolist() for frame in stream] == [[0, 2]] * 3
    assert detector(IMAGE, classes=(index for index in (0, 2))).classes.tolist() == [0, 2]
    with yolort.Batcher(detector) as batcher:
        assert batcher.submit(IMAGE, classes=iter([1])).result(60).classes.tolist() == [1]


def test_classes_of_a_tensor(detector: yolort.Detector) -> None:
    torch = pytest.importorskip("torch")
    assert detector(IMAGE, classes=torch.tensor([0, 2])).classes.tolist() == [0, 2]
    assert detector(IMAGE, classes=torch.tensor(1)).classes.tolist() == [1]
    with pytest.raises(TypeError, match="classes: expected a whole number"):  # a mask is no list of indices
        detector(IMAGE, classes=torch.tensor([True, False, True]))


def test_a_name_of_several_classes(model: Path) -> None:
    names = ["cat", "dog", "cat"]
    made = yolort.Detector(model, engine="onnxruntime", names=names, classes="cat")
    assert made(IMAGE).classes.tolist() == [0, 2]
    detector = yolort.Detector(model, engine="onnxruntime", names=names)
    for classes, kept in (("cat", [0, 2]), (["cat", 1, 0], [0, 1, 2]), ("dog", [1])):
        assert detector(IMAGE, classes=classes).classes.tolist() == kept
        with yolort.Batcher(detector, workers=1) as batcher:
            assert batcher.submit(IMAGE, classes=classes).result(60).classes.tolist() == kept
        with detector.stream(iter([IMAGE]), classes=classes) as stream:
            assert [frame.detections.classes.tolist() for frame in stream] == [kept]


def test_a_name_of_several_classes_in_a_command(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    rows = boxes_output((16, 16, 8, 8, 0.9, 0), (32, 32, 8, 8, 0.8, 1), (48, 48, 8, 8, 0.7, 2))
    model = write_onnx(tmp_path, rows, metadata(["cat", "dog", "cat"]))
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    command = [sys.executable, "-m", "yolort", "predict", str(tmp_path / "a.png"), "--model", str(model), "--json"]
    done = subprocess.run([*command, "--classes", "cat"], capture_output=True, text=True, timeout=120, check=True)
    assert [one["class"] for one in json.loads(done.stdout)["detections"]] == [0, 2]


@pytest.mark.parametrize("classes", [[], 3, "zebra", [0.5], True])
def test_wrong_classes_of_a_call(classes: Any, detector: yolort.Detector) -> None:
    with pytest.raises((TypeError, ValueError), match="class"):
        detector(IMAGE, classes=classes)
    with yolort.Batcher(detector) as batcher, pytest.raises((TypeError, ValueError), match="class"):
        batcher.submit(IMAGE, classes=classes).result(60)


@pytest.mark.parametrize("device", [None, "", "cpu", "CPU", "cpu:0"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_names_of_the_cpu(engine: str, device: Any, model: Path) -> None:
    pytest.importorskip(engine)
    assert yolort.Detector(model, engine=engine, device=device).device == "cpu"


@pytest.mark.parametrize("device", [0, "0", np.int64(0), "cuda", "CUDA:0", "gpu", "GPU.0"])
def test_a_gpu_by_its_number(device: Any, model: Path) -> None:
    """The first one, or a sentence that there is none: never the CPU."""
    for engine in ("onnxruntime", "openvino", "ncnn"):
        status = {one.name: one for one in yolort.engines()}[engine]
        if not status.available:
            continue
        path = yolort.demo_model("ncnn") if engine == "ncnn" else model
        try:
            assert not yolort.Detector(path, engine=engine, device=device).device.startswith("cpu")
        except yolort.EngineError as error:
            assert re.search("no CUDA|GPU|Vulkan|CUDA cannot be used", str(error))


@pytest.mark.parametrize("device", [99, "99", "cuda:99", "vulkan:99"])
def test_a_gpu_that_is_not_there(device: Any, model: Path) -> None:
    for engine in ("onnxruntime", "openvino", "ncnn"):
        if {one.name: one for one in yolort.engines()}[engine].available:
            path = yolort.demo_model("ncnn") if engine == "ncnn" else model
            with pytest.raises((yolort.EngineError, ValueError), match="99|no Vulkan"):
                yolort.Detector(path, engine=engine, device=device)


@pytest.mark.parametrize(
    ("device", "error"),
    [(-1, ValueError), ("-1", ValueError), ("0,1", ValueError), ([0, 1], TypeError), (True, TypeError),
     (1.0, TypeError), ("cuda:x", ValueError), ("cuda:", ValueError), ("cuda:-1", ValueError), ("mps", ValueError),
     (":0", ValueError), ("cpu:1", ValueError), (object(), TypeError), ("9" * 5000, ValueError)],
)  # fmt: skip
def test_devices_that_are_none(device: Any, error: type[Exception], model: Path) -> None:
    with pytest.raises(error, match="device"):
        yolort.Detector(model, engine="onnxruntime", device=device)


def test_a_device_of_torch(model: Path) -> None:
    torch = pytest.importorskip("torch")
    assert yolort.Detector(model, engine="onnxruntime", device=torch.device("cpu")).device == "cpu"
    with pytest.raises(yolort.EngineError, match="no CUDA"):
        yolort.Detector(model, engine="onnxruntime", device=torch.device("cuda", 1))


def test_onnxruntime_does_not_fall_back_to_the_cpu(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    asked: dict[str, Any] = {}

    def broken(*_: Any, **given: Any) -> None:
        asked.update(given)
        raise RuntimeError("no such GPU")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    with pytest.raises(yolort.EngineError, match='device "cuda:1".*no such GPU'):
        yolort.Detector(model, engine="onnxruntime", device=1)
    assert asked["providers"][0] == ("CUDAExecutionProvider", {"device_id": 1})
    assert asked["enable_fallback"] == 0


def test_onnxruntime_says_which_gpu_runs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that loads without the CUDA that was asked for is not used."""
    import onnxruntime

    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, **_: session(path, options, ["CPUExecutionProvider"])
    )
    with pytest.raises(yolort.EngineError, match="CUDA cannot be used here"):
        yolort.Detector(model, engine="onnxruntime", device="cuda")
    monkeypatch.setattr(session, "get_providers", lambda _: ["CUDAExecutionProvider"])
    detector = yolort.Detector(model, engine="onnxruntime", device="GPU:1")
    assert (detector.device, detector.clone().device) == ("cuda:1", "cuda:1")


def test_gpus_of_openvino() -> None:
    pytest.importorskip("openvino")
    from yolort.engines.openvino import _device

    assert [_device(device, ["CPU", "GPU"]) for device in ("", "cpu", "cuda:0", "auto")] == [
        "CPU",
        "CPU",
        "GPU",
        "AUTO",
    ]
    assert [_device(f"cuda:{i}", ["CPU", "GPU.0", "GPU.1"]) for i in range(2)] == ["GPU.0", "GPU.1"]
    with pytest.raises(yolort.EngineError, match=r"OpenVINO has 2 GPU\(s\) here"):
        _device("cuda:2", ["CPU", "GPU.0", "GPU.1"])
    with pytest.raises(yolort.EngineError, match="none of OpenVINO's here: CPU"):
        _device("vulkan:0", ["CPU"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": 4 * CORES + 1}, r"damaged \(threads\)"),
        ({"use": "."}, "damaged .*neighbour"),
        ({"use": "m\0.onnx"}, "damaged .*neighbour"),
        ({"precision": "bf16"}, r"asks for what cannot run \(precision .*delete it or run yolort tune"),
        ({"device": "vulkan:0"}, "asks for what cannot run .*vulkan:0.*none of onnxruntime's"),
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
    """Each is read in a thread."""
    with pytest.raises(ValueError, match="source: 100000 sources"):
        detector.stream(["a.mp4"] * 100_000)


def write_unrolled(path: Path, batch: int, *, told: bool = True) -> Path:
    """As Ultralytics exports nms=True with dynamic=True: only the first `batch` images of a run find anything."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    row = np.array([[[8, 8, 24, 24, 0.9, 1]]], np.float32)
    constants = {"zero": np.int64(0), "one": np.int64(1), "most": np.int64(batch), "rows": np.int64([-1, 1, 1]),
                 "row": row, "nought": np.float32(0)}  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["index"]),
        helper.make_node("Less", ["index", "most"], ["first"]),
        helper.make_node("Cast", ["first"], ["kept"], to=floats),
        helper.make_node("Reshape", ["kept", "rows"], ["column"]),
        helper.make_node("Mul", ["column", "row"], ["boxes"]),
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "unrolled",
        [helper.make_tensor_value_info("images", floats, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("output0", floats, ["n", 1, 6])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    said = {**metadata(), "batch": batch, "args": {"batch": batch, "nms": True, "dynamic": True}}
    for key, value in said.items() if told else ():
        entry = made.metadata_props.add()
        entry.key, entry.value = key, str(value)
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_no_run_has_more_images_than_the_graph_unrolls(engine: str, batch: int, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    detector = yolort.Detector(write_unrolled(tmp_path / "m.onnx", batch), engine=engine)
    assert detector.batch == batch
    for count in (1, 2, 3, 8, 17):
        assert [len(found) for found in detector([IMAGE] * count)] == [1] * count
    with yolort.Batcher(detector) as batcher:
        futures = [batcher.submit(IMAGE) for _ in range(20)]
        assert [len(future.result(60)) for future in futures] == [1] * 20
    with yolort.Batcher(detector, max_batch=8) as batcher:
        futures = [batcher.submit(IMAGE) for _ in range(20)]
        assert [len(future.result(60)) for future in futures] == [1] * 20
    with detector.stream(iter([IMAGE] * 9), max_batch=4) as stream:
        assert [len(frame.detections) for frame in stream] == [1] * 9
    with pytest.raises(ValueError, match=f"expected 1 to {batch}"):
        detector.infer(np.zeros((batch + 1, 3, 64, 64), np.float32))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_that_says_nothing_of_itself_may_be_unrolled(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    model = write_unrolled(tmp_path / "m.onnx", 1, told=False)
    detector = yolort.Detector(model, engine=engine, names=["a", "b"], imgsz=64)
    assert detector.head == "end2end"
    assert detector.batch == 1
    assert [len(found) for found in detector([IMAGE] * 5)] == [1] * 5


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_real_export_with_nms(batch: int, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics' own, which needs a torchvision that can be imported."""
    pytest.importorskip("openvino" if format == "openvino" else "onnxruntime")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    ultralytics = pytest.importorskip("ultralytics")
    monkeypatch.chdir(tmp_path)
    network = ultralytics.YOLO("yolov8n.yaml")
    path = network.export(format=format, nms=True, dynamic=True, batch=batch, imgsz=64, conf=1e-6)
    images = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8) for seed in range(5)]
    detector = yolort.Detector(path, conf=1e-6)
    assert detector.batch == batch
    one_by_one = [detector(image) for image in images]
    assert all(map(len, one_by_one))
    for alone, together in zip(one_by_one, detector(images), strict=True):
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-2)


def test_a_list_is_what_its_images_are(target: Target, make_model: Callable[..., Path]) -> None:
    """Of every engine, on a model that sees its images."""
    model = yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx")
    if target.engine == "tensorrt":
        pytest.skip("the embedded model is no engine")
    detector = target.detector(model)
    scene = yolort.images.read(yolort.demo_image())
    images = [scene, scene[:, ::-1], scene[::2], scene[100:300], np.zeros_like(scene)]
    for alone, together in zip([detector(image) for image in images], detector(images), strict=True):
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=0.5)
        assert together.classes.tolist() == alone.classes.tolist()


INTERRUPTED = """
import signal, sys, threading, os, time
import numpy as np
import yolort
signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup it is ignored
detector = yolort.Detector(sys.argv[1], engine="ncnn", **eval(sys.argv[2]))
image = np.zeros((480, 640, 3), np.uint8)
detector(image)
started = time.monotonic()
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    detector([image] * 100_000)
except KeyboardInterrupt:
    print("interrupted")
print(len(detector([image, image])))
"""


@pytest.mark.parametrize("options", ["{}", "{'augment': True}"])
def test_ctrl_c_ends_a_call_of_many_images(options: str) -> None:
    """100,000 images take minutes; the Detector is as before."""
    command = [sys.executable, "-c", INTERRUPTED, str(yolort.demo_model("ncnn")), options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["interrupted", "2"], done.stderr


HANDLED = """
import signal, sys, threading, os
import numpy as np
import yolort
detector = yolort.Detector(sys.argv[1], engine="ncnn")
image = np.zeros((480, 640, 3), np.uint8)
def handle(*_):
    print(len(detector([image, image])), sum(detector.speed) > 0)
signal.signal(signal.SIGINT, handle)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
count = 0
while count < 4:  # a call that is longer than that is met
    count += len(detector([image] * 150)) == 150
print(count)
"""


def test_a_signal_handler_may_use_the_detector() -> None:
    command = [sys.executable, "-c", HANDLED, str(yolort.demo_model("ncnn"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines() == ["2 True", "4"], done.stderr


CLOSED = """
import signal, sys, threading, os
import numpy as np
import yolort
signal.signal(signal.SIGINT, signal.default_int_handler)
detector = yolort.Detector(sys.argv[1], engine="ncnn")
image = np.zeros((480, 640, 3), np.uint8)
batcher = yolort.Batcher(detector, queue=100_000, workers=1, max_batch=50)
futures = [batcher.submit(image) for _ in range(100_000)]
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    batcher.close()
except KeyboardInterrupt:
    print("interrupted")
print(futures[-1].cancelled(), len(detector([image, image])))
"""


def test_ctrl_c_ends_a_batcher_that_closes() -> None:
    """Its queue is dropped, and the interpreter does not end under a worker that runs."""
    command = [sys.executable, "-c", CLOSED, str(yolort.demo_model("ncnn"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["interrupted", "True", "2"], done.stderr
    assert done.returncode == 0, done.stderr


def test_threads_of_the_c_api_are_bounded(model: Path) -> None:
    """In C++, which all of them go through."""
    with pytest.raises(ValueError, match=f"expected 1 to {4 * CORES}"):
        yolort._core.Detector(
            model, yolort.Detector(model, engine="onnxruntime")._thresholds, engine="onnxruntime", device="",
            precision="", threads=100_000, names=[], imgsz=None, tuned=False, profile=False, augment=False, scales=[],
            flip=True, merge="wbf", scale_models=[],
        )  # fmt: skip
