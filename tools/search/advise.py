"""Suggestions for a device, a latency and a data set, each with the measurement behind it.

    from yolort.tools.search import advise, device
    for one in advise(device(), imgsz=640): print(one.text, one.measured, one.page)

Nothing is measured here and nothing looked up: it is what the tables of `docs/` say. `yolort optimize` measures.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yolort
from yolort.tools import _system
from yolort.tools.data.class_balance import SIZES, ClassReport, class_report

__all__ = ["Advice", "Device", "advise", "device"]

_SMALL = 0.3  # share of small objects above which a larger input is the first thing to try
_IMBALANCE = 10.0  # most frequent over rarest class
_FEW = 1000  # training images


@dataclass(frozen=True)
class Device:
    """Properties of a machine."""

    arm: bool
    vnni: bool  # or another way to multiply bytes
    bf16: bool  # multiplies them in its vector or matrix units
    cores: int
    nvidia: bool
    reason: str = ""  # why TensorRT is not here


@dataclass(frozen=True)
class Advice:
    """One thing to start with, what was measured of it, and the page that has the table."""

    text: str
    measured: str
    page: str


def device() -> Device:
    """This machine."""
    tensorrt = next(one for one in yolort.engines() if one.name == "tensorrt")
    return Device(
        arm=platform.machine().lower() in ("aarch64", "arm64"),
        vnni=_system.has_vnni(),
        bf16=_system.has_bf16(),
        cores=os.cpu_count() or 1,
        nvidia=_system.has_nvidia(),
        reason=tensorrt.reason,
    )


def advise(
    on: Device, *, imgsz: int = 640, max_latency: float | None = None, data: str | Path | None = None
) -> list[Advice]:
    """Suggestions for a machine, the most important first.

    Args:
        on: the machine that will run the model.
        imgsz: side of the network input in pixels.
        max_latency: latency target in milliseconds per image, end to end.
        data: a `data.yaml`, whose training images are counted.

    Raises ValueError for numbers out of range; LabelError or FileNotFoundError for unreadable data.
    """
    if imgsz < 32:
        raise ValueError(f"imgsz must be 32 or more, not {imgsz}")
    if max_latency is not None and max_latency <= 0:
        raise ValueError(f"max_latency must be above 0, not {max_latency}")
    out = _engine(on)
    if max_latency is not None:
        out += _latency(on, imgsz, max_latency)
    if data is not None:
        out += _data(class_report(data, imgsz))
    return out


def _engine(on: Device) -> list[Advice]:
    if on.nvidia:
        here = f"; here: {on.reason}" if on.reason else ""
        return [
            Advice(
                f"TensorRT in FP16, `yolort export --format engine --precision fp16`{here}",
                "1.2 ms for YOLO26n and 0.9 for YOLOv8n (p50, 640 px, H200, TensorRT 8.6); at most 0.11 mAP50-95 "
                "lost on 166 COCO images",
                "docs/benchmarks/tensorrt.md",
            )
        ]
    if on.arm:
        return [
            Advice(
                "NCNN, `yolort export --format ncnn`; `yolort tune` reports whether bf16 or fp16 is faster",
                "tested on ARM by emulation only, not timed",
                "docs/benchmarks/int8.md",
            )
        ]
    if on.vnni:
        first = [
            Advice(
                "INT8 on OpenVINO, `yolort quantize --target openvino`",
                "1.7 to 2.1 times as fast as FP32 (16 to 18 ms against 28 to 38, 640 px, 2 cores of a Xeon with "
                "AVX512-VNNI), at most 0.44 mAP50-95 lost on 230 COCO images",
                "docs/benchmarks/int8.md",
            )
        ]
    else:
        first = [
            Advice(
                "FP32 on ONNX Runtime or OpenVINO: without VNNI INT8 needs 7-bit weights and gains little",
                "28 to 36 ms in FP32 on either (640 px, 2 cores of a Xeon)",
                "README.md",
            )
        ]
    if on.bf16:
        first.append(
            Advice(
                "bf16, the default of OpenVINO and NCNN here: it needs no calibration, `yolort export --format onnx`",
                "OpenVINO in bf16 takes 0.54, 0.65 and 0.65 of the time of ONNX Runtime in FP32 for YOLOv8n, YOLO11n "
                "and YOLO26n on an AMD EPYC with AVX512-BF16",
                "docs/benchmarks/engines.md",
            )
        )
    return first


#: Milliseconds at 640 x 640 on 2 cores of a Xeon with AVX512-VNNI (docs/benchmarks/int8.md): FP32, INT8.
_MEASURED = {"YOLOv8n": (36.9, 17.9), "YOLO11n": (32.0, 17.4), "YOLO26n": (28.3, 16.1)}


def _latency(on: Device, imgsz: int, limit: float) -> list[Advice]:
    if on.arm or on.nvidia:
        return []
    pixels = (imgsz / 640) ** 2
    fitting = [
        (name, kind)
        for name, both in _MEASURED.items()
        for kind, ms in zip(("FP32", "INT8"), both, strict=True)
        if ms * pixels <= limit and (kind == "FP32" or on.vnni)
    ]
    scaled = ", ".join(f"{name} {a * pixels:.0f} / {b * pixels:.0f}" for name, (a, b) in _MEASURED.items())
    measured = f"ms in FP32 / INT8 on 2 cores, by the pixels of {imgsz} px: {scaled}"
    if fitting:
        names = ", ".join(f"{name} {kind}" for name, kind in fitting)
        return [Advice(f"within {limit:g} ms are about: {names}", measured, "README.md")]
    side = int(imgsz * (limit / (min(ms[on.vnni] for ms in _MEASURED.values()) * pixels)) ** 0.5) // 32 * 32
    text = f"{limit:g} ms are less than a nano model takes at {imgsz} px: start at {max(side, 32)} px, then prune"
    return [Advice(text, measured, "README.md")]


def _data(report: ClassReport) -> list[Advice]:
    out = []
    small = float((report.sides < SIZES[0]).mean())
    if small > _SMALL:
        out.append(
            Advice(
                f"{small:.0%} of the objects are smaller than {SIZES[0]:.0f} px at {report.imgsz} px: a larger input "
                "before a larger model, and test-time augmentation where time allows",
                "scales of 640 and 800 px: +3.3 mAP50-95 for 5 times the time; --augment: +2.1 for 2 times",
                "docs/benchmarks/augmentation.md",
            )
        )
    if report.ratio > _IMBALANCE:
        rarest = report.names[int(np.where(report.instances > 0, report.instances, np.inf).argmin())]
        out.append(
            Advice(
                f"the most frequent class has {report.ratio:.0f} times the objects of the rarest ({rarest}): "
                "`yolort train --sampling balanced`, then `--class-weights median`",
                "rare classes at 52:1 from 2.0 to 11.9 and 11.8 mAP50-95, frequent ones from 45.3 to 43.0 and 38.5; "
                "focal loss and a larger loss gain did little; three seeds",
                "docs/benchmarks/training.md",
            )
        )
    if report.total_images < _FEW:
        out.append(
            Advice(
                f"{report.total_images} training images are few: start from a COCO checkpoint; distilling from a "
                "larger model is worth a try, not a promise",
                "YOLO26s to YOLO26n on 273 images: +0.1 (one-to-many) and +1.2 (one-to-one) mAP50-95, within the "
                "spread of three seeds",
                "docs/benchmarks/distillation.md",
            )
        )
    if report.absent:
        out.append(
            Advice(f"no training object of: {', '.join(report.absent)}; label some, or leave them out", "-", "-")
        )
    return out
