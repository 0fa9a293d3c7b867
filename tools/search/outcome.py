"""The result of `optimize`: budget, trials, the Pareto front and the reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort.tools import _system
from yolort.tools.data.dataset import list_images
from yolort.tools.evaluate import charts, report
from yolort.tools.evaluate.detectors import open_detector
from yolort.tools.search.pipeline import Pipeline
from yolort.tools.search.recipe import Recipe

__all__ = ["REPORT_WRITERS", "Budget", "Optimized", "Trial", "accuracy_of", "best_within", "pareto_front"]

_MEANINGFUL = 0.2  # share of the reference's accuracy: a larger allowed drop means little
_SHOWN = 3  # number of images in the report


@dataclass(frozen=True)
class Budget:
    """Limits; None: unlimited.

    Attributes:
        max_latency: median milliseconds per image, end to end, on this machine.
        max_drop: allowed loss of the task's metric, such as mAP50-95, in points (of 100), relative to the unchanged
            model in FP32 on ONNX Runtime.
        max_size: size of the artifact in MB.
    """

    max_latency: float | None = None
    max_drop: float | None = None
    max_size: float | None = None

    def __post_init__(self) -> None:
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        if all(value is None for value in given.values()):
            raise ValueError(f"give at least one of {', '.join(given)}")
        for name, value in given.items():
            if value is not None and not (value > 0 or (name == "max_drop" and value >= 0)):
                raise ValueError(f"{name} must be above 0, not {value}")

    def met(self, trial: Trial, reference: Trial) -> bool:
        """Whether a measured trial is within the budget."""
        return self.fits(trial.ms, trial.size_mb) and self.accurate(trial, reference)

    def accurate(self, trial: Trial, reference: Trial) -> bool:
        """Whether a trial's measured accuracy is within the budget."""
        if trial.accuracy is None or (self.max_drop is not None and reference.accuracy is None):
            return False
        return self.max_drop is None or accuracy_of(reference) - trial.accuracy <= self.max_drop

    def doubt(self, reference: Trial, metric: str) -> str:
        """Warns if the reference is too inaccurate for the allowed drop to be meaningful; otherwise ""."""
        if self.max_drop is None or reference.accuracy is None or self.max_drop < _MEANINGFUL * reference.accuracy:
            return ""
        return (
            f"max_drop {self.max_drop:g} is large against the {reference.accuracy:.2f} {metric} of the reference: "
            "nearly anything is within it. Train the model on the data first (epochs), or allow less."
        )

    def fits(self, ms: float, size_mb: float) -> bool:
        """Whether time and size are within the budget."""
        return (self.max_latency is None or ms <= self.max_latency) and (
            self.max_size is None or size_mb <= self.max_size
        )


@dataclass(frozen=True)
class Trial:
    """A tried recipe; `note` says why it failed or has no accuracy."""

    recipe: Recipe
    number: int
    ms: float = float("nan")  # p50, measured alternately with the reference
    size_mb: float = float("nan")
    accuracy: float | None = None  # by the metric of the task, of 100
    seconds: float = 0.0
    note: str = ""
    ratio: Sequence[float] | None = None  # 95 % interval of the ratio to the reference's time
    interval: Sequence[float] | None = None  # 95 % interval of the accuracy

    @property
    def plain(self) -> bool:
        """Whether it is the unchanged model, a sibling or a smaller input."""
        return not (self.recipe.finetune or self.recipe.teacher)

    @property
    def name(self) -> str:
        """A short description."""
        one = self.recipe
        parts = [Path(one.model).stem, str(one.imgsz), one.engine, one.precision]
        parts += [one.head] if one.head != "raw" else []
        parts += [f"pruned {one.prune:.0%}"] if one.prune else []
        parts += ["distilled"] if one.teacher else []
        return " ".join(parts)


