"""Budget in, best deployable model out: a search over size, input, head, pruning, precision and engine.

    from yolort.tools.optimize import Budget, optimize
    done = optimize("yolo26s.pt", "data.yaml", Budget(max_drop=1.0), siblings=["yolo26n.pt"], finetune=10, hours=1.5)
    print(done.best, *done.commands(), sep="\\n")

Optuna proposes, and keeps every trial in an SQLite file; what a trial makes and measures is kept by `Lab`, so that a
search that was interrupted goes on, and nothing is measured twice. Plain answers come first: the model as it is on
every engine and in every precision, its smaller siblings, smaller inputs; then those that are fast enough and lose too
much are distilled from the model; pruning has to beat them. What needs training is timed untrained, and trained only
where it could become the best.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yolort
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from yolort import _checks, _core
from yolort.tools import machine, report
from yolort.tools.checkpoints import detect_head, load_checkpoint
from yolort.tools.data import list_images
from yolort.tools.jobs import Jobs, interruptible, jobs
from yolort.tools.recipe import ENDINGS, ENGINES, Lab, Recipe
from yolort.tools.store import sha256

__all__ = ["Budget", "Optimized", "Trial", "optimize"]

_log = logging.getLogger(__name__)

_RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # of pruning
_MEANINGFUL = 0.2  # of the reference: a larger drop says little
_SIDES = (1.0, 0.875, 0.75, 0.625, 0.5)  # of the input
_SHOWN = 3  # images of the report
_RECOVERED = 2.0  # points of mAP50-95 that no short training gave back: docs/distillation.md, docs/pruning.md
_PRUNED = 3  # of what is as it is, so many are pruned before all else is tried
_CLOSE = 1.25  # times the fastest: that close, another size may have another fastest engine
_RUNS = 60  # detections that a trial is timed with, in turns with the baseline


@dataclass(frozen=True)
class Budget:
    """What is allowed; None: anything.

    Attributes:
        max_latency: milliseconds of an image end to end, p50, on this machine.
        max_drop: points of mAP50-95 (of 100) below the model as it is, in FP32 on ONNX Runtime.
        max_size: MB of the artefact.
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
        """Whether a trial that was measured is within it."""
        return self.fits(trial.ms, trial.size_mb) and self.accurate(trial, reference)

    def accurate(self, trial: Trial, reference: Trial) -> bool:
        """Whether its accuracy, which was measured, is within it."""
        if trial.map50_95 is None or (self.max_drop is not None and reference.map50_95 is None):
            return False
        return self.max_drop is None or _map(reference) - trial.map50_95 <= self.max_drop

    def doubt(self, reference: Trial) -> str:
        """Why the drop that is allowed means little for so inaccurate a reference; "" where it means something."""
        if self.max_drop is None or reference.map50_95 is None or self.max_drop < _MEANINGFUL * reference.map50_95:
            return ""
        return (
            f"max_drop {self.max_drop:g} is large against the {reference.map50_95:.2f} mAP50-95 of the reference: "
            "nearly anything is within it. Train the model on the data first (epochs), or allow less."
        )

    def fits(self, ms: float, size_mb: float) -> bool:
        """Whether time and size are within it."""
        return (self.max_latency is None or ms <= self.max_latency) and (
            self.max_size is None or size_mb <= self.max_size
        )


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried; `note` says why it has no accuracy, or failed."""

    recipe: Recipe
    number: int
    ms: float = float("nan")  # p50, as measured in turns with the reference
    size_mb: float = float("nan")
    map50_95: float | None = None  # of 100
    seconds: float = 0.0
    note: str = ""

    @property
    def plain(self) -> bool:
        """The model, a sibling or a smaller input as they are."""
        return not (self.recipe.finetune or self.recipe.teacher)

    @property
    def name(self) -> str:
        """In a few words."""
        one = self.recipe
        parts = [Path(one.model).stem, str(one.imgsz), one.engine, one.precision]
        parts += [one.head] if one.head != "raw" else []
        parts += [f"pruned {one.prune:.0%}"] if one.prune else []
        parts += ["distilled"] if one.teacher else []
        return " ".join(parts)


class Optimized:
    """The outcome of `optimize`."""

    def __init__(self, budget: Budget, trials: list[Trial], lab: Lab, data: str, seed: int) -> None:
        self.budget = budget
        self.trials = trials  # the reference first
        self._lab = lab
        self._data = data
        self._seed = seed
        self.setup = machine.describe()

    @property
    def reference(self) -> Trial:
        """The model as it is, in FP32 on ONNX Runtime."""
        return self.trials[0]

    @property
    def front(self) -> list[Trial]:
        """What no other beats in both time and accuracy, fastest first."""
        return _front(self.trials)

    @property
    def best(self) -> Trial | None:
        """Within the budget, the most accurate where there is a latency to be met, else the fastest; None: none is."""
        return _best(self.budget, self.trials, self.reference)

    @property
    def artefact(self) -> Path | None:
        """Of the best trial."""
        return self._lab.artefact(self.best.recipe, self._seed) if self.best else None

    def commands(self) -> list[str]:
        """What makes the best artefact again and scores it, from the shell; the last says how it is run."""
        return list(_commands(self.best.recipe, self._data, self._seed)) if self.best else []

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells; the front first, then by time."""
        front = self.front
        order = sorted(self.trials, key=lambda one: (one not in front, one.map50_95 is None, one.ms))
        cells = []
        for one in order:
            marks = [mark for mark, is_so in _marks(self, one, front) if is_so]
            speed = self.reference.ms / one.ms
            drop = None if None in (one.map50_95, self.reference.map50_95) else _map(one) - _map(self.reference)
            cells.append(
                [
                    one.name,
                    ", ".join(marks) or "-",
                    "-" if np.isnan(one.ms) else f"{one.ms:.2f}",
                    "-" if np.isnan(speed) else f"{speed:.2f}x",
                    "-" if one.map50_95 is None else f"{one.map50_95:.2f}",
                    "-" if drop is None else f"{drop:+.2f}",
                    "-" if np.isnan(one.size_mb) else f"{one.size_mb:.1f}",
                    f"{one.seconds:.0f}",
                    one.note or "-",
                ]
            )
        return ["model", "", "p50 ms", "speed", "mAP50-95", "change", "file MB", "took s", "note"], cells

    def findings(self) -> list[str]:
        """What came out, in sentences."""
        best, reference = self.best, self.reference
        if reference.map50_95 is None:
            return [f"{reference.name}, to which all is compared, has no figures: {reference.note}"]
        doubts = [doubt] if (doubt := self.budget.doubt(reference)) else []
        if best is None:
            scored = sum(one.map50_95 is not None for one in self.trials)
            return [f"Nothing is within the budget: {len(self.trials)} were tried, {scored} of them scored.", *doubts]
        out = [
            f"{best.name}: {best.ms:.2f} ms, {reference.ms / best.ms:.2f}x as fast as {reference.name}, "
            f"{_map(best) - _map(reference):+.2f} mAP50-95."
        ]
        if best.plain:
            out.append(self._untried())
        else:
            plain = _best(self.budget, [one for one in self.trials if one.plain], reference)
            if plain is not None:
                out.append(
                    f"Without pruning and training the best is {plain.name}: {plain.ms:.2f} ms, "
                    f"{_map(plain):.2f} mAP50-95."
                )
        return [*out, *doubts]

    def _untried(self) -> str:
        """What pruning and training gave, where a model as it is was best."""
        trained = [one for one in self.trials if not one.plain]
        scored = [one for one in trained if one.map50_95 is not None]
        if scored:
            return f"None of the {len(scored)} pruned or distilled models that were scored is better."
        if trained:
            return f"{len(trained)} pruned or distilled models were tried, and none was scored: {trained[0].note}."
        return "Neither pruning nor training was tried."

    def to_markdown(self) -> str:
        """Findings, commands, table, set-up."""
        lines = report.markdown(*self.table())
        commands = ["```sh", *self.commands(), "```"] if self.best else []
        return "\n".join(
            [*self.findings(), "", *commands, "", *lines, "", *(f"- {k}: {v}" for k, v in self.setup.items()), ""]
        )

    def to_json(self) -> str:
        """Budget, trials, commands, set-up."""
        rows = [{**asdict(one), "recipe": one.recipe.to_dict(), "front": one in self.front} for one in self.trials]
        told = {"budget": asdict(self.budget), "best": self.best and self.best.number, "trials": rows}
        return json.dumps({**told, "commands": self.commands(), "setup": self.setup}, indent=1).replace("NaN", "null")

    def to_html(self) -> str:
        """One page that needs nothing else: the front, every trial, the commands."""
        rated = [one for one in self.trials if one.map50_95 is not None]
        points = [(one.name, one.ms, _map(one)) for one in rated]
        headings, cells = self.table()
        return report.page(
            "yolort optimize",
            headings,
            cells,
            [("Accuracy against latency", report.front(points))],
            self.setup,
            remarks=self.findings(),
            commands=self.commands(),
            pictures=self._pictures(),
        )

    def _pictures(self) -> list[tuple[str, np.ndarray]]:
        """Some images of val with what the model finds as it is, and what the best artefact finds."""
        if self.best is None:
            return []
        files = list_images(self._data, "val")
        shown = [files[at] for at in np.unique(np.linspace(0, len(files) - 1, _SHOWN).round().astype(int))]
        out = []
        detectors = []
        for trial in (self.reference, self.best):
            case = self._lab.case(trial.recipe, self._seed)
            detectors.append((trial, yolort.Detector(case.model, **case.options)))
        for file in shown:
            image = yolort.images.read(file)
            for trial, detector in detectors:
                out.append((f"{file.name}: {trial.name}", detector(image).draw(image)))
        return out

    def save(self, path: str | Path) -> None:
        """Writes what the ending says: .html, .md or .json; whole, and over nothing of others."""
        report.save(self, path, forms())


