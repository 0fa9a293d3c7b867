"""Opens a model as `Detector` or `Classifier`, depending on its task."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

from yolort import _checks, _core
from yolort.classifier import Classifier
from yolort.detector import Detector

Model: TypeAlias = Detector | Classifier

#: Options of `Detector` that a classifier ignores.
_OF_DETECTING = frozenset(
    [
        *("agnostic", "augment", "classes", "conf", "flip", "iou", "max_det", "merge", "multi_label", "rect"),
        *("flip_idx", "scale_models", "scales", "skeleton"),
    ]
)


def open_model(model: str | os.PathLike[str], **options: Any) -> Model:
    """Opens the model with `Detector` options; a classifier ignores those for detection. Raises what the classes
    raise.
    """
    if _core.model_task(_checks.path("model", model)) != "classify":
        return Detector(model, **options)
    return Classifier(model, **{name: value for name, value in options.items() if name not in _OF_DETECTING})
