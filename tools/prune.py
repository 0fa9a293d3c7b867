"""Structured channel pruning of YOLOv8, YOLO11 and YOLO26: a narrower network in the same stock modules.

    from yolort.tools.prune import prune
    prune("yolo26n.pt", ratio=0.2, data="data.yaml", finetune=30)          # yolo26n-pruned.pt beside it
    prune("yolo26n.pt", target_latency=12.0, engine="ncnn", imgsz=320)     # as narrow as it takes

The checkpoint that is written is an Ultralytics one: `YOLO("yolo26n-pruned.pt")` and `yolort export` take it as any
other. Only Ultralytics' own `train` does not: it builds the network anew from its YAML, as wide as it was. Fine-tune
with `finetune` here, or with `yolort.tools.trainer`.
"""

from __future__ import annotations

import copy
import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yolort
from torch import nn
from yolort import _atomic, _checks
from yolort.tools.checkpoints import Checkpoint, detect_head, load_checkpoint
from yolort.tools.data import letterboxed, list_images, load_dataset
from yolort.tools.export import FORMATS, complexity, export, with_head
from yolort.tools.importance import (
    METHODS,
    add_gradients,
    channel_importance,
    least_important,
    measure_sensitivity,
    multiply_adds,
)
from yolort.tools.surgery import Opened, PruneError, Unit, open_model, widths

__all__ = [
    "ALLOCATIONS",
    "MEASURED_LOSS",
    "METHODS",
    "PruneError",
    "Pruned",
    "check_widths",
    "prune",
]

_log = logging.getLogger(__name__)

ALLOCATIONS = ("uniform", "global", "sensitivity")

#: Points of mAP50-95 that the COCO-trained nano model of a family lost at these ratios before any training ("taylor",
#: by sensitivity, 320 pixels; see docs/pruning.md). Nothing that was measured is safe: at most a point.
MEASURED_LOSS: dict[str, dict[float, float]] = {
    "yolov8": {0.1: 8.8, 0.2: 36.9},
    "yolo26": {0.05: 4.5, 0.1: 26.2, 0.2: 37.3},
}

_MOST = 0.95  # of the channels
_MOST_OF_UNIT = 0.8  # that an allocation other than "uniform" takes of a unit
_LEVELS = (0.1, 0.25, 0.5, _MOST_OF_UNIT)  # ratios that the sensitivity is measured at, to allocate by it
_PULL = 1.25  # of the multiply-adds on that: 0 regards the error alone, more takes from where the time is
_PICTURES = 4  # that it is measured on
_ROUNDS = 7  # of a bisection: ratios to 0.75 %
_RUNS = 100  # detections that a candidate is timed with
_NAMED = 5  # sensitive units that are told
_UNEVEN = 10  # times the median: units that should not be pruned like the others


