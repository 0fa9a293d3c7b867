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


def test_crops_contain_the_pixels_in_the_boxes(found: yolort.Detections) -> None:
    image = np.arange(40 * 50 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 50, 3)
    first, second, third = found.crops(image)
    np.testing.assert_array_equal(first, image[:10, :10])
    np.testing.assert_array_equal(second, image[5:30, 5:20])
    assert third.shape == (1, 1, 3) and np.shares_memory(first, image)
    with pytest.raises(ValueError, match="image: expected shape"):
        found.crops(image[1:])


def test_crops_of_turned_boxes_are_straight(found: yolort.Detections) -> None:
    cv2 = pytest.importorskip("cv2")
    image = np.zeros((40, 50, 3), np.uint8)
    image[10:20, 15:35] = 200
    turn = cv2.getRotationMatrix2D((24.5, 14.5), -30, 1)  # clockwise in the image
    turned = cv2.warpAffine(image, turn, (50, 40), flags=cv2.INTER_CUBIC)
    rotated = np.array(
        [[25, 15, 20, 10, np.deg2rad(30)], [25, 15, 20, 10, np.deg2rad(120)], [0, 0, 1e9, 4, 0]], np.float32
    )
    found.rotated = rotated
    along, across, huge = found.crops(turned)
    assert (along.shape, across.shape) == ((10, 20, 3), (10, 20, 3))
    assert (along[1:-1, 1:-1] > 150).all()
    assert (across == 0).any()
    assert huge.shape == (4, 180, 3)


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


@pytest.fixture
def posed(found: yolort.Detections) -> yolort.Detections:
    keypoints = np.arange(3 * 17 * 3, dtype=np.float32).reshape(3, 17, 3) % 40
    return yolort.Detections(found.boxes, found.scores, found.classes, keypoints=keypoints, shape=(40, 50))


@pytest.fixture
def turned(found: yolort.Detections) -> yolort.Detections:
    rotated = np.array([[20, 20, 10, 4, 0.5], [25, 10, 8, 8, 0], [5, 5, 4, 2, -0.5]], np.float32)
    return yolort.Detections(found.boxes, found.scores, found.classes, rotated=rotated, shape=(40, 50))


def test_columns_of_tasks_are_selected_and_written(posed: yolort.Detections, turned: yolort.Detections) -> None:
    assert posed.keypoints is not None and turned.rotated is not None
    part = posed[[2, 0]]
    assert part.keypoints is not None and part.rotated is None and part.masks is None and part.corners is None
    np.testing.assert_array_equal(part.keypoints, posed.keypoints[[2, 0]])
    assert json.loads(json.dumps(posed.to_dict()))["detections"][1]["keypoints"] == posed.keypoints[1].tolist()
    row = json.loads(json.dumps(turned[1].to_dict()))["detections"][0]
    assert row["rotated"] == [25, 10, 8, 8, 0]
    assert row["corners"] == [[29, 14], [29, 6], [21, 6], [21, 14]]


def test_columns_of_tasks_must_belong_together(found: yolort.Detections) -> None:
    columns = (found.boxes, found.scores, found.classes)
    with pytest.raises(ValueError, match=r"keypoints \(3, K, 2 or 3\), got \(2, 17, 3\)"):
        yolort.Detections(*columns, keypoints=np.zeros((2, 17, 3), np.float32))
    with pytest.raises(ValueError, match=r"rotated \(3, 5\), got \(3, 4\)"):
        yolort.Detections(*columns, rotated=np.zeros((3, 4), np.float32))


def test_tasks_for_supervision(posed: yolort.Detections, turned: yolort.Detections) -> None:
    supervision = pytest.importorskip("supervision")
    points = posed.to_keypoints()
    assert isinstance(points, supervision.KeyPoints)
    assert posed.keypoints is not None
    np.testing.assert_array_equal(points.xy, posed.keypoints[..., :2])
    np.testing.assert_array_equal(points.detection_confidence, posed.scores)
    with pytest.raises(ValueError, match="no keypoints"):
        turned.to_keypoints()
    boxes = turned.to_supervision()
    image = supervision.OrientedBoxAnnotator().annotate(np.zeros((40, 50, 3), np.uint8), boxes)
    assert image.any()


def test_drawing_of_skeletons_and_turned_boxes(posed: yolort.Detections, turned: yolort.Detections) -> None:
    pytest.importorskip("cv2")
    image = np.zeros((40, 50, 3), np.uint8)
    plain = yolort.Detections(posed.boxes, posed.scores, posed.classes, shape=(40, 50)).draw(image)
    assert (posed.draw(image) != plain).any()
    drawn = turned[0].draw(image)
    assert drawn[18, 16].any() and not drawn[20, 20].any()  # the left side of the box, not its middle
