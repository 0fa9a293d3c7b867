"""Distillation of models that segment, find poses and oriented boxes, and of classifiers."""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics")
pytest.importorskip("cv2")

import torch
import training
from ultralytics.cfg import get_cfg
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.train import losses
from yolort.tools.train.adapt import set_classes, set_keypoints
from yolort.tools.train.distill import ClassifierDistillation, TeacherError, distill
from yolort.tools.train.task_terms import TERMS, decode_head, prototypes, task_losses
from yolort.tools.train.trainer import Trainer

Checkpoints = Callable[[str], Path]
Scenes = Callable[[str], Path]
TASKS = {"seg": "segment", "pose": "pose", "obb": "obb"}
OWN = {task: [name for names in terms.values() for name in names] for task, terms in TERMS.items()}


def model_of(path: Path) -> Any:
    return load_checkpoint(path, tasks=True).model


def taught(path: Path, data: Path) -> Any:
    """A teacher of the classes and keypoints of the data that finds something everywhere."""
    from yolort.tools.data.dataset import load_dataset

    model = model_of(path)
    names = load_dataset(data, "train", task=TASKS[path.stem.partition("-")[2]]).names
    torch.manual_seed(2)
    set_classes(model, names)
    if path.stem.endswith("-pose"):
        set_keypoints(model, [4, 3])
    return finding(model)


def finding(model: Any) -> Any:
    """The model with scores of about a half everywhere, and boxes that have an area."""
    for branch, value in (("cv2", 4.0), ("cv3", 0.0)):
        for prefix in ("", "one2one_"):
            for layers in getattr(model.model[-1], prefix + branch, ()):
                torch.nn.init.constant_(layers[-1].bias, value)
    return model


# --- losses by hand


def test_rotated_boxes_by_hand() -> None:
    teacher = torch.tensor([[[5.0, 5.0, 4.0, 2.0, 0.3], [1.0, 1.0, 2.0, 2.0, 0.0]]])
    scores = torch.tensor([[2.0, 0.0]])
    turned = teacher.clone()
    turned[0, 0, 4] += math.pi  # the same box
    turned[0, 1, 0] += 50  # not looked at
    assert losses.rotated_box_loss(turned, teacher, scores).item() == pytest.approx(0, abs=2e-3)
    assert losses.angle_loss(turned, teacher, scores).item() == pytest.approx(0, abs=1e-6)
    turned[0, 0, 4] = 0.3 + math.pi / 6
    expected = math.exp(-(math.log(2) ** 2) / 9) * math.sin(math.pi / 3) ** 2
    assert losses.angle_loss(turned, teacher, scores).item() == pytest.approx(expected, rel=1e-5)
    assert losses.rotated_box_loss(turned, teacher, scores).item() > 0.1


def test_keypoints_by_hand() -> None:
    teacher = torch.tensor([[[[1.0, 1.0, 100.0], [7.0, 7.0, -100.0]]]])  # seen, not seen
    student = teacher.clone()
    student[..., 0] += 3
    areas, sigmas, scores = torch.tensor([[8.0]]), torch.tensor([0.5, 0.5]), torch.ones(1, 1)
    places, seen = losses.keypoint_loss(student, teacher, areas, sigmas, scores)
    assert places.item() == pytest.approx(1 - math.exp(-9 / 16), rel=1e-5)
    assert seen.item() == pytest.approx(0, abs=1e-6)
    student[..., 2] = 0
    assert losses.keypoint_loss(student, teacher, areas, sigmas, scores)[1].item() == pytest.approx(math.log(2))
    places, seen = losses.keypoint_loss(student[..., :2], teacher[..., :2], areas, sigmas, scores)
    assert places.item() == pytest.approx(1 - math.exp(-9 / 16), rel=1e-5)
    assert seen == 0


def test_masks_by_hand() -> None:
    teacher = torch.full((1, 1, 4, 4), math.log(3))  # 3/4
    student, scores = torch.zeros(1, 1, 4, 4), torch.ones(1, 1)
    student[..., 2:, :] = 50  # outside the box
    divergence = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    box = torch.tensor([[[0.0, 0.0, 4.0, 2.0]]])
    assert losses.mask_loss(student, teacher, box, scores).item() == pytest.approx(divergence, rel=1e-5)
    assert losses.mask_loss(student, teacher, box * 0, scores) == 0
    assert losses.mask_loss(teacher, teacher, box, scores).item() == pytest.approx(0, abs=1e-6)