@dataclass
class Pruned:
    """The outcome of `prune`; pairs are before and after."""

    path: Path
    ratio: float  # that was asked for, or found for the target
    channels: tuple[int, int]  # of all units
    parameters: tuple[int, int]
    gflops: tuple[float, float]  # of an image of `imgsz`
    imgsz: tuple[int, int]  # height, width
    widths: dict[str, tuple[int, int]]  # of each unit
    ms: tuple[float, float] | None = None  # p50 end to end on the engine of the target
    sparsity: float | None = None  # of the convolutions' weights, 0 to 1: of unstructured pruning only
    sensitivity: dict[str, float] = field(default_factory=dict)  # `map_error` of each unit pruned alone by `ratio`
    notes: list[str] = field(default_factory=list)


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
    """Takes the least important channels out of a detector, and writes what is left as a checkpoint.

    Args:
        model: an Ultralytics detection checkpoint (`.pt`).
        method: what makes a channel important, see `channel_importance`; "taylor" needs `data`.
        ratio: the share of channels to take out, above 0 and at most 0.95. Of this, `target_flops` and `target_latency`
            exactly one.
        target_flops: GFLOPs of an image (2 a multiply-add), or a share of what they are now: "60%".
        target_latency: milliseconds of an image end to end, p50, on `engine`. Candidates are exported and timed there.
        engine: "ncnn", "onnxruntime", "openvino" or "tensorrt".
        allocate: how the ratio is spread. "uniform": the same for every unit; "global": by importance over all units,
            each compared with its own mean; "sensitivity": so that each unit pruned alone changes what is detected by
            as much for the multiply-adds that it has, measured on pictures of `data`'s training split, or else the
            embedded one.
        round_to: widths are multiples of this, where they were; engines compute 8 or 16 channels at once.
        steps: the ratio is reached in that many equal steps, importance (and `finetune`'s epochs) shared among them.
        unstructured: set the smallest weights to zero instead; `ratio` is then of weights. Nothing gets faster by it.
        data: a `data.yaml`: for "taylor", `finetune`, and pictures for the sensitivity.
        finetune: epochs of training afterwards, on `data`; the runs stay in `<stem of output>-training`.
        distill: with the model as it was before as teacher.
        batch: images of one step of training, and of a gradient.
        imgsz: side in pixels; None takes that of the training, else 640.
        measure: measure how sensitive each unit is, for the guidance; "sensitivity" does so anyway.
        seed: of "random" and of the training.
        output: path of the checkpoint; None puts `<stem>-pruned.pt` beside the model.
        progress: wraps the units that are measured, for a progress bar.
        **training: other arguments of Ultralytics' trainer (`lr0`, `optimizer`, ...).

    The output convolutions of the head and the inside of attention are never pruned. Maps before and after merging into
    stock modules agree to 1e-4, else there is an error and no file; the file appears whole or not at all.

    Raises:
        FileNotFoundError, ValueError: no such file; arguments that are wrong or exclude each other.
        CheckpointError: the model is no detector, or the file no checkpoint.
        PruneError: the model or the ratio cannot be pruned; the target cannot be met; the widths were lost.
        LabelError: `data` is damaged, or "taylor" or `distill` meet classes that are not the model's.
    """
    _check_arguments(method, ratio, target_flops, target_latency, engine, allocate, round_to, steps)
    _check_training(method, data, finetune, distill, unstructured, ratio, training)
    if Path(model).suffix != ".pt":
        raise ValueError(f"model must be a checkpoint (.pt), not '{model}'; random weights are not worth pruning")
    source = load_checkpoint(model)
    check_widths(source.model, model)
    side = _checks.integer("imgsz", imgsz) if imgsz is not None else source.side
    target = Path(output) if output is not None else Path(model).with_name(f"{Path(model).stem}-pruned.pt")
    if target.suffix != ".pt":
        raise ValueError(f"output must end in .pt, not '{target}'")
    if data is not None:
        labelled = load_dataset(data, "train")
        if method == "taylor" or distill:  # without them a training gives the model the classes of the data
            labelled.with_classes_of(source.model.names)
    read = [model, data] if data is not None else [model]
    _atomic.check(target, sources=read)
    runs = target.with_name(f"{target.stem}-training")
    if finetune and runs.exists():
        raise FileExistsError(f"{runs} holds an earlier training; move it, or choose another output")
    with _atomic.workspace(target) as folder:
        job = _Job(source, method, allocate, round_to, data, batch, side, seed, progress, folder, runs)
        if unstructured:
            assert ratio is not None
            done = _mask(job, ratio, target)
        else:
            done = _prune(job, ratio, target_flops, target_latency, engine, steps, finetune, distill, measure, training)
        _atomic.place(done.path, target, sources=read)
    done.path = target
    return done


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
    if ratio is not None and not 0 < ratio <= _MOST:
        raise ValueError(
            f"ratio must be above 0 and at most {_MOST}, not {ratio}: nothing would be left to detect with"
        )
    if (target_latency is None) != (engine is None):
        raise ValueError("target_latency needs the engine that it is measured on, and engine is for nothing else")
    if engine is not None and engine not in _formats():
        raise ValueError(f"engine must be one of {', '.join(_formats())}, not {engine!r}")
    if target_latency is not None and target_latency <= 0:
        raise ValueError(f"target_latency is in milliseconds, above 0, not {target_latency}")
    for name, value in (("round_to", round_to), ("steps", steps)):
        if not 1 <= value <= 64:
            raise ValueError(f"{name} must be within 1..64, not {value}")


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
        raise ValueError(f"{'distill' if distill else ', '.join(training)} is for the training; give finetune too")
    if unstructured and (ratio is None or finetune or method not in ("l1", "random")):
        raise ValueError(
            "unstructured takes a ratio and the methods l1 and random: no target, since it makes no engine faster, and "
            "no training, which would fill the zeros again"
        )


