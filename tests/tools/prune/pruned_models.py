"""Shared by the pruning tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch_pruning")
pytest.importorskip("ultralytics")

import torch
from torch import nn
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.models.heads import with_head
from yolort.tools.prune.outcome import Pruned
from yolort.tools.prune.prunable import ChannelGroup
from yolort.tools.prune.prune import prune

Checkpoints = Callable[[str], Path]
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def model_of(path: Path) -> Any:
    return load_checkpoint(path).model


def maps(network: nn.Module) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(network(IMAGE))


def raw_maps(model: Any) -> list[torch.Tensor]:
    """Raw maps of every branch of the head, from the exporter's cut."""
    heads = ["raw", "raw-e2e"] if getattr(model.model[-1], "one2one_cv2", None) is not None else ["raw"]
    return [one for head in heads for one in maps(with_head(model, head))]


def assert_close(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> None:
    assert [one.shape for one in some] == [other.shape for other in others]
    for one, other in zip(some, others, strict=True):
        assert (one - other).abs().max() <= 1e-4 * max(1.0, float(one.abs().max()))


def some_channels(unit: ChannelGroup, share: float) -> list[list[int]]:
    """Random channels, different for each root."""
    rng = np.random.default_rng(unit.width)
    count = max(1, int(unit.width * share))
    return [sorted(rng.permutation(unit.width)[:count].tolist()) for _ in unit.roots]


def pruned(checkpoint: Checkpoints, tmp_path: Path, architecture: str = "yolo26n", **options: Any) -> Pruned:
    return prune(checkpoint(architecture), **{"measure": False, "output": tmp_path / "pruned.pt", **options})
