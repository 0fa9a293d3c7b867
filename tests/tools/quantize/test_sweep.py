"""`yolort sweep`: every recipe has its row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.quantize.sweep import sweep


@pytest.fixture
def data(tmp_path: Path, class_names: dict[int, str]) -> Path:
    """data.yaml of three images for calibration and two for scoring."""
    for split, count in (("train", 3), ("val", 2)):
        images, labels = (tmp_path / kind / split for kind in ("images", "labels"))
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            noise = np.random.default_rng(10 * count + index).integers(0, 255, (60, 80, 3)).astype(np.uint8)
            cv2.imwrite(str(images / f"{index}.png"), noise)
            (labels / f"{index}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    described = {"path": str(tmp_path), "train": "images/train", "val": "images/val", "names": class_names}
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


@pytest.mark.slow
def test_rows(checkpoint: Callable[[str], Path], data: Path) -> None:
    how: dict[str, Any] = {"images": [2, 100], "methods": ["minmax"], "granularities": ["channel"], "runs": 2}
    done = sweep(checkpoint("yolov8n"), data, targets=["onnxruntime", "ncnn"], imgsz=64, **how)
    names = [row.case.model for row in done.rows]
    recipes = ["minmax-2-channel", "minmax-3-channel"]
    others = ["weights", "dynamic", "naive"]
    assert [name for name in names if name.startswith("onnxruntime")] == [
        f"onnxruntime-{name}.onnx" for name in (*recipes, *others)
    ]
    assert [name for name in names if name.startswith("ncnn")] == [f"ncnn-{name}_ncnn_model" for name in recipes]
    assert {"float.onnx", "float_ncnn_model"} <= set(names)
    assert not any(row.error for row in done.rows if row.case.model.startswith("float"))
    for row in done.rows:
        assert row.error or (len(row.samples) == 2 and "map50_95" in row.accuracy)
    precisions = {row.case.model: row.facts.get("precision") for row in done.rows if not row.error}
    assert precisions["onnxruntime-naive.onnx"] == precisions["onnxruntime-minmax-2-channel.onnx"] == "int8"
    sizes = {row.case.model: row.size_mb for row in done.rows}
    assert sizes["onnxruntime-weights.onnx"] < 0.4 * sizes["float.onnx"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"methods": ["magic"]}, "methods"), ({"targets": ["gpu"]}, "targets"), ({"granularities": []}, "granularities")],
)
def test_bad_arguments(arguments: dict[str, Any], says: str, data: Path, checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=says):
        sweep(checkpoint("yolov8n"), data, **arguments)