def _formats() -> dict[str, str]:
    """Of each engine, the format that `export` writes for it."""
    return {"onnxruntime" if format.engine == "any" else format.engine: name for name, format in FORMATS.items()}


@dataclass
class _Job:
    """What stays the same from the first candidate to the last."""

    source: Checkpoint
    method: str
    allocate: str
    round_to: int
    data: str | Path | None
    batch: int
    side: int
    seed: int
    progress: Callable[[Sequence[Any]], Iterable[Any]]
    folder: Path  # for what is built
    runs: Path  # for the trainings

    def opened(self, model: nn.Module) -> Opened:
        """The model opened, with the gradients that the method goes by."""
        if self.method == "taylor":
            assert self.data is not None
            add_gradients(model, self.data, self.side, self.batch, self.seed)
        return open_model(model)

    def importance(self, opened: Opened) -> dict[str, list[np.ndarray]]:
        """Of every channel, by the method."""
        return channel_importance(opened, self.method, self.seed)

    def pictures(self) -> torch.Tensor:
        """(n, 3, side, side): of the training split, spread over it, else the embedded picture."""
        files = list_images(self.data, "train") if self.data is not None else [yolort.demo_image()]
        spread = np.unique(np.linspace(0, len(files) - 1, _PICTURES).round().astype(int))
        return torch.from_numpy(letterboxed([files[index] for index in spread], (self.side, self.side)))

    def save(self, model: nn.Module, name: str) -> Path:
        """Writes a checkpoint into the folder."""
        return _save(model, self.source, self.side, self.folder / name)


