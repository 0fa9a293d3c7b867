"""Scenes, and calibrations on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yolort

if TYPE_CHECKING:
    from yolort.tools.quantize.calibrate import Calibration


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 8 scenes for calibration and 8 for scoring."""
    from yolort.tools.demo.dataset import write_dataset

    return write_dataset(tmp_path_factory.mktemp("scenes"), train=8, val=8, progress=False)


@pytest.fixture(scope="session")
def calibration(scenes: Path) -> Calibration:
    from yolort.tools.quantize.calibrate import calibrate

    return calibrate(yolort.demo_model("onnx"), scenes)