def test_prototypes_and_soft_labels_by_hand() -> None:
    teacher = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)
    assert losses.prototype_loss(teacher + 1, teacher).item() == pytest.approx(1 / 2)
    student, logits = torch.zeros(1, 2), torch.tensor([[0.0, 4 * math.log(3)]])  # 1/2 and, at 4, 3/4
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.soft_label_loss(student, logits, 4).item() == pytest.approx(16 * divergence, rel=1e-5)
    assert losses.soft_label_loss(logits, logits, 4).item() == pytest.approx(0, abs=1e-6)


# --- the terms of a head


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo26n"])
@pytest.mark.parametrize("kind", ["pose", "obb"])
def test_heads_are_decoded_as_ultralytics_does(architecture: str, kind: str, checkpoint: Checkpoints) -> None:
    """The loss to what Ultralytics' own decoding finds is 0."""
    model = model_of(checkpoint(f"{architecture}-{kind}"))
    head = model.model[-1]
    found, raw = model(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    branch = decode_head(raw.get("one2many", raw), head)
    if kind == "obb":
        pixels = torch.cat([branch.boxes[0, :, :4] * branch.strides, branch.boxes[0, :, 4:]], 1)
        assert torch.allclose(pixels[:, :4].T, found[0, :4], atol=1e-3)
        assert torch.allclose(pixels[:, 4], found[0, -1], atol=1e-5)
        return
    from yolort.tools.train.task_terms import _keypoints

    points = _keypoints(branch, head)[0]
    pixels = torch.cat([points[..., :2] * branch.strides.unsqueeze(1), points[..., 2:].sigmoid()], -1)
    assert torch.allclose(pixels.flatten(1).T, found[0, 7:], atol=1e-3)


@pytest.mark.parametrize("architecture", ["yolo11n", "yolo26n"])
@pytest.mark.parametrize("kind", TASKS)
def test_terms_are_zero_for_a_network_beside_itself(architecture: str, kind: str, checkpoint: Checkpoints) -> None:
    model = finding(model_of(checkpoint(f"{architecture}-{kind}")))
    head = model.model[-1]
    sigmas, images = torch.ones(17) / 17, torch.rand(1, 3, 64, 64)
    branches = []
    for _ in range(2):
        raw = model(images)[1]
        branches.append(decode_head(raw.get("one2many", raw), head))
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, 0, 0.2)
    same = task_losses(branches[0], branches[0], (head, head), sigmas)
    other = task_losses(branches[1], branches[0], (head, head), sigmas)
    assert {"kdbox_loss", *OWN[TASKS[kind]]} - {"kdproto_loss"} == set(same)
    assert all(value.item() == pytest.approx(0, abs=5e-3) for value in same.values()), same
    assert all(value > 0 for value in other.values()), other


def looking(seen: list[dict[str, float]], steps: int) -> type[Trainer]:
    """A trainer that repeats steps on one batch, writes down the losses, and stops with InterruptedError."""

    class Looking(Trainer):
        def prepare_criterion(self) -> None:
            super().prepare_criterion()
            batch = self.preprocess_batch(next(iter(self.train_loader)))
            self.model.train()
            optimizer = torch.optim.Adam([one for one in self.model.parameters() if one.requires_grad], 1e-3)
            for _ in range(steps):
                total, items = self.model(copy.copy(batch))
                seen.append({name: float(value) for name, value in items.items()})
                assert len(total) == len(items)
                optimizer.zero_grad()
                total[-len(OWN[self.args.task]) :].sum().backward()  # the task's own terms alone
                optimizer.step()
            raise InterruptedError

    return Looking


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "student"), [("seg", "yolo26n"), ("seg", "yolov8n"), ("pose", "yolo26n"), ("obb", "yolov8n")]
)
def test_terms_of_a_task_fall_and_can_be_switched_off(
    kind: str, student: str, checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path
) -> None:
    task = TASKS[kind]
    data = scenes(task)
    master, seen = taught(checkpoint(f"yolo26n-{kind}"), data), list[dict[str, float]]()
    given = checkpoint(f"{student}-{kind}")
    options: dict[str, Any] = {"epochs": 1, "imgsz": 64, **training.QUICK}
    with pytest.raises(InterruptedError):
        distill(master, given, data, trainer=looking(seen, 8), output=tmp_path / "run", **options)
    for name in OWN[task]:
        assert 0 < seen[-1][name] < 0.9 * seen[0][name], (name, seen[0][name], seen[-1][name])
    for term, names in TERMS[task].items():
        off: list[dict[str, float]] = []
        with pytest.raises(InterruptedError):
            distill(master, given, data, trainer=looking(off, 1), output=tmp_path / term, **{**options, term: 0.0})
        assert [off[0][name] == 0 for name in OWN[task]] == [name in names for name in OWN[task]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS)
