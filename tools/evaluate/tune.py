"""Finds the fastest way to run a model on this machine, and records it for `Detector`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import _atomic, _core
from yolort._open import open_model
from yolort.tools import _system
from yolort.tools._processes import ChildError
from yolort.tools.data.dataset import sample_image
from yolort.tools.evaluate.benchmark import Case, Row, cases, started
from yolort.tools.evaluate.worker import Worker

__all__ = ["BusyError", "Tuning", "accurate", "cost", "tune"]

_FORMAT = 1  # version of the record, which cpp/src/core/tuning.cpp reads
_TURNS = 6  # turns per case, interleaved so that drift affects all equally


_PATIENCE = 60.0  # seconds to wait for other processes to end

#: Maximum loss of mAP50-95 in points with bf16: YOLOv8n, YOLO11n and YOLO26n with raw head on 310 images of COCO val.
_BF16_COST = 0.14


class BusyError(yolort.Error):
    """Other processes are using the cores, so times would be unreliable."""

    def __init__(self, others: float | None) -> None:
        super().__init__(
            f"other processes take {others or 0:.1f} of {_system.cores()} cores, so times measured now would not hold "
            "and nothing is recorded; try again when they have ended, or measure anyway (--under-load)"
        )


def accurate(case: Case) -> bool:
    """Whether a precision keeps the accuracy: bf16 moves boxes that are decoded in bf16 by up to 3 pixels."""
    if case.precision != "bf16":
        return True
    detector = open_model(case.model, engine=case.engine, tuned=False)
    return detector.head.startswith(("raw", "probs")) or "bf16" in detector.precision


def cost(precision: str) -> str:
    """The known accuracy cost of a precision; "" if there is none."""
    known = {"bf16": f"bf16 costs up to {_BF16_COST} points of mAP50-95 (measured on COCO, raw heads)"}
    return known.get(precision, "fp16 may cost accuracy: measure it with yolort val" if "fp16" in precision else "")


@dataclass(frozen=True)
class Tuning:
    """The outcome of `tune`: all cases, the fastest, and the path of the record."""

    rows: list[Row]
    best: Row
    path: Path

    @property
    def equals(self) -> list[Row]:
        """Rows that are not measurably slower than the fastest."""
        ratios = [(row, row.ratio(self.best)) for row in self.rows if row is not self.best and not row.error]
        return [row for row, ratio in ratios if ratio is None or ratio.verdict != "slower"]


def tune(
    model: str | Path,
    others: Sequence[str | Path] = (),
    *,
    engines: Sequence[str] = (),
    precisions: Sequence[str] = (),
    devices: Sequence[str] = (),
    image: np.ndarray | None = None,
    seconds: float = 45,
    under_load: bool = False,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Tuning:
    """Measures engines x precisions x threads and records the fastest for `Detector(model)`.

    Args:
        model: an exported model.
        others: artifacts of the same checkpoint in the same folder (an NCNN folder beside the ONNX file);
            `Detector(model)` then runs one of them if it is fastest.
        engines: engines to try; default: all.
        precisions: precisions to try; default: those that keep the accuracy of the model (`accurate`).
        devices: devices to try; default: the default of each engine.
        image: (height, width, 3) BGR uint8; None: the embedded image.
        seconds: time limit of the measurement, at least 1, not counting loading.
        under_load: measure and record even if other processes use the cores.
        say: called with a line of text when it waits for them.

    The record is `<model>.tuned.json`, or a file in the user's cache if that cannot be written. It applies only to this
    CPU model and core count.

    Raises ValueError if nothing can be tuned, EngineError if nothing runs (with the reasons), BusyError if other
    processes use the cores (nothing is recorded), and the errors of `cases`.
    """
    if not 1 <= seconds <= 3600:
        raise ValueError(f"seconds is {seconds}, expected 1 to 3600")
    for other in others:
        _check_same(Path(model), Path(other))
    path = _place(Path(model))
    rows = [Row(case) for case in _candidates([model, *others], engines, precisions, devices)]
    if image is None:
        image = sample_image()
    if not under_load and _system.Load.disturbs(others_cores := _system.wait_until_quiet(_PATIENCE, say)):
        raise BusyError(others_cores)
    with started(rows, image) as there:
        load = _system.Load([worker.pid for _, worker in there])
        _time(there, seconds, progress)
        others_cores = load.others()  # before the workers end: their time must not count as that of other processes
    if not under_load and _system.Load.disturbs(others_cores):
        raise BusyError(others_cores)
    best = min(rows, key=lambda row: row.p50)
    if best.p50 == float("inf"):
        reasons = "; ".join(f"{row.case}: {row.error}" for row in rows)
        raise yolort.EngineError(f"nothing runs {model} here: {reasons}")
    _record(path, Path(model), best, rows)
    return Tuning(rows, best, path)


def _candidates(
    models: Sequence[str | Path], engines: Sequence[str], precisions: Sequence[str], devices: Sequence[str]
) -> list[Case]:
    """The cases to measure: with one thread, with half of the cores, with all."""
    cores = _system.cores()
    counts = sorted({1, max(cores // 2, 1), cores})
    found = cases(models, engines=engines, precisions=precisions, devices=devices, threads=counts)
    if not precisions:
        found = [case for case in found if accurate(case)]
    if any(case.engine == "torch" for case in found):
        raise ValueError("tune needs an exported model; export the checkpoint first")
    return found


def _time(
    there: Sequence[tuple[Row, Worker]], seconds: float, progress: Callable[[Sequence[Any]], Iterable[Any]]
) -> None:
    """Measures each row in turn; one that cannot win gets less time."""
    share = seconds / max(len(there), 1) / _TURNS
    for turn in progress(range(_TURNS)):
        for row, worker in there:
            try:
                start = time.perf_counter()
                samples: list[list[float]] = worker.ask("run", count=3)[1:]
                # Drops rows that cannot win: their fastest sample is slower than another row's slowest.
                rivals = [other.p50 for other, _ in there if other is not row]
                lost = turn > 0 and row.samples[:, 0].min() > 1.5 * min(rivals, default=float("inf"))
                while not lost and time.perf_counter() - start < share:
                    samples += worker.ask("run", count=2)
                row.add(samples, turn)
            except ChildError as error:
                row.error = str(error)


def _check_same(model: Path, other: Path) -> None:
    """Raises ValueError if `other` is not an artifact of the same checkpoint in the same folder as `model`."""
    if other.resolve().parent != model.resolve().parent:
        raise ValueError(f"{other} is not in the folder of {model}; put both into one folder")
    marks = []
    for path in (model, other):
        detector = open_model(path, tuned=False)
        own = json.loads(detector.metadata.get("yolort") or "{}")
        source = (own.get("source") or {}).get("sha256")
        if not source:
            raise ValueError(f"{path} does not record its source checkpoint; export it with yolort")
        marks.append((source, detector.head, detector.imgsz, tuple(detector.names.values())))
    if marks[0] != marks[1]:
        raise ValueError(f"{other} is not the same model as {model}: another checkpoint, head, imgsz or names")


def _record(path: Path, model: Path, best: Row, rows: list[Row]) -> None:
    case = best.case
    record = {
        "writer": _atomic.MARK,
        "format": _FORMAT,
        "machine": _core.machine(),
        "bytes": _core.model_bytes(model),
        "engine": case.engine,
        "device": case.device,
        "precision": case.precision,
        "threads": case.threads,
        "use": "" if Path(case.model) == model else Path(case.model).name,
        "p50_ms": round(best.p50, 4),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "table": [
            {
                "model": Path(row.case.model).name,
                "engine": row.case.engine,
                "device": row.case.device,
                "precision": row.case.precision,
                "threads": row.case.threads,
                "p50_ms": None if row.error else round(row.p50, 4),
                "error": row.error,
            }
            for row in rows
        ],
    }
    _atomic.write(path, json.dumps(record, indent=1))


def _place(model: Path) -> Path:
    """Writes the record beside the model or, if that folder is not writable, to the user's cache; returns the path."""
    beside, *cache = _core.tuning_paths(model)
    try:
        _atomic.check(beside)
        return beside
    except PermissionError:
        if not cache:
            raise
    cache[0].parent.mkdir(parents=True, exist_ok=True)
    _atomic.check(cache[0])
    return cache[0]