def forms() -> dict[str, Callable[[Optimized], str]]:
    """The kinds of report by ending."""
    return {".html": Optimized.to_html, ".md": Optimized.to_markdown, ".json": Optimized.to_json}


def optimize(
    model: str | Path,
    data: str | Path,
    budget: Budget,
    *,
    folder: str | Path = "runs/optimize",
    engines: Sequence[str] | None = None,
    siblings: Sequence[str | Path] = (),
    imgsz: int | None = None,
    epochs: int = 0,
    finetune: int = 10,
    hours: float | None = None,
    trials: int | None = None,
    trial_minutes: float = 60.0,
    seed: int = 0,
    ray: str | None = None,
    ray_workers: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
    **training: Any,
) -> Optimized:
    """Searches for the artefact that is best within a budget, and returns all that was tried.

    Args:
        model: the checkpoint (.pt) that is to be deployed, trained on `data`, or else with `epochs`.
        data: a `data.yaml` with labelled images in train and val.
        budget: what is allowed.
        folder: where everything is kept; a search that is started again in it goes on.
        engines: only these; None takes all that are here.
        siblings: other sizes of the model, trained on `data` too, or else with `epochs`.
        imgsz: side of the input; None takes that of the training.
        epochs: of training of the model and its siblings before anything else.
        finetune: epochs after pruning, with the unpruned model as teacher, and of siblings and smaller inputs with the
            model as teacher (beyond `epochs`); 0: neither is tried.
        hours: no trial begins after them.
        trials: at most so many, those of earlier runs counted; one of `hours` and `trials` must be given.
        trial_minutes: a trial whose building and timing, or training and scoring, takes longer is ended and listed as
            failed.
        seed: of training and search.
        ray: address of a Ray cluster, whose nodes see `folder` and the data: trainings, exports and accuracies run
            there, side by side; times are taken here, between them. "auto", "local": see `jobs`.
        ray_workers: trials at a time; None: one a node.
        progress: told of each trial, in a line.
        **training: other arguments of Ultralytics' train.

    Raises ValueError, FileNotFoundError, CheckpointError, LabelError for what cannot be searched; EngineError where no
    engine is here.
    """
    if hours is None and trials is None:
        raise ValueError("give hours or trials: a search has no end of its own")
    for name, value in (("hours", hours), ("trials", trials), ("trial_minutes", trial_minutes)):
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0, not {value}")
    source = load_checkpoint(model)
    for sibling in siblings:
        load_checkpoint(sibling)
    side = _checks.integer("imgsz", imgsz) if imgsz is not None else source.side
    lab = Lab(folder, data)
    base = Recipe(
        model=str(model),
        imgsz=side,
        epochs=epochs,
        method="taylor",
        round_to=16,  # the fastest on AVX-512 and as good elsewhere: docs/pruning.md
        engine="onnxruntime",
        train=training,
    )
    one_to_one = getattr(detect_head(source.model), "one2one_cv2", None) is not None
    space = _space([str(model), *map(str, siblings)], side, engines, finetune, one_to_one)
    search = _Search(lab, base, space, budget, finetune, seed, trial_minutes * 60)
    deadline = time.monotonic() + hours * 3600 if hours is not None else None

    def outcome() -> Optimized:
        return Optimized(budget, search.trials(), lab, str(data), seed)

    with interruptible(lambda: outcome() if search.count else None), jobs(ray, ray_workers) as pool:
        while deadline is None or time.monotonic() < deadline:
            first = search.count == 0
            done = search.wave(pool, trials - search.count if trials is not None else pool.workers)
            for one in done:
                rest = "" if deadline is None else f", {max(deadline - time.monotonic(), 0) / 60:.0f} min left"
                found = one.note or f"{one.ms:.2f} ms, {_map(one):.2f} mAP50-95"
                progress(f"trial {one.number}: {one.name}: {found}{rest}")
            if not done:
                break
            if first and (doubt := budget.doubt(search.trials()[0])):
                progress(doubt)
    return outcome()


