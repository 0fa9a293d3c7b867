"""`yolort distill`: the loss terms, requirements on a teacher, and that the result contains no part of it."""

from __future__ import annotations

import copy
import csv
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics")

import torch
import training
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.train.distill import TeacherError, distill, distilling, prepare_teacher
from yolort.tools.train.losses import box_loss, logit_loss
from yolort.tools.train.task_terms import decode_head
from yolort.tools.train.trainer import Trainer, set_classes, train_module

Checkpoints = Callable[[str], Path]
NAMES = {0: "red", 1: "green", 2: "blue"}


def model_of(path: Path) -> Any:
    return load_checkpoint(path).model


def taught(path: Path) -> Any:
    """A teacher with the data's classes in another order that detects something everywhere."""
    model = model_of(path)
    set_classes(model, {0: "blue", 1: "red", 2: "Green"})
    for branch in ("cv3", "one2one_cv3"):
        for layers in getattr(model.model[-1], branch, ()):
            torch.nn.init.zeros_(layers[-1].bias)
    return model


def test_logit_loss_by_hand() -> None:
    student, teacher = torch.zeros(1, 1, 1), torch.full((1, 1, 1), math.log(3))  # probabilities 1/2 and 3/4
    divergence = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert logit_loss(student, teacher).item() == pytest.approx(0.25 * divergence, rel=1e-5)  # scores sum to below 1
    many = logit_loss(student.expand(2, 1, 4), teacher.expand(2, 1, 4)).item()
    assert many == pytest.approx(8 * 0.25 * divergence / (8 * 0.75), rel=1e-5)
    assert logit_loss(teacher, teacher).item() == pytest.approx(0, abs=1e-7)


def test_logit_loss_pulls_towards_the_teacher() -> None:
    student, teacher = torch.tensor([[[-1.0, 2.0]]], requires_grad=True), torch.tensor([[[1.0, 1.0]]])
    logit_loss(student, teacher).backward()
    assert student.grad is not None
    assert student.grad[0, 0, 0] < 0 < student.grad[0, 0, 1]


def test_box_loss_by_hand() -> None:
    student = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 1.0, 1.0]]])
    teacher = torch.tensor([[[1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 9.0, 9.0]]])  # same center and shape: IoU 4 / 16
    assert box_loss(student, teacher, torch.tensor([[2.0, 0.0]])).item() == pytest.approx(0.75, abs=1e-4)
    assert box_loss(teacher, teacher, torch.ones(1, 2)).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo11n", "yolo26n"])
