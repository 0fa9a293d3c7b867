"""Determines which detections of an image Ultralytics' val counts as correct: masks, keypoints and oriented boxes.

Uses Ultralytics' functions where available: masks are compared at a quarter of the network input, with smaller objects
on top of larger ones; keypoints by OKS with 0.53 of the box as area; oriented boxes by probabilistic IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from yolort import Detections
from yolort.tools.data.labels import FILLED
from yolort.tools.data.samples import LabelError, Sample

__all__ = ["keypoint_hits", "mask_hits", "rotated_hits", "rotated_iou", "rotated_truths", "usual_sigmas"]

_RATIO = 4  # masks are smaller than the network input by this factor
_TIE = 1e-3


def mask_hits(truth: Sample, found: Detections, imgsz: tuple[int, int] | None) -> np.ndarray:
    """(n, 10) bool; `imgsz`: height and width of the network input, None: those of the image."""
    from pycocotools import mask

    assert truth.size is not None and truth.outlines is not None and found.masks is not None
    if not len(found) or not truth.outlines:
        return np.zeros((len(found), 10), bool)
    place = _Placed(truth.size, imgsz or truth.size)
    there = place.truths(truth)
    seen = [_encoded(place.crop(*found.masks.crop(at), box)) for at, box in enumerate(found.boxes)]
    return _hits(truth, found, mask.iou(seen, there, [0] * len(there)).T)


def keypoint_hits(truth: Sample, found: Detections, sigmas: Sequence[float] | None) -> np.ndarray:
    """(n, 10) bool. Raises LabelError if the labels have other keypoints than the model."""
    import torch
    from ultralytics.utils.metrics import kpt_iou

    assert truth.keypoints is not None and found.keypoints is not None
    count = truth.keypoints.shape[1]
    if len(found) and found.keypoints.shape[1] != count:
        raise LabelError(
            f"{truth.path}: kpt_shape is of {count} keypoints, but the model finds {found.keypoints.shape[1]} of each "
            "object; use the data that it was trained on"
        )
    if not len(found) or not len(truth.classes):
        return np.zeros((len(found), 10), bool)
    used = sigmas or usual_sigmas(count)
    area = (truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(axis=1) * FILLED
    sides = [torch.from_numpy(np.asarray(one, np.float32)) for one in (truth.keypoints, found.keypoints, area)]
    return _hits(truth, found, kpt_iou(*sides, sigma=np.asarray(used)).numpy())


def usual_sigmas(count: int) -> tuple[float, ...]:
    """OKS sigmas: COCO's for 17 keypoints, otherwise 1 / count for each, as in Ultralytics."""
    from ultralytics.utils.metrics import OKS_SIGMA

    return tuple(OKS_SIGMA.tolist()) if count == len(OKS_SIGMA) else (1 / count,) * count


def rotated_hits(truth: Sample, found: Detections) -> np.ndarray:
    """(n, 10) bool."""
    assert found.rotated is not None
    if not len(found) or not len(truth.classes):
        return np.zeros((len(found), 10), bool)
    return _hits(truth, found, rotated_iou(rotated_truths(truth), found.rotated))


def rotated_truths(truth: Sample) -> np.ndarray:
    """(n, 5) float32: center x y, longer side, shorter side in pixels, and angle of the smallest rectangle around the
    corners of each object."""
    from ultralytics.utils.ops import xyxyxyxy2xywhr

    assert truth.outlines is not None
    corners = [outline[0] for outline in truth.outlines if isinstance(outline, list)]
    return np.array([xyxyxyxy2xywhr(one[None])[0] for one in corners], np.float32).reshape(-1, 5)


def rotated_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m): probabilistic IoU (arXiv:2106.06072) of (n, 5) and (m, 5) oriented boxes."""
    import torch
    from ultralytics.utils.metrics import batch_probiou

    overlaps: np.ndarray = batch_probiou(*(torch.from_numpy(np.asarray(one, np.float32)) for one in (a, b))).numpy()
    return overlaps.astype(np.float64)


def _hits(truth: Sample, found: Detections, ious: np.ndarray) -> np.ndarray:
    """Ultralytics' matching: each detection, best first, is assigned the best remaining object of its class."""
    import torch
    from ultralytics.engine.validator import BaseValidator

    thresholds = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    classes = [torch.from_numpy(np.asarray(one.classes, np.int64)) for one in (found, truth)]
    matched: Any = BaseValidator.match_predictions(thresholds, *classes, torch.from_numpy(ious))
    hits: np.ndarray = matched.numpy()
    return hits