def _space(
    models: Sequence[str], side: int, engines: Sequence[str] | None, finetune: int, one_to_one: bool
) -> dict[str, tuple[Any, ...]]:
    """Of each choice what can be chosen; the first is as the model is."""
    able = _able()
    wanted = list(able) if engines is None else list(engines)
    for name in wanted:
        if name not in ENGINES:
            raise ValueError(f"engines are {', '.join(ENGINES)}, not {name!r}")
        if name not in able:
            reason = next((one.reason for one in yolort.engines() if one.name == name), "unknown")
            raise yolort.EngineError(f"engine {name!r} is not here: {reason}")
    runs = [f"{name} {precision}" for name in wanted for precision in able[name]]
    sides = [max(32, round(side * scale / 32) * 32) for scale in _SIDES]
    return {
        "model": tuple(dict.fromkeys(models)),
        "imgsz": tuple(dict.fromkeys(sides)),
        "head": ("raw", "raw-e2e") if one_to_one else ("raw",),
        "engine": tuple(dict.fromkeys(["onnxruntime fp32", *runs])),
        "prune": _RATIOS if finetune else _RATIOS[:1],
        "distil": (False, True) if finetune else (False,),
    }


def _able() -> dict[str, list[str]]:
    """The engines that are here, and what each computes in that pays."""
    out: dict[str, list[str]] = {}
    for name, (form, _) in ENGINES.items():
        status = next((one for one in yolort.engines() if one.name == name), None)
        if status is None or not status.available:
            continue
        if form == "engine":
            out[name] = ["fp32", "fp16", "int8"]
            continue
        path = yolort.demo_model("ncnn" if form == "ncnn" else "onnx")
        pays = next((pays for known, _, pays in _core.candidates(str(path)) if known == name), [])
        out[name] = [*(pays or ["fp32"]), "int8"]
    return out