def test_boxes_are_decoded_as_ultralytics_does(architecture: str, checkpoint: Checkpoints) -> None:
    model = model_of(checkpoint(architecture))
    head = model.model[-1]
    found, raw = model(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    decoded = decode_head(raw.get("one2many", raw), head)
    scores, boxes = decoded.scores, decoded.boxes
    cells = torch.cat([torch.full((12 * 8 // 4**level,), 8.0 * 2**level) for level in range(3)])
    pixels = boxes[0] * cells[:, None]
    centres = torch.cat([(pixels[:, :2] + pixels[:, 2:]) / 2, pixels[:, 2:] - pixels[:, :2]], 1)
    assert torch.allclose(centres.T, found[0, :4], atol=1e-3)
    assert torch.allclose(scores[0].sigmoid(), found[0, 4:], atol=1e-5)


def test_classes_of_the_teacher_are_put_in_order(checkpoint: Checkpoints) -> None:
    teacher = taught(checkpoint("yolo26n"))
    prepared = prepare_teacher(teacher, model_of(checkpoint("yolo26n")), NAMES)
    images = torch.rand(1, 3, 64, 64)
    before, after = (model(images)[1]["one2one"]["scores"] for model in (teacher, prepared))
    assert torch.allclose(before[:, [1, 2, 0]], after, atol=1e-5)
    assert teacher.names[0] == "blue"


def test_teachers_that_do_not_fit(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    from ultralytics.nn.tasks import DetectionModel

    student = checkpoint("yolo26n")
    run: dict[str, Any] = {"epochs": 1, "imgsz": 64, "output": tmp_path / "run"}
    with pytest.raises(
        TeacherError, match=r"the teacher has 3 classes \(driver's cab.*the data 3 \(red, green, blue\)"
    ):
        distill(checkpoint("yolo11n"), student, blocks, **run)
    with pytest.raises(TeacherError, match=r"the teacher has 80 classes \(0, 1, 2, ...\)"):
        distill(DetectionModel("yolo26n.yaml", verbose=False), student, blocks, **run)
    four = DetectionModel("yolov8n-p2.yaml", nc=3, verbose=False)
    four.names = NAMES
    with pytest.raises(TeacherError, match=r"4 levels with strides \[4.0, 8.0, 16.0, 32.0\], the student 3"):
        distill(four, student, blocks, **run)
    with pytest.raises(ValueError, match="logit must be 0 or more"):
        distill(four, student, blocks, logit=-1, **run)
    with pytest.raises(
        ValueError, match="quantize is not available in this trainer; use Ultralytics' own train afterwards"
    ):
        distill(four, student, blocks, quantize=8, **run)
    assert not (tmp_path / "run" / "weights" / "last.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "student"), [("yolo26n", "yolo26n"), ("yolo11n", "yolo26n"), ("yolo26n", "yolov8n")]
)
def test_distil(teacher: str, student: str, checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    given, run = training.narrowed(model_of(checkpoint(student))), tmp_path / "run"
    interrupted = training.interrupted(Trainer, 1)
    options = {"epochs": 2, "output": run, **training.QUICK}
    with pytest.raises(KeyboardInterrupt):
        distill(taught(checkpoint(teacher)), given, blocks, trainer=interrupted, **options)
    projector = "type(yolo.model).__name__, hasattr(yolo.model, 'teacher_model') and yolo.model.teacher_model"
    assert training.without_yolort(run / "weights" / "last.pt", projector) == "DistillationModel None"
    with pytest.raises(ValueError, match="resume a distillation with its teacher"):
        train_module(given, blocks, resume=True, **options)
    best = distill(taught(checkpoint(teacher)), given, blocks, resume=True, **options)
    assert training.without_yolort(best, "type(yolo.model).__name__") == "DetectionModel"
    assert training.shapes(model_of(best)) == training.shapes(given)
    with (run / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("dis_loss", "logit_loss", "kdbox_loss"):
        assert all(float(row[f"train/{name}"]) > 0 for row in rows), name


@pytest.mark.slow
@pytest.mark.parametrize(("teacher", "branches"), [("yolo26n", {"one2many", "one2one"}), ("yolo11n", {"one2many"})])
def test_branches_and_gains(
    teacher: str, branches: set[str], checkpoint: Checkpoints, blocks: Path, tmp_path: Path
) -> None:
    """Gradients of the logit and box terms alone reach the branches that both models have, and no others."""
    seen: dict[str, Any] = {}

    class Looking(Trainer):
        def prepare_criterion(self) -> None:
            super().prepare_criterion()
            batch = self.preprocess_batch(next(iter(self.train_loader)))
            self.model.train()
            losses, items = self.model(batch)
            assert len(losses) == 6 and losses[3] == 0  # dis=0
            assert torch.allclose(losses[-2:], torch.stack([items["logit_loss"], items["kdbox_loss"]]) * 4, rtol=1e-4)
            losses[-2:].sum().backward()
            model: Any = self.model
            head = model.student_model.model[-1]
            for branch, layers in (("one2many", head.cv2), ("one2one", head.one2one_cv2)):
                gradients = [layer.weight.grad for layer in (layers[0][-1], layers[2][-1])]
                seen[branch] = all(one is not None and one.abs().sum() > 0 for one in gradients)
            assert all(parameter.grad is None for parameter in model.teacher_model.parameters())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        distill(
            taught(checkpoint(teacher)),
            checkpoint("yolo26n"),
            blocks,
            epochs=1,
            feature=0,
            trainer=Looking,
            output=tmp_path / "run",
            **training.QUICK,
        )
    assert {branch for branch, reached in seen.items() if reached} == branches


@pytest.mark.slow
def test_gains_of_zero_leave_the_labels(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    """Without the three terms, the student learns the same as without a teacher, for every seed."""

    class Reseeded(Trainer):
        """Building a projector draws random numbers, which must not change the sampling of images."""

        def prepare_criterion(self) -> None:
            from ultralytics.utils.torch_utils import init_seeds

            super().prepare_criterion()
            init_seeds(0, deterministic=True)

    options = {"epochs": 1, "trainer": Reseeded, **training.QUICK, "mosaic": 0.0}
    set_classes(student := model_of(checkpoint("yolo26n")), NAMES)
    alone = train_module(student, blocks, output=tmp_path / "alone", **options)
    teacher = taught(checkpoint("yolo26n"))
    beside = distill(teacher, student, blocks, feature=0, logit=0, box=0, output=tmp_path / "beside", **options)
    assert all(
        torch.allclose(value.float(), other.float(), atol=2e-3)
        for value, other in zip(
            model_of(alone).state_dict().values(), model_of(beside).state_dict().values(), strict=True
        )
    )


def test_a_distilling_trainer_keeps_its_base_class(checkpoint: Checkpoints) -> None:
    made = distilling(training.interrupted(Trainer, 0), copy.deepcopy(taught(checkpoint("yolo26n"))))
    assert issubclass(made, Trainer)
    assert made.optimizer_step is not Trainer.optimizer_step


@pytest.mark.slow
def test_command(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    torch.save({"model": taught(checkpoint("yolo26n")), "train_args": {}}, tmp_path / "teacher.pt")
    command = [sys.executable, "-m", "yolort", "distill", "--student", str(checkpoint("yolo26n")), "--imgsz", "64"]
    command += ["--data", str(blocks), "--epochs", "1", "--batch", "4", "--output", str(tmp_path / "run")]
    wrong = subprocess.run(
        [*command, "--teacher", str(checkpoint("yolo11n"))], capture_output=True, text=True, timeout=300, check=False
    )
    assert wrong.returncode == 2
    assert "yolort: error: the teacher has 3 classes" in wrong.stderr
    command += ["--teacher", str(tmp_path / "teacher.pt"), "plots=False", "device=cpu", "amp=False"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"written to {tmp_path / 'run' / 'weights' / 'best.pt'}" in done.stdout