class Optimized:
    """The outcome of `optimize`."""

    def __init__(self, budget: Budget, trials: list[Trial], pipeline: Pipeline, data: str, seed: int) -> None:
        self.budget = budget
        self.trials = trials  # the reference first
        self.metric = pipeline.data.metric  # name of the figure that trials are compared by
        self._pipeline = pipeline
        self._data = data
        self._seed = seed
        self.setup = _system.describe()

    @property
    def reference(self) -> Trial:
        """The unchanged model, in FP32 on ONNX Runtime."""
        return self.trials[0]

    @property
    def pareto_front(self) -> list[Trial]:
        """The Pareto-optimal trials in time and accuracy, fastest first."""
        return pareto_front(self.trials)

    @property
    def best(self) -> Trial | None:
        """The best trial within the budget: the most accurate if there is a latency target, otherwise the fastest; None
        if no trial is within the budget.
        """
        return best_within(self.budget, self.trials, self.reference)

    @property
    def artifact(self) -> Path | None:
        """The artifact of the best trial."""
        return self._pipeline.make(self.best.recipe.artifact(self._seed)) if self.best else None

    def commands(self) -> list[str]:
        """Shell commands that rebuild and score the best artifact; the last one runs it."""
        return list(self.best.recipe.commands(self._data, self._seed)) if self.best else []

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells; the front first, then by time."""
        front = self.pareto_front
        order = sorted(self.trials, key=lambda one: (one not in front, one.accuracy is None, one.ms))
        cells = []
        for one in order:
            marks = [mark for mark, is_so in _marks(self, one, front) if is_so]
            speed = self.reference.ms / one.ms
            drop = (
                None
                if None in (one.accuracy, self.reference.accuracy)
                else accuracy_of(one) - accuracy_of(self.reference)
            )
            cells.append(
                [
                    one.name,
                    ", ".join(marks) or "-",
                    "-" if np.isnan(one.ms) else f"{one.ms:.2f}",
                    "-" if np.isnan(speed) else f"{speed:.2f}x",
                    "-" if one.accuracy is None else f"{one.accuracy:.2f}",
                    "-" if drop is None else f"{drop:+.2f}",
                    "-" if np.isnan(one.size_mb) else f"{one.size_mb:.1f}",
                    f"{one.seconds:.0f}",
                    one.note or "-",
                ]
            )
        return ["model", "", "p50 ms", "speed-up", self.metric, "change", "file MB", "took s", "note"], cells

    def findings(self) -> list[str]:
        """The findings, in sentences."""
        best, reference = self.best, self.reference
        if reference.accuracy is None:
            return [f"{reference.name}, to which all is compared, has no figures: {reference.note}"]
        doubts = [doubt] if (doubt := self.budget.doubt(reference, self.metric)) else []
        if best is None:
            scored = sum(one.accuracy is not None for one in self.trials)
            return [f"Nothing is within the budget: {len(self.trials)} were tried, {scored} of them scored.", *doubts]
        out = [
            f"{best.name}: {best.ms:.2f} ms, {_compared(best, reference)}, "
            f"{accuracy_of(best) - accuracy_of(reference):+.2f} {self.metric}."
        ]
        if best.plain:
            out.append(self._untried())
        else:
            plain = best_within(self.budget, [one for one in self.trials if one.plain], reference)
            if plain is not None:
                out.append(
                    f"Without pruning and training the best is {plain.name}: {plain.ms:.2f} ms, "
                    f"{accuracy_of(plain):.2f} {self.metric}."
                )
        return [*out, *doubts]

    def _untried(self) -> str:
        """What pruning and training achieved, if an unchanged model was best."""
        trained = [one for one in self.trials if not one.plain]
        scored = [one for one in trained if one.accuracy is not None]
        if scored:
            return f"None of the {len(scored)} pruned or distilled models that were scored is better."
        if trained:
            return f"{len(trained)} pruned or distilled models were tried, and none was scored: {trained[0].note}."
        return "Neither pruning nor training was tried."

    def to_markdown(self) -> str:
        """Markdown: findings, commands, table, setup."""
        lines = report.markdown(*self.table())
        commands = ["```sh", *self.commands(), "```"] if self.best else []
        return "\n".join(
            [*self.findings(), "", *commands, "", *lines, "", *(f"- {k}: {v}" for k, v in self.setup.items()), ""]
        )

    def to_json(self) -> str:
        """JSON: budget, trials, commands, setup."""
        rows = [
            {**asdict(one), "recipe": one.recipe.to_dict(), "front": one in self.pareto_front} for one in self.trials
        ]
        told = {
            "budget": asdict(self.budget),
            "metric": self.metric,
            "best": self.best and self.best.number,
            "trials": rows,
        }
        return json.dumps({**told, "commands": self.commands(), "setup": self.setup}, indent=1).replace("NaN", "null")

    def to_html(self) -> str:
        """A self-contained HTML page: the Pareto front, all trials, the commands."""
        rated = [one for one in self.trials if one.accuracy is not None]
        headings, cells = self.table()
        answer, *remarks = self.findings()
        return report.page(
            "yolort optimize",
            headings,
            cells,
            [("Accuracy against latency", charts.pareto([self._point(one) for one in rated], self.metric))]
            if rated
            else [],
            self.setup,
            answer=answer,
            warnings=_system.load_doubts(self.setup),
            best={(at, 0) for at, row in enumerate(cells) if "best" in row[1].split(", ")},
            remarks=remarks,
            commands=self.commands(),
            pictures=self._pictures(),
        )

    def _point(self, trial: Trial) -> charts.Point:
        reference = self.reference
        mark = "best" if trial == self.best else "reference" if trial is reference else ""
        times = None if trial.ratio is None else (trial.ratio[0] * reference.ms, trial.ratio[1] * reference.ms)
        scores = None if trial.interval is None else (trial.interval[0], trial.interval[1])
        return charts.Point(trial.name, trial.ms, accuracy_of(trial), times, scores, mark)

    def _pictures(self) -> report.Pictures | None:
        """Some images of val with the detections of the unchanged model and of the best artifact."""
        if self.best is None:
            return None
        files = list_images(self._data, "val")
        shown = [files[at] for at in np.unique(np.linspace(0, len(files) - 1, _SHOWN).round().astype(int))]
        trials = (self.reference, self.best)
        cases = [self._pipeline.case(trial.recipe, self._seed) for trial in trials]
        detectors = [open_detector(case.model, **case.options) for case in cases]
        rows = []
        for file in shown:
            image = yolort.images.read(file)
            found = [detector(image) for detector in detectors]
            drawn = [(one.draw(image), _caption(one)) for one in found]
            rows.append(report.PictureRow(file.name, drawn))
        headings = [f"{when}: {trial.name}" for when, trial in zip(("Before", "After"), trials, strict=True)]
        return report.Pictures(headings, rows)

    def save(self, path: str | Path) -> None:
        """Writes the format of the ending: .html, .md or .json. The file is written atomically and replaces only files
        of yolort.
        """
        report.save(self, path, REPORT_WRITERS)


#: Report writers by file ending.
REPORT_WRITERS: dict[str, Callable[[Optimized], str]] = {
    ".html": Optimized.to_html,
    ".md": Optimized.to_markdown,
    ".json": Optimized.to_json,
}


def _caption(found: Any) -> str:
    """What was found in an image, in a few words."""
    if isinstance(found, yolort.Classification):
        return f"{found.name} {float(found.probs[found.top1]):.2f}"
    return f"{len(found)} objects" if len(found) else "nothing found"


def _compared(trial: Trial, reference: Trial) -> str:
    """Speed-up of a trial, with its interval."""
    if trial is reference:
        return "the reference itself"
    if trial.ratio is None:
        return f"{reference.ms / trial.ms:.2f}x as fast as {reference.name}"
    low, high = trial.ratio
    if low <= 1 <= high:
        return f"not measurably faster or slower than {reference.name}"
    return f"{reference.ms / trial.ms:.2f}x as fast ({1 / high:.2f} to {1 / low:.2f}) as {reference.name}"


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    return charts.front([one for one in trials if one.accuracy is not None], lambda one: (one.ms, accuracy_of(one)))


def best_within(budget: Budget, trials: Sequence[Trial], reference: Trial) -> Trial | None:
    within = [one for one in trials if one.accuracy is not None and budget.met(one, reference)]
    if budget.max_latency is not None:
        return max(within, key=lambda one: (accuracy_of(one), -one.ms), default=None)
    return min(within, key=lambda one: (one.ms, -accuracy_of(one)), default=None)


def accuracy_of(trial: Trial) -> float:
    assert trial.accuracy is not None
    return trial.accuracy


def _marks(done: Optimized, trial: Trial, front: Sequence[Trial]) -> list[tuple[str, bool]]:
    return [
        ("best", trial == done.best),
        ("front", trial in front),
        ("reference", trial is done.reference),
        ("plain", trial.plain and trial is not done.reference),
    ]
