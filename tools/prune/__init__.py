"""Structured pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.prune.checkpoint import check_widths as check_widths
    from yolort.tools.prune.importance import METHODS as METHODS
    from yolort.tools.prune.outcome import MEASURED_LOSS as MEASURED_LOSS
    from yolort.tools.prune.outcome import Pruned as Pruned
    from yolort.tools.prune.prunable import PruneError as PruneError
    from yolort.tools.prune.prune import ALLOCATIONS as ALLOCATIONS
    from yolort.tools.prune.prune import prune as prune

export_lazily(
    __name__,
    {
        "ALLOCATIONS": "prune",
        "MEASURED_LOSS": "outcome",
        "METHODS": "importance",
        "PruneError": "prunable",
        "Pruned": "outcome",
        "check_widths": "checkpoint",
        "prune": "prune",
    },
)
