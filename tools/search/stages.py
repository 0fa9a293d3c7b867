"""The stages from a checkpoint to a measured artifact.

Each can be run, or printed as the equivalent command. A stage creates one file or folder from the files of other
stages, the dataset and its own settings.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from yolort.tools._formats import FORMATS
from yolort.tools.data.dataset import data_sha256
from yolort.tools.data.samples import check_fits
from yolort.tools.evaluate.evaluator import Evaluator, metric_of
from yolort.tools.export.pipeline import export
from yolort.tools.quantize.calibrate import calibrate

__all__ = ["Calibrate", "Data", "Export", "Plan", "Prune", "Quantize", "Stage", "Train", "Validate", "in_order"]

_DRAWS = 1000  # resamples of the images; the same for all artifacts, so that differences are paired


class Data:
    """The dataset for training, calibration and scoring."""

    def __init__(self, path: str | Path, task: str = "detect") -> None:
        """`path`: see `load_dataset`, with images labeled for `task` in train and val.

        Raises what `load_dataset` raises.
        """
        self.path = str(path)
        self.task = task
        self.sha256 = {split: data_sha256(path, split, task) for split in ("train", "val")}

    @property
    def metric(self) -> str:
        """Name of the metric that artifacts are compared by."""
        return metric_of(self.task)

    @property
    def second_metric(self) -> str:
        """Name of the secondary metric: the same at IoU 0.5, or top-5."""
        return "top-5" if self.task == "classify" else self.metric.replace("50-95", "50")

    def check(self, network: Any, model: str | Path) -> None:
        """Raises LabelError if the classes or keypoints of a network, loaded from `model`, differ from the data's."""
        with warnings.catch_warnings():  # each scoring warns if only the names differ
            warnings.simplefilter("ignore", UserWarning)
            check_fits(self.evaluator.dataset, network, model)

    @cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator of the split val."""
        return Evaluator(self.path, task=self.task)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Base class of stages. `inputs`: stages whose files it reads, or paths of files."""

    inputs: tuple[Stage | str, ...]

    name: ClassVar[str]
    split: ClassVar[str | None] = None  # split of the dataset, if it reads one
    resumable: ClassVar[bool] = False

    @property
    def output(self) -> str:
        """The name of the file or folder that it writes."""
        raise NotImplementedError

    def file(self, output: str) -> str:
        """The file that other stages read, given the `output` it wrote."""
        return output

    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on except inputs and data, as JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "inputs"}

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        """Writes `output`."""
        raise NotImplementedError

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        """The command-line arguments of `yolort` equivalent to `run`."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """Trains a checkpoint or an architecture; a second input is the teacher."""

    epochs: int
    imgsz: int
    seed: int
    scales: tuple[float, float] | None
    arguments: Mapping[str, Any]  # of Ultralytics' train

    name = "train"
    split = "train"
    resumable = True
    output = "trained"

    def file(self, output: str) -> str:
        return f"{output}/weights/best.pt"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        if (output / "weights" / "last.pt").is_file():
            try:
                self._train(inputs, data, output, resume=True)
                return
            except (AssertionError, ValueError):  # interrupted after the last epoch, so there is nothing to resume
                pass
        shutil.rmtree(output, ignore_errors=True)
        self._train(inputs, data, output, resume=False)

    def _train(self, inputs: Sequence[Path], data: Data, output: Path, resume: bool) -> None:
        from yolort.tools.train.distill import distilling
        from yolort.tools.train.train import train
        from yolort.tools.train.trainer import Trainer

        model, *teacher = inputs
        train(
            model,
            data.path,
            epochs=self.epochs,
            imgsz=self.imgsz,
            seed=self.seed,
            scales=self.scales,
            output=output,
            resume=resume,
            trainer=distilling(Trainer, teacher[0]) if teacher else Trainer,
            **self.arguments,
        )

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        model, *teacher = inputs
        verb = ["distill", "--teacher", teacher[0], "--student", model] if teacher else ["train", model]
        scales = ["--scales", ",".join(map(str, self.scales))] if self.scales else []
        return [
            *(*verb, *_settings(self.arguments), "--data", data, "--epochs", self.epochs, "--imgsz", self.imgsz),
            *(*scales, "--seed", self.seed, "--output", output),
        ]


@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Prunes a checkpoint, and fine-tunes it."""

    ratio: float
    method: str
    round_to: int
    finetune: int  # epochs
    distill: bool  # fine-tune with the unpruned model as teacher
    imgsz: int
    seed: int
    arguments: Mapping[str, Any]  # of Ultralytics' train

    name = "prune"
    split = "train"
    output = "pruned.pt"

    @property
    def _reads_data(self) -> bool:
        return self.finetune > 0 or self.method == "taylor"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        from yolort.tools.prune.prune import prune

        prune(
            inputs[0],
            ratio=self.ratio,
            method=self.method,
            round_to=self.round_to,
            data=data.path if self._reads_data else None,
            finetune=self.finetune,
            distill=self.distill,
            imgsz=self.imgsz,
            measure=False,
            seed=self.seed,
            output=output,
            **(self.arguments if self.finetune else {}),
        )

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        return [
            *("prune", inputs[0], *(_settings(self.arguments) if self.finetune else [])),
            *("--ratio", self.ratio, "--method", self.method, "--round-to", self.round_to, "--imgsz", self.imgsz),
            *("--seed", self.seed, "--no-measure", *(["--data", data] if self._reads_data else [])),
            *(["--finetune", self.finetune] if self.finetune else []),
            *(["--distill"] if self.distill else []),
            *("--output", output),
        ]


