"""Compares an export with its torch model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yolort
from torch import nn
from yolort.tools._formats import FORMATS
from yolort.tools.data.dataset import letterboxed, sample_image
from yolort.tools.export._common import Request
from yolort.tools.models.checkpoints import CLASSIFIER_STRIDE
from yolort.tools.models.heads import ExportError

__all__ = ["images_to_compare", "verify"]

_log = logging.getLogger(__name__)

#: Largest accepted difference from torch: a side of a box in pixels, a score.
_TOLERANCES = {"fp32": (0.25, 0.0025), "fp16": (12.0, 0.05)}
_BEST = 100  # number of boxes compared per image


def images_to_compare(paths: Sequence[str | Path], size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """(n, channels, height, width) float32: the letterboxed images, or the embedded image and noise."""
    if paths:
        return letterboxed(paths, size, channels)
    noise = np.random.default_rng(0).random((1, channels, *size), np.float32)
    return np.concatenate([letterboxed([sample_image(channels)], size, channels), noise])


def verify(cut: nn.Module, request: Request, detect: Any, built: Path, images: np.ndarray) -> str:
    """Runs the artifact on its engine; returns a line with the largest differences from torch.

    ExportError if they exceed the tolerance or are NaN, or if a shape differs.
    """
    classifies = not hasattr(detect, "stride")
    if classifies:
        images = np.rint(images * 255).astype(np.float32) / 255  # a classifier takes integer pixels
    runs = [(request.batch, images)]
    if request.dynamic:
        taller = [(0, 0), (0, 0), (0, CLASSIFIER_STRIDE if classifies else int(max(detect.stride))), (0, 0)]
        runs.append((request.batch + 1, np.pad(images, taller)))
    worst_box = worst_score = 0.0
    for batch, at in runs:
        try:
            runner, (height, width) = FORMATS[request.format].engine, at.shape[2:]
            precision = "fp32" if runner in ("ncnn", "openvino") else None  # others use the file's
            opened = _Scores if classifies else yolort.Detector
            detector = opened(built, engine=runner, precision=precision, imgsz=(height, width))
        except yolort.EngineError as error:
            _log.warning("the export is not compared with torch: %s", error)
            return "not run here"
        except yolort.ModelError as error:
            raise ExportError(f"the runtime cannot load the export: {error}") from error
        for start in range(0, len(at), batch):
            chunk = at[start : start + batch]
            full = np.concatenate([chunk, np.repeat(chunk[:1], batch - len(chunk), axis=0)])
            with torch.inference_mode():
                output = cut(torch.from_numpy(full))
            expected = [tensor.numpy() for tensor in (output if isinstance(output, (tuple, list)) else (output,))]
            got = detector.infer(full)
            shapes = [array.shape for array in expected], [array.shape for array in got]
            if shapes[0] != shapes[1]:
                raise ExportError(f"the export has outputs of shapes {shapes[1]}, torch has {shapes[0]}")
            differ = (
                _score_difference(expected, got) if classifies else _difference(request.head, detect, expected, got)
            )
            box, score = differ
            worst_box, worst_score = _larger(worst_box, box), _larger(worst_score, score)
    accepted = _TOLERANCES[request.precision]
    report = f"largest difference from torch: {worst_box:.2g} pixels, {worst_score:.2g} of a score"
    if not (worst_box <= accepted[0] and worst_score <= accepted[1]):
        raise ExportError(f"{report}; accepted are {accepted[0]} and {accepted[1]}")
    return f"{report} ({len(images)} images)"


class _Scores:
    """Wraps a `Classifier` to run on network inputs."""

    def __init__(self, model: Path, **options: Any) -> None:
        self._classifier = yolort.Classifier(model, **options)

    def infer(self, batch: np.ndarray) -> list[np.ndarray]:
        """Scores, (n, classes), for (n, 3, height, width) float32: integers divided by 255, in the network's size."""
        images = np.rint(batch[:, ::-1].transpose(0, 2, 3, 1) * 255).astype(np.uint8)
        return [np.stack([one.probs for one in self._classifier([np.ascontiguousarray(image) for image in images])])]


