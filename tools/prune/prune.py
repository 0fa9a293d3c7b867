"""Structured channel pruning of YOLOv8, YOLO11 and YOLO26: a narrower network in the same stock modules.

    from yolort.tools import prune
    prune("yolo26n.pt", ratio=0.2, data="data.yaml", finetune=30)          # yolo26n-pruned.pt beside it
    prune("yolo26n.pt", target_latency=12.0, engine="ncnn", imgsz=320)     # as narrow as necessary

The checkpoint is an Ultralytics one: `YOLO("yolo26n-pruned.pt")` and `yolort export` load it. Ultralytics' own `train`
rebuilds the network from its YAML at full width; fine-tune with `finetune` here, or with `yolort.tools.train.trainer`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from yolort import _atomic
from yolort.images import ImageError
from yolort.tools._formats import ENGINES
from yolort.tools._ultralytics import need_torchvision
from yolort.tools.data.dataset import load_dataset, splits
from yolort.tools.data.samples import LabelError, check_fits
from yolort.tools.evaluate.evaluator import Evaluator
from yolort.tools.export.pipeline import input_size
from yolort.tools.models.checkpoints import load_checkpoint, stride_of, task_of
from yolort.tools.models.heads import complexity, with_head
from yolort.tools.prune.checkpoint import check_widths
from yolort.tools.prune.importance import (
    METHODS,
    measure_sensitivity,
    multiply_adds,
)
from yolort.tools.prune.outcome import Pruned, cost, guidance, sensitive
from yolort.tools.prune.planner import (
    LEVELS,
    MAX_RATIO,
    TIME_PULL,
    Job,
    Planner,
    check_latency,
    ratio_for_flops,
    ratio_for_latency,
)
from yolort.tools.prune.prunable import PrunableModel, open_model, widths

__all__ = ["ALLOCATIONS", "prune"]

_log = logging.getLogger(__name__)

ALLOCATIONS = ("uniform", "global", "sensitivity")


# Long for its arguments; _prune and _mask do the work.
def prune(
    model: str | Path,
    *,
    method: str = "group-norm",
    ratio: float | None = None,
    target_flops: float | str | None = None,
    target_latency: float | None = None,
    engine: str | None = None,
    allocate: str = "uniform",
    round_to: int = 8,
    steps: int = 1,
    unstructured: bool = False,
    data: str | Path | None = None,
    finetune: int = 0,
    distill: bool = False,
    batch: int = 16,
    imgsz: int | None = None,
    measure: bool = True,
    seed: int = 0,
    output: str | Path | None = None,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
    **training: Any,
) -> Pruned:
    """Removes the least important channels of a model and writes the result as a checkpoint.

    Args:
        model: an Ultralytics checkpoint (`.pt`) of any task.
        method: how channels are ranked, see `channel_importance`; "taylor" needs `data`.
        ratio: share of channels to remove, above 0 and at most 0.95. Give exactly one of `ratio`, `target_flops` and
            `target_latency`.
        target_flops: target GFLOPs per image (2 per multiply-add), or a share of the current GFLOPs: "60%". The nearest
            widths are used, and a note reports the result.
        target_latency: target milliseconds per image, end to end, p50, on `engine`. Candidates are exported and timed
            there, the narrowest first, so that an impossible target is refused at once.
        engine: "ncnn", "onnxruntime", "openvino" or "tensorrt".
        allocate: distribution of the ratio. "uniform": equal for all units; "global": by importance over all units,
            each relative to its own mean; "sensitivity": most where the change of the detections per multiply-add saved
            is lowest, measured on training images of `data`, or on the embedded image.
        round_to: widths that are multiples of this stay so; engines compute 8 or 16 channels at once.
        steps: number of equal steps to the ratio; importance is measured anew in each, and `finetune`'s epochs are
            divided among them.
        unstructured: set the smallest weights to zero instead, and keep them at zero in training; `ratio` is then a
            share of the weights. No engine gets faster.
        data: a `data.yaml`, for "taylor", `finetune`, the sensitivity, and the accuracy before and after.
        finetune: number of epochs to train on `data` afterwards; the runs stay in `<stem of output>-training`.
        distill: fine-tune with the unpruned model as teacher.
        batch: images per training step, and per gradient.
        imgsz: side in pixels, 32 to 8192, a multiple of the largest stride; None: that of the training, otherwise 640.
        measure: measure the sensitivity of each unit, for the guidance ("sensitivity" always does), and, with `data`,
            mAP50-95 before and after.
        seed: random seed of "random" and of the training.
        output: path of the checkpoint; None puts `<stem>-pruned.pt` beside the model.
        progress: wraps the measured units, for a progress bar.
        **training: other arguments of `yolort.tools.train` (`gamma`, `class_weights`, `sampling`, ...) and of
            Ultralytics' trainer (`lr0`, `optimizer`, ...).

    The output convolutions of the head, the transposed convolution of the prototypes and the inside of attention
    are never pruned. Maps before and after merging into stock modules must agree to 1e-4; otherwise an error is
    raised and no file is written. The file is written atomically.

    Raises:
        FileNotFoundError, ValueError: a file does not exist, or arguments are wrong or cannot be combined.
        CheckpointError: the file is not a checkpoint of a model that yolort knows.
        ModuleNotFoundError: training a classifier needs torchvision, which cannot be imported.
        PruneError: the model or the ratio cannot be pruned; the target cannot be met; the widths were lost.
        LabelError: `data` is damaged, of another task, or of other classes ("taylor", `distill`).
    """
    _check_arguments(method, ratio, target_flops, target_latency, engine, allocate, round_to, steps)
    _check_training(method, data, finetune, distill, unstructured, ratio, training)
    if training:
        training = _checked(training)
    if Path(model).suffix != ".pt":
        raise ValueError(f"model must be a checkpoint (.pt), not '{model}'; random weights are not worth pruning")
    source = load_checkpoint(model, tasks=True)
    task = task_of(source.model)
    check_widths(source.model, model)
    if task == "classify" and (finetune or method == "taylor"):
        need_torchvision()
    side = input_size(imgsz if imgsz is not None else source.side, stride_of(source.model))[0]
    target = Path(output) if output is not None else Path(model).with_name(f"{Path(model).stem}-pruned.pt")
    if target.suffix != ".pt":
        raise ValueError(f"output must end in .pt, not '{target}'")
    if data is not None:
        labelled = load_dataset(data, "train", task=task)
        if method == "taylor" or distill:  # otherwise training gives the model the data's classes
            check_fits(labelled, source.model, model)
    notes = []
    evaluator = None
    if data is not None and measure:
        if "val" in splits(data):
            evaluator = Evaluator(data, task=task)
        else:
            notes.append("the data has no split val, so the accuracy was not measured")
    read = [model, data] if data is not None else [model]
    _atomic.check(target, sources=read)
    runs = target.with_name(f"{target.stem}-training")
    if finetune and runs.exists():
        raise FileExistsError(f"{runs} contains an earlier training; move it, or choose another output")
    with _atomic.workspace(target) as folder:
        job = Job(source, method, allocate, round_to, data, batch, side, seed, progress, folder, runs)
        if unstructured:
            assert ratio is not None
            outcome = _mask(job, ratio, finetune, distill, training)
        else:
            outcome = _prune(
                job, ratio, target_flops, target_latency, engine, steps, finetune, distill, measure, training
            )
        _atomic.place(outcome.path, target, sources=read)
    outcome.path = target
    if evaluator:
        try:
            outcome.cost = cost(Path(model), target, evaluator, side)
        except (LabelError, ImageError) as error:  # the pruned model exists
            notes.append(f"the accuracy was not measured: {error}")
    outcome.notes += notes
    return outcome


def _check_arguments(
    method: str,
    ratio: float | None,
    target_flops: float | str | None,
    target_latency: float | None,
    engine: str | None,
    allocate: str,
    round_to: int,
    steps: int,
) -> None:
    for value, known, what in ((method, METHODS, "method"), (allocate, ALLOCATIONS, "allocate")):
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}, not {value!r}")
    given = {"ratio": ratio, "target_flops": target_flops, "target_latency": target_latency}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise ValueError(f"give one of {', '.join(given)}, not {' and '.join(named) if named else 'none'}")
    if ratio is not None and not 0 < ratio <= MAX_RATIO:
        raise ValueError(
            f"ratio must be above 0 and at most {MAX_RATIO}, not {ratio}: nothing would be left to detect with"
        )
    if (target_latency is None) != (engine is None):
        raise ValueError("target_latency needs the engine that it is measured on, and engine is for nothing else")
    if engine is not None and engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if target_latency is not None and target_latency <= 0:
        raise ValueError(f"target_latency is in milliseconds, above 0, not {target_latency}")
    for name, count in (("round_to", round_to), ("steps", steps)):
        if not 1 <= count <= 64:
            raise ValueError(f"{name} must be within 1..64, not {count}")


def _check_training(
    method: str,
    data: str | Path | None,
    finetune: int,
    distill: bool,
    unstructured: bool,
    ratio: float | None,
    training: Mapping[str, Any],
) -> None:
    if finetune < 0:
        raise ValueError(f"finetune is in epochs, 0 or more, not {finetune}")
    if data is None and (finetune or method == "taylor"):
        raise ValueError(f"{'finetune' if finetune else 'method taylor'} needs data, a data.yaml of labelled images")
    if (distill or training) and not finetune:
        raise ValueError(
            f"{'distill' if distill else ', '.join(training)} needs finetune, because it applies to training"
        )
    if unstructured and (ratio is None or method not in ("l1", "random")):
        raise ValueError(
            "unstructured needs a ratio and method l1 or random; targets do not apply, because no engine gets faster"
        )


def _checked(training: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the training: those of `yolort.tools.train` and of Ultralytics. ValueError."""
    from yolort.tools.train.settings import check_settings
    from yolort.tools.train.train import OWN_ARGUMENTS, check_own_arguments

    own = {name: training[name] for name in OWN_ARGUMENTS if name in training}
    settings = check_settings({name: value for name, value in training.items() if name not in own}, ("batch",))
    check_own_arguments(settings, **own)
    return {**settings, **own}


