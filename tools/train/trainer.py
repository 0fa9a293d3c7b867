"""Trains a given network with Ultralytics' trainer: the module itself, whatever its widths.

Ultralytics' `model.train()` rebuilds the network from the checkpoint's YAML and loads the tensors that fit: a pruned
network becomes dense, and only a log line says that tensors were skipped. Here the trainer gets the module itself, and
the shape of every parameter is checked after the first step and in the result.

    from yolort.tools import train_module
    best = train_module("yolo26n.pt", "data.yaml", epochs=10, imgsz=320, output="runs/blood")
    YOLO(best)  # a plain checkpoint of Ultralytics
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import torch
import yolort
from torch import nn
from ultralytics.models import yolo
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.nn.tasks import load_checkpoint as load_training_state
from yolort import _atomic, _checks
from yolort.tools import _system
from yolort.tools._ultralytics import (
    allow_missing_torchvision,
    install_nothing,
    labels_found_by,
    need_torchvision,
)
from yolort.tools.data.dataset import load_for_training, write_for_ultralytics
from yolort.tools.data.places import label_files
from yolort.tools.models.checkpoints import (
    find_checkpoint,
    load_checkpoint,
    read_checkpoint,
    restricted,
    task_of,
)
from yolort.tools.train.adapt import check_trainable, set_classes, set_keypoints
from yolort.tools.train.settings import check_settings

__all__ = [
    "Trainer",
    "WidthError",
    "check_imgsz",
    "check_output",
    "check_trainable",
    "set_classes",
    "train_module",
    "trained_task",
]

_log = logging.getLogger(__name__)

_UNREADABLE = "Image Not Found "  # start of Ultralytics' error for an image that OpenCV cannot decode
_MIN_SIDE, _MAX_SIDE = 32, 8192  # maximum side in pixels, as for exports
#: Prefixes of Ultralytics' class names by task.
_VALIDATORS = {
    "detect": "Detection",
    "segment": "Segmentation",
    "pose": "Pose",
    "obb": "OBB",
    "classify": "Classification",
}


class WidthError(yolort.Error):
    """The trained network is not the given one."""


class Trainer(DetectionTrainer):  # type: ignore[misc]
    """Ultralytics' trainer for a given module of any task, instead of a YAML and matching weights. Subclasses
    extend the loss in `wrap` and `prepare_criterion`, and the sampling in `get_dataloader`.
    """

    wdir: Path
    last: Path
    best: Path

    def __init__(self, model: nn.Module | None, overrides: dict[str, Any]) -> None:
        """`model` is a DetectionModel or ClassificationModel, trained in place; None if `overrides` resumes a run.

        `overrides` are Ultralytics' checked arguments, with one device: for several, Ultralytics starts separate
        processes, to which a module cannot be passed.
        """
        super().__init__(overrides=overrides)
        for hooks in self.callbacks.values():  # with Ray installed, Ray Tune's warns
            hooks[:] = [hook for hook in hooks if not hook.__module__.endswith(".raytune")]
        if self.device.type == "cpu":  # Ultralytics leaves one core unused
            torch.set_num_threads(_system.threads())
        self._given = model
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._checked = False

    def setup_model(self) -> dict[str, Any] | None:
        """The module itself, with the classes of the data; for a resumed run, the module of its last checkpoint."""
        checkpoint = stored = None
        if self.resume:
            stored, checkpoint = load_training_state(self.args.model)
            student = copy.deepcopy(getattr(stored, "student_model", stored))
        else:
            student = self._given
            set_classes(student, self.data["names"])
        if self.args.task == "pose":
            set_keypoints(student, self.data["kpt_shape"])
            student.kpt_oks_sigmas = self.data.get("kpt_oks_sigmas")
        for dropout in (part for part in student.modules() if isinstance(part, nn.Dropout) and self.args.dropout):
            dropout.p = self.args.dropout
        for parameter in student.parameters():
            parameter.requires_grad_(parameter.dtype.is_floating_point)
        student.args = self.args
        student.criterion = None
        vars(student).pop("class_weights", None)  # values of the run that the checkpoint comes from
        self._shapes = _shapes(student)
        self.model = self.wrap(student.to(self.device).train())
        if stored is not None and isinstance(stored, DistillationModel) != isinstance(self.model, DistillationModel):
            raise ValueError(
                f"{self.args.model}: resume a distillation with its teacher, and a plain training without one"
            )
        if isinstance(stored, DistillationModel):
            model: Any = self.model
            model.projector.load_state_dict(stored.projector.state_dict())
        self.add_callback("on_pretrain_routine_end", lambda _: self.prepare_criterion())
        return checkpoint

    def wrap(self, student: nn.Module) -> nn.Module:
        """The trained module: the network itself, or a `DistillationModel` around it."""
        return student

    def prepare_criterion(self) -> None:
        """Called once before the first batch, when `self.model` and its optimizer exist."""

    @property
    def _classifies(self) -> bool:
        return str(self.args.task) == "classify"

    @property
    def _stock(self) -> Any:
        """Ultralytics' trainer whose methods are used."""
        return ClassificationTrainer if self._classifies else DetectionTrainer

    def set_class_weights(self) -> None:
        """As Ultralytics' `cls_pw`, which classifiers do not have."""
        if not self._classifies:
            super().set_class_weights()

    def auto_batch(self) -> int:
        """As Ultralytics' trainer of the task."""
        return int(self._stock.auto_batch(self))

    def set_model_attributes(self) -> None:
        """As Ultralytics' trainer of the task."""
        if self._classifies:
            self.model.names = self.data["names"]
            return
        super().set_model_attributes()
        if self.args.task == "pose":
            points, sigmas = self.data["kpt_shape"], self.data.get("kpt_oks_sigmas")
            unnamed = {cls: [str(point) for point in range(points[0])] for cls in self.data["names"]}
            model: Any = self.model
            model.kpt_shape, model.kpt_oks_sigmas = points, sigmas
            model.kpt_names = self.data.get("kpt_names") or unnamed

    def get_validator(self) -> Any:
        """Ultralytics' validator of the task."""
        validator = getattr(getattr(yolo, self.args.task), f"{_VALIDATORS[self.args.task]}Validator")
        return validator(self.test_loader, save_dir=self.save_dir, args=copy.copy(self.args), _callbacks=self.callbacks)

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """As Ultralytics' trainer of the task."""
        return self._stock.build_dataset(self, img_path, mode, batch)

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """As in Ultralytics' trainer of the task, but a classifier's checkpoint contains no torchvision objects."""
        loader = self._stock.get_dataloader(self, dataset_path, batch_size, rank, mode)
        vars(self.model).pop("transforms", None)
        return loader

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """As Ultralytics' trainer of the task."""
        self._stock.plot_training_samples(self, batch, ni)

    def plot_training_labels(self) -> None:
        """As in Ultralytics; a classifier has no boxes."""
        if not self._classifies:
            super().plot_training_labels()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As in Ultralytics, but on a CPU the images are channels-last, which reduces the time of a step to 0.85.

        Compared with float64, the median error of the gradients is then 2e-4 instead of 3e-5.
        """
        batch = self._stock.preprocess_batch(self, batch)
        if self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def optimizer_step(self) -> None:
        """As in Ultralytics; the shapes are compared after the first step."""
        super().optimizer_step()
        if not self._checked:
            _compare(self._shapes, getattr(self.model, "student_model", self.model), "after the first step")
            self._checked = True

    def save_model(self) -> bool:
        """As in Ultralytics, but files are written atomically: after an interrupt, the previous file is intact."""
        places = self.wdir, self.last, self.best
        self.wdir.mkdir(parents=True, exist_ok=True)
        with _atomic.workspace(self.last) as work:
            folder = work / "weights"
            folder.mkdir()
            self.wdir, self.last, self.best = folder, folder / self.last.name, folder / self.best.name
            try:
                saved = super().save_model()
            finally:
                self.wdir, self.last, self.best = places
            for file in list(folder.iterdir()):
                _atomic.place(file, self.wdir / file.name, update=True)
        return bool(saved)

    def check_result(self) -> None:
        """Compares the shapes in the best checkpoint with the given ones; WidthError if they differ."""
        _compare(self._shapes, load_checkpoint(self.best, tasks=True).model, f"in {self.best}")


# Long for its documentation.
def train_module(
    model: nn.Module | str | Path,
    data: str | Path,
    *,
    epochs: int,
    imgsz: int,
    seed: int = 0,
    output: str | Path = "runs/train",
    resume: bool = False,
    trainer: type[Trainer] = Trainer,
    **arguments: Any,
) -> Path:
    """Trains a network with its own widths and returns its best checkpoint, a plain Ultralytics one.

    Args:
        model: a DetectionModel of any task, or ClassificationModel (a pruned one, for instance; a copy is trained), a
            checkpoint (.pt) or an architecture (.yaml, of a detector). If the data has other classes or keypoints, only
            the last layers of these branches change shape.
        data: an Ultralytics `data.yaml` with images in `train` and `val` labeled for the model's task; for a
            classifier, a folder with train/ and val/, each with one folder per class.
        epochs: number of passes over the training images, 1 or more.
        imgsz: side of the network's input in pixels, a multiple of the largest stride.
        seed: random seed; a run is reproducible on the same machine with the same number of threads.
        output: folder of the run: `weights/last.pt` and `weights/best.pt`, `results.csv` and `results.png` (curves),
            `args.yaml`. It must not contain another run, unless that is resumed.
        resume: continue the interrupted run in `output`; `epochs` and most arguments are taken from it, but `trainer`
            must be given again.
        trainer: the trainer class; `distilling` and `weighting` create others.
        **arguments: arguments of Ultralytics' train (batch, lr0, optimizer, mosaic, patience, device, ...), see
            `check_settings`.

    An interrupt (Ctrl-C) is passed on; `weights/last.pt` is then the last whole epoch and can be resumed.

    Raises:
        FileNotFoundError, LabelError: see `load_dataset`; also FileNotFoundError if there is no run to resume.
        FileExistsError: `output` holds a run.
        CheckpointError: `model` is of no task that yolort knows, or fused.
        ModuleNotFoundError: `model` is a classifier, and torchvision cannot be imported.
        ValueError: the run to resume is finished, or had a teacher if `trainer` has none; what `check_settings` says.
        WidthError: the network was rebuilt with other widths.
        ImageError: an image has pixels of a kind that OpenCV does not read.
    """
    settings = check_settings(arguments)
    check_imgsz(imgsz)
    last = check_output(folder := Path(output).absolute(), resume)
    module = None if resume else _module(model)
    task = trained_task(last if resume else module)
    for split in ("val", "train"):  # Ultralytics skips unreadable images and reports them only in its log
        dataset = load_for_training(data, split, task)
    _check_extent(settings, module, dataset.names)
    folder.mkdir(parents=True, exist_ok=True)
    read = write_for_ultralytics(data, folder)
    overrides = {**settings, "data": read, "save_dir": str(folder), "task": task, "mode": "train"}
    if resume:
        overrides.update(resume=str(last), model=str(last), distill_model=None)
    else:
        overrides.update(epochs=epochs, imgsz=imgsz, seed=seed, model=_name(model))
    allow_missing_torchvision()
    install_nothing()
    with restricted(), labels_found_by(label_files):
        running = trainer(module, overrides)
        try:
            running.train()
        except KeyboardInterrupt:
            if running.last.exists():
                _log.warning("interrupted; the last whole epoch is in %s: resume goes on from it", running.last)
            raise
        except FileNotFoundError as error:
            path = Path(str(error).removeprefix(_UNREADABLE))
            if not str(error).startswith(_UNREADABLE) or not path.is_file():
                raise
            raise yolort.images.ImageError(
                f"image {path}: OpenCV, with which Ultralytics trains, does not read it; save it with 8 bits, or "
                "remove it"
            ) from None
    running.check_result()
    return Path(running.best)


def trained_task(model: nn.Module | str | Path | None) -> str:
    """The task of a module, an architecture or a checkpoint (also the last one of a run).

    Raises what `load_checkpoint` raises; ModuleNotFoundError for a classifier if torchvision cannot be imported.
    """
    if isinstance(model, (str, Path)):
        path = find_checkpoint(Path(model))
        if path.suffix != ".pt":
            return "detect"
        stored = read_checkpoint(path, tasks=True)
        model = stored.get("model") if stored.get("ema") is None else stored["ema"]
        model = getattr(model, "student_model", model)
    task = task_of(model)
    if task == "classify":
        need_torchvision()
    return task


def _module(model: nn.Module | str | Path) -> nn.Module:
    """The network to train: a copy of a module, or the one in a file."""
    module = copy.deepcopy(model) if isinstance(model, nn.Module) else load_checkpoint(model, tasks=True).model
    check_trainable(module)
    return module


def _check_extent(settings: dict[str, Any], module: Any, names: dict[int, str]) -> None:
    """Raises ValueError for settings that leave nothing to train, or no data to train on."""
    freeze, classes = settings.get("freeze"), settings.get("classes")
    if module is not None and isinstance(freeze, int) and freeze >= len(module.model):
        raise ValueError(f"freeze={freeze} freezes all {len(module.model)} layers; nothing is left to train")
    wanted = [classes] if isinstance(classes, int) else classes or []
    if unknown := [cls for cls in wanted if cls not in names]:
        raise ValueError(f"classes={classes}: the data has the classes 0 to {len(names) - 1}, not {unknown[0]}")


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _compare(given: dict[str, tuple[int, ...]], model: nn.Module, when: str) -> None:
    found = _shapes(model)
    for name, shape in given.items():
        if found.get(name) != shape:
            is_now = found.get(name, "gone")
            raise WidthError(
                f"{when} the network is not the one that was given: {name} is {is_now} and was {shape}; it was rebuilt "
                "from its YAML, and pruning is lost"
            )


def check_imgsz(imgsz: int) -> None:
    """Raises ValueError for an impossible training size; Ultralytics would use the stride for 0."""
    _checks.integer("imgsz", imgsz, _MIN_SIDE, _MAX_SIDE)


def check_output(folder: Path, resume: bool) -> Path:
    """The last checkpoint of a run in `folder`; if it must or must not exist, errors as in `train_module`.

    Ultralytics overwrites files there without asking, so a new run requires a folder with only our files, or one whose
    run ended before the first epoch, recognized by our data.yaml.
    """
    last = folder.absolute() / "weights" / "last.pt"
    try:
        str(last).encode()
    except UnicodeEncodeError:
        raise ValueError(f"output: Ultralytics takes no path that is not UTF-8: {str(last.parents[1])!r}") from None
    if "'" in str(last):  # `attempt_download_asset` removes them and then does not find the checkpoint
        raise ValueError(f"output: Ultralytics does not support paths with an apostrophe: {last.parents[1]}")
    if not resume:
        if last.exists():
            raise FileExistsError(f"{folder} contains a run; resume it, or choose another output")
        if folder.exists():
            if not folder.is_dir():
                raise NotADirectoryError(f"{folder} is a file; a training writes a folder")
            foreign = [entry.name for entry in folder.iterdir() if not (entry.is_file() and _atomic.is_ours(entry))]
            begun = (folder / "data.yaml").is_file() and _atomic.is_ours(folder / "data.yaml")
            if foreign and not begun:
                raise FileExistsError(f"{folder} contains other files ({sorted(foreign)[0]}); choose another output")
        return last
    if not last.is_file():
        raise FileNotFoundError(f"nothing to resume: there is no {last}")
    if read_checkpoint(last, tasks=True).get("epoch", -1) < 0:
        raise ValueError(f"nothing to resume: the run of {last} is finished")
    return last


def _name(model: nn.Module | str | Path) -> str:
    """The model in the run's args.yaml, which the trainer does not open."""
    name = str(model) if not isinstance(model, nn.Module) else str(getattr(model, "pt_path", None) or "module.pt")
    return name.encode(errors="backslashreplace").decode()
