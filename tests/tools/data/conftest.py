"""A small data set."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/val/{a,b,c}.jpg; a has two objects, b a polygon, c nothing."""
    for name, labels in (
        ("a", "1 0.5 0.5 0.2 0.4\n0 0.25 0.25 0.5 0.5\n1 0.5 0.5 0.2 0.4\n"),
        ("b", "0 0.1 0.2 0.5 0.2 0.3 0.8\n\n"),
        ("c", None),
    ):
        image = tmp_path / "images" / "val" / f"{name}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"")
        if labels is not None:
            file = tmp_path / "labels" / "val" / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(labels)
    return tmp_path
