"""Generated data of every task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a task to the data.yaml of 8 + 4 generated scenes of it."""
    pytest.importorskip("cv2")
    import training
    from yolort.tools.demo.dataset import write_dataset

    root = tmp_path_factory.mktemp("scenes")

    def make(task: str) -> Path:
        if not (root / task).exists():
            write_dataset(root / task, 8, 4, training.SCENES, task=task, progress=False)
        return root / task / "data.yaml"

    return make
