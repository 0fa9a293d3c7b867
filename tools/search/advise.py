"""Suggestions for a device, a latency and a dataset, each with the measurement behind it.

    from yolort.tools.search import advise, device
    for one in advise(device(), imgsz=640): print(one.text, one.measured, one.page)

Suggestions are based on the tables in `docs/`, or on times that `measure` took here. `yolort optimize` measures
everything.
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
from yolort.tools.prune.outcome import RECOVERED, RECOVERED_ON
from yolort.tools.search.versions import MODELS, REFERENCE, T4, Model, Timings

__all__ = ["Advice", "Device", "advise", "device"]

_SMALL = 0.3  # above this share of small objects, try a larger input first
_IMBALANCE = 10.0  # ratio of the most frequent to the rarest class
_FEW = 1000  # training images


@dataclass(frozen=True)
class Device:
    """Properties of a machine."""

    arm: bool
    vnni: bool  # or other INT8 instructions
    bf16: bool  # has bf16 vector or matrix instructions
    cores: int
    nvidia: bool
    reason: str = ""  # why TensorRT is not available


@dataclass(frozen=True)
class Advice:
    """A suggestion, its measurement, and the page with the table."""

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
    on: Device,
    *,
    imgsz: int = 640,
    max_latency: float | None = None,
    min_map: float | None = None,
    data: str | Path | None = None,
    timings: Timings | None = None,
) -> list[Advice]:
    """Suggestions for a machine, the most important first.

    Args:
        on: the machine that will run the model.
        imgsz: side of the network input in pixels.
        max_latency: latency target in milliseconds per image, end to end.
        min_map: minimum mAP50-95 on COCO in points, 0 to 100.
        data: a `data.yaml`; its training objects are counted.
        timings: times of the models; None: published times of another machine.

    Raises ValueError for numbers out of range; LabelError or FileNotFoundError for unreadable data.
    """
    if imgsz < 32:
        raise ValueError(f"imgsz must be 32 or more, not {imgsz}")
    if max_latency is not None and max_latency <= 0:
        raise ValueError(f"max_latency must be above 0, not {max_latency}")
    if min_map is not None and not 0 < min_map < 100:
        raise ValueError(f"min_map must be above 0 and below 100, not {min_map}")
    out = _engine(on)
    if max_latency is not None or min_map is not None or timings is not None:
        out = _model(on, imgsz, max_latency, min_map, timings) + out
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


#: Time in INT8 as a fraction of FP32, nano models on OpenVINO: docs/benchmarks/int8.md.
_INT8 = 0.57
_PRUNED = 1.42  # speed-up on ONNX Runtime, YOLOv8n pruned by 20 %: docs/benchmarks/pruning.md


@dataclass(frozen=True)
class _Choice:
    """A model in a precision, with an estimate of its time."""

    model: Model
    precision: str
    ms: float

    def __str__(self) -> str:
        name = self.model.name.replace("yolo", "YOLO")
        return f"{name} in {self.precision.upper()} (about {self.ms:.3g} ms, {self.model.map50_95} mAP50-95)"


def _model(on: Device, imgsz: int, limit: float | None, wanted: float | None, timings: Timings | None) -> list[Advice]:
    """Suggests a model: the most accurate one within the time, or the fastest that is accurate enough."""
    if timings is None:
        if on.arm:
            return [
                Advice(
                    "the model: time the candidates on this ARM CPU, `yolort advise --measure n,s`", "nothing yet", "-"
                )
            ]
        timings = T4 if on.nvidia else REFERENCE
    pixels = (imgsz / timings.imgsz) ** 2
    choices = [
        _Choice(MODELS[name], precision, ms * pixels * share)
        for name, ms in timings.ms.items()
        if name in MODELS
        for precision, share in ((timings.precision, 1.0), ("int8", _INT8))
        if share == 1.0 or (on.vnni and timings.precision == "fp32")
    ]
    measured = f"times: {timings.source}"
    measured += f", by the pixels of {imgsz} px" if imgsz != timings.imgsz else ""
    if any(choice.precision == "int8" for choice in choices):
        measured += f"; INT8 at {_INT8} of FP32, the most of three nano models"
    measured += "; mAP50-95: COCO at 640 px, published by Ultralytics; yours will differ"
    in_time = [choice for choice in choices if limit is None or choice.ms <= limit]
    fitting = [choice for choice in in_time if wanted is None or choice.model.map50_95 >= wanted]
    page = timings.page if timings.page != "-" else "docs/benchmarks/versions.md"
    if not fitting:
        return _untimed(timings, wanted) or _nothing_fits(choices, in_time, imgsz, limit, wanted, measured, page)
    if limit is not None and wanted is None:
        fitting.sort(key=lambda choice: (-choice.model.map50_95, choice.ms))
    else:
        fitting.sort(key=lambda choice: choice.ms)
    best, *others = fitting
    near = [choice for choice in others if choice.model != best.model][:2]
    text = f"{best}" + (f"; then {' or '.join(map(str, near))}" if near else "")
    out = [Advice(text, measured, page)]
    if best.model.nms_free is not None:
        gain = best.model.map50_95 - best.model.nms_free
        out.append(
            Advice(
                f"its head with NMS, the default of `yolort export`: {gain:.1f} points more than without NMS "
                "(`--head raw-e2e`)",
                f"{best.model.map50_95} and {best.model.nms_free} mAP50-95, published; decoding and NMS take less than "
                "0.1 ms either way",
                page,
            )
        )
    return out + _prune(choices, best, limit)


def _prune(choices: list[_Choice], best: _Choice, limit: float | None) -> list[Advice]:
    """Suggests a more accurate model that pruning would make fast enough."""
    close = [
        choice
        for choice in choices
        if limit is not None and limit < choice.ms <= limit * _PRUNED and choice.model.map50_95 > best.model.map50_95
    ]
    if not close:
        return []
    candidate = max(close, key=lambda choice: choice.model.map50_95)
    lost, deviation, epochs = RECOVERED["yolov8n"][0.2]
    return [
        Advice(
            f"more accurate, if pruned: {candidate}; `yolort prune --ratio 0.2 --finetune {epochs}`",
            f"YOLOv8n pruned by 20 % is {_PRUNED} times as fast and lost {lost} +- {deviation} mAP50-95 on "
            f"{RECOVERED_ON}",
            "docs/benchmarks/pruning.md",
        )
    ]


def _untimed(timings: Timings, wanted: float | None) -> list[Advice]:
    """Suggests the smallest model that is accurate enough, if the times of all such models are unknown."""
    enough = [model for model in MODELS.values() if wanted is not None and model.map50_95 >= wanted]
    if not enough or any(model.name in timings.ms for model in enough):
        return []
    model = min(enough, key=lambda model: model.gflops)
    name = model.name.replace("yolo", "YOLO")
    size = model.name[-1]
    text = f"{name} reaches {wanted:g} mAP50-95; `yolort advise --measure {size}` measures whether it is fast enough"
    published = f"{model.map50_95} mAP50-95 on COCO, published by Ultralytics"
    return [Advice(text, published, "docs/benchmarks/versions.md")]


def _nothing_fits(
    choices: list[_Choice],
    in_time: list[_Choice],
    imgsz: int,
    limit: float | None,
    wanted: float | None,
    measured: str,
    page: str,
) -> list[Advice]:
    if not choices:
        return [Advice("no times of these models: `yolort advise --measure n,s`", "-", "-")]
    if in_time:
        best = max(in_time, key=lambda choice: choice.model.map50_95)
        within = f"within {limit:g} ms no" if limit is not None else "no"
        return [
            Advice(f"{within} model here reaches {wanted:g} mAP50-95 on COCO; the closest is {best}", measured, page)
        ]
    assert limit is not None  # without a limit, all are fast enough
    fastest = min(choices, key=lambda choice: choice.ms)
    side = max(int(imgsz * (limit / fastest.ms) ** 0.5) // 32 * 32, 32)
    text = f"{limit:g} ms are less than {fastest} at {imgsz} px: start at {side} px, then prune"
    return [Advice(text, measured, page)]


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
