"""What is done with a model on the way from a checkpoint to what is deployed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from yolort import _checks
from yolort.tools._formats import ENGINES, FORMATS
from yolort.tools.models.heads import HEADS

__all__ = ["Recipe", "commands"]

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done with a model, in this order; as it stands here, next to nothing.

    Attributes:
        model: a checkpoint (.pt), or an architecture (.yaml) that has to be trained.
        imgsz: side of the network's input in pixels, of training and artefact.
        epochs: of training; 0 takes the checkpoint as it is.
        teacher: a checkpoint to distil from in that training, or the recipe of one.
        scales: of that training, see `train`.
        prune: share of channels to take out, 0 to 0.95.
        method: of pruning.
        round_to: widths after it are multiples of this.
        finetune: epochs of training after pruning.
        recover: with the unpruned model as teacher.
        head: "raw", or "raw-e2e" of YOLO26.
        engine: that the artefact is for, and measured on.
        precision: "int8", which is calibrated on the training images; else what the engine computes in.
        threads: of the CPU, up to four for each core; None is one for each core.
        augment: test-time augmentation.
        train: other arguments of Ultralytics' train, of both trainings.
    """

    model: str
    imgsz: int = 640
    epochs: int = 0
    teacher: str | Recipe | None = None
    scales: tuple[float, float] | None = None
    prune: float = 0.0
    method: str = "group-norm"
    round_to: int = 8
    finetune: int = 0
    recover: bool = True
    head: str = "raw"
    engine: str = "onnxruntime"
    precision: str = "fp32"
    threads: int | None = None
    augment: bool = False
    train: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, known in (("engine", ENGINES), ("precision", PRECISIONS), ("head", HEADS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name, least in (("epochs", 0), ("finetune", 0), ("imgsz", 32)):
            _checks.integer(name, getattr(self, name), least)
        if self.threads is not None:
            _checks.count("threads", self.threads)
        if not 0 <= self.prune < 1:
            raise ValueError(f"prune must be a share of channels, 0 to 0.95, not {self.prune}")
        if self.teacher and not self.epochs:
            raise ValueError("a teacher teaches in a training; give epochs")
        if self.finetune and not self.prune:
            raise ValueError("finetune is of a pruned model; give prune, or epochs")
        if Path(self.model).suffix != ".pt" and not self.epochs:
            raise ValueError(f"{self.model} has no weights yet; give epochs")
        if self.scales is not None:
            object.__setattr__(self, "scales", tuple(self.scales))

    def but(self, changes: Mapping[str, Any]) -> Recipe:
        """The same with other values; ValueError for a name that there is not."""
        known = {one.name for one in fields(self)}
        for name in changes:
            if name not in known:
                raise ValueError(f"a recipe has no {name!r}; it has {', '.join(sorted(known))}")
        merged = {**self.train, **changes.get("train", {})}
        return replace(self, **{**changes, "train": merged})

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, for reports."""
        default = Recipe(model="x.pt")
        return {key: value for key, value in asdict(self).items() if value != getattr(default, key)}


def commands(recipe: Recipe, data: str, seed: int) -> Iterator[str]:
    """Of the command line, in order."""
    settings = [f"{key}={value}" for key, value in recipe.train.items() if key != "batch"]
    settings += ["--batch", recipe.train["batch"]] if "batch" in recipe.train else []
    path, side = recipe.model, str(recipe.imgsz)

    def command(*parts: object) -> str:
        return shlex.join(["yolort", *map(str, parts)])

    def training(one: Recipe, output: str, *kind: object) -> str:
        return command(*kind, *settings, "--data", data, "--epochs", one.epochs, "--imgsz", one.imgsz,
                       "--seed", seed, "--output", output)  # fmt: skip

    teacher = recipe.teacher
    if isinstance(teacher, Recipe) and teacher.epochs:
        yield training(teacher, "teacher", "train", teacher.model)
        teacher = "teacher/weights/best.pt"
    elif isinstance(teacher, Recipe):
        teacher = teacher.model
    if recipe.epochs:
        kind = ["distill", "--teacher", teacher, "--student", path] if teacher else ["train", path]
        yield training(recipe, "trained", *kind)
        path = "trained/weights/best.pt"
    if recipe.prune:
        how = [
            "--ratio",
            recipe.prune,
            "--method",
            recipe.method,
            "--round-to",
            recipe.round_to,
            "--imgsz",
            side,
            "--seed",
            seed,
            "--no-measure",
        ]
        if recipe.finetune or recipe.method == "taylor":
            how += ["--data", data]
        if recipe.finetune:
            how += ["--finetune", recipe.finetune, "--distill"]
        yield command("prune", path, *(settings if recipe.finetune else ()), *how, "--output", "pruned.pt")
        path = "pruned.pt"
    form, target = ENGINES[recipe.engine].format, ENGINES[recipe.engine].target
    head = ["--head", recipe.head] if recipe.head != "raw" else []
    best = f"best{FORMATS[form].ending}"
    if recipe.precision != "int8":
        half = ["--precision", "fp16"] if form == "engine" and recipe.precision == "fp16" else []
        yield command("export", path, "--format", form, "--imgsz", side, *head, *half, "--output", best)
    else:
        yield command("export", path, "--imgsz", side, *head, "--output", "float.onnx")
        yield command("calibrate", "float.onnx", "--data", data, "--output", "calibration.json")
        how = ["--calibration", "calibration.json", "--output", "int8.onnx" if form == "engine" else best]
        if form == "ncnn":
            yield command("export", path, "--format", "ncnn", "--imgsz", side, *head, "--output", "float_ncnn_model")
            yield command("quantize", "float_ncnn_model", "--format", "ncnn", *how)
        else:
            yield command("quantize", "float.onnx", "--target", target, *how)
        if form == "engine":
            yield command("export", "int8.onnx", "--format", "engine", "--precision", "fp16", "--output", best)
    computes = ["--precision", recipe.precision] if recipe.precision != "int8" and form != "engine" else []
    yield command("val", best, "--data", data, "--engine", recipe.engine, *computes)
