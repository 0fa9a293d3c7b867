"""Artifacts and checkpoints opened by the same options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolort import Detector, _checks, _core

__all__ = ["open_detector"]

#: The options of `Detector` that only say how to augment, and their defaults.
_AUGMENTATION: dict[str, Any] = {"scales": (), "flip": True, "merge": "wbf", "scale_models": ()}


def open_detector(model: str | Path, **options: Any) -> Any:
    """`Detector`, or `TorchDetector` for a checkpoint, with the options that it takes."""
    if Path(model).suffix != ".pt":
        detector = Detector(model, **options)
        if detector.task != "detect":
            raise ValueError(f"{model}: its task is {detector.task}; the tools measure models that detect")
        return detector
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
    from yolort.tools.models.torch_detector import TorchDetector  # torch, which an artifact does not need

    return TorchDetector(model, device=other["device"] or "cpu", **options)
