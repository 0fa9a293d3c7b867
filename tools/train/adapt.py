"""Adapts a network to the classes and keypoints of a dataset; everything else stays unchanged."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from yolort.tools.models.checkpoints import CheckpointError, channels_of, detect_head, task_of

__all__ = ["check_trainable", "set_classes", "set_keypoints"]

_log = logging.getLogger(__name__)


def set_classes(model: Any, names: dict[int, str]) -> None:
    """Changes the classes of a model by replacing the last layers of its score branches; everything else stays.

    Classes that the model has by name (ignoring case and surrounding spaces) keep their weights; others get random
    weights, and the bias that Ultralytics gives a new head (`Detect.bias_init`). If the names are equal, nothing
    changes.
    """
    head = model.model[-1]
    classifies = task_of(model) == "classify"
    count = head.linear.out_features if classifies else head.nc
    if count == len(names) and dict(model.names) == dict(names):
        return
    known = {str(name).strip().lower(): cls for cls, name in dict(model.names).items()}
    rows = [(cls, known.get(str(name).strip().lower())) for cls, name in names.items()]
    kept = [(new, old) for new, old in rows if old is not None]
    if count == len(names) and not kept:  # the same number of classes under other names: matched by position
        kept = [(cls, cls) for cls in names]
    if classifies:
        head.linear = _replaced(head.linear, len(names), kept)
    else:
        for branch in (head.cv3, getattr(head, "one2one_cv3", None)):
            for level, layers in enumerate(branch or ()):
                bias = math.log(5 / len(names) / (640 / float(head.stride[level])) ** 2)
                layers[-1] = _replaced(layers[-1], len(names), kept, bias)
        regions = getattr(getattr(head, "proto", None), "semseg", None)
        if regions is not None:
            regions[-1] = _replaced(regions[-1], len(names), kept)
        head.nc, head.no = len(names), len(names) + 4 * head.reg_max
        model.nc = len(names)
    model.names = dict(names)
    model.yaml = {**model.yaml, "nc": len(names)}


def set_keypoints(model: Any, shape: Sequence[int]) -> None:
    """Changes the keypoints of a pose model to `shape`, (count, values per keypoint), by replacing the last layers of
    their branches.

    If the shape is equal, nothing changes.
    """
    head, wanted = detect_head(model, tasks=True), [int(value) for value in shape]
    if list(head.kpt_shape) == wanted:
        return
    _log.warning("the model has keypoints %s, the data %s: their last layers begin anew", [*head.kpt_shape], wanted)
    count = wanted[0] * wanted[1]
    for prefix in ("", "one2one_"):
        trunks: Any = getattr(head, prefix + "cv4", None)
        last: Any = getattr(head, prefix + "cv4_kpts", None)
        sigma: Any = getattr(head, prefix + "cv4_sigma", None)
        for level in range(head.nl if trunks is not None else 0):
            if last is None:
                trunks[level][-1] = _replaced(trunks[level][-1], count, [])
            else:
                last[level] = _replaced(last[level], count, [])
                sigma[level] = _replaced(sigma[level], 2 * wanted[0], [])
    head.kpt_shape, head.nk, model.kpt_shape = wanted, count, wanted
    if hasattr(head, "nk_sigma"):
        head.nk_sigma = 2 * wanted[0]
    model.yaml = {**model.yaml, "kpt_shape": wanted}


def _replaced(old: Any, outputs: int, kept: Sequence[tuple[int, int]], bias: float | None = None) -> Any:
    """A layer like `old` with other outputs: pairs in `kept` (new, old) keep their weights, the others get random
    ones.
    """
    new: Any = (
        nn.Linear(old.in_features, outputs) if isinstance(old, nn.Linear) else nn.Conv2d(old.in_channels, outputs, 1)
    )
    new.to(old.weight.device, old.weight.dtype)
    with torch.no_grad():
        if bias is not None:
            new.bias.fill_(bias)
        for into, of in kept:
            new.weight[into], new.bias[into] = old.weight[of], old.bias[of]
    return new


def check_trainable(model: Any) -> None:
    """Raises CheckpointError for a fused model, an unknown kind of model, or one that does not take RGB images."""
    classifies = task_of(model) == "classify"
    if model.is_fused() or (not classifies and detect_head(model, tasks=True).cv2 is None):
        raise CheckpointError("the model is fused for inference and cannot be trained; use the checkpoint it came from")
    if channels_of(model) != 3:
        raise CheckpointError(f"the model takes images with {channels_of(model)} channels; training supports only 3")