@dataclass(frozen=True, kw_only=True)
class Export(Stage):
    """Exports a checkpoint."""

    format: str
    imgsz: int
    head: str
    precision: str = "fp32"
    dynamic: bool = False

    name = "export"

    @property
    def output(self) -> str:
        return f"model{FORMATS[self.format].ending}"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        export(
            inputs[0],
            format=self.format,
            precision=self.precision,
            imgsz=self.imgsz,
            head=self.head,
            dynamic=self.dynamic,
            output=output,
        )

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        head = ["--head", self.head] if self.head != "raw" else []
        precision = ["--precision", self.precision] if self.precision != "fp32" else []
        size = ["--imgsz", self.imgsz, *(["--dynamic"] if self.dynamic else [])]
        return ["export", inputs[0], "--format", self.format, *size, *head, *precision, "--output", output]


@dataclass(frozen=True, kw_only=True)
class Calibrate(Stage):
    """Calibrates a float ONNX model."""

    method: str
    images: int

    name = "calibrate"
    split = "train"
    output = "calibration.json"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        calibrate(inputs[0], data.path, method=self.method, images=self.images).save(output)

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        method = ["--method", self.method] if self.method != "percentile" else []
        images = ["--images", self.images] if self.images != 512 else []
        return ["calibrate", inputs[0], "--data", data, *method, *images, "--output", output]


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage):
    """Builds an INT8 model from a float model and its calibration."""

    format: str
    target: str | None  # of ONNX
    per_channel: bool = True

    name = "quantize"

    @property
    def output(self) -> str:
        return f"model-int8{FORMATS[self.format].ending}"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        from yolort.tools.quantize.quantize import quantize

        quantize(
            *inputs,
            format=self.format,
            target=self.target,
            per_channel=self.per_channel,
            measure=False,
            output=output,
        )

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        kind = ["--target", self.target] if self.target else ["--format", self.format]
        tensor = [] if self.per_channel else ["--per-tensor"]
        return ["quantize", inputs[0], *kind, *tensor, "--calibration", inputs[1], "--output", output]


@dataclass(frozen=True, kw_only=True)
class Plan(Stage):
    """Builds a TensorRT engine of an INT8 ONNX model; float layers compute in FP16."""

    name = "plan"
    output = "model-int8.engine"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        from yolort.tools.export.tensorrt import build_engine

        build_engine(inputs[0], precision="fp16", output=output)

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        return ["export", inputs[0], "--format", "engine", "--precision", "fp16", "--output", output]


@dataclass(frozen=True, kw_only=True)
class Validate(Stage):
    """Scores an artifact on the images of val; writes an `Accuracy`."""

    options: Mapping[str, Any] = field(default_factory=dict)  # engine, precision and augment for `Detector`

    name = "accuracy"
    split = "val"
    output = "accuracy.npz"

    def run(self, inputs: Sequence[Path], data: Data, output: Path) -> None:
        scores = data.evaluator.score(data.evaluator.open(inputs[0], **self.options, tuned=False))
        draws, second = scores.draws(_DRAWS)
        np.savez(output, figures=[scores.value, scores.second], draws=draws, second_draws=second)

    def command(self, inputs: Sequence[str], data: str, output: str) -> list[object]:
        options: list[object] = []
        for key, value in self.options.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            options += [f"--{key}"] if value is True else [f"--{key}", text]
        return ["val", inputs[0], "--data", data, *options]


def in_order(stage: Stage) -> Iterator[Stage]:
    """A stage and all stages it depends on, each after its inputs."""
    for source in stage.inputs:
        if isinstance(source, Stage):
            yield from in_order(source)
    yield stage


def _settings(arguments: Mapping[str, Any]) -> list[object]:
    """Command-line arguments of a training: options of yolort, and Ultralytics' settings."""
    options = [key for key in ("batch", "gamma", "class_weights", "sampling") if key in arguments]
    settings: list[object] = [f"{key}={value}" for key, value in arguments.items() if key not in options]
    return [*settings, *(part for key in options for part in (f"--{key.replace('_', '-')}", arguments[key]))]