def _check_record(file: Path) -> None:
    """FileExistsError where a file is none of Optuna's, which would write its tables into it; nothing is changed."""
    if not os.path.lexists(file):
        return
    from optuna.storages._rdb.models import BaseModel

    tables = {"alembic_version", *BaseModel.metadata.tables}
    why = "it is no plain file"
    if file.is_file() and not file.is_symlink():
        try:
            # Immutable: also where a process was killed in a write, which only a writer can undo.
            with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as opened:
                found = {name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")}
            foreign = sorted(name for name in found - tables if not name.startswith("sqlite_"))
            if not foreign:
                return
            why = f"it holds the table '{foreign[0][:80]}'"
        except sqlite3.DatabaseError as error:
            why = str(error)
    raise FileExistsError(f"{file} is no record of a search ({why}); move it or choose another folder")


class _Search:
    """Asks Optuna, measures, tells."""

    def __init__(
        self,
        lab: Lab,
        base: Recipe,
        space: Mapping[str, tuple[Any, ...]],
        budget: Budget,
        finetune: int,
        seed: int,
        trial_seconds: float,
    ) -> None:
        self._lab, self._base, self._budget = lab, base, budget
        self._finetune, self._seed, self._trial_seconds = finetune, seed, trial_seconds
        self._space = {name: CategoricalDistribution(values) for name, values in space.items()}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Another model, data set or training is another study in the same file.
        of = {"model": sha256(base.model), "data": [lab.train_sha, lab.val_sha], "recipe": base.to_dict()}
        text = json.dumps({**of, "finetune": finetune, "seed": seed, "machine": _core.machine()}, sort_keys=True)
        file = (lab.store.folder / "study.db").absolute()
        _check_record(file)
        try:
            self._study = optuna.create_study(
                storage=f"sqlite:///{file}",
                study_name=hashlib.sha256(text.encode()).hexdigest()[:16],
                directions=["minimize", "maximize"],
                sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True),
                load_if_exists=True,
            )
        except Exception as error:  # Optuna's, SQLAlchemy's and SQLite's own
            raise OSError(f"{file} cannot be used: {' '.join(str(error).split())[:200]}; move it") from error
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):  # of a run that was killed
            self._study.tell(left.number, state=TrialState.FAIL)
            if not left.user_attrs.get("again"):
                self._study.enqueue_trial(left.params, user_attrs={**left.user_attrs, "again": True})
        if not self.trials():  # the reference comes first, also after a run that was killed in it
            for _ in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                self._study.tell(self._study.ask(dict(self._space)), state=TrialState.FAIL)
            self._enqueue({"engine": engine} for engine in space["engine"])

    @property
    def count(self) -> int:
        """Trials that have ended."""
        return len(self.trials())

    def recipe(self, choice: Mapping[str, Any]) -> Recipe:
        """What a choice means."""
        engine, precision = choice["engine"].split()
        prune = float(choice["prune"])
        recipe = replace(
            self._base,
            model=choice["model"],
            imgsz=choice["imgsz"],
            head=choice["head"],
            engine=engine,
            precision=precision,
            prune=prune,
            finetune=self._finetune if prune else 0,
        )
        if prune or not choice["distil"]:  # what is pruned learns from what it was
            return recipe
        return replace(recipe, epochs=self._base.epochs + self._finetune, teacher=self._base)

    def wave(self, pool: Jobs, most: int) -> list[Trial]:
        """Tries up to `most` more, as many at a time as there are workers; none where nothing is left to be tried."""
        asked = self._ask(min(most, pool.workers))
        lab = (str(self._lab.store.folder), self._lab.data, self._base)
        given = {one.number: (*lab, self.recipe(one.params), self._seed) for one in asked}
        found: dict[int, dict[str, Any]] = {one.number: {"seconds": 0.0} for one in asked}

        def run(where: Jobs, work: Callable[..., dict[str, Any]], numbers: Sequence[int]) -> None:
            done = where.run(work, [given[number] for number in numbers], self._trial_seconds)
            for number, told in zip(numbers, done, strict=True):
                found[number] = {**found[number], **told, "seconds": found[number]["seconds"] + told["seconds"]}

        def going_on() -> list[int]:
            return [number for number, told in found.items() if not told.get("failed")]

        if pool.workers > 1:
            run(pool, _prepare, going_on())
        run(Jobs(), _time, going_on())  # here, where latency counts, and nothing beside it
        before = self.trials()
        rated = [one for one in before if one.map50_95 is not None]
        bar = max((_map(one) for one in rated), default=None)
        beaten = min((one.ms for one in rated if bar is not None and _map(one) >= bar), default=None)
        best = _best(self._budget, rated, before[0]) if rated else None
        for number in going_on():
            recipe, told = given[number][3], found[number]
            if _untrained(recipe, self._base) == recipe:
                continue
            if not self._budget.fits(told["ms"], told["size_mb"]):
                told["note"] = "not trained: not within the budget"
            elif beaten is not None and told["ms"] >= beaten:
                told["note"] = "not trained: slower than the most accurate one"
            elif self._hopeless(recipe, before):
                told["note"] = "not trained: what it comes from loses too much"
            elif self._budget.max_latency is None and best is not None and told["ms"] >= best.ms:
                told["note"] = "not trained: slower than what is within the budget already"
        run(pool, _rate, [number for number in going_on() if not found[number].get("note")])
        for one in asked:
            told = found[one.number]
            for name, value in told.items():
                one.set_user_attr(name, value)
            if told.get("map50_95") is not None:
                self._study.tell(one, [told["ms"], told["map50_95"]])
            else:
                self._study.tell(one, state=TrialState.FAIL if told.get("failed") else TrialState.PRUNED)
        return [one for one in self.trials() if one.number in found]

    def _hopeless(self, recipe: Recipe, trials: Sequence[Trial]) -> bool:
        """Whether the same network as it is loses more than training could give back."""
        if self._budget.max_drop is None or not trials or trials[0].map50_95 is None:
            return False
        least = trials[0].map50_95 - self._budget.max_drop - _RECOVERED
        same = [one for one in trials if one.plain and one.map50_95 is not None]
        same = [one for one in same if (one.recipe.model, one.recipe.imgsz) == (recipe.model, recipe.imgsz)]
        return bool(same) and max(map(_map, same)) < least

    def _enqueue(self, changes: Iterable[Mapping[str, Any]]) -> None:
        first = {name: one.choices[0] for name, one in self._space.items()}
        for change in changes:
            self._study.enqueue_trial({**first, **change})

    def _enqueue_siblings(self) -> None:
        """Once the model as it is has run on every engine: siblings and smaller inputs there and on the fastest.

        Both at once on the fastest only; which of those that are close is the fastest is another for another size.
        """
        as_it_is = self._base.model, self._base.imgsz, self._base.head
        listed = [one for one in self.trials() if one.plain]
        plain = [one for one in listed if (one.recipe.model, one.recipe.imgsz, one.recipe.head) == as_it_is]
        if self._study.user_attrs.get("siblings") or len(plain) < len(self._space["engine"].choices):
            return
        rated = [one for one in plain if one.map50_95 is not None]
        close = [one.recipe for one in rated if one.ms <= _CLOSE * min(other.ms for other in rated)]
        fastest = [f"{one.engine} {one.precision}" for one in close]
        engines = dict.fromkeys([self._space["engine"].choices[0], *fastest])
        for name in ("model", "imgsz", "head"):
            for value in self._space[name].choices[1:]:
                self._enqueue({name: value, "engine": engine} for engine in engines)
        for model in self._space["model"].choices[1:]:
            for side in self._space["imgsz"].choices[1:]:
                self._enqueue({"model": model, "imgsz": side, "engine": engine} for engine in fastest)
        self._study.set_user_attr("siblings", True)

    def _enqueue_trained(self) -> None:
        """Once siblings and smaller inputs have run: what loses too much is distilled, what does not is pruned."""
        told = self._study.user_attrs
        if not self._finetune or not told.get("siblings") or told.get("trained"):
            return
        if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return
        reference = self.trials()[0]
        plain = [one for one in self.trials() if one.plain and one.map50_95 is not None]
        accurate = [one for one in plain if self._budget.accurate(one, reference)]
        fast = [one for one in plain if self._budget.fits(one.ms, one.size_mb)]
        short = [one for one in fast if self._budget.max_drop is None or one not in accurate]

        def choice(one: Trial) -> dict[str, Any]:
            known = {"model": one.recipe.model, "imgsz": one.recipe.imgsz, "head": one.recipe.head}
            return {**known, "engine": f"{one.recipe.engine} {one.recipe.precision}"}

        for one in sorted(short, key=_map, reverse=True):
            if (one.recipe.model, one.recipe.imgsz) != (self._base.model, self._base.imgsz):
                self._enqueue([{**choice(one), "distil": True}])
        front = _front(accurate)  # where a latency is to be met, of what does not meet it
        slow = [one for one in front if one not in fast] if self._budget.max_latency is not None else front
        for one in slow[:_PRUNED]:
            self._enqueue({**choice(one), "prune": ratio} for ratio in self._space["prune"].choices[1:4])
        self._study.set_user_attr("trained", True)

    def _ask(self, most: int) -> list[optuna.Trial]:
        """Up to so many choices of which none has been tried."""
        self._enqueue_siblings()
        self._enqueue_trained()
        known = [one.recipe for one in self.trials()]
        out: list[optuna.Trial] = []
        for _ in range(50):
            if len(out) >= most:
                break
            asked = self._study.ask(dict(self._space))
            recipe = self.recipe(asked.params)
            if recipe in known:
                self._study.tell(asked, state=TrialState.PRUNED)  # not a trial
                continue
            known.append(recipe)
            out.append(asked)
        return out

    def trials(self) -> list[Trial]:
        """Those that were measured, timed, or failed; the reference first."""
        out = []
        for one in self._study.get_trials(deepcopy=False):
            told = one.user_attrs
            if not one.state.is_finished() or "seconds" not in told:
                continue
            out.append(
                Trial(
                    self.recipe(one.params),
                    one.number,
                    float(told.get("ms", "nan")),
                    float(told.get("size_mb", "nan")),
                    told.get("map50_95"),
                    float(told["seconds"]),
                    str(told.get("note", "")),
                )
            )
        return out


