"""The deployment table: model x engine x precision, each in its own process, measured in interleaved rounds.

from yolort.tools import benchmark
benchmark(["yolo26n.pt", "yolo26n.onnx", "yolo26n_ncnn_model"], data="coco128.yaml").save("report.html")
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from yolort import _checks, _core
from yolort.tools import _system
from yolort.tools._processes import ChildError, interruptible
from yolort.tools.data.dataset import load_dataset, sample_image
from yolort.tools.evaluate.detectors import common_task
from yolort.tools.evaluate.paired import Ratio
from yolort.tools.evaluate.row import Case, Row
from yolort.tools.evaluate.worker import Worker

__all__ = ["REPORT_WRITERS", "Benchmark", "Case", "Row", "benchmark", "cases", "interleaved"]

_BURST = 5  # detections per turn; few, so that temporary slowdowns affect all rows equally
_SETTLE = 2  # untimed detections at the start of a turn, which wake threads and fill caches
_REST = 0.1  # seconds between turns, in which the previous worker's threads go to sleep
_THROUGHPUT = 2.0  # seconds of a throughput measurement


#: Columns of the table: heading, key of `Row.to_dict`, format.
_COLUMNS = (
    ("threads", "threads", "{}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("speed-up", "speedup", "{}"),
    ("mean ms", "mean_ms", "{:.2f}"),
    ("std ms", "std_ms", "{:.2f}"),
    ("p95 ms", "p95_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("pre ms", "pre_p50_ms", "{:.2f}"),
    ("inference ms", "inference_p50_ms", "{:.2f}"),
    ("post ms", "post_p50_ms", "{:.2f}"),
    ("{metric}", "value", "{:.2f}"),
    ("mAP50", "map50", "{:.2f}"),
    ("box mAP50-95", "box_map50_95", "{:.2f}"),
    ("top-5", "top5", "{:.2f}"),
    ("peak MiB", "rss_mib", "{:.0f}"),
    ("model MiB", "engine_mib", "{:.0f}"),
    ("GPU MiB", "gpu_mib", "{:.0f}"),
    ("file MB", "size_mb", "{:.1f}"),
    ("M params", "parameters", "{:.2f}"),
    ("GFLOPs", "gflops", "{:.1f}"),
    ("needs", "install", "{}"),
    ("needs MB", "install_mb", "{:.0f}"),
)
_ACCURACY = 14  # columns before throughput
_SCALES = {"parameters": 1e-6, **dict.fromkeys(("value", "map50", "box_map50_95", "top5"), 100)}


@dataclass
class Benchmark:
    """The outcome of `benchmark`."""

    rows: list[Row]
    setup: dict[str, str]
    settings: dict[str, Any]

    @property
    def reference(self) -> Row | None:
        """The first row with figures; speed-ups are relative to it."""
        return next((row for row in self.rows if len(row.samples)), None)

    def by_speed(self) -> list[Row]:
        """The rows, fastest first; rows without figures are last."""
        return sorted(self.rows, key=lambda row: row.p50)

    def ratio(self, row: Row) -> Ratio | None:
        """Ratio of a row's time to the reference's; None for the reference itself."""
        reference = self.reference
        return None if reference is None or reference is row else row.ratio(reference)

    def answer(self) -> str:
        """A sentence that names the fastest row, and those that are not measurably slower; "" without figures."""
        fastest, *others = self.by_speed()
        if not len(fastest.samples):
            return ""
        said = f"Fastest: {fastest.name}, {fastest.p50:.2f} ms"
        ratio = self.ratio(fastest)
        if self.reference is not None and ratio is not None:
            said += f", {ratio.speedup()} as {self.reference.name}" if ratio.verdict == "faster" else ""
        if fastest.accuracy.get("value") is not None:
            said += f", {100 * fastest.accuracy['value']:.2f} {fastest.accuracy['metric']}"
        close = [row.name for row in others if (ratio := row.ratio(fastest)) and not ratio.verdict]
        return f"{said}." + (f" Not measurably slower: {', '.join(close)}." if close else "")

    def _flat(self) -> list[dict[str, Any]]:
        out = []
        for row in self.rows:
            ratio = self.ratio(row)
            figures = (ratio.value, ratio.low, ratio.high) if ratio else None
            rounded = [round(one, 4) for one in figures] if figures else [None] * 3
            out.append({**row.to_dict(), **dict(zip(("ratio", "ratio_low", "ratio_high"), rounded, strict=True))})
        return out

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells, fastest first, without empty columns."""
        rows = self.by_speed()
        flat = [{**row.to_dict(), "speedup": self._speedup(row)} for row in rows]
        rates = list(dict.fromkeys(key for values in flat for key in values if key.startswith("images_per_s")))
        columns = [
            *_COLUMNS[:_ACCURACY],
            *((key.replace("images_per_s, ", "images/s, "), key, "{:.1f}") for key in rates),
            *_COLUMNS[_ACCURACY:],
        ]
        columns = [column for column in columns if any(values.get(column[1]) is not None for values in flat)]
        cells = []
        for row, values in zip(rows, flat, strict=True):
            name = [Path(row.case.model).name, str(values["engine"] or "-"), str(values["precision"] or "-")]
            name[1] += f" {values['device']}" if values["device"] not in (None, "cpu") else ""
            if row.error and not len(row.samples):
                cells.append([*name, "failed", *["-"] * (len(columns) - 1)])
                continue
            doubt = "~" if _system.Load.disturbs(row.others) else ""
            for _, key, form in columns:
                value = values.get(key)
                mark = doubt if key.endswith("_ms") else ""
                shown = value * _SCALES[key] if key in _SCALES and value is not None else value
                name.append("-" if shown is None else mark + form.format(shown))
            cells.append(name)
        headings = [heading.format(metric=self.metric) for heading, _, _ in columns]
        return ["model", "engine", "precision", *headings], cells

    @property
    def metric(self) -> str:
        """Name of the accuracy metric for the models' task."""
        return next((str(row.accuracy["metric"]) for row in self.rows if row.accuracy), "accuracy")

    def _speedup(self, row: Row) -> str | None:
        if row is self.reference:
            return "reference" if len(self.rows) > 1 else None
        ratio = self.ratio(row)
        return ratio.factor() if ratio else None

    def notes(self) -> list[str]:
        """Reasons why rows lack figures."""
        return [f"{row.case}: {row.error}" for row in self.rows if row.error]

    def remarks(self) -> list[str]:
        """Remarks on comparing the rows."""
        counts = {row.case.threads for row in self.rows if len(row.samples)}
        out = []
        if len(counts) > 1:
            out.append(f"Rows differ in threads; without a number they have one for each core, {_system.cores()}.")
        if any(row.images_per_second for row in self.rows):
            out.append("Workers are threads with a clone each that computes on one core.")
        return out

    def doubts(self) -> list[str]:
        """Reasons why the times may be unreliable."""
        others = max((row.others for row in self.rows if row.others is not None), default=None)
        out = [disturbed(others)] if _system.Load.disturbs(others) else []
        return out + _system.load_doubts(self.setup)

    def to_markdown(self) -> str:
        """The table and the setup, as Markdown."""
        from yolort.tools.evaluate.report import markdown

        lines = [self.answer(), "", *markdown(*self.table())]
        lines += ["", *(f"- failed: {' '.join(note.split())}" for note in self.notes())]
        lines += [f"- {text}" for text in [*self.doubts(), *self.remarks()]]
        return "\n".join([*lines, *(f"- {key}: {value}" for key, value in self.setup.items()), ""])

    def to_csv(self) -> str:
        """One line per row, with the columns of `Row.to_dict` and the ratio to the first row."""
        flat = self._flat()
        out = io.StringIO()
        writer = csv.DictWriter(out, list(dict.fromkeys(key for values in flat for key in values)))
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue()

    def to_json(self) -> str:
        """Rows with all samples, setup and settings, as JSON."""
        rows = [
            {**flat, "samples_ms": np.round(row.samples, 4).tolist(), "turns": row.turns.tolist()}
            for flat, row in zip(self._flat(), self.rows, strict=True)
        ]
        return json.dumps({"setup": self.setup, "settings": self.settings, "rows": rows}, indent=1)

    def to_html(self) -> str:
        """A self-contained HTML page: table, charts, setup."""
        from yolort.tools.evaluate.report import render

        return render(self)

    def save(self, path: str | Path) -> None:
        """Writes the format of the ending: .html, .md, .csv or .json. The file is written atomically and replaces only
        files of yolort.
        """
        from yolort.tools.evaluate.report import save

        save(self, path, REPORT_WRITERS)


