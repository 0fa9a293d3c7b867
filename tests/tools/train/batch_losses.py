"""The components of one batch's loss for given options of `train`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ultralytics.cfg import get_cfg
from yolort.tools.train.train import TrainOptions, weighting
from yolort.tools.train.trainer import Trainer


def batch_losses(model: Any, batch: dict[str, torch.Tensor]) -> Callable[..., dict[str, float]]:
    """A function that returns the components and their "total" for given options, computed by the trainer with these
    options.
    """
    model.args = get_cfg()
    with torch.no_grad():
        predictions = model(batch["img"])

    def losses(**options: Any) -> dict[str, float]:
        made = weighting(Trainer, TrainOptions(**options))
        trainer: Any = made.__new__(made)
        trainer.model, trainer.device, trainer.args = model, torch.device("cpu"), get_cfg()
        vars(model).pop("class_weights", None)
        model.criterion = None
        trainer.set_class_weights()
        trainer.prepare_criterion()
        total, items = model.loss(batch, predictions)
        return {**{name: float(value.detach()) for name, value in items.items()}, "total": float(total.detach().sum())}

    return losses
