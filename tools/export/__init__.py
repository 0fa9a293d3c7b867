"""Conversion of checkpoints to what `yolort.Detector` loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.export.pipeline import HEADS as HEADS
    from yolort.tools.export.pipeline import PRECISIONS as PRECISIONS
    from yolort.tools.export.pipeline import ExportError as ExportError
    from yolort.tools.export.pipeline import complexity as complexity
    from yolort.tools.export.pipeline import export as export
    from yolort.tools.export.pipeline import with_head as with_head
    from yolort.tools.export.tensorrt import EngineOptions as EngineOptions
    from yolort.tools.export.tensorrt import build_engine as build_engine

export_lazily(
    __name__,
    {
        "EngineOptions": "tensorrt",
        "ExportError": "pipeline",
        "HEADS": "pipeline",
        "PRECISIONS": "pipeline",
        "build_engine": "tensorrt",
        "complexity": "pipeline",
        "export": "pipeline",
        "with_head": "pipeline",
    },
)