def disturbed(others: float | None) -> str:
    """A sentence about times that were measured while other processes were busy."""
    return (
        f"Other processes took {others or 0:.1f} of {_system.cores()} cores meanwhile: the times (~) are not those of "
        "the models; measure again on a quiet machine."
    )


#: Report writers by file ending.
REPORT_WRITERS: dict[str, Callable[[Benchmark], str]] = {
    ".html": Benchmark.to_html,
    ".md": Benchmark.to_markdown,
    ".csv": Benchmark.to_csv,
    ".json": Benchmark.to_json,
}


def cases(
    models: Sequence[str | Path],
    *,
    engines: Sequence[str] = (),
    precisions: Sequence[str] = (),
    devices: Sequence[str] = (),
    threads: Sequence[int] = (),
    imgsz: tuple[int, int] | None = None,
    rect: bool | None = None,
) -> list[Case]:
    """All available combinations, in the order of the models.

    A checkpoint (.pt) runs in PyTorch. An exported model runs on each engine that reads it, in each precision that is
    worth measuring on the device, unless engines or precisions are given. Devices other than the CPU are used only if
    given.

    Raises FileNotFoundError, ModelError for an invalid model; ValueError if no case is left, or for `threads` above
    four per core.
    """
    counts = [_checks.count("threads", count) for count in threads]
    out: list[Case] = []
    for model in map(str, models):
        if Path(model).suffix == ".pt" and not Path(model).is_file():
            raise FileNotFoundError(f"no such file: {model}")
        for device in devices or [""]:
            is_torch = Path(model).suffix == ".pt"
            known = [("torch", "", ["fp32"])] if is_torch else _core.candidates(model, device)
            for engine, _, able in known:
                if engines and engine not in engines:
                    continue
                # An engine that cannot run here or on the device still gets a row, which says why.
                for precision in [name for name in able or [""] if not precisions or not able or name in precisions]:
                    for count in counts or (None,):
                        out.append(Case(model, engine, device, precision, count, imgsz, rect=rect))
    if not out:
        raise ValueError(
            "no engine here can run these models in the requested precisions; yolort engines lists the engines"
        )
    return out


