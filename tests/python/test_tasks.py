"""Segmentation, pose and oriented boxes: every head on every engine, compared with Ultralytics' own modules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import yolort
from known_models import Make, Target, metadata, task_model

IMAGE = np.full((50, 100, 3), 90, np.uint8)  # letterboxed into 64 x 64
STRIDES = (8, 16, 32)
NAMES = ["zero", "one", "two"]
HEADS = ["Segment", "Segment26", "Pose", "Pose26", "OBB", "OBB26"]
TASKS = {"S": "segment", "P": "pose", "O": "obb"}


class Known(NamedTuple):
    """The outputs of a model, its metadata, and Ultralytics' results for them."""

    outputs: dict[str, np.ndarray]
    metadata: dict[str, Any]
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    extra: np.ndarray  #: masks, keypoints or rotated boxes


@pytest.fixture(scope="module")
def torch() -> Iterator[Any]:
    pytest.importorskip("ultralytics")
    torch = pytest.importorskip("torch")
    yield torch


def random_head(torch: Any, name: str, end2end: bool) -> tuple[Any, list[Any], Any]:
    """A head whose last convolutions give random maps; these maps by level (box, class, extra); and prototypes."""
    from ultralytics.nn.modules import head as heads

    class Given(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, value: Any) -> None:
            super().__init__()
            self.value = value

        def forward(self, _: Any) -> Any:
            return self.value

    random = torch.Generator().manual_seed(4)
    reg_max = 1 if name.endswith("26") else 16
    settings: dict[str, dict[str, Any]] = {"S": {"nm": 6}, "P": {"kpt_shape": (5, 3)}, "O": {"ne": 1}}
    own = settings[name[0]]
    head = getattr(heads, name)(nc=len(NAMES), reg_max=reg_max, end2end=end2end, ch=(16, 16, 16), **own).eval()
    head.end2end = end2end
    head.stride = torch.tensor(STRIDES)
    extra = {"S": 6, "P": 15, "O": 1}[name[0]]
    maps = []
    for stride in STRIDES:
        side = 64 // stride
        box = torch.randn(1, 4 * reg_max, side, side, generator=random)
        cls = 2.5 * torch.randn(1, len(NAMES), side, side, generator=random) - 4  # fewer than the rows of end2end
        more = torch.randn(1, extra, side, side, generator=random)
        maps.append((box.abs() if reg_max == 1 else 3 * box, cls, more))
    for part, branch in enumerate(("cv2", "cv3", "cv4")):
        given = torch.nn.ModuleList(Given(level[part]) for level in maps)
        setattr(head, ("one2one_" if end2end else "") + branch, given)
    if name[0] == "P" and name.endswith("26"):
        _give_keypoints(torch, head, Given, maps, end2end)
    prototypes = torch.randn(1, 6, 16, 16, generator=random)
    head.proto = Given(prototypes)
    return head, maps, prototypes


def _give_keypoints(torch: Any, head: Any, given: Any, maps: list[Any], end2end: bool) -> None:
    """Pose26 has a trunk before its last convolutions."""
    prefix = "one2one_" if end2end else ""
    setattr(head, prefix + "cv4_kpts", torch.nn.ModuleList(given(level[2]) for level in maps))