def _prune(
    job: _Job,
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
    errors = None
    if job.allocate == "sensitivity":
        pictures = job.pictures()
        work = multiply_adds(opened, pictures[:1])
        found = measure_sensitivity(opened, job.importance(opened), pictures, _LEVELS, job.progress)
        errors = {name: values / work[name] ** _PULL for name, values in found.items()}
    planner = _Planner(job, dense, errors)
    timed = None
    if target_flops is not None:
        ratio = _for_flops(planner, target_flops)
    elif target_latency is not None:
        assert engine is not None
        ratio, timed = _for_latency(planner, target_latency, engine)
    assert ratio is not None
    planner.kept(opened, ratio)  # says what is wrong with the ratio before anything takes long

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
    done = Pruned(
        path=job.save(model, "pruned.pt"),
        ratio=ratio,
        channels=tuple(sum(roots[name] * width for name, width in one.items()) for one in (dense, after)),
        parameters=tuple(int(one["parameters"]) for one in counts),
        gflops=tuple(one["gflops"] for one in counts),
        imgsz=size,
        widths={name: (width, after[name]) for name, width in dense.items()},
        ms=timed,
        sensitivity=alone,
    )
    done.notes = _advice(job, done, finetune)
    return done


class _Planner:
    """Decides how wide each unit becomes. Ratios are of the widths `dense`, also where some are gone already."""

    def __init__(self, job: _Job, dense: Mapping[str, int], errors: Mapping[str, np.ndarray] | None) -> None:
        self.job, self.dense, self.errors = job, dense, errors

    def kept(self, opened: Opened, ratio: float) -> dict[str, int]:
        """The width of each unit at a ratio; PruneError where one would be empty."""
        if self.job.allocate == "global":
            shares = self._by_importance(opened, ratio)
        elif self.job.allocate == "sensitivity":
            shares = self._by_error(opened, ratio)
        else:
            shares = dict.fromkeys(self.dense, ratio)
        kept = {unit.name: self._rounded(unit, shares[unit.name]) for unit in opened.units}
        if kept == self.dense:
            raise PruneError(
                f"ratio {ratio:.3g} takes nothing out: no width falls by a multiple of {self.job.round_to}; raise the "
                "ratio or lower round_to"
            )
        return kept

    def pruned(self, opened: Opened, ratio: float) -> nn.Module:
        """Prunes to a ratio, and closes."""
        kept, ranks = self.kept(opened, ratio), self.job.importance(opened)
        for unit in opened.units:
            opened.remove(unit, [least_important(scores, unit.width - kept[unit.name]) for scores in ranks[unit.name]])
        return opened.close()

    def candidate(self, ratio: float) -> nn.Module:
        """What a ratio makes of the model that was given."""
        return self.pruned(open_model(self.job.source.model), ratio)

    def most(self) -> float:
        """The largest ratio that there is with which no unit is empty."""
        return min(_MOST, 1 - 1 / min(self.dense.values()))

    def _rounded(self, unit: Unit, share: float) -> int:
        width = self.dense[unit.name]
        if int(width * (1 - share) + 1e-9) < 1:
            raise PruneError(
                f"ratio {share:.3g} empties {unit.name}, which has {width} channels; at most {1 - 1 / width:.3g} "
                "leaves it one"
            )
        return min(self._width(unit.name, share), unit.width)

    def _width(self, name: str, share: float) -> int:
        by = self.job.round_to
        return min(max(by, by * round(self.dense[name] * (1 - share) / by)), self.dense[name])

    def _by_importance(self, opened: Opened, ratio: float) -> dict[str, float]:
        ranks = self.job.importance(opened)
        least = {name: np.mean([np.sort(rank) for rank in of_roots], 0) for name, of_roots in ranks.items()}
        roots = {unit.name: len(unit.roots) for unit in opened.units}

        def shares(threshold: float) -> dict[str, float]:
            gone = {name: self.dense[name] - int((rank > threshold).sum()) for name, rank in least.items()}
            return {name: min(count / self.dense[name], _MOST_OF_UNIT) for name, count in gone.items()}

        return self._solved(shares, max(float(rank.max()) for rank in least.values()), ratio, roots)

    def _by_error(self, opened: Opened, ratio: float) -> dict[str, float]:
        assert self.errors is not None
        rising = {name: np.maximum.accumulate([0.0, *values]) for name, values in self.errors.items()}
        roots = {unit.name: len(unit.roots) for unit in opened.units}

        def shares(error: float) -> dict[str, float]:
            return {name: float(np.interp(error, values, (0.0, *_LEVELS))) for name, values in rising.items()}

        return self._solved(shares, max(float(values[-1]) for values in rising.values()), ratio, roots)

    def _solved(
        self, shares: Callable[[float], dict[str, float]], most: float, ratio: float, roots: Mapping[str, int]
    ) -> dict[str, float]:
        """The shares at which, rounded, `ratio` of all channels are gone; they grow with what is bisected."""
        total = sum(self.dense[name] * roots[name] for name in self.dense)

        def gone(threshold: float) -> float:
            taken = {name: self.dense[name] - self._width(name, share) for name, share in shares(threshold).items()}
            return sum(roots[name] * count for name, count in taken.items()) / total

        low, high = 0.0, most
        if gone(high) < ratio:
            raise PruneError(
                f"ratio {ratio:.3g} is more than allocate={self.job.allocate!r} takes out ({gone(high):.3g}); lower it"
            )
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if gone(middle) < ratio else (low, middle)
        return shares(high)


def _for_flops(planner: _Planner, target: float | str) -> float:
    """The smallest ratio, to 0.75 %, with which a picture takes no more GFLOPs."""
    size = (planner.job.side, planner.job.side)

    def gflops(model: nn.Module) -> float:
        return complexity(with_head(model), size)["gflops"]

    now = gflops(planner.job.source.model)
    try:
        wanted = now * float(target.removesuffix("%")) / 100 if str(target).endswith("%") else float(target)
    except (ValueError, AttributeError):
        raise ValueError(f"target_flops is a number of GFLOPs or a share like '60%', not {target!r}") from None
    if not 0 < wanted < now:
        raise ValueError(f"target_flops must be above 0 and below the {now:.3f} GFLOPs of now, not {wanted:.3g}")
    return _bisected(planner, lambda ratio: gflops(planner.candidate(ratio)), wanted, "GFLOPs")


def _for_latency(planner: _Planner, target: float, engine: str) -> tuple[float, tuple[float, float]]:
    """The smallest ratio, to 0.75 %, with which a picture takes no longer; and the times of the dense and that model.

    Every candidate is exported and timed beside the dense one, in turns. What else the machine does slows both, so that
    the time of a candidate is that of the dense one, measured first, by the ratio of the two.
    """
    dense = _artefact(planner.job, planner.job.source.model, engine, "dense")
    first = _timed([dense], engine)[0]
    if first <= target:
        raise PruneError(
            f"the model takes {first:.2f} ms on {engine} as it is; there is nothing to prune for {target} ms"
        )
    known: dict[tuple[int, ...], float] = {}

    def ms(ratio: float) -> float:
        model = planner.candidate(ratio)
        key = tuple(widths(model).values())
        if key not in known:
            both = _timed([dense, _artefact(planner.job, model, engine, f"candidate-{len(known)}")], engine)
            known[key] = first * both[1] / both[0]
            _log.info("ratio %.3f: %.2f ms on %s (%.2f x)", ratio, known[key], engine, first / known[key])
        return known[key]

    ratio = _bisected(planner, ms, target, f"ms on {engine}")
    return ratio, (first, ms(ratio))


def _bisected(planner: _Planner, cost: Callable[[float], float], target: float, unit: str) -> float:
    """The smallest ratio found whose cost is at most the target; PruneError where the largest one does not do."""
    low, high = 0.0, planner.most()
    least = cost(high)
    if least > target:
        raise PruneError(f"even a ratio of {high:.3g} takes {least:.3g} {unit}, more than the target of {target:.3g}")
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        try:
            met = cost(middle) <= target
        except PruneError:  # so little that rounding takes nothing out
            met = False
        low, high = (low, middle) if met else (middle, high)
    return high


def _artefact(job: _Job, model: nn.Module, engine: str, name: str) -> Path:
    ending = FORMATS[_formats()[engine]].ending
    checkpoint = job.save(model, f"{name}.pt")
    return export(checkpoint, format=_formats()[engine], imgsz=job.side, output=job.folder / f"{name}{ending}")


def _timed(artefacts: Sequence[Path], engine: str) -> list[float]:
    """Milliseconds of an image end to end, p50, measured in turns."""
    from yolort.tools.benchmark import Case, benchmark

    rows = benchmark(chosen=[Case(str(path), engine) for path in artefacts], runs=_RUNS, warmup=20).rows
    for row in rows:
        if row.error:
            raise yolort.EngineError(f"{engine} cannot time {row.case}: {row.error}")
    return [float(np.median(row.samples[:, 0])) for row in rows]


def _finetuned(
    model: nn.Module, job: _Job, epochs: int, step: int, distill: bool, training: Mapping[str, Any]
) -> nn.Module:
    """The model after training, as wide as before; PruneError where it is not."""
    from yolort.tools.trainer import train_module

    assert job.data is not None
    best = train_module(
        model,
        job.data,
        epochs=epochs,
        imgsz=job.side,
        batch=job.batch,
        seed=job.seed,
        teacher=job.source.model if distill else None,
        output=job.runs / f"step-{step}",
        **training,
    )
    trained = load_checkpoint(best).model
    check_widths(trained, best)
    return trained


def _describe(model: Any, job: _Job, ratio: float) -> None:
    """Writes into the model's YAML what was pruned, which any network built from that YAML inherits."""
    model.yaml = {
        **model.yaml,
        "pruning": {
            "method": job.method,
            "ratio": round(ratio, 4),
            "parent": job.source.sha256,
            "widths": widths(model),
        },
    }


def check_widths(model: Any, path: str | Path) -> None:
    """Raises PruneError where a model was pruned and its network is not: it was built anew from its YAML since."""
    told = model.yaml.get("pruning")
    if not told:
        return
    wanted, found = told["widths"], widths(model)
    outputs = {name for name in found if re.search(r"\.(one2one_)?cv3\.\d+\.2$", name)}  # as wide as there are classes
    wrong = next((name for name in found if name not in outputs and wanted.get(name, found[name]) != found[name]), None)
    if wrong is not None:
        raise PruneError(
            f"{path} was pruned and is wide again ({wrong} has {found[wrong]} channels, {wanted[wrong]} were left): "
            "the network was built anew from its YAML, as Ultralytics' train does; yolort train keeps widths"
        )


def _save(model: nn.Module, source: Checkpoint, side: int, path: Path) -> Path:
    """Writes an Ultralytics checkpoint; in half precision where that loses nothing."""
    import ultralytics

    kept: Any = copy.deepcopy(model).requires_grad_(True)
    kept.criterion = None
    values = [value for value in kept.state_dict().values() if value.is_floating_point()]
    if all(torch.equal(value.half().float(), value) for value in values):
        kept = kept.half()
    saved = io.BytesIO()  # torch's own error of a full disk names neither it nor the file
    torch.save(
        {
            "writer": _atomic.MARK,
            "epoch": -1,
            "best_fitness": None,
            "model": kept,
            "ema": None,
            "updates": None,
            "optimizer": None,
            "train_args": {**source.train_args, "imgsz": side, "task": "detect"},
            "version": ultralytics.__version__,
            "license": source.license,
        },
        saved,
    )
    path.write_bytes(saved.getbuffer())
    return path


def _mask(job: _Job, ratio: float, target: Path) -> Pruned:
    """Sets the smallest weights of all convolutions to zero."""
    from torch.nn.utils import prune as masking

    model = copy.deepcopy(job.source.model)
    detect = detect_head(model)
    convolutions = [
        one
        for name, one in model.named_modules()
        if isinstance(one, nn.Conv2d) and one is not getattr(detect.dfl, "conv", None)
    ]
    chosen = masking.L1Unstructured if job.method == "l1" else masking.RandomUnstructured
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        masking.global_unstructured([(one, "weight") for one in convolutions], chosen, amount=ratio)
    for one in convolutions:
        masking.remove(one, "weight")
    zeros = sum(int((one.weight == 0).sum()) for one in convolutions)
    weights = sum(one.weight.numel() for one in convolutions)
    size = (job.side, job.side)
    count = complexity(with_head(model), size)
    units = open_model(model).units
    channels = sum(unit.width * len(unit.roots) for unit in units)
    return Pruned(
        path=job.save(model, "pruned.pt"),
        ratio=ratio,
        channels=(channels, channels),
        parameters=(int(count["parameters"]),) * 2,
        gflops=(count["gflops"],) * 2,
        imgsz=size,
        widths={unit.name: (unit.width, unit.width) for unit in units},
        sparsity=zeros / weights,
        notes=[
            "the engines here compute with zeros as with any other weight: this model is not faster, and its files are "
            "not smaller until they are compressed. Prune channels for that."
        ],
    )


def _advice(job: _Job, done: Pruned, finetune: int) -> list[str]:
    """What to expect of the result, and what else to do."""
    notes = []
    taken = 1 - done.channels[1] / done.channels[0]
    family = re.match(r"yolov?\d+", Path(str(job.source.model.yaml.get("yaml_file", ""))).name)  # type: ignore[attr-defined]
    measured = MEASURED_LOSS.get(family[0]) if family else None
    if measured:
        near = min((ratio for ratio in measured if ratio >= taken - 0.01), default=max(measured))
        notes.append(
            f"{taken:.0%} of the channels are gone; of a COCO-trained {family[0] if family else ''}n {near:.0%} cost "
            f"{measured[near]:.1f} points of mAP50-95 before any training: fine-tune until that is back, and measure it"
        )
    if not finetune:
        notes.append("not trained since: detections are poor until it is fine-tuned (--finetune, or yolort train)")
    if done.sensitivity:
        middle = float(np.median(list(done.sensitivity.values())))
        worst = sorted(done.sensitivity, key=lambda name: -done.sensitivity[name])[:_NAMED]
        named = ", ".join(f"{name} ({done.sensitivity[name]:.3f})" for name in worst)
        notes.append(f"most sensitive when pruned alone (median {middle:.4f}): {named}")
        if job.allocate == "uniform" and done.sensitivity[worst[0]] > _UNEVEN * middle:
            notes.append("the units differ much: allocate by sensitivity takes fewer channels of those")
    return notes
