"""Converts checkpoints to models for `yolort.Detector`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.export.pipeline import export as export
    from yolort.tools.export.tensorrt import PRECISIONS as PRECISIONS
    from yolort.tools.export.tensorrt import EngineOptions as EngineOptions
    from yolort.tools.export.tensorrt import build_engine as build_engine
    from yolort.tools.models.heads import HEADS as HEADS
    from yolort.tools.models.heads import ExportError as ExportError
    from yolort.tools.models.heads import complexity as complexity
    from yolort.tools.models.heads import with_head as with_head

export_lazily(
    __name__,
    {
        "EngineOptions": "tensorrt",
        "ExportError": ".models.heads",
        "HEADS": ".models.heads",
        "PRECISIONS": "tensorrt",
        "build_engine": "tensorrt",
        "complexity": ".models.heads",
        "export": "pipeline",
        "with_head": ".models.heads",
    },
)
