"""Opens artifacts and checkpoints with the same options."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yolort
from yolort import _checks, _core
from yolort._open import open_model

__all__ = ["common_task", "open_detector", "task_of"]

#: Options of `Detector` that only configure augmentation, and their defaults.
_AUGMENTATION: dict[str, Any] = {"scales": (), "flip": True, "merge": "wbf", "scale_models": ()}


def task_of(model: str | Path) -> str:
    """The task of a model: "detect", "segment", "pose", "obb" or "classify".

    Raises FileNotFoundError, and ModelError or CheckpointError for an invalid model.
    """
    if Path(model).suffix not in (".pt", ".yaml", ".yml"):
        return _core.model_task(model) or "detect"
    from yolort.tools.models.checkpoints import load_checkpoint
    from yolort.tools.models.checkpoints import task_of as task_of_network

    return task_of_network(load_checkpoint(model, tasks=True).model)


def common_task(models: Iterable[str]) -> str:
    """The common task of all models; ValueError if they differ, because a dataset has labels for one task.

    Unreadable models are ignored; if all are unreadable, the task is "detect".
    """
    tasks: dict[str, str] = {}
    for model in dict.fromkeys(models):
        with suppress(yolort.Error):
            tasks.setdefault(task_of(model), model)
    if len(tasks) > 1:
        named = ", ".join(f"{model}: {task}" for task, model in tasks.items())
        raise ValueError(f"data are labeled for one task, but the models have several ({named}); measure each alone")
    return next(iter(tasks), "detect")


def open_detector(model: str | Path, **options: Any) -> Any:
    """Opens a `Detector`, a `Classifier`, or a `TorchDetector` for a checkpoint, with the options of `Detector`.

    Classifiers ignore thresholds. Raises ValueError for augmentation with a classifier, and the exceptions of these
    classes.
    """
    if Path(model).suffix != ".pt":
        augments = {**_AUGMENTATION, "augment": False}
        if task_of(model) == "classify" and (
            given := [key for key in augments if options.get(key, augments[key]) not in (augments[key], [])]
        ):
            raise ValueError(f"{model}: test-time augmentation ({given[0]}) is for models that detect, not classifiers")
        return open_model(model, **options)
    options.pop("tuned", None)
    other = {key: options.pop(key, None) for key in ("engine", "device", "precision")}
    other["device"] = _core.canonical_device(_checks.device(other["device"])) or None
    for key, only in (("engine", "torch"), ("precision", "fp32")):
        if other[key] not in (None, only):
            raise ValueError(f"{model}: a checkpoint runs with {key} {only}, not {other[key]}; export it for another")
    for key, default in _AUGMENTATION.items():
        given = options.pop(key, default)
        if given not in (default, []):
            raise ValueError(f"{model}: a checkpoint is augmented as Ultralytics does; export it for {key}={given!r}")
    from yolort.tools.models.torch_detector import TorchDetector  # imports torch, which exported models do not need

    return TorchDetector(model, device=other["device"] or "cpu", **options)
