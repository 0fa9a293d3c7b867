"""Ultralytics' train, plus focal loss, class weights and balanced sampling for imbalanced datasets.

    from yolort.tools import train
    train("yolo26n.pt", "data.yaml", epochs=100, imgsz=640, class_weights="effective", sampling="repeat")

The network, the optimizer, the augmentation and the rest of the loss are Ultralytics'. Its `v8DetectionLoss` (YOLOv8,
YOLO11), `E2ELoss` (YOLO26, both branches) and the losses of other tasks are changed in the same way. For classifiers,
the weights and the focal factor apply to the cross-entropy.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.utils.torch_utils import unwrap_model
from yolort import _atomic
from yolort.tools._stages import stage
from yolort.tools.data import class_balance
from yolort.tools.data.class_balance import ClassReport, check_weighting, class_report
from yolort.tools.train.losses import ClassificationLoss, FocalLoss
from yolort.tools.train.sampling import resample, resized, sides_within
from yolort.tools.train.settings import check_settings
from yolort.tools.train.trainer import Trainer, check_imgsz, check_output, train_module, trained_task

__all__ = ["OWN_ARGUMENTS", "TrainOptions", "check_own_arguments", "train", "weighting"]

_log = logging.getLogger(__name__)

_MAX_SCALE = 4.0  # times imgsz: the memory of a batch grows with the square
#: Arguments of `train` that are neither Ultralytics' nor those of `train_module`.
OWN_ARGUMENTS = ("gamma", "alpha", "class_weights", "beta", "clip", "sampling", "repeat_threshold", "scales")


@dataclass(frozen=True)
class TrainOptions:
    """Options of `weighting`; by default, nothing changes."""

    gamma: float = 0.0  # focal loss
    alpha: float | None = None  # focal loss
    class_weights: tuple[float, ...] | None = None  # one a class
    sampling: str | None = None  # balanced or repeat
    repeat_threshold: float | None = None
    scales: tuple[float, float] | None = None  # smallest and largest side of a batch, as multiples of imgsz

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma must be 0 or more, got {self.gamma}")
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, or None, got {self.alpha}")
        if self.scales is not None and not 0 < self.scales[0] <= self.scales[1] <= _MAX_SCALE:
            raise ValueError(f"scales must be (least, greatest), above 0 and at most {_MAX_SCALE}, got {self.scales}")
        if self.sampling not in (None, "balanced", "repeat"):
            raise ValueError(f"sampling must be balanced or repeat, not {self.sampling!r}")


# Long for its arguments and their documentation.
def train(
    model: nn.Module | str | Path,
    data: str | Path,
    *,
    epochs: int,
    imgsz: int,
    gamma: float = 0.0,
    alpha: float | None = None,
    class_weights: str | None = None,
    beta: float = 0.999,
    clip: tuple[float, float] = (0.1, 10.0),
    sampling: str | None = None,
    repeat_threshold: float | None = None,
    scales: tuple[float, float] | None = None,
    seed: int = 0,
    output: str | Path = "runs/train",
    resume: bool = False,
    trainer: type[Trainer] = Trainer,
    on_report: Callable[[ClassReport], object] = lambda _: None,
    **arguments: Any,
) -> Path:
    """Trains a model of any task and returns its best checkpoint, a plain Ultralytics one.

    In addition to the files of `train_module`, writes `classes.csv` and `classes.png` (class counts and object sizes of
    the training images) and, with class weights, `class_weights.json` into `output`.

    Args:
        model: see `train_module`.
        data: see `train_module`.
        epochs: see `train_module`.
        imgsz: see `train_module`.
        seed: see `train_module`.
        output: see `train_module`.
        resume: see `train_module`.
        trainer: see `train_module`.
        gamma: exponent of `FocalLoss`; 0 keeps Ultralytics' cross-entropy.
        alpha: weight of positives in `FocalLoss`; None weights all equally. Not for classifiers.
        class_weights: "median", "inverse" or "effective" (with `beta`), within `clip`, see `classes.class_weights`;
            they weight the class loss like Ultralytics' `cls_pw`, which must then be off.
        sampling: "balanced" or "repeat" (with `repeat_threshold`), see `classes.sample_weights`; an epoch draws as many
            images as there are, with replacement; mosaic and similar augmentations draw their parts in the same way.
        scales: each batch is resized to a random multiple of the stride between these multiples of `imgsz`; (0.5, 1.5)
            resembles Ultralytics' `multi_scale=0.5`, but stays within 0.5 and 1.5 for every stride. Not for
            classifiers.
        on_report: called with the `class_report` of the training images before the training starts.
        **arguments: arguments of `train_module` and of Ultralytics' train, including its gains `box`, `cls` and `dfl`.

    Raises:
        LabelError: a label out of range (with file and line), or a class without objects when frequencies are used.
        ValueError: an option is out of range.
        FileExistsError, CheckpointError, WidthError, ModuleNotFoundError: see `train_module`.
    """
    settings = check_settings(arguments)
    check_imgsz(imgsz)
    options = check_own_arguments(settings, gamma, alpha, class_weights, beta, clip, sampling, repeat_threshold, scales)
    last = check_output(Path(output), resume)
    task = trained_task(last if resume else model)
    if task == "classify" and (alpha is not None or scales is not None):
        raise ValueError(
            f"{'scales' if alpha is None else 'alpha'} is not for classifiers: their images all have imgsz, and their "
            "loss has no negatives"
        )
    counted = class_report(data, imgsz, task=task)
    on_report(counted)
    weights = None
    if class_weights is not None:
        weights = class_balance.class_weights(
            counted.instances, class_weights, clip=clip, beta=beta, names=counted.names
        )
        options = replace(options, class_weights=tuple(weights.tolist()))
    if counted.absent:
        _log.warning("no training objects of: %s", ", ".join(counted.absent))
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    counted.save(folder)
    if weights is not None and class_weights is not None:
        text = json.dumps(class_balance.to_json(counted, class_weights, clip, weights), indent=1, ensure_ascii=False)
        _atomic.write(folder / "class_weights.json", text + "\n")
    stage(f"training for {epochs} epoch{'s' if epochs != 1 else ''} on {data}", prints=True)
    return train_module(
        model,
        data,
        epochs=epochs,
        imgsz=imgsz,
        seed=seed,
        output=output,
        resume=resume,
        trainer=weighting(trainer, options),
        **settings,
    )


def check_own_arguments(
    settings: Mapping[str, Any],
    gamma: float = 0.0,
    alpha: float | None = None,
    class_weights: str | None = None,
    beta: float = 0.999,
    clip: tuple[float, float] = (0.1, 10.0),
    sampling: str | None = None,
    repeat_threshold: float | None = None,
    scales: tuple[float, float] | None = None,
) -> TrainOptions:
    """The options, without weights; ValueError for invalid options and conflicts with Ultralytics' settings."""
    if class_weights is not None and settings.get("cls_pw"):
        raise ValueError("class_weights and Ultralytics' cls_pw both weight the classes; use only one")
    if scales is not None and settings.get("multi_scale"):
        raise ValueError("scales and Ultralytics' multi_scale both set the size of a batch; use only one")
    if settings.get("single_cls") and (class_weights is not None or sampling is not None):
        raise ValueError("single_cls leaves one class: class_weights and sampling have nothing to even out")
    check_weighting(class_weights, clip, beta)
    return TrainOptions(gamma, alpha, None, sampling, repeat_threshold, scales)


