"""`yolort train`: weights, losses and sampling as computed by hand, and a checkpoint that stock Ultralytics loads."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yolort

pytest.importorskip("ultralytics")

import numpy as np
import torch
import training
from batch_losses import batch_losses
from yolort.tools.data.class_balance import class_report, class_weights, sample_weights
from yolort.tools.data.samples import LabelError
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.train.losses import FocalLoss
from yolort.tools.train.sampling import resized, sides_within
from yolort.tools.train.train import TrainOptions, train, weighting
from yolort.tools.train.trainer import Trainer

Checkpoints = Callable[[str], Path]


# --- weights


@pytest.mark.parametrize(
    ("method", "counts", "expected"),
    [
        ("median", [100, 10, 4], [10 / 100, 1, 10 / 4]),
        ("inverse", [100, 10, 4], [114 / 300, 114 / 30, 114 / 12]),
        # (1 - 0.9) / (1 - 0.9^n) for 1 and 2: 1 and 0.1 / 0.19, scaled to the mean 1
        ("effective", [1, 2], [2 / (1 + 0.1 / 0.19), 2 * (0.1 / 0.19) / (1 + 0.1 / 0.19)]),
    ],
)
def test_class_weights_by_hand(method: str, counts: list[int], expected: list[float]) -> None:
    assert class_weights(counts, method, clip=(0.01, 100), beta=0.9) == pytest.approx(expected)


def test_class_weights_are_clipped() -> None:
    assert class_weights([1000, 10, 1], "median", clip=(0.5, 4)).tolist() == [0.5, 1, 4]


def test_effective_number_ends_in_no_weights_and_in_the_inverse() -> None:
    counts = [50, 5, 1]
    assert class_weights(counts, "effective", beta=0).tolist() == [1, 1, 1]
    inverse = 1 / np.array(counts)
    near = class_weights(counts, "effective", beta=1 - 1e-9, clip=(0.01, 100))
    assert near == pytest.approx(inverse * 3 / inverse.sum(), rel=1e-4)


def test_class_weights_of_wrong_use() -> None:
    with pytest.raises(LabelError, match=r"no object of blue among the training labels.*remove it from the data.yaml"):
        class_weights([3, 0], "median", names={0: "red", 1: "blue"})
    with pytest.raises(ValueError, match="must be median, inverse or effective, not 'mean'"):
        class_weights([3, 1], "mean")
    with pytest.raises(ValueError, match=r"beta must be 0 to below 1, got 1.0"):
        class_weights([3, 1], "effective", beta=1.0)
    with pytest.raises(ValueError, match="clip must be"):
        class_weights([3, 1], "median", clip=(2, 10))


IMAGES = [np.array([0, 0, 1]), np.array([0]), np.array([0]), np.array([], int)]


def test_balanced_sampling_by_hand() -> None:
    # class 0: 4 objects, class 1: one; the weights of the labeled images are 2/4 + 1, 1/4, 1/4
    chances = np.array([1.5, 0.25, 0.25])
    weights = np.append(chances / chances.mean(), 1)
    assert sample_weights(IMAGES, 2, "balanced") == pytest.approx(weights / weights.mean())


def test_repeat_factors_by_hand() -> None:
    # class 1 is in a quarter of the images: sqrt(0.5 / 0.25); class 0 in more than half
    weights = np.array([math.sqrt(2), 1, 1, 1])
    assert sample_weights(IMAGES, 2, "repeat", threshold=0.5) == pytest.approx(weights / weights.mean())
    assert sample_weights(IMAGES, 2, "repeat") == pytest.approx(weights / weights.mean())  # the median of 3/4 and 1/4
    assert sample_weights(IMAGES, 2, "repeat", threshold=0.001).tolist() == [1, 1, 1, 1]


def test_sampling_of_wrong_use() -> None:
    with pytest.raises(LabelError, match="no object of class 2"):
        sample_weights(IMAGES, 3, "balanced")
    with pytest.raises(ValueError, match="a share of the images, 0 to 1, got 3"):
        sample_weights(IMAGES, 2, "repeat", threshold=3)


# --- the loss


def test_focal_loss_by_hand() -> None:
    logits, targets = torch.tensor([0.0, math.log(3), math.log(3)]), torch.tensor([1.0, 1.0, 0.0])
    expected = [0.25 * 0.5**2 * math.log(2), 0.25 * 0.25**2 * math.log(4 / 3), 0.75 * 0.75**2 * math.log(4)]
    assert FocalLoss(2.0, 0.25)(logits, targets).tolist() == pytest.approx(expected)


def test_focal_loss_of_soft_targets_is_least_at_the_target() -> None:
    logits = torch.linspace(-4, 4, 801)
    losses = FocalLoss(2.0, None)(logits, torch.full_like(logits, 0.3))
    assert logits[losses.argmin()].sigmoid().item() == pytest.approx(0.3, abs=0.01)


def test_focal_loss_has_a_gradient_where_it_is_zero() -> None:
    logits = torch.zeros(1, requires_grad=True)
    FocalLoss(0.5, None)(logits, torch.full((1,), 0.5)).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.fixture(params=["yolov8n", "yolo26n"])
def criterion(request: pytest.FixtureRequest, checkpoint: Checkpoints) -> Callable[..., dict[str, float]]:
    """Function that returns the loss components of one batch for given options."""
    random = torch.Generator().manual_seed(0)
    batch = {
        "img": torch.rand(2, 3, 64, 64, generator=random),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [2.0]]),
        "bboxes": torch.rand(3, 4, generator=random) * 0.2 + 0.4,
    }
    return batch_losses(load_checkpoint(checkpoint(request.param)).model.train(), batch)


def test_gamma_0_without_alpha_is_the_cross_entropy(criterion: Callable[..., dict[str, float]]) -> None:
    """With a focal loss module that computes the loss, and without one."""
    stock = criterion()
    halved = criterion(alpha=0.5)  # gamma 0: half the cross-entropy of every element
    assert halved["cls_loss"] == pytest.approx(stock["cls_loss"] / 2, rel=1e-6)
    assert halved["box_loss"] == stock["box_loss"]
    logits, targets = torch.randn(4, 30, 3), torch.rand(4, 30, 3)
    assert torch.equal(
        FocalLoss(0.0, None)(logits, targets), torch.nn.BCEWithLogitsLoss(reduction="none")(logits, targets)
    )


def test_gamma_lowers_the_class_loss_alone(criterion: Callable[..., dict[str, float]]) -> None:
    stock, focal = criterion(), criterion(gamma=1.5)
    assert 0 < focal["cls_loss"] < 0.9 * stock["cls_loss"]
    assert focal["box_loss"] == stock["box_loss"]
    assert focal["total"] < stock["total"]


def test_class_weights_in_the_loss(criterion: Callable[..., dict[str, float]]) -> None:
    stock = criterion()
    only = [criterion(class_weights=weights)["cls_loss"] for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    weighted = criterion(class_weights=(2, 0.5, 3))
    assert sum(only) == pytest.approx(stock["cls_loss"], rel=1e-5)
    assert weighted["cls_loss"] == pytest.approx(2 * only[0] + 0.5 * only[1] + 3 * only[2], rel=1e-5)
    assert weighted["box_loss"] == stock["box_loss"]


# --- images


def test_images_and_parts_of_mosaics_are_drawn_by_weight(blocks: Path, checkpoint: Checkpoints, tmp_path: Path) -> None:
    drawn: dict[str, Any] = {}

    class Counting(Trainer):
        def prepare_criterion(self) -> None:
            super().prepare_criterion()
            loader: Any = self.train_loader
            drawn["blue"] = [2 in label["cls"] for label in loader.dataset.labels]
            drawn["epochs"] = [index for _ in range(100) for index in loader.batch_sampler.sampler.sampler]
            mosaic = loader.dataset.transforms.transforms[0].transforms[0]
            drawn["mosaics"] = [index for _ in range(400) for index in mosaic.get_indexes()]
            assert len(next(iter(loader))["im_file"]) == 4
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(
            checkpoint("yolov8n"),
            blocks,
            epochs=1,
            sampling="balanced",
            trainer=Counting,
            output=tmp_path / "run",
            **training.QUICK,
        )
    blue = np.array(drawn["blue"])  # 2 of 12 images hold the 2 blue of 26 objects: a third of the classes drawn is blue
    assert blue.sum() == 2
    expected = 1 / 3 + 2 / 3 * 2 / 12
    assert len(drawn["epochs"]) == 1200
    assert blue[drawn["epochs"]].mean() == pytest.approx(expected, abs=0.06)
    assert len(drawn["mosaics"]) == 1200
    assert blue[drawn["mosaics"]].mean() == pytest.approx(expected, abs=0.06)


def test_the_sides_of_a_batch_stay_within_their_bounds() -> None:
    """At 160 pixels, 0.5,1.5 means 80 to 240, not 64 to 256."""
    assert list(sides_within((0.5, 1.5), 160, 32)) == [96, 128, 160, 192, 224]
    assert list(sides_within((0.5, 1.5), 640, 32))[::20] == [320, 960]
    assert list(sides_within((0.7, 0.7), 320, 32)) == [224]
    with pytest.raises(ValueError, match="gamma must be 0 or more, got nan"):
        TrainOptions(gamma=math.nan)
    with pytest.raises(ValueError, match="scales must be .*at most 4"):
        TrainOptions(scales=(1.0, 1e9))
    with pytest.raises(ValueError, match=r"scales 0.9,0.95 of 160 pixels contain no multiple of the stride, 32"):
        sides_within((0.9, 0.95), 160, 32)
    random.seed(0)
    seen = {resized(torch.zeros(1, 3, 160, 160), (0.5, 1.5), 160, 32).shape[2] for _ in range(200)}
    assert seen == {96, 128, 160, 192, 224}


@pytest.mark.slow
def test_scales(blocks: Path, checkpoint: Checkpoints, tmp_path: Path) -> None:
    sides: set[int] = set()

    class Looking(Trainer):
        def preprocess_batch(self, batch: Any) -> Any:
            return super().preprocess_batch(batch)

    class Watching(weighting(Looking, TrainOptions(scales=(0.5, 2.0)))):  # type: ignore[misc]
        def preprocess_batch(self, batch: Any) -> Any:
            prepared = super().preprocess_batch(batch)
            sides.update(prepared["img"].shape[2:])
            return prepared

    from yolort.tools.train.trainer import train_module

    train_module(
        checkpoint("yolov8n"),
        blocks,
        epochs=4,
        trainer=Watching,
        output=tmp_path / "run",
        **{**training.QUICK, "imgsz": 96},
    )
    assert sides <= {64, 96, 128, 160, 192}
    assert len(sides) > 2


# --- the report


def test_report_by_hand(tmp_path: Path) -> None:
    import cv2

    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name, text in {
        "a": "0 0.5 0.5 0.1 0.2\n0 0.5 0.5 0.5 1\n1 0.5 0.5 1 1\n",
        "b": "0 0.5 0.5 0.2 0.4\n",
        "c": "",
    }.items():
        cv2.imwrite(str(images / f"{name}.png"), np.zeros((100, 200, 3), np.uint8))
        (labels / f"{name}.txt").write_text(text)
    data = tmp_path / "data.yaml"
    data.write_text("train: images\nval: images\nnames: [red, green, blue]\n")
    report = class_report(data, imgsz=320)
    assert report.instances.tolist() == [3, 1, 0]
    assert report.images.tolist() == [2, 1, 0]
    assert (report.total_images, report.empty_images, report.ratio, report.absent) == (3, 1, 3, ["blue"])
    # 200 x 100 pixels become 320 x 160: 32 x 32, 160 x 160, 320 x 160, 64 x 64
    assert sorted(report.sides) == pytest.approx([32, 64, 160, math.sqrt(320 * 160)])
    assert report.table()[1] == [
        ["red", 2, 3, "75.00", 0, 2, 1, "64.0"],
        ["green", 1, 1, "25.00", 0, 0, 1, "226.3"],
        ["blue", 0, 0, "0.00", 0, 0, 0, "-"],
    ]
    report.save(tmp_path)
    assert (tmp_path / "classes.csv").read_text().splitlines()[1] == "red,2,3,75.00,0,2,1,64.0,written by yolort"
    assert yolort.images.read(tmp_path / "classes.png").shape[1] == 11 * 120
    options: list[dict[str, Any]] = [{"class_weights": "median"}, {"sampling": "repeat"}]
    for option in options:
        with pytest.raises(LabelError, match="no object of blue among the training labels"):
            train("yolo26n.yaml", data, epochs=1, output=tmp_path / "run", **option, **training.QUICK)


# --- whole training


@pytest.mark.parametrize("architecture", ["yolov8n", pytest.param("yolo26n", marks=pytest.mark.slow)])
def test_train(architecture: str, checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = training.narrowed(load_checkpoint(checkpoint(architecture)).model)
    best = train(
        given,
        blocks,
        epochs=2,
        gamma=1.5,
        alpha=0.25,
        class_weights="inverse",
        clip=(0.1, 2),
        sampling="repeat",
        scales=(1.0, 1.5),
        output=run,
        cls=1.0,
        **training.QUICK,
    )
    assert training.shapes(load_checkpoint(best).model) == training.shapes(given)
    assert training.without_yolort(best, "yolo.names[2]") == "blue"
    written = json.loads((run / "class_weights.json").read_text())
    assert written["counts"] == {"red": 12, "green": 12, "blue": 2}
    assert written["weights"] == pytest.approx({"red": 26 / 36, "green": 26 / 36, "blue": 2})
    assert (run / "classes.csv").is_file() and (run / "classes.png").is_file()
    with pytest.raises(FileExistsError, match="contains a run"):
        train(given, blocks, epochs=2, output=run, **training.QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1}, "gamma must be 0 or more"),
        ({"alpha": 1.5}, "alpha must be between 0 and 1"),
        ({"scales": (1.5, 0.5)}, "scales must be"),
        ({"sampling": "fair"}, "sampling must be balanced or repeat"),
        ({"class_weights": "median", "cls_pw": 0.5}, "both weight the classes; use only one"),
        ({"scales": (0.5, 1.5), "multi_scale": 0.5}, "both set the size of a batch; use only one"),
    ],
)
def test_options(options: dict[str, Any], message: str, blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        train("yolo26n.yaml", blocks, epochs=1, imgsz=64, output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_command(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yolort", "train", str(checkpoint("yolov8n")), "--data", str(blocks)]
    command += ["--imgsz", "64", "--epochs", "1", "--output", str(tmp_path / "run"), "--clip", "0.5,2"]
    command += ["--class-weights", "median", "plots=False", "device=cpu", "amp=False"]
    for extra, message in (
        ("lr=1", "has no argument 'lr'; did you mean"),
        ("lr0", "'lr0': expected an Ultralytics training setting, name=value"),
        ("batch=4", "batch=4 is an option of this command: use --batch 4"),
    ):
        wrong = subprocess.run([*command, extra], capture_output=True, text=True, timeout=300, check=False)
        assert wrong.returncode == 2
        assert f"yolort: error: Ultralytics' train {message}" in wrong.stderr or message in wrong.stderr
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "12 images, 0 of them without objects; class imbalance 6.0 : 1" in done.stdout
    assert f"written to {tmp_path / 'run' / 'weights' / 'best.pt'}" in done.stdout
    weights = json.loads((tmp_path / "run" / "class_weights.json").read_text())["weights"]
    assert weights == {"red": 1, "green": 1, "blue": 2}
