"""Compares the labels of every task, as read by the tools, with the drawn pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("typer")

import cv2
from yolort.tools.demo import scene as scene_module
from yolort.tools.demo.config import SceneConfig
from yolort.tools.demo.dataset import TASKS, VAL_START, write_dataset
from yolort.tools.demo.drawing import draw_object
from yolort.tools.demo.labels import FLIPPED, KEYPOINTS, oriented_box, outline
from yolort.tools.demo.scene import Scene, generate
from yolort.tools.demo.shapes import CLASSES

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

CROWDED = SceneConfig(seed=8, height=128, width=160, objects=(6, 12), clutter=(0, 0), shadow=0)
ALONE = replace(CROWDED, objects=(1, 1), size_weights=(0, 0, 1), min_visible=1.0)


def with_owners(index: int, config: SceneConfig) -> tuple[Scene, np.ndarray[Any, Any]]:
    """A scene, and the object that each pixel belongs to."""
    owners: list[Any] = []
    paint = scene_module._paint_objects
    with pytest.MonkeyPatch.context() as patched:

        def recording(*arguments: Any) -> Any:
            painted = paint(*arguments)
            owners.append(painted[0])
            return painted

        patched.setattr(scene_module, "_paint_objects", recording)
        return generate(index, config), owners[0]


def rasterized(points: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    masks = pytest.importorskip("pycocotools.mask")
    return np.asarray(masks.decode(masks.frPyObjects([points.ravel().tolist()], height, width))[..., 0], bool)


def one_of(cls: str, index: int) -> Scene:
    return generate(index, replace(ALONE, class_weights=tuple(float(name == cls) for name in CLASSES)))


def test_outlines_are_the_pixels_that_can_be_seen() -> None:
    """Filled by COCO's own code, including parts, holes and hidden parts."""
    several = 0
    for index in range(10):
        scene, owner = with_owners(index, CROWDED)
        for k, points in enumerate(scene.outlines):
            mine = owner == k
            assert np.array_equal(rasterized(points, *mine.shape), mine)
            assert [*points.min(0), *points.max(0)] == scene.boxes[k].tolist()
            several += cv2.connectedComponents(mine.astype(np.uint8), connectivity=4)[0] > 2
    assert several


def test_an_outline_of_parts_and_holes() -> None:
    mask = np.ones((9, 12), bool)
    mask[2:4, 2:5] = mask[5:8, 3:4] = mask[:, 7] = False
    mask[0, 0] = mask[4, 4] = False
    points = outline(mask)
    assert np.array_equal(rasterized(points, 9, 12), mask)
    nexts = np.roll(points, -1, axis=0)
    assert abs((points[:, 0] * nexts[:, 1] - points[:, 1] * nexts[:, 0]).sum()) / 2 == mask.sum()
    assert outline(np.ones((3, 5), bool)).tolist() == [[0, 0], [0, 3], [5, 3], [5, 0]]


def test_oriented_boxes_are_tight() -> None:
    """No pixel is outside, and every side touches a pixel."""
    tilted = 0
    for index in range(10):
        scene, _ = with_owners(index, CROWDED)
        for points, corners in zip(scene.outlines, scene.corners, strict=True):
            assert (corners >= 0).all() and (corners <= (160, 128)).all()
            sides = np.roll(corners, -1, axis=0) - corners
            assert np.abs(sides @ np.roll(sides, -1, axis=0).T).diagonal().max() < 1e-6
            inward = np.stack([-sides[:, 1], sides[:, 0]], 1) / np.linalg.norm(sides, axis=1, keepdims=True)
            inside = (points[:, None] - corners) @ inward.T
            distances = inside[:, range(4), range(4)]
            assert distances.min() > -1e-6
            assert np.abs(distances.min(0)).max() < 1e-6
            tilted += bool(np.abs(sides[0]).min() > 1)
    assert tilted > 10


def test_a_box_that_would_leave_the_image_is_upright() -> None:
    points = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    assert oriented_box(points, 0.5, 10, 10).tolist() == points.tolist()
    assert oriented_box(points + 20, 0.5, 100, 100)[0].tolist() != [20, 20]


def test_the_angle_is_that_of_the_object() -> None:
    """The long side of a single bottle equals that of the smallest rectangle around it."""
    compared = 0
    for index in range(12):
        scene = one_of("bottle", index)
        corners = scene.corners[0]
        if np.abs(corners[1] - corners[0]).min() < 1e-6:
            continue
        compared += 1
        box = cv2.minAreaRect(scene.outlines[0].astype(np.float32))
        across, along = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[1])
        assert sorted(box[1]) == pytest.approx(sorted((across, along)), rel=0.06)
    assert compared > 2


@pytest.mark.parametrize("cls", CLASSES)
def test_keypoints_lie_on_the_object(cls: str) -> None:
    for index in range(6):
        scene = one_of(cls, index)
        points = scene.keypoints[0]
        assert points.shape == (len(KEYPOINTS), 3)
        assert (points[:, 2] == 2).all(), (cls, index, points)
        middle = scene.corners[0].mean(0)
        across, down = (scene.corners[0][k] - scene.corners[0][0] for k in (1, 3))
        top, left, right, bottom = points[:, :2] - middle
        assert left @ across < 0 < right @ across
        assert top @ down < bottom @ down


