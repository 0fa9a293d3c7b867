"""Recipes: the stages from a checkpoint to the deployed artifact."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from yolort import _checks
from yolort.tools._formats import ENGINES
from yolort.tools.models.heads import HEADS
from yolort.tools.quantize.calibrate import METHODS
from yolort.tools.search.stages import Calibrate, Export, Plan, Prune, Quantize, Stage, Train, Validate, in_order

__all__ = ["Recipe"]

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The steps applied to a model, in this order; with the defaults, the model is only exported.

    Attributes:
        model: a checkpoint (.pt), or an architecture (.yaml) that has to be trained.
        imgsz: side of the network's input in pixels, for training and artifact.
        epochs: number of training epochs; 0 uses the checkpoint unchanged.
        teacher: checkpoint to distill from in this training, or the recipe of one.
        scales: scales of this training, see `train`.
        gamma, class_weights, sampling: settings for rare classes, for both trainings, see `train`.
        prune: share of channels to remove, 0 to 0.95.
        method: pruning method.
        round_to: pruned widths are multiples of this.
        finetune: number of epochs after pruning.
        recover: fine-tune with the unpruned model as teacher.
        head: "raw", or "raw-e2e" of YOLO26.
        engine: engine that the artifact is built for and measured on.
        precision: "int8" (calibrated on the training images), or a precision of the engine.
        calibration, calibration_images: method, and maximum number of images, see `calibrate`.
        per_channel: use one INT8 weight scale per output channel, or per tensor.
        threads: number of CPU threads, up to four per core; None: one per core.
        augment: test-time augmentation.
        augment_scales: its sides in pixels, see `Detector`; makes the artifact dynamic.
        train: other arguments of Ultralytics' train, for both trainings.
    """

    model: str
    imgsz: int = 640
    epochs: int = 0
    teacher: str | Recipe | None = None
    scales: tuple[float, float] | None = None
    gamma: float = 0.0
    class_weights: str | None = None
    sampling: str | None = None
    prune: float = 0.0
    method: str = "group-norm"
    round_to: int = 8
    finetune: int = 0
    recover: bool = True
    head: str = "raw"
    engine: str = "onnxruntime"
    precision: str = "fp32"
    calibration: str = "percentile"
    calibration_images: int = 512
    per_channel: bool = True
    threads: int | None = None
    augment: bool = False
    augment_scales: tuple[int, ...] = ()
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
            raise ValueError("a teacher needs training epochs; set epochs")
        if self.finetune and not self.prune:
            raise ValueError("finetune needs a pruned model; set prune, or use epochs")
        if Path(self.model).suffix != ".pt" and not self.epochs:
            raise ValueError(f"{self.model} has no weights yet; set epochs")
        if self.scales is not None:
            object.__setattr__(self, "scales", tuple(self.scales))
        self._check_augmentation()
        if self.calibration not in METHODS:
            raise ValueError(f"calibration must be one of {', '.join(METHODS)}, not {self.calibration!r}")
        _checks.integer("calibration_images", self.calibration_images)
        if self.train or self._balancing:
            self._check_training()

    def _check_augmentation(self) -> None:
        object.__setattr__(self, "augment_scales", tuple(_checks.sides("augment_scales", self.augment_scales)))
        if self.augment_scales and ENGINES[self.engine].format != "onnx":
            raise ValueError(f"augment_scales needs a dynamic model, which {self.engine} does not support; use augment")

    def _check_training(self) -> None:
        from yolort.tools.train.settings import check_settings
        from yolort.tools.train.train import check_own_arguments

        object.__setattr__(self, "train", check_settings(self.train, here=False))
        check_own_arguments(self.train, **self._balancing)
        if self._balancing and not self.epochs and not self.finetune:
            raise ValueError(f"{', '.join(self._balancing)}: applies only to training; set epochs or finetune")

    @property
    def _balancing(self) -> dict[str, Any]:
        """Arguments of both trainings, without defaults."""
        given = {"gamma": self.gamma, "class_weights": self.class_weights, "sampling": self.sampling}
        return {name: value for name, value in given.items() if value}

    def but(self, changes: Mapping[str, Any]) -> Recipe:
        """A copy with other values; ValueError for an unknown name."""
        known = {one.name for one in fields(self)}
        for name in changes:
            if name not in known:
                raise ValueError(f"unknown key {name!r} in a recipe; known keys: {', '.join(sorted(known))}")
        merged = {**self.train, **changes.get("train", {})}
        return replace(self, **{**changes, "train": merged})

    def to_dict(self) -> dict[str, Any]:
        """Differences from the defaults, for reports."""
        default = Recipe(model="x.pt")
        return {key: value for key, value in asdict(self).items() if value != getattr(default, key)}

    def checkpoint(self, seed: int) -> Stage | str:
        """The stage, or the file, of the trained, pruned and fine-tuned checkpoint."""
        made: Stage | str = self.model
        arguments = {**self.train, **self._balancing}
        if self.epochs:
            teacher = self.teacher.checkpoint(seed) if isinstance(self.teacher, Recipe) else self.teacher
            made = Train(
                inputs=(made, teacher) if teacher else (made,),
                epochs=self.epochs,
                imgsz=self.imgsz,
                seed=seed,
                scales=self.scales,
                arguments=arguments,
            )
        if self.prune:
            made = Prune(
                inputs=(made,),
                ratio=self.prune,
                method=self.method,
                round_to=self.round_to,
                finetune=self.finetune,
                distill=self.recover and self.finetune > 0,
                imgsz=self.imgsz,
                seed=seed,
                arguments=arguments,
            )
        return made

    def artifact(self, seed: int) -> Stage:
        """The stage that builds the deployed file or folder."""
        checkpoint = self.checkpoint(seed)
        format, target = ENGINES[self.engine].format, ENGINES[self.engine].target

        def export(format: str, precision: str = "fp32") -> Export:
            return Export(
                inputs=(checkpoint,),
                format=format,
                imgsz=self.imgsz,
                head=self.head,
                precision=precision,
                dynamic=bool(self.augment_scales),
            )

        if self.precision != "int8":
            return export(format, "fp16" if format == "engine" and self.precision == "fp16" else "fp32")
        calibration = Calibrate(inputs=(export("onnx"),), method=self.calibration, images=self.calibration_images)
        kind, of = ("ncnn", None) if format == "ncnn" else ("onnx", target)
        quantized = Quantize(inputs=(export(kind), calibration), format=kind, target=of, per_channel=self.per_channel)
        return Plan(inputs=(quantized,)) if format == "engine" else quantized

    def accuracy(self, seed: int) -> Stage:
        """The stage that scores the artifact on its engine."""
        options: dict[str, Any] = {"engine": self.engine}
        if self.computes:
            options["precision"] = self.computes
        if self.augment:
            options["augment"] = True
        if self.augment_scales:
            options["scales"] = self.augment_scales
        return Validate(inputs=(self.artifact(seed),), options=options)

    @property
    def computes(self) -> str:
        """The precision to request from the engine; empty if the artifact determines it."""
        return "" if self.precision == "int8" or self.engine == "tensorrt" else self.precision

    def stages(self, seed: int) -> list[Stage]:
        """All stages in order; the last one scores the artifact."""
        out: list[Stage] = []
        for stage in in_order(self.accuracy(seed)):
            if stage not in out:
                out.append(stage)
        return out

    def commands(self, data: str, seed: int) -> Iterator[str]:
        """The equivalent command lines, in order."""
        stages = self.stages(seed)
        outputs: list[str] = []
        for stage in reversed(stages):  # a teacher's stage of the same kind comes before
            output = stage.output
            while output in outputs:
                output = f"teacher-{output}"
            outputs.insert(0, output)
        for stage, output in zip(stages, outputs, strict=True):
            files = [
                source.file(outputs[stages.index(source)]) if isinstance(source, Stage) else source
                for source in stage.inputs
            ]
            yield shlex.join(["yolort", *map(str, stage.command(files, data, output))])
