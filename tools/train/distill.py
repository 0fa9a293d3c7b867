"""Knowledge distillation: a small detector learns from a larger one in addition to the labels.

    from yolort.tools import distill
    best = distill("yolo26s.pt", "yolo26n.pt", "data.yaml", epochs=100, imgsz=640)

Three terms, each with its own gain (0 turns it off):

- features: Ultralytics' own term (`distill_model`, `dis`): L2 distance of the head's input maps after a small
projector, weighted by the teacher's scores;
- logits and boxes of the raw head, at every anchor, in both branches: the binary classification distillation of Yang et
  al., "Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection" (ICCV 2023,
  arXiv:2308.14286), and an IoU loss between the decoded boxes.

Boxes are compared decoded, so that YOLO26 (four distances) learns from YOLO11 or YOLOv8 (distributions of distances).
The one-to-one branch learns from the teacher's one-to-one branch. If the teacher has none, it learns only from labels
and features, because one-to-many scores would teach it duplicates.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import yolort
from torch import nn
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.utils.tal import dist2bbox, make_anchors
from yolort.tools.data.samples import listed
from yolort.tools.models.checkpoints import CheckpointError, detect_head, load_checkpoint
from yolort.tools.train.losses import box_loss, logit_loss
from yolort.tools.train.train import train
from yolort.tools.train.trainer import Trainer, check_trainable, set_classes, trained_task

__all__ = ["Distillation", "TeacherError", "decoded", "distill", "distilling", "prepare_teacher"]


class TeacherError(yolort.Error):
    """The teacher does not fit the student: different classes or levels."""


def distill(
    teacher: nn.Module | str | Path,
    student: nn.Module | str | Path,
    data: str | Path,
    *,
    epochs: int,
    imgsz: int,
    feature: float = 6.0,
    logit: float = 1.0,
    box: float = 1.0,
    **arguments: Any,
) -> Path:
    """Trains a student with a teacher and returns its best checkpoint, a plain Ultralytics one without the teacher.

    Args:
        teacher: a DetectionModel or checkpoint with the classes of `data` (in any order), preferably trained on them.
        student: a checkpoint, an architecture or a module, which may be pruned; see `train_module`.
        data: see `train_module`.
        epochs: see `train_module`.
        imgsz: see `train_module`.
        feature: gain of the feature loss (Ultralytics' `dis`).
        logit: gain of the loss on class logits, a multiple of Ultralytics' `cls`.
        box: gain of the loss on boxes, a multiple of Ultralytics' `box`.
        **arguments: arguments of `train` (seed, output, resume, trainer, gamma, class_weights, sampling, scales, ...)
            and of Ultralytics' train.

    Raises:
        TeacherError: the teacher's classes differ from the data, or its levels or strides from the student.
        ValueError: a gain is negative.
        CheckpointError: the teacher or student is not a detector; see `train`.
        FileExistsError, WidthError, LabelError: see `train`.
    """
    if min(feature, logit, box) < 0:
        raise ValueError(f"gains must be 0 or more, got feature={feature}, logit={logit}, box={box}")
    if not arguments.get("resume") and (task := trained_task(student)) != "detect":
        raise CheckpointError(f"only detectors can be distilled; this student is for {task}")
    trainer = distilling(arguments.pop("trainer", Trainer), teacher, logit=logit, box=box)
    return train(student, data, epochs=epochs, imgsz=imgsz, trainer=trainer, dis=feature, **arguments)


def distilling(
    base: type[Trainer], teacher: nn.Module | str | Path, *, logit: float = 1.0, box: float = 1.0
) -> type[Trainer]:
    """A trainer like `base` that also distills; gains as in `distill`, except that the feature gain is the argument
    `dis`.
    """
    network = teacher if isinstance(teacher, nn.Module) else load_checkpoint(teacher).model

    class DistillationTrainer(base):  # type: ignore[misc, valid-type]
        def wrap(self, student: nn.Module) -> nn.Module:
            wrapped = super().wrap(student)
            prepared = prepare_teacher(network, wrapped, self.data["names"])
            return Distillation(prepared.to(self.device), wrapped, logit=logit, box=box)

    return DistillationTrainer


def prepare_teacher(teacher: Any, student: Any, names: dict[int, str]) -> Any:
    """A copy of the teacher with its classes in the order of `names`; TeacherError if it does not fit."""
    check_trainable(teacher)
    teacher_head, head = detect_head(teacher), detect_head(student)
    theirs, ours = ({str(name).strip().lower() for name in one.values()} for one in (dict(teacher.names), names))
    if teacher_head.nc != len(names) or theirs != ours:
        raise TeacherError(
            f"the teacher has {teacher_head.nc} classes ({listed(dict(teacher.names))}), the data {len(names)} "
            f"({listed(names)}); train the teacher on this data first"
        )
    strides, wanted = teacher_head.stride.tolist(), head.stride.tolist()
    if strides != wanted:
        raise TeacherError(
            f"the teacher has {len(strides)} levels with strides {strides}, the student {len(wanted)} with {wanted}; "
            "they must be the same"
        )
    prepared = copy.deepcopy(teacher).float()
    set_classes(prepared, names)
    return prepared


class Distillation(DistillationModel):  # type: ignore[misc]
    """Ultralytics' pair of teacher and student, with logit and box distillation of the raw head added."""

    def __init__(self, teacher: nn.Module, student: nn.Module, *, logit: float, box: float) -> None:
        """`student.args` must be set (imgsz, dis, cls, box); both modules must be on the training device."""
        super().__init__(teacher, student)
        settings: Any = student.args
        self.logit_gain = logit * settings.cls
        self.box_gain = box * settings.box

    def __deepcopy__(self, memo: dict[int, Any]) -> DistillationModel:
        """Copies as Ultralytics' class, because the averaged weights are such a copy, and saved files must load without
        yolort.
        """
        copied = DistillationModel.__new__(DistillationModel)
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def loss(self, batch: dict[str, Any], preds: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Ultralytics' losses and its `dis_loss`, then `logit_loss` and `kdbox_loss`, each times the batch size."""
        total, items = super().loss(batch, preds)
        logits = boxes = total.new_zeros(())
        if self.training:
            outputs = [feats[len(self.feats_idx) - 1] for feats in (self._student_feats, self._teacher_feats)]
            heads = [detect_head(model) for model in (self.student_model, self.teacher_model)]
            for branch, gain in self._branches().items():
                student, teacher = (
                    decoded(self.decouple_outputs(output, branch), head)
                    for output, head in zip(outputs, heads, strict=True)
                )
                logits = logits + gain * logit_loss(student[0], teacher[0])
                boxes = boxes + gain * box_loss(student[1], teacher[1], teacher[0].float().sigmoid().amax(1))
        extra = torch.stack([logits * self.logit_gain, boxes * self.box_gain])
        items.update(zip(("logit_loss", "kdbox_loss"), extra.detach(), strict=True))
        return torch.cat([total, extra * batch["img"].shape[0]]), items

    def _branches(self) -> dict[str, float]:
        """The branches that both models have, with their current weight in the label loss."""
        criterion = self.student_model.criterion
        both = [getattr(model.model[-1], "one2one_cv2", None) for model in (self.student_model, self.teacher_model)]
        parts = {"one2many": getattr(criterion, "o2m", 1.0)}
        if all(part is not None for part in both):
            parts["one2one"] = criterion.o2o
        return parts


def decoded(preds: dict[str, Any], head: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Class logits (batch, classes, anchors), and boxes (batch, anchors, 4) in units of the level's cells."""
    raw = preds["boxes"].float().transpose(1, 2)
    if head.reg_max > 1:  # a distribution over 0, 1, ... cells per side (Li et al., arXiv:2006.04388)
        bins = torch.arange(head.reg_max, dtype=raw.dtype, device=raw.device)
        raw = raw.unflatten(2, (4, head.reg_max)).softmax(3) @ bins
    anchors, _ = make_anchors(preds["feats"], head.stride, 0.5)
    return preds["scores"], dist2bbox(raw, anchors.to(raw.dtype), xywh=False)
