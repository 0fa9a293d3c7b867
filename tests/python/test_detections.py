from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort


@pytest.fixture
def found() -> yolort.Detections:
    return yolort.Detections(
        np.array([[0, 0, 10, 10], [5, 5, 20, 30], [1, 1, 2, 2]], np.float32),
        np.array([0.9, 0.5, 0.3], np.float32),
        np.array([1, 0, 1], np.int32),
        names={0: "cat", 1: "dog"},
        path="a.jpg",
        shape=(40, 50),
    )


def test_columns(found: yolort.Detections) -> None:
    assert len(found) == 3
    rows = list(found)
    assert rows[1][1:] == (0.5, 0)
    assert rows[1][0].tolist() == [5, 5, 20, 30]
    assert repr(found) == "Detections(2 dog, 1 cat)"


def test_indexing_selects_rows_of_every_column(found: yolort.Detections) -> None:
    rows: Any
    for rows, expected in [
        (found.scores > 0.4, [1, 0]),
        ([2, 0], [1, 1]),
        (slice(1, None), [0, 1]),
        (-1, [1]),
    ]:
        part = found[rows]
        assert part.classes.tolist() == expected
        assert len(part.boxes) == len(part.scores) == len(expected)
        assert (part.names, part.path, part.shape) == (found.names, found.path, found.shape)
    with pytest.raises(IndexError):
        found[7]


def test_columns_must_belong_together() -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\), \(3,\)"):
        yolort.Detections(np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros(2, np.int32))


def test_to_dict_is_json(found: yolort.Detections) -> None:
    data = json.loads(json.dumps(found.to_dict()))
    assert data["shape"] == [40, 50]
    assert data["detections"][1] == {"box": [5, 5, 20, 30], "score": 0.5, "class": 0, "name": "cat"}


def test_to_supervision(found: yolort.Detections) -> None:
    pytest.importorskip("supervision")
    theirs = found.to_supervision()
    assert theirs.xyxy.tolist() == found.boxes.tolist()
    assert theirs.class_id.tolist() == [1, 0, 1]
    assert theirs.data["class_name"].tolist() == ["dog", "cat", "dog"]


def test_draw_leaves_the_image_alone(found: yolort.Detections) -> None:
    pytest.importorskip("cv2")
    image = np.zeros((40, 50, 3), np.uint8)
    drawn = found.draw(image)
    assert not image.any()
    assert drawn.shape == image.shape
    assert drawn[5, 5].any()
    assert (found[[]].draw(image) == image).all()
    with pytest.raises(ValueError, match=r"\(40, 50, 3\)"):
        found.draw(np.zeros((41, 50, 3), np.uint8))


def test_save_is_whole_or_not_at_all(found: yolort.Detections, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    image = np.zeros((40, 50, 3), np.uint8)
    found.save(tmp_path / "out.png", image)
    assert yolort.images.read(tmp_path / "out.png").shape == image.shape
    before = (tmp_path / "out.png").read_bytes()
    for name, message in [("out.xyz", "encoded"), ("no/such/folder.png", "written")]:
        with pytest.raises(yolort.ImageError, match=message):
            found.save(tmp_path / name, image)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_bytes() == before
