from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import Make, Target, metadata, task_model, write_onnx


@pytest.fixture
def found(target: Target, make_model: Make) -> yolort.Detections:
    """Two objects in an image of 60 x 48 pixels: the left half of a box, and the whole of another."""
    return target.detector(make_model(*task_model("segment")))(np.zeros((48, 60, 3), np.uint8))


def test_selecting_shares_and_keeps_order(found: yolort.Detections) -> None:
    assert found.masks is not None and len(found) == len(found.masks) == 2
    assert found.masks.shape == (2, 48, 60)
    dense = found.masks.to_dense()
    rows: Any
    for rows, expected in [([1, 0], [1, 0]), (found.scores > 0.85, [0]), (slice(1, None), [1]), (-1, [1]), ([], [])]:
        part = found[rows].masks
        assert part is not None
        np.testing.assert_array_equal(part.to_dense(), dense[expected])
    with pytest.raises(IndexError):
        found.masks[2]
    with pytest.raises(IndexError):
        found.masks.crop(2)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_the_forms_of_a_mask_agree(found: yolort.Detections) -> None:
    masks = found.masks
    assert masks is not None
    dense = masks.to_dense()
    assert dense.dtype == bool and dense[0].any() and not dense[0, :, 20:].any()
    np.testing.assert_array_equal(masks.area, dense.sum((1, 2)))
    left, top, pixels = masks.crop(1)
    np.testing.assert_array_equal(dense[1, top : top + pixels.shape[0], left : left + pixels.shape[1]], pixels)
    assert dense[1].sum() == pixels.sum()
    coco = pytest.importorskip("pycocotools.mask")
    np.testing.assert_array_equal(coco.decode(masks.rle()).transpose(2, 0, 1), dense)
    assert found.to_dict()["detections"][1]["mask"] == masks.rle()[1]


def test_polygons_and_drawing(found: yolort.Detections) -> None:
    cv2 = pytest.importorskip("cv2")
    assert found.masks is not None
    for outlines, expected in zip(found.masks.polygons(), found.masks.to_dense(), strict=True):
        filled = np.zeros(expected.shape, np.uint8)
        cv2.fillPoly(filled, outlines, 1)
        np.testing.assert_array_equal(filled.astype(bool), expected)
    image = np.full((48, 60, 3), 100, np.uint8)
    drawn = found.draw(image)
    assert (drawn[24, 48] != 100).any() and (drawn[24, 35] == 100).all()  # in the second object, and between both


def test_supervision_gets_the_masks(found: yolort.Detections) -> None:
    pytest.importorskip("supervision")
    assert found.masks is not None
    np.testing.assert_array_equal(found.to_supervision().mask, found.masks.to_dense())


def test_as_many_masks_as_detections(found: yolort.Detections) -> None:
    with pytest.raises(ValueError, match="expected 2 masks, got 1"):
        yolort.Detections(found.boxes, found.scores, found.classes, masks=found[:1].masks)


def test_joined_masks_of_mirrored_views(target: Target, make_model: Make) -> None:
    """The model finds its object in the left half of each view, so in the image at both sides, each with its mask."""
    prototypes = np.ones((1, 16, 16), np.float32)
    rows = np.zeros((4 + 1 + 1, 4), np.float32)
    rows[:, 0] = [16, 32, 24, 24, 0.9, 1]
    model = make_model({"out0": rows, "out1": prototypes}, metadata(["thing"]) | {"task": "segment"})
    both = target.detector(model, augment=True, conf=0.1)(np.zeros((64, 64, 3), np.uint8))
    assert both.masks is not None
    dense = both.masks[np.argsort(both.boxes[:, 0])].to_dense()
    np.testing.assert_array_equal(dense[0], dense[1][:, ::-1])
    assert dense[0, 20:44, 4:28].all() and dense[0].sum() == 24 * 24


MEMORY_PROGRAM = """
import sys
import numpy as np
import yolort

def mib(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024

detector = yolort.Detector(sys.argv[1], engine="onnxruntime", max_det=400, iou=1.0)
image = np.zeros((4000, 6000, 3), np.uint8)
detector(np.zeros((48, 64, 3), np.uint8))
before = mib("VmRSS:")
try:
    count = len(detector(image))
except ValueError as error:
    count = error
print(round(mib("VmHWM:") - before), count)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "share", "max_mib", "outcome"),
    [
        (300, 0.1, 143, "300"),  # 150 MB
        (300, 1.0, 1024, "300"),
        (400, 1.0, 20, "the masks of 400 detections in one image take 1144 MiB, more than the 1024 allowed"),
    ],
)
def test_memory_of_many_masks(count: int, share: float, max_mib: int, outcome: str, tmp_path: Path) -> None:
    """In an image of 6000 x 4000 pixels; each box covers part of it."""
    rows = np.full((4 + 1 + 1, count), 0.9, np.float32)
    rows[:4] = np.array([32, 31.5, 64, 43])[:, None] * np.array([1, 1, share**0.5, share**0.5])[:, None]
    data = metadata(["thing"]) | {"task": "segment"}
    model = write_onnx(tmp_path, {"out0": rows, "out1": np.ones((1, 16, 16), np.float32)}, data)
    arguments = [sys.executable, "-c", MEMORY_PROGRAM, str(model)]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    mib, _, what = told.strip().partition(" ")
    assert int(mib) <= max_mib
    assert what.startswith(outcome)