# Long for its arguments and their documentation.
def benchmark(
    models: Sequence[str | Path] = (),
    *,
    chosen: Sequence[Case] | None = None,
    image: np.ndarray | None = None,
    data: str | Path | None = None,
    split: str = "val",
    runs: int = 200,
    warmup: int = 50,
    batch: int = 1,
    workers: int | None = None,
    latency_only: bool = False,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Benchmark:
    """Measures every case. The row of a failed case has the reason; the others continue.

    Args:
        models: artifacts and checkpoints, in all combinations of `cases`; or pass the cases as `chosen`.
        image: (height, width, 3) BGR uint8, decoded; None: the embedded image.
        data: labeled images for measuring accuracy by the metric of the task, see `load_dataset`.
        split: split of `data`, see `load_dataset`.
        runs: number of timed detections of one image.
        warmup: number of detections before timing starts.
        batch: if above 1, also measure throughput at this batch size.
        workers: number of threads for the throughput measurement (up to four per core), each with a clone that computes
            on one core; None: one per core; 1 skips it.
        latency_only: skip throughput, memory and the list of required packages.
        progress: wraps the steps, for a progress bar.

    Raises ValueError for counts out of range, and the errors of `cases` and `load_dataset`.
    """
    for name, value, minimum in (("runs", runs, 1), ("warmup", warmup, 0), ("batch", batch, 1)):
        _checks.integer(name, value, minimum, 1_000_000)
    workers = _checks.count("workers", workers if workers is not None else _system.cores())
    rows = [Row(case) for case in (cases(models) if chosen is None else chosen)]
    if data is not None:
        # Invalid data is reported before anything is measured.
        load_dataset(data, split, task=common_task([row.case.model for row in rows]))
    setup = _system.describe()
    if image is None:
        image = sample_image()
    for row in rows:
        row.size_mb = _size(Path(row.case.model)) / 1e6
    settings = {
        "runs": runs,
        "warmup": warmup,
        "batch": batch,
        "workers": workers,
        "image": f"{image.shape[1]} x {image.shape[0]}",
        "data": str(data) if data else None,
        "split": split,
    }
    with interruptible(lambda: Benchmark(rows, setup, settings)), started(rows, image) as there:
        _time(there, warmup, runs, progress)
        for row, worker in progress(there):
            with _failing(row):
                if not latency_only:
                    row.install = _system.installed(row.facts["engine"])
                    row.memory = worker.ask("memory")  # before batches and clones, which use more memory
                    _rate(row, worker, batch, workers)
                if data is not None:
                    how = {"data": str(data), "split": split, "model": row.case.model, "options": row.case.options}
                    row.accuracy = worker.ask("accuracy", **how)
    return Benchmark(rows, setup, settings)


def _time(
    there: Sequence[tuple[Row, Worker]],
    warmup: int,
    runs: int,
    progress: Callable[[Sequence[Any]], Iterable[Any]],
) -> None:
    """Measures the milliseconds of one image, and the load by other processes meanwhile."""
    load = _system.Load([worker.pid for _, worker in there])
    for turn, (index, count, counts) in enumerate(progress(list(interleaved(len(there), warmup, runs)))):
        row, worker = there[index]
        if row.error:
            continue
        with _failing(row):
            samples = worker.ask("run", count=count + _SETTLE)[_SETTLE:]
            if counts:
                row.add(samples, turn // len(there))
        time.sleep(_REST)
    others = load.others()
    for row, _ in there:
        row.others = others


def _rate(row: Row, worker: Worker, batch: int, workers: int) -> None:
    """Measures images per second: single images, and batches and threads if there is more than one."""
    for size in dict.fromkeys((1, batch)):
        row.images_per_second[f"batch {size}"] = worker.ask("throughput", batch=size, seconds=_THROUGHPUT)
    if workers > 1 and row.case.engine != "torch":  # Ultralytics' predictor supports only one thread
        rate = worker.ask("workers", count=workers, seconds=_THROUGHPUT)
        row.images_per_second[f"{workers} workers"] = rate


def interleaved(rows: int, warmup: int, runs: int) -> Iterator[tuple[int, int, bool]]:
    """Turns: (row, number of detections, whether they are timed). Each round has every row once, in random order."""
    rng = np.random.default_rng(0)
    for total, counts in ((warmup, False), (runs, True)):
        for start in range(0, total, _BURST):
            for row in rng.permutation(rows).tolist():
                yield row, min(_BURST, total - start), counts


@contextlib.contextmanager
def started(rows: Sequence[Row], image: np.ndarray) -> Iterator[list[tuple[Row, Worker]]]:
    """Starts a worker for each row; rows whose worker fails record the error."""
    with contextlib.ExitStack() as stack:
        there = []
        for row in rows:
            with _failing(row):
                worker = stack.enter_context(Worker(row.case.model, image=image, **row.case.options))
                row.facts = worker.facts
                there.append((row, worker))
        yield there


@contextlib.contextmanager
def _failing(row: Row) -> Iterator[None]:
    """Records an error of a worker as the failure of its row."""
    try:
        yield
    except ChildError as error:
        row.error = " ".join(str(error).split())


def _size(model: Path) -> int:
    files = [model] if model.is_file() else [file for file in model.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
