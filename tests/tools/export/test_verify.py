"""Exports whose results differ from the model's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yolort

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("onnxruntime")

from exported_models import left_in  # noqa: E402
from yolort.tools.export.pipeline import export  # noqa: E402
from yolort.tools.models.heads import ExportError  # noqa: E402

Checkpoint = Callable[[str], Path]


@pytest.mark.slow
def test_wrong_results_are_refused(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = yolort.Detector.infer
    for wrong, says in [
        (lambda maps: [maps[0] + 10, *maps[1:]], "difference from torch: 80 pixels"),
        (lambda maps: [*maps[:-1], maps[-1] * 1.5], r"0\.\d+ of a score; accepted are 0\.25 and 0\.0025"),
        (lambda maps: [*maps[:-1], maps[-1] * np.nan], "nan of a score"),
        (lambda maps: maps[::-1], "outputs of shapes"),
    ]:
        monkeypatch.setattr(yolort.Detector, "infer", lambda self, x, wrong=wrong: wrong(right(self, x)))
        with pytest.raises(ExportError, match=says):
            export(checkpoint("yolo26n"), imgsz=64, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == []


@pytest.mark.slow
def test_wrong_rows_are_refused(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = yolort.Detector.infer
    for column, shift in ((0, 3), (4, 0.1), (5, 7), (2, np.nan)):
        change = np.eye(6, dtype=np.float32)[column] * np.float32(shift)
        monkeypatch.setattr(yolort.Detector, "infer", lambda self, x, c=change: [rows + c for rows in right(self, x)])
        with pytest.raises(ExportError, match="difference from torch"):
            export(checkpoint("yolo26n"), head="end2end", imgsz=64, output=tmp_path / "m.onnx")
    assert left_in(tmp_path) == []
