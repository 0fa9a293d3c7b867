"""The additional loss terms of each task in distillation, and the raw head's outputs decoded for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ultralytics.utils.tal import dist2bbox, dist2rbox, make_anchors
from yolort.tools.train.losses import angle_loss, box_loss, keypoint_loss, mask_loss, rotated_box_loss

__all__ = ["TERMS", "Decoded", "decode_head", "prototypes", "task_losses"]

#: For each task, the gains of its own terms, and the names of their losses in `results.csv`.
TERMS: dict[str, dict[str, tuple[str, ...]]] = {
    "detect": {},
    "segment": {"mask": ("kdmask_loss",), "proto": ("kdproto_loss",)},
    "pose": {"keypoint": ("kdpose_loss", "kdkobj_loss")},
    "obb": {"angle": ("kdangle_loss",)},
    "classify": {},
}
_MASKS = 32  # masks compared per image: at the anchors with the teacher's best scores


@dataclass(frozen=True)
class Decoded:
    """The decoded output of one branch of a head, in units of the cells of each anchor's level.

    Attributes:
        scores: class logits, (batch, classes, anchors).
        boxes: (batch, anchors, 4) x1 y1 x2 y2; for oriented boxes (batch, anchors, 5) x y width height angle.
        anchors: centers, (anchors, 2).
        strides: pixels per cell, (anchors, 1).
        raw: the undecoded output.
    """

    scores: torch.Tensor
    boxes: torch.Tensor
    anchors: torch.Tensor
    strides: torch.Tensor
    raw: Mapping[str, Any]

    @property
    def weights(self) -> torch.Tensor:
        """The best score of each anchor, (batch, anchors)."""
        return self.scores.float().sigmoid().amax(1)


def decode_head(preds: Mapping[str, Any], head: Any) -> Decoded:
    """Decodes the raw output of one branch of an Ultralytics head."""
    raw = preds["boxes"].float().transpose(1, 2)
    if head.reg_max > 1:  # a distribution over 0, 1, ... cells per side (Li et al., arXiv:2006.04388)
        bins = torch.arange(head.reg_max, dtype=raw.dtype, device=raw.device)
        raw = raw.unflatten(2, (4, head.reg_max)).softmax(3) @ bins
    anchors, strides = make_anchors(preds["feats"], head.stride, 0.5)
    anchors = anchors.to(raw.dtype)
    if "angle" in preds:
        angle = preds["angle"].float().transpose(1, 2)
        boxes = torch.cat([dist2rbox(raw, angle, anchors), angle], 2)
    else:
        boxes = dist2bbox(raw, anchors, xywh=False)
    return Decoded(preds["scores"], boxes, anchors, strides, preds)


def task_losses(
    student: Decoded, teacher: Decoded, heads: tuple[Any, Any], sigmas: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """The box loss, `kdbox_loss`, and the task's own losses, by name and without gains.

    `heads`: those of the student and the teacher. `sigmas`: those of the keypoints, for poses.
    """
    weights = teacher.weights
    if "angle" in teacher.raw:
        return {
            "kdbox_loss": rotated_box_loss(student.boxes, teacher.boxes, weights),
            "kdangle_loss": angle_loss(student.boxes, teacher.boxes, weights),
        }
    losses = {"kdbox_loss": box_loss(student.boxes, teacher.boxes, weights)}
    if "mask_coefficient" in teacher.raw:
        losses["kdmask_loss"] = _mask_loss(student, teacher)
    if "kpts" in teacher.raw:
        areas = (teacher.boxes[..., 2:] - teacher.boxes[..., :2]).clamp(min=0).prod(-1)
        points = [_keypoints(one, head) for one, head in zip((student, teacher), heads, strict=True)]
        assert sigmas is not None
        losses["kdpose_loss"], losses["kdkobj_loss"] = keypoint_loss(points[0], points[1], areas, sigmas, weights)
    return losses


def prototypes(preds: Mapping[str, Any]) -> torch.Tensor:
    """The prototypes, (batch, count, height, width); YOLO26 in training returns a tuple of them and its regions."""
    found: torch.Tensor = preds["proto"][0] if isinstance(preds["proto"], tuple) else preds["proto"]
    return found


def _keypoints(branch: Decoded, head: Any) -> torch.Tensor:
    """Decoded keypoints, (batch, anchors, count, 2 or 3), x and y in units of the cells of the anchor's level."""
    points = branch.raw["kpts"].float().transpose(1, 2).unflatten(2, tuple(head.kpt_shape))
    scale, shift = (1.0, 0.0) if hasattr(head, "cv4_kpts") else (2.0, -0.5)  # Pose26 and Pose
    places = points[..., :2] * scale + (branch.anchors + shift).unsqueeze(1)
    return torch.cat([places, points[..., 2:]], -1)


def _mask_loss(student: Decoded, teacher: Decoded) -> torch.Tensor:
    """The loss of the masks, each combined from coefficients and prototypes, at the anchors with the teacher's best
    scores. Coefficients alone cannot be compared, because each network has its own prototypes.
    """
    weights, chosen = teacher.weights.topk(min(_MASKS, teacher.scores.shape[-1]), dim=1)
    cell = teacher.raw["feats"][0].shape[-1] / prototypes(teacher.raw).shape[-1] * teacher.strides[0]
    boxes = (teacher.boxes * teacher.strides / cell).gather(1, chosen.unsqueeze(-1).expand(-1, -1, 4))
    logits = []
    for branch in (student, teacher):
        coefficients = branch.raw["mask_coefficient"].float().transpose(1, 2)
        coefficients = coefficients.gather(1, chosen.unsqueeze(-1).expand(-1, -1, coefficients.shape[-1]))
        logits.append(torch.einsum("bkn,bnhw->bkhw", coefficients, prototypes(branch.raw).float()))
    return mask_loss(logits[0], logits[1], boxes, weights)