def weighting(base: type[Trainer], options: TrainOptions) -> type[Trainer]:
    """A trainer like `base` with these options."""

    class WeightedTrainer(base):  # type: ignore[misc, valid-type]
        def set_class_weights(self) -> None:
            super().set_class_weights()
            if options.class_weights is not None:
                model = unwrap_model(self.model)
                weights = torch.tensor(options.class_weights, dtype=torch.float32, device=self.device)
                getattr(model, "student_model", model).class_weights = weights

        def prepare_criterion(self) -> None:
            super().prepare_criterion()
            if options.scales is not None:
                sides_within(options.scales, self.args.imgsz, self.stride)
            model = unwrap_model(self.model)
            if self.args.task == "classify":
                if options.gamma or options.class_weights is not None:
                    model.criterion = ClassificationLoss(options.gamma, options.class_weights, self.device)
                return
            if not options.gamma and options.alpha is None:
                return
            if model.criterion is None:
                model.criterion = model.init_criterion()
            for part in ("one2many", "one2one"):
                getattr(model.criterion, part, model.criterion).bce = FocalLoss(options.gamma, options.alpha)

        def get_dataloader(
            self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
        ) -> torch.utils.data.DataLoader[Any]:
            loader: torch.utils.data.DataLoader[Any] = super().get_dataloader(dataset_path, batch_size, rank, mode)
            if mode == "train" and options.sampling is not None:
                resample(loader, self.data["names"], options)
            return loader

        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
            batch = super().preprocess_batch(batch)
            if options.scales is not None:
                batch["img"] = resized(batch["img"], options.scales, self.args.imgsz, self.stride)
            return batch

    return WeightedTrainer
