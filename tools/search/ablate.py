"""Ablation studies: every variant differs from one baseline by named steps, over several seeds.

    from yolort.tools import ablate
    ablate("study.yaml", "runs/ablation").save("ablation.html")

The study is a YAML file:

    model: yolo26n.pt
    data: data.yaml
    engine: openvino
    imgsz: 320
    seeds: [0, 1, 2]
    baseline: {epochs: 15}
    steps:                      # names, and the recipe fields that they change (yolort.tools.search.Recipe)
      distil: {teacher: yolo26s.pt}
      prune: {epochs: 10, prune: 0.2, finetune: 5}
      int8: {precision: int8}
      tta: {augment: true}
    sets: [each, all]           # and leave-one-out, or lists of steps: [prune, int8]

`each` measures the effect of a single step, compared with the baseline. `leave-one-out` measures its effect on top of
all others: "all - prune" is compared with all steps. Conclusions from one may not apply to the other. Every stage is
cached under its inputs, so an interrupted study resumes where it stopped.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort.tools import _system
from yolort.tools._processes import interruptible, jobs
from yolort.tools.evaluate import charts, report
from yolort.tools.evaluate.benchmark import Row
from yolort.tools.evaluate.detectors import task_of
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.search.pipeline import Accuracy, Pipeline
from yolort.tools.search.recipe import Recipe
from yolort.tools.search.study import Study, StudyError, read_study

__all__ = ["REPORT_WRITERS", "Ablation", "Variant", "ablate"]

_log = logging.getLogger(__name__)
_METRICS = ("mAP50-95", "mAP50")  # of detectors
_NORMAL = 1.96  # standard errors of a 95 % interval


@dataclass
class Variant:
    """A set of steps and its results; `error` is the reason if there are none."""

    steps: tuple[str, ...]
    recipe: Recipe
    accuracy: list[Accuracy] = field(default_factory=list)  # of each seed
    row: Row | None = None  # latency, for the first seed
    error: str = ""
    left_out: str = ""  # the missing step, if it is compared with all steps

    @property
    def name(self) -> str:
        """The steps, "baseline", or "all - " and the omitted step."""
        return f"all - {self.left_out}" if self.left_out else " + ".join(self.steps) or "baseline"


@dataclass
class Difference:
    """A change of the accuracy in points, with a 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"

    @property
    def certain(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0


class Ablation:
    """The outcome of `ablate`."""

    def __init__(
        self, study: Study, variants: list[Variant], setup: dict[str, str], metrics: tuple[str, str] = _METRICS
    ) -> None:
        self.study = study
        self.metric, self.second_metric = metrics  # names of the figures
        self.variants = variants  # the baseline first
        self.setup = setup

    def reference(self, variant: Variant) -> Variant:
        """The variant to compare with: the baseline, or all steps for a variant that lacks one of them."""
        if not variant.left_out:
            return self.variants[0]
        every = tuple(self.study.steps)
        return next(one for one in self.variants if one.steps == every)

    def difference(self, variant: Variant) -> Difference | None:
        """The change from the reference; None if one of the two has no figures.

        The interval is from a paired bootstrap over images and, if there are several, seeds: each draw uses the same
        images and seeds, drawn with replacement, for both.
        """
        return self._combined([(1, variant), (-1, self.reference(variant))])

    def interaction(self, variant: Variant) -> Difference | None:
        """The effect of its steps together minus the sum of their single effects; None if unknown."""
        alone = {one.steps[0]: one for one in self.variants if len(one.steps) == 1 and not one.left_out}
        if variant.left_out or len(variant.steps) < 2 or not all(step in alone for step in variant.steps):
            return None
        parts = [(1, variant), *((-1, alone[step]) for step in variant.steps)]
        return self._combined([*parts, (len(variant.steps) - 1, self.variants[0])])

    def _combined(self, parts: Sequence[tuple[int, Variant]]) -> Difference | None:
        if any(one.error or not one.accuracy for _, one in parts):
            return None
        # Not np.sum, so that a single seed of one is compared with all seeds of the other.
        points = sum((sign * np.array([seed.value for seed in one.accuracy]) for sign, one in parts), np.zeros(1))
        draws = sum((sign * np.array([seed.draws for seed in one.accuracy]) for sign, one in parts), np.zeros((1, 1)))
        seeds, count = draws.shape
        chosen = np.random.default_rng(1).integers(0, seeds, (seeds, count))
        error = _NORMAL * float(np.take_along_axis(draws, chosen, axis=0).mean(axis=0).std(ddof=1))
        mean = float(points.mean())
        return Difference(100 * mean, 100 * (mean - error), 100 * (mean + error))

    def rows(self) -> list[dict[str, Any]]:
        """One dict per variant, for JSON; missing figures are None."""
        out = []
        for one in self.variants:
            base = self.reference(one)
            row: dict[str, Any] = {"variant": one.name, "error": one.error or None, "recipe": one.recipe.to_dict()}
            row["compared_with"] = None if one is base else "all" if one.left_out else base.name
            by_seed = [100 * seed.value for seed in one.accuracy]
            row["accuracy"] = float(np.mean(by_seed)) if by_seed else None
            row["accuracy_of_seeds"] = by_seed
            row["second"] = float(np.mean([100 * seed.second for seed in one.accuracy])) if by_seed else None
            for name, found in (("difference", self.difference(one)), ("interaction", self.interaction(one))):
                given = None if found is None or one is base else found
                row[name] = given and {"mean": given.mean, "low": given.low, "high": given.high}
            row["p50_ms"] = one.row.p50 if one.row else None
            row["p95_ms"] = one.row.percentile(95) if one.row else None
            ratio = one.row.ratio(base.row) if base.row and one.row and one is not base else None
            row["speedup"] = 1 / ratio.value if ratio else None
            row["speedup_low"], row["speedup_high"] = (1 / ratio.high, 1 / ratio.low) if ratio else (None, None)
            row["parameters"] = one.row.facts.get("parameters") if one.row else None
            row["size_mb"] = one.row.size_mb if one.row else None
            out.append(row)
        return out

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells."""
        cells = []
        for row in self.rows():
            spread = row["accuracy_of_seeds"]
            accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2f}"
            if len(spread) > 1:
                accuracy += f" ± {np.std(spread, ddof=1):.2f}"
            cells.append(
                [
                    row["variant"],
                    row["compared_with"] or "-",
                    accuracy,
                    _text(row["second"], "{:.2f}"),
                    *(str(Difference(**row[key])) if row[key] else "-" for key in ("difference", "interaction")),
                    _text(row["p50_ms"], "{:.2f}"),
                    _text(row["p95_ms"], "{:.2f}"),
                    _speedup(row),
                    _text(row["parameters"] and row["parameters"] / 1e6, "{:.2f}"),
                    _text(row["size_mb"], "{:.1f}"),
                ]
            )
        return [heading.format(metric=self.metric, second=self.second_metric) for heading in _HEADINGS], cells

    def answer(self) -> str:
        """A sentence about the variant with the largest gain."""
        changes = [(one.name, found) for one in self.variants[1:] if (found := self.difference(one)) is not None]
        gains = [(name, found) for name, found in changes if found.certain and found.mean > 0]
        if not gains:
            return "No variant is measurably more accurate than its reference." if changes else ""
        name, found = max(gains, key=lambda pair: pair[1].mean)
        return f"Most accurate change: {name}, {found} {self.metric}."

    def findings(self) -> list[str]:
        """One sentence per variant, derived from its figures; limitations come first."""
        out = self.doubts()
        for one, row in zip(self.variants[1:], self.rows()[1:], strict=True):
            found = self.difference(one)
            if found is None:
                out.append(f"{one.name}: no figures ({one.error or self.reference(one).error})")
                continue
            if not found.certain:
                said = f"changes {self.metric} by {found.mean:+.2f}, which is within the noise"
            else:
                said = f"{'gains' if found.mean > 0 else 'costs'} {abs(found.mean):.2f} {self.metric}"
            if row["speedup"] is not None:
                low, high = row["speedup_low"], row["speedup_high"]
                if low <= 1 <= high:
                    said += " and takes the same time, within the noise"
                elif low > 1:
                    said += f" and is {row['speedup']:.2f}x as fast"
                else:
                    said += f" and takes {1 / row['speedup']:.2f}x the time"
            together = self.interaction(one)
            if together is not None:
                said += f"; its steps together give {together.mean:+.2f} beyond their sum"
                said += "" if together.certain else ", within the noise"
            against = f", against all: the effect of {one.left_out} on top of the others" if one.left_out else ""
            out.append(f"{one.name} {said}{against}.")
        return out

    def doubts(self) -> list[str]:
        """Reasons why the intervals may be too narrow."""
        trained = any(one.recipe.epochs or one.recipe.finetune for one in self.variants)
        if len(self.study.seeds) > 1 or not trained:
            return []
        return [
            "One seed: another training of the same variant would give another figure, and the intervals know nothing "
            "of that. Differences of variants that train need three seeds or more."
        ]

    def to_markdown(self) -> str:
        """Table, findings, setup."""
        lines = report.markdown(*self.table())
        return "\n".join(
            [*lines, "", *(f"- {one}" for one in self.findings()), *(f"- {k}: {v}" for k, v in self.setup.items()), ""]
        )

    def to_csv(self) -> str:
        """CSV with one line per variant."""
        out = io.StringIO()
        flat = []
        for row in self.rows():
            for name in ("difference", "interaction"):
                part = row[name] or {}
                row[name] = part.get("mean")
                row |= {f"{name}_{end}": part.get(end) for end in ("low", "high")}
            flat.append({**row, **{key: json.dumps(row[key]) for key in ("recipe", "accuracy_of_seeds")}})
        writer = csv.DictWriter(out, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue()

    def to_json(self) -> str:
        """Metric, rows, findings, setup."""
        return json.dumps(
            {"metric": self.metric, "rows": self.rows(), "findings": self.findings(), "setup": self.setup}, indent=1
        )

    def to_html(self) -> str:
        """A self-contained HTML page: findings, table, charts, setup."""

        rows = [row for row in self.rows() if row["accuracy"] is not None]
        changed = [(row["variant"], *row["difference"].values()) for row in rows if row["difference"]]
        timed = [(row["variant"], row["p50_ms"], row["accuracy"]) for row in rows if row["p50_ms"] is not None]
        shown = []
        if changed:
            shown.append(
                (
                    f"Change of {self.metric}, with its 95 % interval",
                    charts.intervals(changed, f"points of {self.metric}"),
                )
            )
        if timed:
            shown.append(
                ("Accuracy against latency", charts.pareto([charts.Point(*point) for point in timed], self.metric))
            )
        headings, cells = self.table()
        warnings = [*_system.load_doubts(self.setup), *self.doubts()]
        remarks = [text for text in self.findings() if text not in warnings]
        answer = self.answer()
        return report.page(
            "yolort ablation", headings, cells, shown, self.setup, answer=answer, warnings=warnings, remarks=remarks
        )

    def save(self, path: str | Path) -> None:
        """Writes the format of the ending: .html, .md, .csv or .json. The file is written atomically and replaces only
        files of yolort.
        """
        report.save(self, path, REPORT_WRITERS)


_HEADINGS = (
    *("variant", "compared with", "{metric}", "{second}", "difference", "beyond the sum"),
    *("p50 ms", "p95 ms", "speed-up", "M params", "file MB"),
)


def _speedup(row: dict[str, Any]) -> str:
    if row["speedup"] is None:
        return "-"
    return f"{row['speedup']:.2f}x ({row['speedup_low']:.2f} to {row['speedup_high']:.2f})"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


#: Report writers by file ending.
REPORT_WRITERS: dict[str, Callable[[Ablation], str]] = {
    ".html": Ablation.to_html,
    ".md": Ablation.to_markdown,
    ".csv": Ablation.to_csv,
    ".json": Ablation.to_json,
}


def ablate(
    study: str | Path | Study,
    folder: str | Path,
    *,
    runs: int = 100,
    ray: str | None = None,
    ray_workers: int | None = None,
    progress: Callable[[Sequence[Any], str], Iterable[Any]] = lambda items, _: items,
) -> Ablation:
    """Builds and measures the baseline and every set of steps, each with every seed.

    Args:
        study: see `read_study`.
        folder: folder for the results of all stages; a study that is run again repeats no work.
        runs: number of timed detections per variant, in turns, for the first seed.
        ray: address of a Ray cluster, whose nodes see `folder` and the data; everything except timing runs there in
            parallel. "auto" and "local" work as in Ray.
        ray_workers: number of parallel stages; None: one per node.
        progress: wraps steps, with a description, for a progress bar.

    The row of a failed variant has the reason; the others continue.

    Raises FileNotFoundError, StudyError, CheckpointError, LabelError; OSError if the folder cannot be written.
    """
    chosen = study if isinstance(study, Study) else read_study(study)
    variants = [Variant(steps, chosen.recipe(steps)) for steps in ((), *chosen.sets)]
    lacking = [(step, chosen.without(step)) for step in chosen.left_out]
    variants += [Variant(steps, chosen.recipe(steps), left_out=step) for step, steps in lacking]
    pipeline = Pipeline(folder, chosen.data, task := _task(variants))
    if not chosen.baseline.epochs:
        pipeline.data.check(load_checkpoint(chosen.baseline.model, tasks=True).model, chosen.baseline.model)
    metrics = pipeline.data.metric, pipeline.data.second_metric
    for doubt in Ablation(chosen, variants, {}).doubts():
        _log.warning("%s", doubt)
    setup = {"data": str(chosen.data), "seeds": ", ".join(map(str, chosen.seeds)), **_system.describe()}
    with interruptible(lambda: Ablation(chosen, variants, setup, metrics)):
        todo = [(one, seed) for one in variants for seed in chosen.seeds]
        with jobs(ray, ray_workers) as pool:
            given = [(str(folder), str(chosen.data), one.recipe, seed, task) for one, seed in todo]
            made = pool.run(_measure, given, math.inf) if ray is not None else [{} for _ in todo]
        for (variant, seed), told in progress(list(zip(todo, made, strict=True)), "measuring"):
            if variant.error:
                continue
            try:
                if told.get("failed"):
                    raise yolort.Error(told["note"])
                variant.accuracy.append(pipeline.accuracy(variant.recipe, seed))
            except Exception as error:  # any error: the other variants continue
                variant.error = " ".join(str(error).split()) or type(error).__name__
                _log.warning("%s, seed %s: %s", variant.name, seed, variant.error)
        whole = [one for one in variants if not one.error]
        if whole:
            cases = [pipeline.case(one.recipe, chosen.seeds[0]) for one in whole]
            try:
                for one, row in zip(whole, pipeline.latency(cases, runs), strict=True):
                    one.row = row
            except yolort.Error as error:
                _log.warning("%s", error)
    return Ablation(chosen, variants, setup, metrics)


def _task(variants: Sequence[Variant]) -> str:
    """The task of the baseline's model; StudyError if another variant's model has a different one."""
    first, *others = dict.fromkeys(one.recipe.model for one in variants)
    task = task_of(first)
    for model in others:
        other = task
        with suppress(yolort.Error, OSError):  # an unreadable model is reported as its variant's failure
            other = task_of(model)
        if other != task:
            raise StudyError(f"{model} is for {other}, the baseline {first} for {task}; run one study per task")
    return task


def _measure(folder: str, data: str, recipe: Recipe, seed: int, task: str) -> dict[str, Any]:
    """Runs in a process on another node; the accuracy is stored in the folder."""
    Pipeline(folder, data, task).accuracy(recipe, seed)
    return {}