def _score_difference(expected: list[np.ndarray], got: list[np.ndarray]) -> tuple[float, float]:
    return 0.0, float(np.abs(expected[0] - got[0]).max())


def _larger(a: float, b: float) -> float:
    """The maximum; NaN counts as larger than any number."""
    return a if np.isnan(a) or a > b else b


def _difference(head: str, detect: Any, expected: list[np.ndarray], got: list[np.ndarray]) -> tuple[float, float]:
    """The largest difference of a score, and of a box side in pixels among the boxes that torch scores best.

    Boxes of the background are arbitrary and by far the most sensitive to rounding. The task's additional values count
    like scores: their differences are relative to the largest value.
    """
    if not all(np.isfinite(array).all() for array in got):
        return float("nan"), float("nan")
    (expected, extra), (got, other) = (_parts(head, detect, outputs) for outputs in (expected, got))
    added = max((_relative(*pair) for pair in zip(extra, other, strict=True) if pair[0].size), default=0.0)
    if head == "end2end":
        side, score = _row_difference(expected[0], got[0])
        return side, max(score, added)
    a, b = (_decoded(head, detect, outputs) for outputs in (expected, got))
    best = np.argsort(-a[:, 4:].max(axis=1), axis=1)[:, None, :_BEST]
    box = np.take_along_axis(np.abs(a - b)[:, :4], best, axis=2)
    return float(box.max()), max(float(np.abs(a[:, 4:] - b[:, 4:]).max()), added)


def _relative(expected: np.ndarray, got: np.ndarray) -> float:
    return float(np.abs(expected - got).max() / max(np.abs(expected).max(), 1e-9))


def _parts(head: str, detect: Any, outputs: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Separates a model's outputs into those of a detector and the task's additional ones.

    Rows of "end2end" have no fixed order, so only their prototypes are compared.
    """
    if head == "end2end":
        return [outputs[0][..., :6]], outputs[1:]
    if head == "boxes":
        return [outputs[0][:, : 4 + detect.nc]], [outputs[0][:, 4 + detect.nc :], *outputs[1:]]
    levels = len(detect.stride)
    maps = len(outputs) // levels
    return (
        [outputs[level * maps + part] for level in range(levels) for part in (0, 1)],
        [outputs[level * maps + 2] for level in range(levels) if maps == 3] + outputs[levels * maps :],
    )


def _decoded(head: str, detect: Any, outputs: list[np.ndarray]) -> np.ndarray:
    """(B, 4 + nc, N): distances of the box sides or cx cy w h, in pixels; scores in 0..1."""
    if head == "boxes":
        return outputs[0]
    levels = []
    for stride, box, cls in zip(detect.stride.tolist(), outputs[::2], outputs[1::2], strict=True):
        sides = yolort.box_sides(box, detect.reg_max) * stride
        scores = torch.from_numpy(cls).sigmoid().numpy()
        levels.append(np.concatenate([sides, scores], 1).reshape(len(box), -1, sides[0, 0].size))
    return np.concatenate(levels, 2)


def _row_difference(expected: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    """Compares (B, rows, 6): torch's best rows with the nearest rows of the same class in the export.

    Near ties may be in another order, or missing at the end of the list.
    """
    box = score = 0.0
    for rows, others in zip(expected, got, strict=True):
        for row in rows[: min(_BEST, (len(rows) + 1) // 2)]:
            same = others[others[:, 5] == row[5]]
            if not len(same):
                return float("inf"), float("inf")
            far = np.abs(same[:, :4] - row[:4]).max(axis=1)
            nearest = int(far.argmin())
            box, score = max(box, float(far[nearest])), max(score, abs(float(same[nearest, 4] - row[4])))
    return box, score
