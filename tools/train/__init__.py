"""Training and distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.train.distill import TeacherError as TeacherError
    from yolort.tools.train.distill import distill as distill
    from yolort.tools.train.losses import FocalLoss as FocalLoss
    from yolort.tools.train.train import TrainOptions as TrainOptions
    from yolort.tools.train.train import train as train
    from yolort.tools.train.train import weighting as weighting
    from yolort.tools.train.trainer import Trainer as Trainer
    from yolort.tools.train.trainer import WidthError as WidthError
    from yolort.tools.train.trainer import train_module as train_module

export_lazily(
    __name__,
    {
        "FocalLoss": "losses",
        "TrainOptions": "train",
        "TeacherError": "distill",
        "Trainer": "trainer",
        "WidthError": "trainer",
        "distill": "distill",
        "train": "train",
        "train_module": "trainer",
        "weighting": "train",
    },
)