def _encoded(pixels: np.ndarray) -> dict[str, Any]:
    """Converts masks to COCO's run-length encoding of (height, width), because many pixel masks would not fit in
    memory.
    """
    from pycocotools import mask

    encoded: dict[str, Any] = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return encoded


class _Placed:
    """Placement of an image in the network input; masks have a quarter of the input's sides."""

    def __init__(self, size: tuple[int, int], imgsz: tuple[int, int]) -> None:
        self._input = imgsz
        gain = min(imgsz[0] / size[0], imgsz[1] / size[1])
        sides = [max(round(side * gain), 1) for side in size]
        top, left = (round((whole - side) / 2 - 0.1) for whole, side in zip(imgsz, sides, strict=True))
        self._scale = np.array([sides[1] / size[1], sides[0] / size[0]])  # x, y
        self._offset = np.array([left, top])
        self._shape = (imgsz[0] // _RATIO, imgsz[1] // _RATIO)

    def truths(self, truth: Sample) -> list[dict[str, Any]]:
        """The masks of the objects, in their order; smaller ones cover larger ones."""
        assert truth.outlines is not None
        areas = [int(self._drawn(outline).sum()) for outline in truth.outlines]
        owner = np.full(self._shape, -1, np.int32)
        for at in np.argsort(np.negative(areas), kind="stable").tolist():  # again, one at a time: saves memory
            owner[self._drawn(truth.outlines[at]) > 0] = at
        return [_encoded(owner == at) for at in range(len(areas))]

    def crop(self, left: int, top: int, pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Samples the mask of an image region at the centers of the reduced pixels, cropped to its box.

        As in Ultralytics, a reduced pixel is kept if its upper left corner is in the box, even if its center is not.
        """
        out = np.zeros(self._shape, np.uint8)
        corners = (np.asarray(box, np.float64).reshape(2, 2) * self._scale + self._offset) / _RATIO
        first, last = np.clip(np.ceil(corners), 0, self._shape[::-1]).astype(int)
        if not pixels.size or (last <= first).any():
            return out
        at = [
            ((np.arange(first[axis], last[axis]) + 0.5) * _RATIO - self._offset[axis]) / self._scale[axis] - 0.5 - start
            for axis, start in enumerate((left, top))
        ]
        near = []  # sample positions; those within half a reduced pixel outside the region are moved onto its edge
        for axis, (places, side) in enumerate(zip(at, pixels.shape[::-1], strict=True)):
            inside = np.clip(places, 0, side - 1)
            reach = _RATIO / 2 / self._scale[axis] + 0.5
            near.append(np.where(np.abs(places - inside) <= reach, inside, -2.0).astype(np.float32))
        x, y = np.meshgrid(*near)
        seen = cv2.remap(pixels.astype(np.float32), x, y, cv2.INTER_LINEAR)
        # If an edge lies exactly between the two pixels around a center, ties are resolved alternately.
        seen += np.where(np.indices(seen.shape).sum(0) % 2, _TIE, -_TIE)
        out[first[1] : last[1], first[0] : last[0]] = seen > 0.5
        return out

    def _drawn(self, outline: Any) -> np.ndarray:
        """Draws the labels like Ultralytics: at the size of the network input, then reduced."""
        if isinstance(outline, dict):
            from pycocotools import mask

            height, width = outline["size"]
            return self.crop(0, 0, mask.decode(outline), np.array([0, 0, width, height]))
        from ultralytics.utils.ops import resample_segments

        canvas = np.zeros(self._input, np.uint8)
        for part in outline:
            (dense,) = resample_segments([part * self._scale + self._offset])
            cv2.fillPoly(canvas, [dense.astype(np.int32)], 1)
        return np.asarray(cv2.resize(canvas, self._shape[::-1]))