def _prune(
    job: Job,
    ratio: float | None,
    target_flops: float | str | None,
    target_latency: float | None,
    engine: str | None,
    steps: int,
    finetune: int,
    distill: bool,
    measure: bool,
    training: Mapping[str, Any],
) -> Pruned:
    model = job.source.model
    opened = job.opened(model)
    dense = {unit.name: unit.width for unit in opened.units}
    if target_latency is not None:
        assert engine is not None
        check_latency(job, dense, target_latency, engine)
    planner = Planner(job, dense, _errors(job, opened) if job.allocate == "sensitivity" else None)
    timed = None
    if target_flops is not None:
        ratio = ratio_for_flops(planner, target_flops)
    elif target_latency is not None:
        assert engine is not None
        ratio, timed = ratio_for_latency(planner, target_latency, engine)
    assert ratio is not None
    planner.kept(opened, ratio)  # reports an invalid ratio before anything slow

    alone = {}
    if measure:
        measured = measure_sensitivity(opened, job.importance(opened), job.pictures(), (ratio,), job.progress)
        alone = {name: float(values[0]) for name, values in measured.items()}
    epochs = [len(part) for part in np.array_split(np.arange(finetune), steps)]
    for step in range(1, steps + 1):
        reached = ratio * step / steps
        model = planner.pruned(opened if step == 1 else job.opened(model), reached)
        _describe(model, job, reached)
        if epochs[step - 1]:
            model = _finetuned(model, job, epochs[step - 1], step, distill, training)
    after = {unit.name: unit.width for unit in open_model(model).units}
    size = (job.side, job.side)
    counts = [complexity(with_head(one), size) for one in (job.source.model, model)]
    roots = {unit.name: len(unit.roots) for unit in opened.units}
    channels = [sum(roots[name] * width for name, width in one.items()) for one in (dense, after)]
    outcome = Pruned(
        path=job.save(model, "pruned.pt"),
        ratio=ratio,
        channels=(channels[0], channels[1]),
        parameters=(int(counts[0]["parameters"]), int(counts[1]["parameters"])),
        gflops=(counts[0]["gflops"], counts[1]["gflops"]),
        imgsz=size,
        widths={name: (width, after[name]) for name, width in dense.items()},
        ms=timed,
        sensitivity=alone,
    )
    outcome.notes = [*_reached(job, outcome, target_flops), *_advice(job, outcome, finetune)]
    return outcome


