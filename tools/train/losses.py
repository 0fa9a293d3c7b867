"""Losses of training and distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from ultralytics.utils.metrics import bbox_iou

__all__ = ["ClassificationLoss", "FocalLoss", "box_loss", "logit_loss"]


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
    found = student.float()
    apart = (found.detach().sigmoid() - target).abs()
    cross = functional.binary_cross_entropy_with_logits(found, target, reduction="none")
    entropy = functional.binary_cross_entropy_with_logits(teacher.float(), target, reduction="none")
    return (apart * (cross - entropy)).sum() / target.amax(1).sum().clamp(min=1)


def box_loss(student: torch.Tensor, teacher: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """1 - CIoU of boxes, (batch, anchors, 4) x1 y1 x2 y2 in any unit, averaged with weights `scores` (batch, anchors).

    CIoU: Zheng et al. (arXiv:1911.08287), also used in Ultralytics' label loss.
    """
    iou = bbox_iou(student.float(), teacher.float(), xywh=False, CIoU=True).squeeze(-1)
    mean: torch.Tensor = ((1 - iou) * scores).sum() / scores.sum().clamp(min=1)
    return mean