def test_keypoints_of_a_ball_are_on_its_rim() -> None:
    scene = one_of("ball", 1)
    x1, y1, x2, y2 = scene.boxes[0]
    middle, radius = np.array([(x1 + x2) / 2, (y1 + y2) / 2]), (x2 - x1) / 2
    expected = middle + 0.9 * radius * np.array([(0, -1), (-1, 0), (1, 0), (0, 1)])
    assert np.abs(scene.keypoints[0][:, :2] - expected).max() < 1.5


def test_a_mirrored_object_has_its_keypoints_swapped() -> None:
    """According to `flip_idx`: left stays left."""

    class Fixed:
        """A random generator whose only choice, mirrored or not, is fixed."""

        def __init__(self, mirror: bool) -> None:
            self._rng, self._mirror, self._asked = np.random.default_rng(4), mirror, 0

        def random(self) -> float:
            self._asked += 1
            drawn = self._rng.random()
            return (0.1 if self._mirror else 0.9) if self._asked == 2 else 0.9 if self._asked == 1 else drawn

        def __getattr__(self, name: str) -> Any:
            return getattr(self._rng, name)

    cls = CLASSES.index("car")
    plain, mirrored = (draw_object(cls, 100, Fixed(mirror), (0.6, -0.8)) for mirror in (False, True))  # type: ignore[arg-type]
    assert np.array_equal(plain.alpha > 0, (mirrored.alpha > 0)[:, ::-1])
    flipped = plain.keypoints[list(FLIPPED)] * (-1, 1) + (plain.alpha.shape[1], 0)
    assert np.abs(flipped - mirrored.keypoints).max() < 0.5


def test_visibility() -> None:
    seen: set[int] = set()
    for index in range(12):
        scene, owner = with_owners(index, CROWDED)
        for k, points in enumerate(scene.keypoints):
            for x, y, visible in points:
                seen.add(int(visible))
                if visible:
                    assert (owner[int(y), int(x)] == k) == (visible == 2)
                else:
                    assert (x, y) == (0, 0)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("task", [task for task in TASKS if task != "classify"])
def test_label_files_hold_what_was_drawn(task: str, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    data = write_dataset(tmp_path / "data", train=3, val=2, config=CROWDED, task=task, progress=False)
    described = yaml.safe_load(data.read_text())
    assert ("kpt_shape" in described) == (task == "pose")
    if task == "pose":
        assert described["kpt_shape"] == [4, 3] and described["flip_idx"] == [0, 2, 1, 3]
        assert len(described["kpt_names"]) == len(CLASSES)
    coco = json.loads((data.parent / "annotations" / "instances_train.json").read_text())
    for index in range(3):
        scene = generate(index, CROWDED)
        lines = (data.parent / "labels" / "train" / f"{index:07d}.txt").read_text().splitlines()
        mine = [one for one in coco["annotations"] if one["image_id"] == index]
        for k, line in enumerate(lines):
            values = np.array(line.split(), float)
            assert values[0] == scene.classes[k]
            if task in ("segment", "obb"):
                points = values[1:].reshape(-1, 2) * (160, 128)
                expected = scene.outlines[k] if task == "segment" else scene.corners[k]
                assert np.allclose(points, expected, atol=1e-3)
            if task == "segment":
                assert np.array_equal(mine[k]["segmentation"][0], scene.outlines[k].ravel())
                assert mine[k]["area"] == rasterized(scene.outlines[k], 128, 160).sum()
            if task == "pose":
                found = values[5:].reshape(-1, 3) * (160, 128, 1)
                assert np.allclose(found, scene.keypoints[k], atol=1e-3)
                assert np.allclose(mine[k]["keypoints"], scene.keypoints[k].ravel())


@pytest.mark.parametrize("task", [task for task in TASKS if task != "classify"])
def test_the_labels_are_read_again(task: str, tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    from ultralytics.data.utils import verify_image_label
    from yolort.tools.data.dataset import load_dataset

    data = write_dataset(tmp_path / "data", train=3, val=2, config=CROWDED, task=task, progress=False)
    read = load_dataset(data, "train", task=task)
    for index, sample in enumerate(read.samples):
        scene, label = generate(index, CROWDED), data.parent / "labels" / "train" / f"{index:07d}.txt"
        assert sample.classes.tolist() == scene.classes.tolist()
        if task != "obb":
            assert np.allclose(sample.boxes * (160, 128, 160, 128), scene.boxes, atol=1e-3)
        shape = (len(KEYPOINTS), 3) if task == "pose" else (0, 0)
        found = verify_image_label((str(sample.path), str(label), "", task == "pose", 10, *shape, False))
        assert found[-1] == "", found[-1]
        assert len(found[1]) == len(scene.classes)


def test_folders_of_classes(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", train=12, val=10, config=CROWDED, task="classify", progress=False)
    assert folder == tmp_path / "data"
    assert sorted(path.name for path in folder.iterdir()) == ["scenes.json", "train", "val"]
    for split, start in (("train", 0), ("val", VAL_START)):
        assert [path.name for path in sorted((folder / split).iterdir())] == sorted(CLASSES)
        files = sorted((folder / split).rglob("*.jpg"), key=lambda file: file.name)
        assert {file.parent.name for file in files} == set(CLASSES)
        for file in files:
            index = int(file.stem)
            assert index >= start and file.parent.name == CLASSES[index % len(CLASSES)]
            pixels = cv2.imread(str(file))
            assert pixels is not None and pixels.shape == (128, 160, 3)


def test_a_task_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task must be one of detect, segment, pose, obb, classify, not 'masks'"):
        write_dataset(tmp_path / "data", task="masks")
    assert list(tmp_path.iterdir()) == []
