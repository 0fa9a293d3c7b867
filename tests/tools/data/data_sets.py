"""Dataset descriptions for the fixture `folder`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def describe(folder: Path, **keys: Any) -> Path:
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"val": "images/val", "names": {0: "cat", 1: "dog"}, **keys}))
    return path


def coco(folder: Path, **changes: Any) -> Path:
    read = {
        "images": [{"id": 7, "file_name": "val/a.jpg"}, {"id": 9, "file_name": "val/b.jpg"}],
        "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 5, "bbox": [10, 20, 30, 40], "area": 600, "iscrowd": 1},
            {"id": 2, "image_id": 9, "category_id": 2, "bbox": [1, 2, 3, 4]},
        ],
        **changes,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(read))
    return path