def test_a_distilled_model_of_a_task_is_a_stock_checkpoint(
    kind: str, checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path
) -> None:
    """Narrow as it was; an interrupted run is resumed with its teacher."""
    task = TASKS[kind]
    data, run = scenes(task), tmp_path / "run"
    master = taught(checkpoint(f"yolo26n-{kind}"), data)
    given = training.narrowed(model_of(checkpoint(f"yolo26n-{kind}")))
    options = {"epochs": 2, "output": run, **training.QUICK}
    with pytest.raises(KeyboardInterrupt):
        distill(master, given, data, trainer=training.interrupted(Trainer, 1), **options)
    best = distill(master, given, data, resume=True, **options)
    expected = f"{task} 12 {type(given).__name__}"
    told = "yolo.task, yolo.model.model[0].conv.weight.shape[0], type(yolo.model).__name__"
    assert training.without_yolort(best, told) == expected
    with (run / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("dis_loss", "logit_loss", "kdbox_loss", *OWN[task]):
        assert all(float(row[f"train/{name}"]) > 0 for row in rows), name


def test_a_classifier_learns_softened_scores(checkpoint: Checkpoints) -> None:
    """Without the trainer, which needs torchvision."""
    student, teacher = (model_of(checkpoint(f"{name}-cls")).train() for name in ("yolo26n", "yolo11n"))
    student.args = get_cfg(overrides={"imgsz": 64, "dis": 6.0})
    pair = ClassifierDistillation(teacher, student, {"logit": 1.0, "temperature": 4.0}).train()
    batch = {"img": torch.rand(4, 3, 64, 64), "cls": torch.tensor([0, 1, 2, 0])}
    optimizer = torch.optim.Adam([one for one in pair.parameters() if one.requires_grad], 1e-3)
    seen = []
    for _ in range(10):
        total, items = pair(batch)
        assert total.shape == (3,)
        seen.append({name: float(value) for name, value in items.items()})
        optimizer.zero_grad()
        total[1:].sum().backward()
        optimizer.step()
    for name in ("dis_loss", "logit_loss"):
        assert 0 < seen[-1][name] < 0.9 * seen[0][name], (name, seen)
    assert all(one.grad is None for one in teacher.parameters())
    assert type(copy.deepcopy(pair)).__module__.startswith("ultralytics.")
    assert pair.eval()(batch)[1]["logit_loss"] == 0
    pair.gains["logit"] = pair.dis = 0.0
    assert pair.train()(batch)[0][1:].tolist() == [0.0, 0.0]


# --- what is refused


def test_teachers_of_other_tasks_and_keypoints(checkpoint: Checkpoints, scenes: Scenes, tmp_path: Path) -> None:
    run: dict[str, Any] = {"epochs": 1, "imgsz": 64, "output": tmp_path / "run"}
    with pytest.raises(TeacherError, match="the teacher is for detect, the student for segment"):
        distill(checkpoint("yolo11n"), checkpoint("yolo11n-seg"), tmp_path / "absent.yaml", **run)
    other = taught(checkpoint("yolo11n-pose"), scenes("pose"))
    set_keypoints(other, [17, 3])
    with pytest.raises(TeacherError, match=r"the teacher has keypoints \[17, 3\], the data \[4, 3\]"):
        distill(other, checkpoint("yolo11n-pose"), scenes("pose"), **{**training.QUICK, **run})


def test_terms_of_other_tasks(checkpoint: Checkpoints, tmp_path: Path) -> None:
    """Before the data are read."""
    for kind, term in (
        ("pose", "mask"),
        ("seg", "keypoint"),
        ("obb", "proto"),
        ("seg", "angle"),
        ("obb", "temperature"),
    ):
        path = checkpoint(f"yolo11n-{kind}")
        options: dict[str, Any] = {"epochs": 1, "imgsz": 64, "output": tmp_path / "run"}
        with pytest.raises(ValueError, match=f"{term} is not a term of this student, which is for {TASKS[kind]}"):
            distill(path, path, tmp_path / "absent.yaml", **{**options, term: 1.0})
        with pytest.raises(ValueError, match=f"{term} must be . or more"):
            distill(path, path, tmp_path / "absent.yaml", **{**options, term: -1.0})
    assert not (tmp_path / "run").exists()


def test_prototypes_of_a_network_in_training(checkpoint: Checkpoints) -> None:
    """YOLO26's come with the regions that only the training has."""
    model = model_of(checkpoint("yolo26n-seg"))
    model.train()
    raw = model(torch.rand(2, 3, 64, 64))
    assert prototypes(raw["one2many"]).shape == (2, 32, 16, 16)
