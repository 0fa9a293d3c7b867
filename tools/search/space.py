"""The search space of `optimize`: values of a recipe, and available engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yolort
from yolort import _core
from yolort.tools._formats import ENGINES

__all__ = ["search_space"]

_RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # of pruning
_SIDES = (1.0, 0.875, 0.75, 0.625, 0.5)  # of the input


def search_space(
    models: Sequence[str], side: int, engines: Sequence[str] | None, finetune: int, one_to_one: bool
) -> dict[str, tuple[Any, ...]]:
    """The values of each choice; the first leaves the model unchanged."""
    able = able_engines()
    wanted = list(able) if engines is None else list(engines)
    for name in wanted:
        if name not in ENGINES:
            raise ValueError(f"engines are {', '.join(ENGINES)}, not {name!r}")
        if name not in able:
            reason = next((one.reason for one in yolort.engines() if one.name == name), "unknown")
            raise yolort.EngineError(f"engine {name!r} is not available: {reason}")
    runs = [f"{name} {precision}" for name in wanted for precision in able[name]]
    sides = [max(32, round(side * scale / 32) * 32) for scale in _SIDES]
    return {
        "model": tuple(dict.fromkeys(models)),
        "imgsz": tuple(dict.fromkeys(sides)),
        "head": ("raw", "raw-e2e") if one_to_one else ("raw",),
        "engine": tuple(dict.fromkeys(["onnxruntime fp32", *runs])),
        "prune": _RATIOS if finetune else _RATIOS[:1],
        "distil": (False, True) if finetune else (False,),
    }


def able_engines() -> dict[str, list[str]]:
    """The available engines, with their worthwhile precisions."""
    out: dict[str, list[str]] = {}
    for name, engine in ENGINES.items():
        status = next((one for one in yolort.engines() if one.name == name), None)
        if status is None or not status.available:
            continue
        if engine.format == "engine":
            out[name] = ["fp32", "fp16", "int8"]
            continue
        path = yolort.demo_model("ncnn" if engine.format == "ncnn" else "onnx")
        pays = next((pays for known, _, pays in _core.candidates(str(path)) if known == name), [])
        out[name] = [*(pays or ["fp32"]), "int8"]
    return out