def _prepare(folder: str, data: str, base: Recipe, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What is timed, in a process of its own."""
    lab = Lab(folder, data)
    if recipe.engine != "tensorrt":  # whose engines are made on the machine that they are for
        lab.case(_untrained(recipe, base), seed)
    return {}


def _untrained(recipe: Recipe, base: Recipe) -> Recipe:
    """The same network before it is fine-tuned or distilled, which changes no time."""
    return replace(recipe, finetune=0, epochs=base.epochs, teacher=None)


def _time(folder: str, data: str, base: Recipe, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Milliseconds, before any training after pruning, and MB."""
    lab = Lab(folder, data)
    reference = lab.case(base, seed)
    first = lab.latency([reference], _RUNS)[0]
    pair = [reference, lab.case(_untrained(recipe, base), seed)]
    rows = lab.latency(pair, _RUNS) if pair[0] != pair[1] else [first, first]
    # In turns with the reference, whose time of the first trial is what all are compared to.
    return {"ms": _p50(first) * _p50(rows[1]) / _p50(rows[0]), "size_mb": rows[1].size_mb}


def _rate(folder: str, data: str, base: Recipe, recipe: Recipe, seed: int) -> dict[str, Any]:
    """mAP50-95 of the artefact, which is trained first where that is in its recipe."""
    return {"map50_95": 100 * Lab(folder, data).accuracy(recipe, seed).map50_95}


def _p50(row: Any) -> float:
    return float(np.percentile(row.samples[:, 0], 50))


def _front(trials: Iterable[Trial]) -> list[Trial]:
    rated = sorted((one for one in trials if one.map50_95 is not None), key=lambda one: (one.ms, -_map(one)))
    best: list[Trial] = []
    for one in rated:
        if not best or _map(one) > _map(best[-1]):
            best.append(one)
    return best


def _best(budget: Budget, trials: Sequence[Trial], reference: Trial) -> Trial | None:
    within = [one for one in trials if one.map50_95 is not None and budget.met(one, reference)]
    if budget.max_latency is not None:
        return max(within, key=lambda one: (_map(one), -one.ms), default=None)
    return min(within, key=lambda one: (one.ms, -_map(one)), default=None)


def _map(trial: Trial) -> float:
    assert trial.map50_95 is not None
    return trial.map50_95


def _marks(done: Optimized, trial: Trial, front: Sequence[Trial]) -> list[tuple[str, bool]]:
    return [
        ("best", trial == done.best),
        ("front", trial in front),
        ("reference", trial is done.reference),
        ("plain", trial.plain and trial is not done.reference),
    ]


def _commands(recipe: Recipe, data: str, seed: int) -> Iterator[str]:
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
    form, target = ENGINES[recipe.engine]
    head = ["--head", recipe.head] if recipe.head != "raw" else []
    best = f"best{ENDINGS[form]}"
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
