"""Advice for each kind of machine and data; every suggestion names an existing page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pycocotools")

from yolort.tools.search.advise import Device, advise, device
from yolort.tools.search.versions import MODELS, REFERENCE, T4, Timings, measure

XEON = Device(arm=False, vnni=True, bf16=False, cores=2, nvidia=False)
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("on", "words"),
    [
        (XEON, ["INT8 on OpenVINO"]),
        (replace(XEON, bf16=True), ["INT8 on OpenVINO", "bf16, the default"]),
        (replace(XEON, vnni=False), ["FP32 on ONNX Runtime"]),
        (replace(XEON, arm=True), ["NCNN"]),
        (replace(XEON, nvidia=True, reason="no libnvinfer"), ["here: no libnvinfer"]),
    ],
)
def test_the_engine(on: Device, words: list[str]) -> None:
    found = advise(on)
    assert len(found) == len(words)
    for one, text in zip(found, words, strict=True):
        assert text in one.text
        assert (ROOT / one.page).is_file()


TIMES = Timings({"yolo26n": 28.0, "yolov8n": 37.0, "yolo26s": 75.0, "yolo11s": 70.0}, 640, "fp32", "here", "-")


def text(on: Device = XEON, timings: Timings | None = TIMES, **options: Any) -> list[str]:
    """The suggestions about the model, which precede those about the engine."""
    lines = [one.text for one in advise(on, timings=timings, **options)]
    return lines[: -len(advise(on))]


def test_the_most_accurate_model_within_a_latency() -> None:
    best, head, *pruned = text(max_latency=44)
    assert best.startswith("YOLO26s in INT8 (about 42.7 ms, 48.6 mAP50-95); then YOLO11s in INT8")
    assert "0.8 points more than without NMS" in head and not pruned
    best, head, pruned_model = text(max_latency=30)
    assert best.startswith("YOLO26n in INT8") and "YOLO26s in INT8 (about 42.7 ms" not in best
    assert pruned_model.startswith("more accurate, if pruned: YOLO26s in INT8") or "YOLO11s" in pruned_model
    assert text(replace(XEON, vnni=False), max_latency=44)[0].startswith("YOLO26n in FP32 (about 28 ms")
    assert text(imgsz=320, max_latency=20)[0].startswith("YOLO26s in INT8 (about 10.7 ms")


def test_the_fastest_model_of_an_accuracy() -> None:
    assert text(min_map=45)[0].startswith("YOLO11s in INT8")
    assert text(min_map=40, max_latency=20)[0].startswith("YOLO26n in INT8")
    assert text(min_map=45, max_latency=20)[0].startswith("within 20 ms no model here reaches 45 mAP50-95 on COCO; the")
    assert "no model here reaches 60 mAP50-95 on COCO; the closest is YOLO26s" in text(min_map=60)[0]


def test_a_model_whose_time_is_not_known_is_named() -> None:
    """It does not claim that no model fits: only nano models have a published time."""
    for limit in (None, 20):
        first, *others = text(timings=None, min_map=45, max_latency=limit)
        assert first.startswith("YOLO26s reaches 45 mAP50-95; `yolort advise --measure s` measures") and not others


def test_a_latency_below_all_models() -> None:
    assert text(max_latency=4)[0].endswith("at 640 px: start at 320 px, then prune")


def test_published_times_of_a_gpu() -> None:
    gpu = replace(XEON, nvidia=True, reason="no libnvinfer")
    first, *_ = advise(gpu, max_latency=3)
    assert first.text.startswith("YOLO26s in FP16 (about 2.5 ms") and "NVIDIA T4" in first.measured
    assert "time the candidates on this ARM CPU" in advise(replace(XEON, arm=True), max_latency=20)[0].text


def test_what_cannot_be() -> None:
    wrong: list[dict[str, Any]] = [{"max_latency": 0.0}, {"min_map": 101.0}, {"imgsz": 0}]
    for options in wrong:
        with pytest.raises(ValueError, match=next(iter(options))):
            advise(XEON, **options)


def test_times_of_the_reference_are_those_of_the_page() -> None:
    page = (ROOT / REFERENCE.page).read_text(encoding="utf-8")
    for name, ms in REFERENCE.ms.items():
        assert re.search(rf"^\| {name.replace('yolo', 'YOLO')} \| {ms} / ", page, re.MULTILINE), name
    assert set(T4.ms) < set(MODELS)


@pytest.mark.parametrize(
    "report",
    [
        "{}",
        "[]",
        "nothing",
        '{"rows": [{"p50_ms": "fast"}]}',
        '{"rows": [], "setup": {"processor": "x", "date": "2026-01-01"}}',
        '{"rows": [{"model": "a.onnx", "p50_ms": -1, "imgsz": "640x640", "precision": "fp32"}],'
        ' "setup": {"processor": "x", "date": "2026-01-01"}}',
        "[" * 100_000,
    ],
)
def test_a_report_that_is_none(tmp_path: Path, report: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(report)
    with pytest.raises(ValueError, match=r"times\.json"):
        Timings.read(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_times_of_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    with pytest.raises(ValueError, match="sizes are n, s, m, l, x, not k"):
        measure(["k"])
    done = measure(["n"], imgsz=64)
    done.save(tmp_path / "times.json")
    kept, fresh = Timings.read(tmp_path / "times.json"), Timings.of(done, 64)
    assert set(kept.ms) == set(fresh.ms) == {"yolov8n", "yolo11n", "yolo26n"}
    assert (kept.imgsz, kept.precision) == (fresh.imgsz, fresh.precision) == (64, done.rows[0].facts["precision"])
    assert kept.ms == pytest.approx(fresh.ms, abs=0.001)
    assert "random weights" in advise(XEON, timings=kept, imgsz=64, max_latency=1e6)[0].measured


def test_the_data(blocks: Path) -> None:
    texts = " ".join(one.text for one in advise(XEON, imgsz=64, data=blocks))
    assert "12 training images are few" in texts
    assert "100% of the objects are smaller than 32 px at 64 px" in texts
    assert "times the objects" not in texts


def test_this_machine() -> None:
    assert device().cores >= 1
    assert advise(device())
