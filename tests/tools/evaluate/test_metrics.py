"""`yolort.tools.evaluate.metrics` against pycocotools and cases counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from yolort import Detections
from yolort.tools.data.samples import LabelError, Sample

pytest.importorskip("pycocotools")
pytest.importorskip("ultralytics")

from yolort.tools.evaluate import matching, metrics
from yolort.tools.evaluate.metrics import score

NAMES = {0: "cat", 1: "dog", 2: "cow"}


def truth(*rows: tuple[float, float, float, float, int], crowd: bool = False) -> Sample:
    values = np.array(rows, np.float64).reshape(-1, 5)
    boxes = values[:, :4]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Sample(Path("x.jpg"), boxes, values[:, 4].astype(np.int64), np.full(len(rows), crowd), area, False)


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int32), names=NAMES)


def random_case(images: int = 30) -> tuple[list[Sample], list[Detections]]:
    """Objects, most of them found, some shifted, some with the wrong class, and false positives."""
    rng = np.random.default_rng(0)
    truths, found = [], []
    for _ in range(images):
        corner, side = rng.uniform(0, 300, (6, 2)), rng.uniform(8, 200, (6, 2))
        boxes = np.column_stack([corner, corner + side])
        classes = rng.integers(0, 3, 6)
        truths.append(truth(*zip(*boxes.T, classes, strict=True)))
        seen = boxes + rng.normal(0, 6, boxes.shape) * (rng.random((6, 1)) < 0.7)
        guessed = np.where(rng.random(6) < 0.85, classes, rng.integers(0, 3, 6))
        rows = np.column_stack([seen, rng.random(6), guessed])
        found.append(detections(*rows[rng.random(6) < 0.9]))
    return truths, found


def test_all_found() -> None:
    boxes = [(10, 10, 20, 20, 0), (30, 30, 90, 90, 1), (100, 100, 300, 300, 1)]
    result = score([truth(*boxes)], [detections(*((*b[:4], 0.9, b[4]) for b in boxes))], NAMES, resamples=20)
    m = result.metrics
    assert (m.images, m.instances) == (1, 3)
    for value in (m.map50_95, m.map50, m.map75, m.map_small, m.map_medium, m.map_large):
        assert value == pytest.approx(1)
    assert m.map50_95_ultralytics == pytest.approx(0.995)  # its formula ends at precision 0 for recall 1
    assert m.map50_95_ci == pytest.approx((1, 1))
    assert (m.precision, m.recall) == pytest.approx((1, 1))
    assert [one.instances for one in m.classes] == [1, 2, 0]
    assert math.isnan(m.classes[2].map50)
    assert result.confusion[:3, :3].tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert m.to_dict()["classes"][2]["map50"] is None


def test_counted_by_hand() -> None:
    """One of two cats is found, after a false positive; the dog is detected as a cow."""
    truths = [truth((0, 0, 50, 50, 0), (100, 100, 150, 150, 0)), truth((0, 0, 80, 80, 1))]
    found = [detections((200, 200, 250, 250, 0.9, 0), (0, 0, 50, 50, 0.8, 0)), detections((0, 0, 80, 80, 0.7, 2))]
    result = score(truths, found, NAMES, resamples=0)
    m = result.metrics
    assert m.map50_95_ci is None
    assert m.classes[0].map50 == pytest.approx(51 / 101 / 2)  # precision 0.5 up to recall 0.5, of 101 points
    assert m.classes[1].map50 == 0
    assert m.map50 == pytest.approx(51 / 101 / 4)  # cow has no object and does not count
    matrix = result.confusion  # [detected, true], the last is background
    assert matrix[0].tolist() == [1, 0, 0, 1]
    assert matrix[2].tolist() == [0, 1, 0, 0]
    assert matrix[3].tolist() == [1, 0, 0, 0]


def test_best_confidence() -> None:
    """Ten objects are found above 0.6; false positives are below 0.4."""
    boxes = [(100.0 * i, 0, 100.0 * i + 50, 50) for i in range(20)]
    truths = [truth(*((*box, 0) for box in boxes[:10]))]
    rows = [(*box, 0.6 + i / 50, 0) for i, box in enumerate(boxes[:10])]
    rows += [(*box, 0.4 - i / 50, 0) for i, box in enumerate(boxes[10:])]
    result = score(truths, [detections(*rows)], NAMES, resamples=0)
    assert 0.4 < result.metrics.best_conf < 0.62
    assert result.metrics.f1 == pytest.approx(1, abs=0.01)
    assert result.curves["f1"][100] == pytest.approx(2 / 3, abs=0.01)  # at conf 0.1: precision 0.5, recall 1


def test_best_confidence_of_each_class() -> None:
    """Dogs are found above 0.6 and false positives are below 0.4; for cats above 0.8 and below 0.7; the cow is never
    found.
    """
    boxes = [(100.0 * i, 0, 100.0 * i + 50, 50) for i in range(20)]
    truths = [truth(*((*box, cls) for cls in (0, 1) for box in boxes[:10]), (0, 500, 50, 550, 2))]
    rows = [(*box, start + i / 100, cls) for cls, start in ((0, 0.8), (1, 0.6)) for i, box in enumerate(boxes[:10])]
    rows += [(*box, end - i / 100, cls) for cls, end in ((0, 0.7), (1, 0.4)) for i, box in enumerate(boxes[10:])]
    found = score(truths, [detections(*rows)], NAMES, resamples=0).class_confs
    assert list(found) == [NAMES[0], NAMES[1]]
    assert 0.65 < found[NAMES[0]] < 0.82
    assert 0.35 < found[NAMES[1]] < 0.62


def test_crowds_are_not_scored() -> None:
    crowd = truth((0, 0, 200, 200, 0), crowd=True)
    both = Sample(
        Path("x.jpg"),
        np.concatenate([crowd.boxes, [[300.0, 300, 350, 350]]]),
        np.array([0, 0]),
        np.array([True, False]),
        np.array([40000.0, 2500]),
        False,
    )
    found = detections((10, 10, 60, 60, 0.9, 0), (300, 300, 350, 350, 0.8, 0))
    m = score([both], [found], NAMES, resamples=0).metrics
    assert m.map50 == pytest.approx(1)
    assert m.map50_ultralytics == pytest.approx(0.995)
    assert m.instances == 1


def test_nothing_found_and_nothing_there() -> None:
    for nothing in ([truth()], [truth((0, 0, 50, 50, 0), crowd=True)]):
        with pytest.raises(LabelError, match="none of the 1 images has an object"):
            score(nothing, [detections()], NAMES)
    m = score([truth((0, 0, 50, 50, 0)), truth()], [detections(), detections()], NAMES, resamples=5).metrics
    assert (m.map50_95, m.map50_95_ultralytics, m.f1) == (0, 0, 0)
    found = [detections(), detections((0, 0, 9, 9, 0.9, 1))]
    m = score([truth((0, 0, 50, 50, 0)), truth()], found, NAMES, resamples=5).metrics
    assert m.map50_95 == 0


def summary(scores: metrics.Scores) -> list[float]:
    """pycocotools' own figures: mAP50-95, mAP50, mAP75, and mAP50-95 of small, medium and large objects."""
    from pycocotools.cocoeval import COCOeval

    evaluated = COCOeval(*scores._coco, "bbox")
    evaluated.evaluate()
    evaluated.accumulate()
    evaluated.summarize()
    return [float(value) for value in evaluated.stats[:6]]