def _errors(job: Job, opened: PrunableModel) -> dict[str, np.ndarray]:
    """Error of pruning each unit alone, at `LEVELS`, relative to its multiply-adds."""
    pictures = job.pictures()
    work = multiply_adds(opened, pictures[:1])
    found = measure_sensitivity(opened, job.importance(opened), pictures, LEVELS, job.progress)
    return {name: values / work[name] ** TIME_PULL for name, values in found.items()}


def _finetuned(
    model: nn.Module,
    job: Job,
    epochs: int,
    step: int,
    distill: bool,
    training: Mapping[str, Any],
    keep_zeros: bool = False,
) -> nn.Module:
    """Loads the trained model; PruneError if its widths changed."""
    from yolort.tools.prune.unstructured import keeping_zeros
    from yolort.tools.train.distill import distilling
    from yolort.tools.train.train import train
    from yolort.tools.train.trainer import Trainer

    assert job.data is not None
    trainer = distilling(Trainer, job.source.model) if distill else Trainer
    best = train(
        model,
        job.data,
        epochs=epochs,
        imgsz=job.side,
        batch=job.batch,
        seed=job.seed,
        output=job.runs / f"step-{step}",
        trainer=keeping_zeros(trainer, model) if keep_zeros else trainer,
        **training,
    )
    trained = load_checkpoint(best, tasks=True).model
    check_widths(trained, best)
    return trained


