"""Labels of every task: valid ones, and errors for invalid ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import describe
from PIL import Image
from yolort.tools.data import LabelError, load_dataset
from yolort.tools.data.dataset import data_sha256, list_images, splits

HEIGHT, WIDTH = 40, 80
POLYGON = "0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"
POSE = "1 0.5 0.5 0.4 0.4 0.4 0.5 2 0.6 0.5 0"


def write(tmp_path: Path, text: str, **keys: Any) -> Path:
    """data.yaml of one image with these labels."""
    for part in ("images", "labels"):
        (tmp_path / part / "val").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "val" / "a.jpg")
    (tmp_path / "labels" / "val" / "a.txt").write_text(text)
    return describe(tmp_path, **keys)


def coco(tmp_path: Path, **changes: Any) -> Path:
    """COCO JSON of one image with one annotation."""
    write(tmp_path, "")
    note = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 32, 16], "area": 512, **changes}
    read = {
        "images": [{"id": 1, "file_name": "val/a.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [note],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(read))
    return path


def test_polygons(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, f"{POLYGON}\n{POLYGON}\n0 0.1 0.2 0.5 0.6 0.1 0.6 0.5 0.2\n"), task="segment")
    (sample,) = data.samples
    assert len(sample.classes) == 2  # a duplicate line is dropped, another polygon with the same box is not
    placed = sample.in_pixels(HEIGHT, WIDTH)
    assert placed.outlines is not None
    (outline, _) = placed.outlines
    assert isinstance(outline, list)
    np.testing.assert_allclose(outline[0], [[8, 8], [40, 8], [40, 24], [8, 24]])
    np.testing.assert_allclose(placed.boxes[0], [8, 8, 40, 24])
    assert placed.size == (HEIGHT, WIDTH)


def test_keypoints(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, POSE, kpt_shape=[2, 3]), task="pose")
    assert data.kpt_shape == (2, 3)
    placed = data.samples[0].in_pixels(HEIGHT, WIDTH)
    assert placed.keypoints is not None
    np.testing.assert_allclose(placed.keypoints, [[[32, 20, 2], [48, 20, 0]]])
    np.testing.assert_allclose(placed.boxes, [[24, 12, 56, 28]])
    as_boxes = load_dataset(write(tmp_path, POSE, kpt_shape=[2, 3]))  # a box task drops the keypoints
    np.testing.assert_allclose(as_boxes.samples[0].boxes, data.samples[0].boxes)
    assert as_boxes.samples[0].keypoints is None


def test_keypoints_of_two_numbers_are_labeled(tmp_path: Path) -> None:
    sigmas = [0.1, 0.2]
    path = write(tmp_path, "1 0.5 0.5 0.4 0.4 0.4 0.5 -0.005 0.5", kpt_shape=[2, 2], kpt_oks_sigmas=sigmas)
    data = load_dataset(path, task="pose")
    assert data.samples[0].keypoints is not None
    assert data.samples[0].keypoints[0, :, 2].tolist() == [2, 0]
    assert data.sigmas == (0.1, 0.2)


def test_corners_of_oriented_boxes_may_be_outside(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, "1 -0.2 0.5 0.5 -0.1 0.8 0.3 0.3 0.9"), task="obb")
    np.testing.assert_allclose(data.samples[0].boxes, [[-0.2, -0.1, 0.8, 0.9]])


@pytest.mark.parametrize(
    ("task", "line", "said"),
    [
        ("segment", "0 0.5 0.5 0.2 0.2", "it is a box; the task segment needs 'class x1 y1"),
        ("segment", "0 0.1 0.1 0.2 0.2", "it is a box"),
        ("segment", "0 0.1 0.1 0.3 0.3 0.5 0.5", "the mask is empty"),
        ("segment", "0 0.1 0.1 0.3 0.1 0.5", "expected 'class x1 y1"),
        ("segment", "0 0.1 0.1 0.3 0.1 0.5 1.5", "coordinates must be"),
        (
            "pose",
            "0 0.5 0.5 0.2 0.2",
            "5 numbers do not fit kpt_shape; expected 'class cx cy w h' and 2 keypoints",
        ),
        ("pose", "0 0.5 0.5 0.2 0.2 0.4 0.5 0.6 0.5", "9 numbers do not fit kpt_shape"),
        ("pose", "0 0.5 0.5 0.2 0.2 0.4 0.5 2 1.6 0.5 2", "coordinates must be"),
        ("pose", "0 0.5 0.5 0.2 0.2 0.4 0.5 3 0.6 0.5 2", "visibilities must be"),
        ("obb", "0 0.5 0.5 0.2 0.2 1.57", "expected 'class x1 y1 x2 y2 x3 y3 x4 y4'"),
        ("obb", "0 0.5 0.5 0.2 0.2", "it is a box; the task obb needs"),
        ("obb", "0 0.1 0.1 0.5 0.1 0.5 0.5", "3 corners"),
        ("obb", "0 0.1 0.1 0.5 0.1 0.5 2.5 0.1 2.5", "the center and the sides of what they enclose"),
        ("obb", "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4 0.4", "the oriented box is empty"),
    ],
)
def test_lines_of_another_task_are_refused(task: str, line: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, line, kpt_shape=[2, 3])
    with pytest.raises(LabelError, match=r"a\.txt, line 1: ") as caught:
        load_dataset(path, task=task)
    assert said in str(caught.value)


@pytest.mark.parametrize("shape", [None, 17, [17], [0, 3], [2, 4], [10**9, 3], ["2", 3], [True, 3]])
def test_a_kpt_shape_that_is_none(shape: Any, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="kpt_shape"):
        load_dataset(write(tmp_path, POSE, **({} if shape is None else {"kpt_shape": shape})), task="pose")


@pytest.mark.parametrize("sigmas", [[0.1], [0.1, 0], [0.1, "x"], 3, [0.1, float("nan")]])
def test_sigmas_that_do_not_fit(sigmas: Any, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="expected 2 positive numbers"):
        load_dataset(write(tmp_path, POSE, kpt_shape=[2, 3], kpt_oks_sigmas=sigmas), task="pose")


def test_masks_of_coco(tmp_path: Path) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    dense = np.zeros((HEIGHT, WIDTH), np.uint8)
    dense[8:24, 8:40] = 1
    text = mask.encode(np.asfortranarray(dense))["counts"].decode()
    runs = [8 * HEIGHT + 8, *([16, 24] * 32)]
    runs[-1] += HEIGHT * WIDTH - sum(runs)
    for counts in (text, runs):
        data = load_dataset(coco(tmp_path, segmentation={"size": [HEIGHT, WIDTH], "counts": counts}), task="segment")
        assert data.samples[0].outlines == ({"size": [HEIGHT, WIDTH], "counts": text},)
    parts = [[8, 8, 40, 8, 40, 24], [1, 1, 2, 1, 2, 2]]
    (outline,) = load_dataset(coco(tmp_path, segmentation=parts), task="segment").samples[0].outlines or ()
    assert [len(part) for part in outline] == [3, 3]


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        (None, "has no segmentation, which the task segment needs"),
        ([], "has no segmentation"),
        ([[1, 2, 3, 4]], "expected three or more points"),
        ([[1, 2, 3, 4, 1e9, 2]], "far outside"),
        ([[1, 2, 3, 4, float("nan"), 2]], "not finite"),
        ({"size": [1, 1], "counts": [1]}, "run lengths of the size"),
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, "an empty mask"),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 10**12]}, "do not fill"),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]}, "do not fill"),
        ({"size": [HEIGHT, WIDTH], "counts": "oooooooooooo"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": "PPP"}, "end too early"),
        ({"size": [HEIGHT, WIDTH], "counts": "\u20ac"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": 7}, "expected a list or text"),
    ],
)
def test_invalid_masks_of_coco(segmentation: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="annotation 1") as caught:
        load_dataset(coco(tmp_path, segmentation=segmentation), task="segment")
    assert said in str(caught.value)


def test_keypoints_of_coco(tmp_path: Path) -> None:
    data = load_dataset(coco(tmp_path, keypoints=[10, 12, 2, 0, 0, 0]), task="pose")
    assert data.kpt_shape == (2, 3)
    assert data.samples[0].keypoints is not None
    assert data.samples[0].keypoints.tolist() == [[[10, 12, 2], [0, 0, 0]]]
    assert data.samples[0].area.tolist() == [512]
    for wrong, said in (
        ([1, 2], "expected 1 x 3"),
        ([1, 2, 2, 3], "expected 2 x 3"),
        ([1, 2, 9], "visibilities"),
        ([], "no keypoints"),
    ):
        with pytest.raises(LabelError, match=said):
            load_dataset(coco(tmp_path, keypoints=wrong), task="pose")


def folders(root: Path, *classes: str) -> Path:
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(root / split / name / "a.png")
    return root


def test_folders_of_classes(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", "dog", "Cat")
    data = load_dataset(root, task="classify")
    assert data.names == {0: "Cat", 1: "dog"}
    assert [int(sample.classes[0]) for sample in data.samples] == [0, 1]
    assert splits(root) == ["train", "val"]
    assert len(list_images(root, "train")) == 2
    assert load_dataset(root / "val", task="classify").names == data.names
    assert data_sha256(root, "val", "classify") != data_sha256(root, "train", "classify")
    known = data.with_classes_of({0: "bird", 1: "cat", 2: "dog"})
    assert [int(sample.classes[0]) for sample in known.samples] == [1, 2]
    part = data.with_classes_of({0: "cat"})
    assert len(part.samples) == 1
    assert "1 image(s) are of 1 classes that the model lacks (dog)" in part.notes[0]
    with pytest.warns(UserWarning, match="alphabetical order"):
        assert len(data.with_classes_of({0: "x", 1: "y"}).samples) == 2
    with pytest.raises(LabelError, match="none of which is one of the 3"):
        data.with_classes_of({0: "x", 1: "y", 2: "z"})


def test_codes_of_imagenet_are_its_names(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    assert load_dataset(folders(tmp_path / "set", "n01440764", "n02102040"), task="classify").names == {
        0: "tench",
        1: "English_springer",
    }


def test_invalid_folders(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", "cat")
    with pytest.raises(ValueError, match="a folder of images for each class"):
        load_dataset(root / "train" / "cat" / "a.png", task="classify")
    with pytest.raises(LabelError, match="0 folders"):
        load_dataset(root / "train" / "cat", task="classify")
    for file in (root / "val").rglob("*.png"):
        file.unlink()
    with pytest.raises(LabelError, match="no images"):
        load_dataset(root, task="classify")
