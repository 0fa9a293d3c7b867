"""Knowledge distillation: a small model learns from a larger one of the same task in addition to the labels.

    from yolort.tools import distill
    best = distill("yolo26s.pt", "yolo26n.pt", "data.yaml", epochs=100, imgsz=640)

Terms of every task, each with its own gain (0 turns it off):

- features: Ultralytics' own term (`distill_model`, `dis`): L2 distance of the head's input maps after a small
projector, weighted by the teacher's scores;
- logits and boxes of the raw head, at every anchor, in both branches: the binary classification distillation of Yang et
  al., "Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection" (ICCV 2023,
  arXiv:2308.14286), and an IoU loss between the decoded boxes, probabilistic where they are oriented.

Tasks add their own terms (`task_terms`): masks and prototypes, keypoints, the angle. A classifier learns from its
teacher's features and softened scores.

Boxes and keypoints are compared decoded, so that YOLO26 (four distances) learns from YOLO11 or YOLOv8 (distributions
of distances). The one-to-one branch learns from the teacher's one-to-one branch. If the teacher has none, it learns
from labels and features only, because one-to-many scores would teach it duplicates.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yolort
from torch import nn
from torch.nn import functional
from ultralytics.nn.distill_model import DistillationModel
from yolort.tools.data.dataset import load_dataset
from yolort.tools.data.samples import Dataset, listed
from yolort.tools.models.checkpoints import detect_head, load_checkpoint, task_of
from yolort.tools.train.losses import logit_loss, prototype_loss, soft_label_loss
from yolort.tools.train.settings import check_settings
from yolort.tools.train.task_terms import TERMS, Decoded, decode_head, prototypes, task_losses
from yolort.tools.train.train import OWN_ARGUMENTS, train
from yolort.tools.train.trainer import Trainer, check_trainable, set_classes, trained_task

__all__ = ["ClassifierDistillation", "Distillation", "TeacherError", "distill", "distilling", "prepare_teacher"]

#: Gains of `distilling` where none is given.
_GAINS = {"logit": 1.0, "box": 1.0, "mask": 1.0, "proto": 1.0, "keypoint": 1.0, "angle": 1.0, "temperature": 4.0}


class TeacherError(yolort.Error):
    """The teacher does not fit the student: a different task, different classes or levels."""


# Long for its documentation.
def distill(
    teacher: nn.Module | str | Path,
    student: nn.Module | str | Path,
    data: str | Path,
    *,
    epochs: int,
    imgsz: int,
    feature: float = 6.0,
    logit: float = 1.0,
    box: float | None = None,
    mask: float | None = None,
    proto: float | None = None,
    keypoint: float | None = None,
    angle: float | None = None,
    temperature: float | None = None,
    **arguments: Any,
) -> Path:
    """Trains a student with a teacher and returns its best checkpoint, a plain Ultralytics one without the teacher.

    Args:
        teacher: a model or checkpoint of the student's task with the classes of `data` (in any order), and keypoints if
            it finds poses, preferably trained on this data.
        student: a checkpoint, an architecture or a module, which may be pruned; see `train_module`.
        data: see `train_module`.
        epochs: see `train_module`.
        imgsz: see `train_module`.
        feature: gain of the feature loss (Ultralytics' `dis`).
        logit: gain of the loss on class logits, a multiple of Ultralytics' `cls`; for classifiers, gain of the
            divergence from the teacher's softened scores.
        box: gain of the loss on boxes, a multiple of Ultralytics' `box`. Not for classifiers.
        mask: gain of the loss on masks, a multiple of Ultralytics' `box`. Only for models that segment.
        proto: gain of the loss on prototypes. Only for models that segment.
        keypoint: gain of the losses on keypoints, multiples of Ultralytics' `pose` (positions) and `kobj` (visibility).
            Only for poses.
        angle: gain of the loss on angles, a multiple of Ultralytics' `angle`. Only for oriented boxes.
        temperature: divisor of the logits of teacher and student, 1 or more. Only for classifiers.
        **arguments: arguments of `train` (seed, output, resume, trainer, gamma, class_weights, sampling, scales, ...)
            and of Ultralytics' train.

    `box`, `mask`, `proto`, `keypoint` and `angle` are 1 if the task has them, `temperature` is 4.

    Raises:
        TeacherError: the teacher's task, levels, strides or keypoints differ from the student's, or its classes from
            the data.
        ValueError: a gain is negative or not for the student's task.
        CheckpointError: yolort does not support the task of the teacher or the student; see `train`.
        FileExistsError, WidthError, LabelError: see `train`.
    """
    given = {"box": box, "mask": mask, "proto": proto, "keypoint": keypoint, "angle": angle, "temperature": temperature}
    own = {name: value for name, value in given.items() if value is not None}
    _check_gains({"feature": feature, "logit": logit, **own})
    network = _teacher_network(teacher)
    if not arguments.get("resume"):
        task = trained_task(student)
        _check_task(network, task)
        _check_terms(own, task)
        ours = (*OWN_ARGUMENTS, "seed", "output", "resume", "trainer", "on_report")
        check_settings({name: value for name, value in arguments.items() if name not in ours})
        _check_taught(network, load_dataset(data, "train", task=task))
    trainer = distilling(arguments.pop("trainer", Trainer), network, logit=logit, **own)
    return train(student, data, epochs=epochs, imgsz=imgsz, trainer=trainer, dis=feature, **arguments)


def distilling(base: type[Trainer], teacher: nn.Module | str | Path, **gains: float) -> type[Trainer]:
    """A trainer like `base` that also distills.

    `gains`: as in `distill`, from `logit` on; the feature gain is the argument `dis`.
    """
    network = _teacher_network(teacher)

    class DistillationTrainer(base):  # type: ignore[misc, valid-type]
        def wrap(self, student: nn.Module) -> nn.Module:
            wrapped = super().wrap(student)
            prepared = prepare_teacher(network, wrapped, self.data["names"]).to(self.device)
            pair = ClassifierDistillation if task_of(wrapped) == "classify" else Distillation
            return pair(prepared, wrapped, {**_GAINS, **gains})

    return DistillationTrainer


def _teacher_network(teacher: nn.Module | str | Path) -> Any:
    return teacher if isinstance(teacher, nn.Module) else load_checkpoint(teacher, tasks=True).model


def _check_gains(gains: Mapping[str, float]) -> None:
    """Raises ValueError for a negative gain or a temperature below 1."""
    for name, value in gains.items():
        least = 1 if name == "temperature" else 0
        if not least <= value < math.inf:
            raise ValueError(f"{name} must be {least} or more, got {value}")


def _check_terms(own: Mapping[str, float], task: str) -> None:
    """Raises ValueError for a term that the task does not have."""
    known = ["temperature"] if task == "classify" else ["box", *TERMS[task]]
    for name in own:
        if name not in known:
            raise ValueError(
                f"{name} is not a term of this student, which is for {task}; leave it out (its own terms: "
                f"{', '.join(known)})"
            )


def _check_task(teacher: Any, task: str) -> None:
    if (taught := task_of(teacher)) != task:
        raise TeacherError(f"the teacher is for {taught}, the student for {task}; both must be for the same task")


def prepare_teacher(teacher: Any, student: Any, names: dict[int, str]) -> Any:
    """A copy of the teacher with its classes in the order of `names`; TeacherError if it does not fit."""
    check_trainable(teacher)
    task = task_of(student)
    _check_task(teacher, task)
    _check_classes(teacher, names)
    if task != "classify":
        _check_levels(detect_head(teacher, tasks=True), detect_head(student, tasks=True))
    prepared = copy.deepcopy(teacher).float()
    set_classes(prepared, names)
    return prepared


def _check_classes(teacher: Any, names: dict[int, str]) -> None:
    """Raises TeacherError if the teacher's classes differ from `names`."""
    theirs, ours = ({str(name).strip().lower() for name in one.values()} for one in (dict(teacher.names), names))
    if len(teacher.names) != len(names) or theirs != ours:
        raise TeacherError(
            f"the teacher has {len(teacher.names)} classes ({listed(dict(teacher.names))}), the data {len(names)} "
            f"({listed(names)}); train the teacher on this data first"
        )


def _check_taught(teacher: Any, dataset: Dataset) -> None:
    """Raises TeacherError if the teacher's classes or keypoints differ from the data's."""
    if dataset.task != "classify":  # its folders are compared once the trainer has read them
        _check_classes(teacher, dataset.names)
    if dataset.task == "pose" and dataset.kpt_shape is not None:
        _check_keypoints(teacher.model[-1], dataset.kpt_shape)


def _check_keypoints(teacher: Any, shape: Sequence[int]) -> None:
    """Raises TeacherError if the teacher's keypoints differ from `shape`."""
    if list(teacher.kpt_shape) != list(shape):
        raise TeacherError(
            f"the teacher has keypoints {list(teacher.kpt_shape)}, the data {list(shape)}; train the teacher on this "
            "data first"
        )


def _check_levels(teacher: Any, student: Any) -> None:
    """Raises TeacherError if the levels or keypoints of the two heads differ."""
    strides, wanted = teacher.stride.tolist(), student.stride.tolist()
    if strides != wanted:
        raise TeacherError(
            f"the teacher has {len(strides)} levels with strides {strides}, the student {len(wanted)} with {wanted}; "
            "they must be the same"
        )
    if hasattr(student, "kpt_shape"):
        _check_keypoints(teacher, student.kpt_shape)


class _Pair(DistillationModel):  # type: ignore[misc]
    """Ultralytics' pair of teacher and student, on the training device; `student.args` must be set."""

    def __init__(self, teacher: nn.Module, student: nn.Module, gains: Mapping[str, float]) -> None:
        """`gains`: all of those of `distilling`."""
        super().__init__(teacher, student)
        self.gains = dict(gains)

    def __deepcopy__(self, memo: dict[int, Any]) -> DistillationModel:
        """Copies as Ultralytics' class, because the averaged weights are such a copy, and saved files must load without
        yolort.
        """
        copied = DistillationModel.__new__(DistillationModel)
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied


class Distillation(_Pair):
    """Distills the raw head's logits and boxes, and the additional outputs of its task."""

    def __init__(self, teacher: nn.Module, student: nn.Module, gains: Mapping[str, float]) -> None:
        """See `_Pair`. A linear projector maps the student's prototypes to the teacher's, which may be another basis of
        the same masks.
        """
        super().__init__(teacher, student, gains)
        settings: Any = student.args
        self.task = task_of(student)
        self.factors = {
            "logit_loss": self.gains["logit"] * settings.cls,
            "kdbox_loss": self.gains["box"] * settings.box,
            "kdmask_loss": self.gains["mask"] * settings.box,
            "kdproto_loss": self.gains["proto"],
            "kdpose_loss": self.gains["keypoint"] * settings.pose,
            "kdkobj_loss": self.gains["keypoint"] * settings.kobj,
            "kdangle_loss": self.gains["angle"] * settings.angle,
        }
        own = [name for names in TERMS[self.task].values() for name in names]
        self.terms = ("logit_loss", "kdbox_loss", *own)
        if self.task == "segment":
            ours, theirs = (detect_head(model, tasks=True).nm for model in (student, teacher))
            self.projector.append(nn.Conv2d(ours, theirs, 1).to(next(student.parameters()).device))

    def loss(self, batch: dict[str, Any], preds: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Ultralytics' losses and its `dis_loss`, then those of `self.terms`, each times the batch size."""
        total, items = super().loss(batch, preds)
        found = self._taught(total) if self.training else {}
        extra = torch.stack([self.factors[name] * found.get(name, total.new_zeros(())) for name in self.terms])
        items.update(zip(self.terms, extra.detach(), strict=True))
        return torch.cat([total, extra * batch["img"].shape[0]]), items

    def _taught(self, total: torch.Tensor) -> dict[str, torch.Tensor]:
        """The losses by name, without gains; 0 for terms whose gain is 0."""
        models = self.student_model, self.teacher_model
        heads = [detect_head(model, tasks=True) for model in models]
        outputs = [feats[len(self.feats_idx) - 1] for feats in (self._student_feats, self._teacher_feats)]
        sums = {name: total.new_zeros(()) for name in self.terms}
        for branch, part in self._branches().items():
            student, teacher = (
                decode_head(self.decouple_outputs(output, branch), head)
                for output, head in zip(outputs, heads, strict=True)
            )
            losses = {"logit_loss": logit_loss(student.scores, teacher.scores)}
            losses |= task_losses(student, teacher, (heads[0], heads[1]), self._sigmas())
            if branch == "one2many" and self.task == "segment":  # the other branch gives prototypes no gradient
                losses["kdproto_loss"] = self._proto_loss(student, teacher)
            for name, loss in losses.items():
                if self.factors[name]:  # a disabled term that is not finite must not spoil the sum
                    sums[name] = sums[name] + part * loss
        return sums

    def _proto_loss(self, student: Decoded, teacher: Decoded) -> torch.Tensor:
        """The loss of the prototypes, with the student's mapped by the projector."""
        return prototype_loss(self.projector[-1](prototypes(student.raw)), prototypes(teacher.raw))

    def _sigmas(self) -> torch.Tensor | None:
        """The sigmas of the keypoints in the label loss; None for other tasks."""
        criterion = self.student_model.criterion
        loss = getattr(getattr(criterion, "one2many", criterion), "keypoint_loss", None)
        return None if loss is None else loss.sigmas

    def _branches(self) -> dict[str, float]:
        """The branches that both models have, with their current weight in the label loss."""
        criterion = self.student_model.criterion
        both = [getattr(model.model[-1], "one2one_cv2", None) for model in (self.student_model, self.teacher_model)]
        parts = {"one2many": getattr(criterion, "o2m", 1.0)}
        if all(part is not None for part in both):
            parts["one2one"] = criterion.o2o
        return parts


class ClassifierDistillation(_Pair):
    """A classifier that learns from its teacher's softened scores, and from the map that its last layer reads."""

    @staticmethod
    def get_distill_layers(model: nn.Module) -> list[int]:
        """The last two layers."""
        layers: Any = model.model
        return [len(layers) - 2, len(layers) - 1]

    def loss(self, batch: dict[str, Any], preds: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Ultralytics' loss on the labels, then `dis_loss` and `logit_loss`."""
        if not self.training:
            labels, items = self.student_model.loss(batch, preds)
            extra = labels.new_zeros(2)
        else:
            with torch.no_grad():
                self.teacher_model(batch["img"])
            labels, items = self.student_model.loss(batch, self.student_model(batch["img"]))
            extra = self._taught()
        items.update(zip(("dis_loss", "logit_loss"), extra.detach(), strict=True))
        return torch.cat([labels.reshape(1), extra]), items

    def _taught(self) -> torch.Tensor:
        student, teacher = self._student_feats, self._teacher_feats
        feature: Any = self.projector[0](student[0])
        maps = functional.mse_loss(feature.float(), teacher[0].float())
        logits = [self.decouple_outputs(feats[1]) for feats in (student, teacher)]
        soft = soft_label_loss(logits[0], logits[1], self.gains["temperature"])
        return torch.stack([maps * self.dis, soft * self.gains["logit"]])
