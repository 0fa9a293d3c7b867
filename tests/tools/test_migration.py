"""Runs the calls of docs/migration.md, Ultralytics' and ours, on the same model and image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("ultralytics")
pytest.importorskip("cv2")

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"
#: Pairs of expressions from the table. `r` and `found` are the results for one image.
PAIRS = [
    ("r.boxes.xyxy", "found.boxes", 0.05),
    ("r.boxes.conf", "found.scores", 1e-3),
    ("r.boxes.cls", "found.classes", 0),
    ("r.names", "found.names", 0),
    ('model("a.jpg")[0]', 'detector("a.jpg")', 0.05),
    ("model.predict(x, conf=0.4, iou=0.6, classes=[0])", "detector(x, conf=0.4, iou=0.6, classes=[0])", 0.05),
    ("model.predict(x, agnostic_nms=True, max_det=50)", "detector(x, agnostic=True, max_det=50)", 0.05),
    ('model.predict(PIL.Image.open("a.jpg"))', 'detector(PIL.Image.open("a.jpg"))', 0.05),
]


@pytest.fixture(scope="module")
def table() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The objects in the expressions."""
    import PIL.Image
    from ultralytics import YOLO
    from yolort.tools._ultralytics import allow_missing_torchvision
    from yolort.tools.export import export

    allow_missing_torchvision()
    folder = tmp_path_factory.mktemp("migration")
    path = export(checkpoint("yolov8n"), head="boxes", imgsz=96, output=folder / "m.onnx")
    image = folder / "a.png"
    PIL.Image.fromarray(yolort.images.read(yolort.demo_image())[..., ::-1]).save(image)
    loaded = YOLO(path, task="detect")

    class Model:
        """At the same confidence, without output."""

        def __call__(self, source: Any, **options: Any) -> Any:
            return self.predict(source, **options)

        def predict(self, source: Any, **options: Any) -> Any:
            return loaded.predict(found_file(source), **{"conf": conf, "verbose": False, "imgsz": 96, **options})

    def found_file(source: Any) -> Any:
        return str(image) if isinstance(source, str) else source

    every = np.sort(yolort.Detector(path, conf=0.001, engine="onnxruntime")(yolort.images.read(image)).scores)
    conf = float(every[-8:-6].mean())  # random weights: the seven best scores
    detector = yolort.Detector(path, conf=conf, engine="onnxruntime")
    return {
        "model": Model(),
        "detector": lambda source, **options: detector(found_file(source), **options),
        "x": yolort.images.read(image),
        "r": Model().predict(str(image))[0],
        "found": detector(image),
        "PIL": type("PIL", (), {"Image": type("Image", (), {"open": staticmethod(lambda _: PIL.Image.open(image))})}),
    }


def figures(value: Any) -> Any:
    """Normalizes a value of either side: an array of boxes, or the value itself."""
    if isinstance(value, list):
        value = value[0]
    if isinstance(value, yolort.Detections):
        return value.boxes
    if hasattr(value, "boxes"):
        return value.boxes.xyxy.numpy()
    return value.numpy() if hasattr(value, "numpy") else value


@pytest.mark.slow
@pytest.mark.parametrize(("theirs", "ours", "tolerance"), PAIRS)
def test_both_give_the_same(theirs: str, ours: str, tolerance: float, table: str, names: dict[str, Any]) -> None:
    line = next(line for line in table.splitlines() if line.startswith("|") and _told(theirs, line))
    assert _told(ours, line)
    expected, found = (figures(eval(text, dict(names))) for text in (theirs, ours))
    if isinstance(found, np.ndarray):
        assert len(found) or "conf=0.4" in ours
        np.testing.assert_allclose(found, expected, atol=tolerance)
    else:
        assert found == expected


def _told(call: str, line: str) -> bool:
    """Whether a line contains a call, or only its last part after similar calls."""
    return call in line or f"`.{call.rpartition('.')[2]}`" in line


@pytest.mark.slow
def test_drawings_files_and_json(names: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    r, found = names["r"], names["found"]
    assert found.plot().shape == r.plot().shape
    found.save(tmp_path / "out.jpg")
    assert yolort.images.read(tmp_path / "out.jpg").shape == found.plot().shape
    assert len(json.loads(found.to_json())["detections"]) == len(json.loads(r.to_json()))
    assert len(found.to_dataframe()) == len(r)
