"""Losses of training and distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from ultralytics.utils.metrics import bbox_iou, probiou

__all__ = [
    "ClassificationLoss",
    "FocalLoss",
    "angle_loss",
    "box_loss",
    "keypoint_loss",
    "logit_loss",
    "mask_loss",
    "prototype_loss",
    "rotated_box_loss",
    "soft_label_loss",
]


class FocalLoss(nn.Module):
    """Elementwise focal loss of logits against targets from 0 to 1; replaces `BCEWithLogitsLoss`.

    The cross-entropy times |target - p|^gamma: with hard targets that is (1 - p_t)^gamma (Lin et al.,
    arXiv:1708.02002, equation 4), with the soft targets of the task-aligned assigner it is the quality focal loss (Li
    et al., arXiv:2006.04388, equation 4), whose minimum is still at p = target. `alpha` weights an element by target *
    alpha + (1 - target) * (1 - alpha); None: no weighting. gamma 0 without alpha is the cross-entropy.
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = 0.25) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses of the shape of `logits` and `targets`, not reduced."""
        loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.gamma:
            loss = loss * (targets - logits.sigmoid()).abs().clamp(min=1e-6).pow(
                self.gamma
            )  # pow'(0) is infinite below 1
        if self.alpha is not None:
            loss = loss * (targets * self.alpha + (1 - targets) * (1 - self.alpha))
        return loss


class ClassificationLoss:
    """Replaces Ultralytics' classification loss: cross-entropy times (1 - p)^gamma of the correct class, the factor of
    the focal loss (Lin et al., arXiv:1708.02002, equation 4).

    `weights`, one per class, weight the mean over images; None: equal weights. With gamma 0 and no weights it is
    Ultralytics' loss.
    """

    def __init__(self, gamma: float, weights: Sequence[float] | None, device: torch.device) -> None:
        self.gamma = gamma
        self.weights = None if weights is None else torch.tensor(weights, device=device)

    def __call__(self, preds: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The mean loss of logits, (images, classes), against `batch["cls"]`, (images,) int64."""
        logits = preds[1] if isinstance(preds, (list, tuple)) else preds
        target = batch["cls"]
        loss = functional.cross_entropy(logits.float(), target, reduction="none")
        if self.gamma:
            loss = loss * (1 - torch.exp(-loss)).clamp(min=1e-6).pow(self.gamma)  # pow'(0) is infinite below 1
        share = torch.ones_like(loss) if self.weights is None else self.weights[target]
        mean = (loss * share).sum() / share.sum()
        return mean, {"loss": mean.detach()}