def known(torch: Any, name: str, kind: str) -> Known:
    """A model with a head: "raw", "raw-e2e", "boxes" or "end2end"."""
    from ultralytics.utils import ops
    from ultralytics.utils.nms import non_max_suppression

    end2end = kind in ("raw-e2e", "end2end")
    task = TASKS[name[0]]
    head, maps, prototypes = random_head(torch, name, end2end)
    features = [torch.zeros(1, 16, 64 // stride, 64 // stride) for stride in STRIDES]
    with torch.no_grad():
        decoded = head(features)[0]
        decoded = decoded[0] if task == "segment" else decoded
        rows = non_max_suppression(
            decoded.clone(), 0.25, 0.7, nc=len(NAMES), rotated=task == "obb", end2end=end2end, max_det=300
        )[0]
    outputs = {f"out{i}": part[0].numpy() for i, part in enumerate(part for level in maps for part in level)}
    if not kind.startswith("raw"):
        outputs = {"out0": decoded[0].numpy()}
    if task == "segment":
        outputs[f"out{len(outputs)}"] = prototypes[0].numpy()
    data = metadata(NAMES, head=kind, strides=list(STRIDES), reg_max=head.reg_max) if kind.startswith("raw") else None
    data = (data or metadata(NAMES, head=kind)) | {"task": task, "head": name}
    if task == "pose":
        data["kpt_shape"] = [5, 3]
    size = IMAGE.shape[:2]
    if task == "obb":
        turned = torch.cat([rows[:, :4], rows[:, -1:]], 1)
        turned[:, :4] = ops.scale_boxes((64, 64), turned[:, :4], size, xywh=True)
        corners = ops.xywhr2xyxyxyxy(turned)
        boxes = ops.clip_boxes(torch.cat([corners.amin(1), corners.amax(1)], 1), size)
        extra = turned
    else:
        boxes = ops.scale_boxes((64, 64), rows[:, :4].clone(), size)
        extra = (
            ops.process_mask_native(prototypes[0], rows[:, 6:], boxes, size)
            if task == "segment"
            else ops.scale_coords((64, 64), rows[:, 6:].reshape(-1, 5, 3), size)
        )
    if task == "segment":
        keep = extra.amax((1, 2)) > 0
        boxes, rows, extra = boxes[keep], rows[keep], extra[keep]
    return Known(outputs, data, boxes.numpy(), rows[:, 4].numpy(), rows[:, 5].numpy(), extra.numpy())


def exact(target: Target) -> dict[str, Any]:
    """Options for float32, because ncnn uses a lower precision on a GPU."""
    return {"precision": "fp32"} if target.engine == "ncnn" else {}


@pytest.mark.parametrize("kind", ["raw", "raw-e2e", "boxes", "end2end"])
@pytest.mark.parametrize("name", HEADS)
def test_heads_give_the_same_results_as_ultralytics(
    torch: Any, name: str, kind: str, target: Target, make_model: Make
) -> None:
    expected = known(torch, name, kind)
    detector = target.detector(make_model(expected.outputs, expected.metadata), **exact(target))
    assert (detector.head, detector.task) == (kind, TASKS[name[0]])
    found = detector(IMAGE)
    assert len(found) == len(expected.scores) > 5
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert found.classes.tolist() == expected.classes.astype(int).tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=2e-3)
    if found.masks is not None:
        assert found.masks.shape == expected.extra.shape
        assert (found.masks.to_dense() != expected.extra.astype(bool)).mean() < 1e-4
    elif found.keypoints is not None:
        np.testing.assert_allclose(found.keypoints, expected.extra, atol=2e-3)
    else:
        assert found.rotated is not None
        np.testing.assert_allclose(found.rotated, expected.extra, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "semantic"}, "segment, pose, obb and classify"),
        ({"task": "depth"}, "'depth'"),
        ({"task": "pose"}, "kpt_shape"),
        ({"task": "pose", "kpt_shape": [5, 4]}, "kpt_shape"),
        ({"task": "pose", "kpt_shape": [4, 3]}, r"4 \+ 3 classes \+ 12"),
        ({"task": "segment"}, "prototypes"),
        ({"task": "obb"}, r"4 \+ 3 classes \+ 1"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str, target: Target, make_model: Make) -> None:
    model = make_model({"out0": np.zeros((4 + 3 + 15, 4), np.float32)}, metadata(NAMES) | change)
    with pytest.raises(yolort.ModelError, match=message):
        target.detector(model)


def pose_model(make_model: Make, flip_idx: object = None) -> Any:
    """One object at (16, 32) with two keypoints, at (10, 30) and (20, 40)."""
    rows = np.zeros((4 + 1 + 6, 4), np.float32)
    rows[:, 0] = [16, 32, 20, 20, 0.9, 10, 30, 0.8, 20, 40, 0.6]
    data = metadata(["thing"]) | {"task": "pose", "kpt_shape": [2, 3]}
    if flip_idx is not None:
        data["yolort"] = json.dumps({"format": 1, "head": "boxes", "flip_idx": flip_idx})
    return make_model({"out0": rows}, data)


