"""Metrics of masks, keypoints, oriented boxes and classes, compared with hand-counted cases, pycocotools and
Ultralytics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from yolort import Detections
from yolort.tools.data.samples import LabelError, Sample

pytest.importorskip("pycocotools")
pytest.importorskip("ultralytics")

from pycocotools import mask
from yolort.tools.evaluate import ultralytics_rule
from yolort.tools.evaluate.classified import ClassifiedScores
from yolort.tools.evaluate.matching import keep
from yolort.tools.evaluate.metrics import score
from yolort.tools.evaluate.ultralytics_rule import usual_sigmas

SIZE = (120, 160)
NAMES = {0: "cat", 1: "dog"}
BOXES = np.array([[10.0, 10, 60, 50], [80, 20, 150, 110]])


class Rectangles:
    """Masks of rectangles in the form of `Detections.masks`."""

    def __init__(self, boxes: np.ndarray) -> None:
        self.boxes = boxes.astype(int)

    def __len__(self) -> int:
        return len(self.boxes)

    def crop(self, at: int) -> tuple[int, int, np.ndarray]:
        x1, y1, x2, y2 = self.boxes[at].tolist()
        return x1, y1, np.ones((y2 - y1, x2 - x1), bool)

    def rle(self) -> list[dict[str, Any]]:
        out = []
        for x1, y1, x2, y2 in self.boxes.tolist():
            dense = np.zeros(SIZE, np.uint8)
            dense[y1:y2, x1:x2] = 1
            found = mask.encode(np.asfortranarray(dense))
            out.append({"size": list(SIZE), "counts": found["counts"].decode()})
        return out


def corners(boxes: np.ndarray) -> tuple[list[np.ndarray], ...]:
    return tuple([np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])] for x1, y1, x2, y2 in boxes)


def truth(boxes: np.ndarray = BOXES, **columns: Any) -> Sample:
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    classes, crowd = np.arange(len(boxes)) % 2, np.zeros(len(boxes), bool)
    return Sample(Path("x.jpg"), boxes, classes, crowd, area, False, SIZE, **columns)


def found(boxes: np.ndarray = BOXES, **columns: Any) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(boxes.astype(np.float32), scores, (np.arange(len(boxes)) % 2).astype(np.int32), **columns)


def test_masks_that_are_right_in_boxes_that_are_not() -> None:
    shifted = BOXES + np.array([[20.0, 0, 20, 0], [0, 0, 0, 0]])
    result = score([truth(outlines=corners(BOXES))], [found(shifted, masks=Rectangles(BOXES))], NAMES, task="segment")
    m = result.metrics
    assert m.metric == "mask mAP50-95"
    assert m.value == pytest.approx(1)
    assert result.value == pytest.approx(1)
    assert m.value_ci == pytest.approx((1, 1))
    assert m.box is not None
    assert m.box.value == pytest.approx(0.5)  # the cat's box has an IoU of 3 / 7
    told = m.to_dict()
    assert told["box"]["metric"] == "mAP50-95"
    assert told["value"] == pytest.approx(1)


def test_masks_of_another_place() -> None:
    other = Rectangles(BOXES + np.array([[0.0, 0, 0, 0], [-70, 0, -70, 0]]))
    m = score([truth(outlines=corners(BOXES))], [found(masks=other)], NAMES, task="segment").metrics
    assert m.value == pytest.approx(0.5)
    assert 0.3 < m.map50_95_ultralytics < 0.5  # at a quarter of 120 x 160 the edges are coarse
    assert m.box is not None
    assert m.box.value == pytest.approx(1)


def test_crowds_of_masks_are_not_scored() -> None:
    crowd = truth(outlines=corners(BOXES))
    crowd = Sample(**{**vars(crowd), "crowd": np.array([False, True])})
    m = score([crowd], [found(masks=Rectangles(BOXES))], NAMES, task="segment").metrics
    assert m.value == pytest.approx(1)
    assert m.instances == 1


def test_masks_are_kept_as_run_lengths() -> None:
    kept = keep(truth(outlines=corners(BOXES)), found(masks=Rectangles(BOXES)), (128, 160), None)
    assert kept.detections.masks is None
    assert kept.masks == Rectangles(BOXES).rle()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools with numpy 2
def test_labels_are_drawn_as_ultralytics_draws_them() -> None:
    """Smaller objects cover larger ones, in a quarter of the network input with its padding."""
    from ultralytics.data.utils import polygons2masks_overlap
    from ultralytics.utils.ops import resample_segments

    boxes = np.array([[8.0, 8, 120, 100], [40, 40, 70, 70]])
    sample = truth(boxes, outlines=corners(boxes))
    there = ultralytics_rule._Placed(SIZE, (320, 320)).truths(sample)
    segments = resample_segments([(part * 2 + [0, 40]).astype(np.float32) for (part,) in corners(boxes)])
    expected, order = polygons2masks_overlap((320, 320), segments, 4)
    for rank, at in enumerate(order.tolist()):
        np.testing.assert_array_equal(mask.decode(there[at]), expected == rank + 1)


def poses(offset: float = 0.0, visible: float = 2.0) -> np.ndarray:
    points = np.linspace(0.2, 0.8, 4)[:, None] * (BOXES[:, None, 2:] - BOXES[:, None, :2]) + BOXES[:, None, :2] + offset
    return np.concatenate([points, np.full((*points.shape[:2], 1), visible)], axis=2)


def test_keypoints_count_by_their_similarity() -> None:
    truths = [truth(keypoints=poses())]
    same = score(truths, [found(keypoints=poses(visible=0.9).astype(np.float32))], NAMES, task="pose").metrics
    assert same.metric == "keypoint mAP50-95"
    assert same.value == pytest.approx(1)
    assert same.map50_95_ultralytics == pytest.approx(0.995)
    far = score(truths, [found(keypoints=poses(400).astype(np.float32))], NAMES, task="pose").metrics
    assert (far.value, far.map50_95_ultralytics) == (0, 0)
    assert far.box is not None
    assert far.box.value == pytest.approx(1)


def test_similarity_is_that_of_the_formula() -> None:
    """OKS of a shift of d: exp(-d^2 / (2 area (2 sigma)^2)); sigmas decide at which thresholds it is a match."""
    shift = 20.0
    truths = [truth(keypoints=poses())]
    seen = [found(keypoints=poses(shift).astype(np.float32))]
    for sigmas in ((0.1,) * 4, (0.25,) * 4, (1.0,) * 4):
        m = score(truths, seen, NAMES, task="pose", sigmas=sigmas).metrics
        oks = np.exp(-2 * shift**2 / (2 * truths[0].area * (2 * sigmas[0]) ** 2))
        expected = np.mean([(one >= np.linspace(0.5, 0.95, 10)).mean() for one in oks])
        assert m.value == pytest.approx(expected, abs=1e-6)
        smaller = np.exp(-2 * shift**2 / (2 * 0.53 * truths[0].area * (2 * sigmas[0]) ** 2))
        expected = np.mean([(one >= np.linspace(0.5, 0.95, 10)).mean() for one in smaller])
        assert m.map50_95_ultralytics == pytest.approx(0.995 * expected, abs=1e-3)


def test_usual_sigmas() -> None:
    from pycocotools.cocoeval import Params

    assert usual_sigmas(17) == pytest.approx(Params("keypoints").kpt_oks_sigmas.tolist())
    assert usual_sigmas(4) == (0.25,) * 4


def test_keypoints_of_another_number_are_refused() -> None:
    seen = found(keypoints=np.zeros((2, 5, 3), np.float32))
    with pytest.raises(LabelError, match="kpt_shape is of 4 keypoints, but the model finds 5"):
        keep(truth(keypoints=poses()), seen, None, None)


def turned(boxes: np.ndarray, angle: float) -> np.ndarray:
    sides = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, 2:] + boxes[:, :2]) / 2
    return np.column_stack([center, sides, np.full(len(boxes), angle)]).astype(np.float32)


def test_oriented_boxes() -> None:
    truths = [truth(outlines=corners(BOXES))]
    result = score(truths, [found(rotated=turned(BOXES, np.pi))], NAMES, task="obb")  # half a turn changes nothing
    assert result.metrics.value == pytest.approx(1)
    assert result.metrics.map50_95_ultralytics == pytest.approx(0.995)
    assert result.metrics.box is None
    assert result.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    m = score(truths, [found(rotated=turned(BOXES, np.pi / 2))], NAMES, task="obb").metrics
    overlaps = np.diag(ultralytics_rule.rotated_iou(turned(BOXES, 0), turned(BOXES, np.pi / 2)))
    expected = np.mean([(one >= np.linspace(0.5, 0.95, 10)).mean() for one in overlaps])
    assert 0 < expected < 1
    assert m.value == pytest.approx(expected)


def test_more_than_a_hundred_oriented_boxes_of_an_image_count() -> None:
    corner = np.array([[12.0 * (at % 20), 12.0 * (at // 20)] for at in range(240)])
    boxes = np.column_stack([corner, corner + 10])
    sample = truth(boxes, outlines=corners(boxes))
    assert score([sample], [found(boxes, rotated=turned(boxes, 0))], NAMES, task="obb").value == pytest.approx(1)


def test_nothing_found() -> None:
    nothing = np.zeros((0, 4))
    for task, columns, extra in (
        ("segment", {"outlines": corners(BOXES)}, {"masks": Rectangles(nothing)}),
        ("pose", {"keypoints": poses()}, {"keypoints": np.zeros((0, 4, 3), np.float32)}),
        ("obb", {"outlines": corners(BOXES)}, {"rotated": np.zeros((0, 5), np.float32)}),
    ):
        m = score([truth(**columns)], [found(nothing, **extra)], NAMES, task=task, resamples=5).metrics
        assert (m.value, m.map50_95_ultralytics, m.f1) == (0, 0, 0)


def images(*classes: int) -> list[Sample]:
    zero = np.zeros(1)
    return [Sample(Path("x"), np.zeros((1, 4)), np.array([cls]), zero > 0, zero, False) for cls in classes]


def test_classes() -> None:
    names = {cls: f"c{cls}" for cls in range(8)}
    best = [np.array([0, 1, 2, 3, 4]), np.array([1, 0, 2, 3, 4]), np.array([2, 1, 0, 3, 4]), np.array([6, 7, 1, 2, 3])]
    scores = ClassifiedScores(images(0, 0, 2, 0), best, names, resamples=200)
    m = scores.metrics
    assert (m.metric, m.value, m.top1, m.top5) == ("top-1", 0.5, 0.5, 0.75)
    assert m.value_ci is not None
    assert 0 <= m.value_ci[0] < 0.5 < m.value_ci[1] <= 1
    assert m.classes[0].images == 3
    assert m.classes[0].top1 == pytest.approx(1 / 3)
    assert m.to_dict()["classes"][1]["top1"] is None
    assert scores.confusion[[0, 1, 2, 6], [0, 0, 2, 0]].tolist() == [1, 1, 1, 1]
    drawn = scores.draws(500)
    assert drawn[0].mean() == pytest.approx(0.5, abs=0.05)
    with pytest.raises(LabelError, match="no images"):
        ClassifiedScores([], [], names, 0)


@pytest.mark.slow
def test_plots(tmp_path: Path) -> None:
    score([truth(outlines=corners(BOXES))], [found(masks=Rectangles(BOXES))], NAMES, task="segment").save_plots(
        tmp_path
    )
    assert {"PR_curve.png", "Box_PR_curve.png", "confusion_matrix_normalized.png"} <= {
        file.name for file in tmp_path.iterdir()
    }
    ClassifiedScores(images(0, 1), [np.array([0, 1]), np.array([0, 1])], NAMES, 0).save_plots(tmp_path)
