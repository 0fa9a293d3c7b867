"""The procedural scenes, and the training of the demo model on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.demo.dataset import CLASSES as CLASSES
    from yolort.tools.demo.dataset import Scene as Scene
    from yolort.tools.demo.dataset import SceneConfig as SceneConfig
    from yolort.tools.demo.dataset import generate as generate
    from yolort.tools.demo.dataset import write_dataset as write_dataset

export_lazily(
    __name__,
    {
        "CLASSES": "dataset",
        "Scene": "dataset",
        "SceneConfig": "dataset",
        "generate": "dataset",
        "write_dataset": "dataset",
    },
)