def test_mirrored_views_need_to_know_left_from_right(target: Target, make_model: Make) -> None:
    with pytest.raises(ValueError, match="flip_idx"):
        target.detector(pose_model(make_model), augment=True)
    image = np.zeros((64, 64, 3), np.uint8)
    plain = target.detector(pose_model(make_model), augment=True, flip=False, **exact(target))(image)
    assert plain.keypoints is not None
    np.testing.assert_allclose(plain.keypoints[0], [[10, 30, 0.8], [20, 40, 0.6]], atol=1e-4)
    both = target.detector(pose_model(make_model, [1, 0]), augment=True, conf=0.1, **exact(target))(image)
    assert both.keypoints is not None
    # The model finds the same in the mirrored image, so its points belong to the other side.
    by_x = both[np.argsort(both.boxes[:, 0])]
    assert by_x.keypoints is not None
    np.testing.assert_allclose(by_x.keypoints[1], [[44, 40, 0.6], [54, 30, 0.8]], atol=1e-4)
    for wrong in ([0], [1, 1], [0, 2], "ab"):
        with pytest.raises(yolort.ModelError, match="flip_idx"):
            target.detector(pose_model(make_model, wrong))
    given = target.detector(pose_model(make_model), augment=True, conf=0.1, flip_idx=(1, 0), **exact(target))(image)
    np.testing.assert_array_equal(given.keypoints, both.keypoints)
    for wrong_option in ([0], [1, 1], [0, 2]):
        with pytest.raises(ValueError, match="flip_idx"):
            target.detector(pose_model(make_model), flip_idx=wrong_option)


def test_the_skeleton_is_the_models_or_an_option_or_cocos(target: Target, make_model: Make) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    outputs, data = task_model("pose")
    detector = target.detector(make_model(outputs, data))
    assert detector.skeleton == detector.clone().skeleton == ((0, 1), (0, 2))
    assert detector(image)[0].skeleton == detector.skeleton
    assert target.detector(make_model(outputs, data), skeleton=[[1, 2]]).skeleton == ((1, 2),)
    del data["yolort"]
    assert target.detector(make_model(outputs, data)).skeleton == ()
    wrong: Any
    for wrong in ([[0, 3]], [[0, 2**31 - 1]]):
        with pytest.raises(ValueError, match=r"skeleton has a limb .* expected 0 to 2"):
            target.detector(make_model(outputs, data), skeleton=wrong)
    for wrong in ([[0]], 3, [3], [["a", "b"]]):
        with pytest.raises((ValueError, TypeError), match="skeleton"):
            target.detector(make_model(outputs, data), skeleton=wrong)
    for own in ([[0, 3]], [[0]], [0, 1], "ab", {"0": 1}):
        data["yolort"] = json.dumps({"format": 1, "head": "boxes", "skeleton": own})
        with pytest.raises(yolort.ModelError, match=r"yolort.skeleton"):
            target.detector(make_model(outputs, data))


def test_coco_s_skeleton(target: Target, make_model: Make) -> None:
    data = metadata(["person"]) | {"task": "pose", "kpt_shape": [17, 2]}
    detector = target.detector(make_model({"out0": np.zeros((4 + 1 + 34, 4), np.float32)}, data), augment=True)
    assert len(detector.skeleton) == 19 and (5, 6) in detector.skeleton
    data["names"] = {0: "dog"}
    assert target.detector(make_model({"out0": np.zeros((4 + 1 + 34, 4), np.float32)}, data)).skeleton == ()


@pytest.mark.parametrize("task", ["detect", "segment", "obb"])
def test_options_of_poses_are_refused_elsewhere(task: str, target: Target, make_model: Make) -> None:
    for option in ({"flip_idx": [0]}, {"skeleton": [[0, 1]]}):
        with pytest.raises(ValueError, match=f"is only for pose models; the task of .* is {task}"):
            target.detector(make_model(*task_model(task)), **option)


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_drawing_changes_the_objects(task: str, target: Target, make_model: Make) -> None:
    pytest.importorskip("cv2")
    image = np.full((64, 64, 3), 100, np.uint8)
    found = target.detector(make_model(*task_model(task)))(image)
    found.names = {0: ""}
    drawn = (found.draw(image) != 100).any(2)
    if task == "segment":
        assert drawn[32, 8] and not drawn[32, 24]  # the first object's left half
    elif task == "pose":
        assert drawn[30, 10] and drawn[35, 15] and not drawn[24, 14]  # a point, a limb, a point that is hidden
    else:
        assert found.corners is not None
        x, y = np.rint(found.corners[0, 0]).astype(int)
        assert drawn[y - 1 : y + 2, x - 1 : x + 2].any() and not drawn[44, 28]  # a corner, and where it is not turned