def test_figures_are_those_of_pycocotools() -> None:
    scores = score(*random_case(), NAMES, resamples=0)
    found = scores.metrics
    assert 0.2 < scores.map50_95 < 0.9
    assert summary(scores) == [
        *(scores.map50_95, scores.map50),
        *(found.map75, found.map_small, found.map_medium, found.map_large),
    ]


def test_the_weighted_map_is_that_of_pycocotools() -> None:
    truths, found = random_case()
    scores = score(truths, found, NAMES, resamples=0)
    matches, recalls = scores._matches, scores._recalls
    same = matching.weighted_aps(matches, recalls, np.ones(30, int)).mean()
    assert same == pytest.approx(scores.map50_95, abs=1e-9)
    # An image with weight 2 is equivalent to two copies; with weight 0, to none.
    weights = np.ones(30, int)
    weights[3], weights[4] = 2, 0
    twice = score([*truths[:4], truths[3], *truths[5:]], [*found[:4], found[3], *found[5:]], NAMES, resamples=0)
    weighted = matching.weighted_aps(matches, recalls, weights).mean()
    assert weighted == pytest.approx(twice.map50_95, abs=2e-3)  # the same order of ties


def test_the_interval_narrows_with_more_images() -> None:
    widths = []
    for images in (15, 120):
        truths, found = random_case(images)
        m = score(truths, found, NAMES, resamples=100).metrics
        assert m.map50_95_ci is not None
        low, high = m.map50_95_ci
        assert low < m.map50_95 < high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


def test_plots(tmp_path: Path) -> None:
    truths, found = random_case()
    score(truths, found, NAMES, resamples=0).save_plots(tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    curves = {"PR_curve.png", "F1_curve.png", "Precision_curve.png", "Recall_curve.png"}
    assert made == curves | {"confusion_matrix_normalized.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