def logit_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Distance of class logits, both (batch, classes, anchors); a scalar, 0 if they are equal.

    The Kullback-Leibler divergence of each class at each anchor as a binary variable, weighted by the difference of the
    probabilities (Yang et al. 2023, equations 5 and 6, without the teacher's entropy, a constant), summed and divided
    by the sum of the teacher's best scores.
    """
    target = teacher.float().sigmoid()
    apart = (student.detach().float().sigmoid() - target).abs()
    return (apart * _divergence(student, teacher)).sum() / target.amax(1).sum().clamp(min=1)


def box_loss(student: torch.Tensor, teacher: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """1 - CIoU of boxes, (batch, anchors, 4) x1 y1 x2 y2 in any unit, averaged with weights `scores` (batch, anchors).

    CIoU: Zheng et al. (arXiv:1911.08287), also used in Ultralytics' label loss.
    """
    iou = bbox_iou(student.float(), teacher.float(), xywh=False, CIoU=True).squeeze(-1)
    return _averaged(1 - iou, scores)


def rotated_box_loss(student: torch.Tensor, teacher: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """1 - probabilistic IoU of boxes, (batch, anchors, 5) x y width height angle, averaged as in `box_loss`.

    Probabilistic IoU: Llerena et al. (arXiv:2106.06072), also used in Ultralytics' label loss.
    """
    iou = probiou(student.float().flatten(0, 1), teacher.float().flatten(0, 1)).view_as(scores)
    return _averaged(1 - iou, scores)


def angle_loss(student: torch.Tensor, teacher: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """sin^2 of twice the angle difference of boxes, with the arguments and the average of `rotated_box_loss`.

    The formula is that of Ultralytics' label loss: a turn by 90 degrees costs nothing, because it is the same box with
    its sides exchanged, and elongated boxes weigh less, because their IoU already depends on the angle.
    """
    sides = teacher[..., 2:4].float().clamp(min=1e-9).log()
    weight = torch.exp(-((sides[..., 0] - sides[..., 1]) ** 2) / 9)
    apart = torch.sin(2 * (student[..., 4].float() - teacher[..., 4].float())) ** 2
    return _averaged(weight * apart, scores)


def keypoint_loss(
    student: torch.Tensor, teacher: torch.Tensor, areas: torch.Tensor, sigmas: torch.Tensor, scores: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two losses of keypoints, (batch, anchors, count, 2 or 3): x, y and the logit of the visibility.

    The first compares x and y: 1 - OKS per keypoint, with the formula and the `sigmas`, (count,), of Ultralytics' label
    loss, weighted by the visibility that the teacher predicts. `areas`, (batch, anchors), are those of the teacher's
    boxes, in the unit of x and y squared. The second is the divergence of the visibilities, 0 if there are none. Both
    are averaged as in `box_loss`.
    """
    student, teacher = student.float(), teacher.float()
    distance = (student[..., :2] - teacher[..., :2]).pow(2).sum(-1)
    apart = 1 - torch.exp(-distance / ((2 * sigmas) ** 2 * (areas.float().unsqueeze(-1) + 1e-9) * 2))
    if teacher.shape[-1] == 2:
        return _averaged(apart.mean(-1), scores), apart.new_zeros(())
    seen = teacher[..., 2].sigmoid()
    places = (apart * seen).sum(-1) / seen.sum(-1).clamp(min=1e-6)
    return _averaged(places, scores), _averaged(_divergence(student[..., 2], teacher[..., 2]).mean(-1), scores)


def mask_loss(student: torch.Tensor, teacher: torch.Tensor, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Divergence of mask logits, (batch, objects, height, width), within `boxes`, (batch, objects, 4) x1 y1 x2 y2.

    Boxes are in pixels of the masks. The mean over the pixels of a box is averaged over the objects as in `box_loss`.
    """
    height, width = teacher.shape[-2:]
    x = torch.arange(width, device=teacher.device) + 0.5
    y = torch.arange(height, device=teacher.device) + 0.5
    left, top, right, bottom = boxes.float().unsqueeze(-1).unbind(2)
    inside = ((y > top) & (y < bottom)).unsqueeze(-1) & ((x > left) & (x < right)).unsqueeze(-2)
    mean = (_divergence(student, teacher) * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    return _averaged(mean, scores)


def prototype_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared distance of prototypes, both (batch, count, height, width), as a share of the teacher's variance."""
    variance = teacher.float().var().clamp(min=1e-6)
    return functional.mse_loss(student.float(), teacher.float()) / variance


def soft_label_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divergence of class logits, both (batch, classes), divided by a temperature; multiplied by its square.

    The factor keeps the gradients as large as those of the labels (Hinton et al., arXiv:1503.02531).
    """
    found, target = (functional.log_softmax(logits.float() / temperature, 1) for logits in (student, teacher))
    divergence = functional.kl_div(found, target, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def _divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The Kullback-Leibler divergence of logits of binary variables, elementwise; 0 where they are equal."""
    target = teacher.float().sigmoid()
    cross = functional.binary_cross_entropy_with_logits(student.float(), target, reduction="none")
    entropy = functional.binary_cross_entropy_with_logits(teacher.float(), target, reduction="none")
    return cross - entropy


def _averaged(values: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The mean of `values` with weights `scores`; their weighted sum if the weights add up to less than 1."""
    mean: torch.Tensor = (values * scores).sum() / scores.sum().clamp(min=1)
    return mean