def _describe(model: Any, job: Job, ratio: float) -> None:
    """Records the pruning in the model's YAML, which every network built from it inherits."""
    model.yaml = {
        **model.yaml,
        "pruning": {
            "method": job.method,
            "ratio": round(ratio, 4),
            "parent": job.source.sha256,
            "widths": widths(model),
        },
    }


def _mask(job: Job, ratio: float, finetune: int, distill: bool, training: Mapping[str, Any]) -> Pruned:
    """Sets the smallest weights of all convolutions to zero, and trains the rest."""
    from yolort.tools.prune.unstructured import masked, sparsity

    model = masked(job.source.model, job.method, ratio, job.seed)
    if finetune:
        model = _finetuned(model, job, finetune, 1, distill, training, keep_zeros=True)
    size = (job.side, job.side)
    counts = [complexity(with_head(one), size) for one in (job.source.model, model)]
    units = open_model(model).units
    channels = sum(unit.width * len(unit.roots) for unit in units)
    return Pruned(
        path=job.save(model, "pruned.pt"),
        ratio=ratio,
        channels=(channels, channels),
        parameters=(int(counts[0]["parameters"]), int(counts[1]["parameters"])),
        gflops=(counts[0]["gflops"], counts[1]["gflops"]),
        imgsz=size,
        widths={unit.name: (unit.width, unit.width) for unit in units},
        sparsity=sparsity(model),
        notes=[
            "the engines compute with zeros as with any other weight: this model is not faster, and its files only "
            "shrink if compressed. Prune channels for that."
        ],
    )


def _reached(job: Job, done: Pruned, target_flops: float | str | None) -> list[str]:
    """Remark on the GFLOPs reached for a target."""
    if target_flops is None:
        return []
    before, after = done.gflops
    return [
        f"target_flops {target_flops}: it became {after:.3f} GFLOPs, {after / before:.1%} of {before:.3f}; widths are "
        f"multiples of {job.round_to}, and no ratio comes nearer"
    ]


def _advice(job: Job, done: Pruned, finetune: int) -> list[str]:
    """Guidance on the result."""
    notes = guidance(job.source.model, 1 - done.channels[1] / done.channels[0], finetune > 0)
    if not finetune:
        notes.append("not trained since: detections are poor until it is fine-tuned (--finetune, or yolort train)")
    return [*notes, *sensitive(done.sensitivity, job.allocate == "uniform")]
