"""Procedural scenes, and training of the demo model on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.demo.config import SceneConfig as SceneConfig
    from yolort.tools.demo.dataset import write_dataset as write_dataset
    from yolort.tools.demo.scene import Scene as Scene
    from yolort.tools.demo.scene import generate as generate
    from yolort.tools.demo.shapes import CLASSES as CLASSES

export_lazily(
    __name__,
    {
        "CLASSES": "shapes",
        "Scene": "scene",
        "SceneConfig": "config",
        "generate": "scene",
        "write_dataset": "dataset",
    },
)
