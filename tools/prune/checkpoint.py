"""Writes pruned models as checkpoints that stock Ultralytics loads."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from yolort import _atomic
from yolort.tools.models.checkpoints import Checkpoint, task_of
from yolort.tools.prune.prunable import PruneError, widths

__all__ = ["check_widths"]


def check_widths(model: Any, path: str | Path) -> None:
    """Raises PruneError if a model was pruned but its network has full width, because it was rebuilt from its YAML."""
    told = model.yaml.get("pruning")
    if not told:
        return
    wanted, found = told["widths"], widths(model)
    of_classes = r"\.((one2one_)?cv3\.\d+|proto\.semseg)\.2$"  # its width is the number of classes
    outputs = {name for name in found if re.search(of_classes, name)}
    wrong = next((name for name in found if name not in outputs and wanted.get(name, found[name]) != found[name]), None)
    if wrong is not None:
        raise PruneError(
            f"{path} was pruned and is wide again ({wrong} has {found[wrong]} channels, {wanted[wrong]} were left): "
            "the network was built anew from its YAML, as Ultralytics' train does; yolort train keeps widths"
        )


def save(model: nn.Module, source: Checkpoint, side: int, path: Path) -> Path:
    """Writes an Ultralytics checkpoint, in half precision if that is lossless."""
    import ultralytics

    kept: Any = copy.deepcopy(model).requires_grad_(True)
    kept.criterion = None
    values = [value for value in kept.state_dict().values() if value.is_floating_point()]
    if all(torch.equal(value.half().float(), value) for value in values):
        kept = kept.half()
    saved = io.BytesIO()  # torch's error for a full disk mentions neither the disk nor the file
    torch.save(
        {
            "writer": _atomic.MARK,
            "epoch": -1,
            "best_fitness": None,
            "model": kept,
            "ema": None,
            "updates": None,
            "optimizer": None,
            "train_args": {**source.train_args, "imgsz": side, "task": task_of(model)},
            "version": ultralytics.__version__,
            "license": source.license,
        },
        saved,
    )
    path.write_bytes(saved.getbuffer())
    return path
