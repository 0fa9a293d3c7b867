"""Advice: of each kind of machine and data the line that fits, and every line with a page that is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pycocotools")

from yolort.tools.search.advise import Device, advise, device

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


def test_the_latency() -> None:
    assert "YOLO26n INT8" in advise(XEON, max_latency=17)[-1].text
    assert "FP32" not in advise(XEON, max_latency=17)[-1].text
    assert "YOLOv8n FP32" in advise(XEON, max_latency=40)[-1].text
    assert "INT8" not in advise(replace(XEON, vnni=False), max_latency=40)[-1].text
    assert "start at 384 px" in advise(XEON, max_latency=6)[-1].text
    assert "YOLO26n FP32" in advise(XEON, imgsz=320, max_latency=8)[-1].text
    with pytest.raises(ValueError, match="max_latency"):
        advise(XEON, max_latency=0)
    with pytest.raises(ValueError, match="imgsz"):
        advise(XEON, imgsz=0)


def test_the_data(blocks: Path) -> None:
    texts = " ".join(one.text for one in advise(XEON, imgsz=64, data=blocks))
    assert "12 training images are few" in texts
    assert "100% of the objects are smaller than 32 px at 64 px" in texts
    assert "times the objects" not in texts


def test_this_machine() -> None:
    assert device().cores >= 1
    assert advise(device())
