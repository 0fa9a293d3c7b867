"""Finds the best deployable model within a budget: searches over size, input, head, pruning, precision and engine.

    from yolort.tools.search import Budget, optimize
    done = optimize("yolo26s.pt", "data.yaml", Budget(max_drop=1.0), siblings=["yolo26n.pt"], finetune=10, hours=1.5)
    print(done.best, *done.commands(), sep="\\n")

Optuna proposes trials and stores them in an SQLite file. `Pipeline` caches what they build and measure, so an
interrupted search resumes and nothing is measured twice. Simple options come first: the unchanged model on every engine
in every precision, its smaller siblings, and smaller inputs. Then candidates that are fast enough but lose too much
accuracy are distilled from the model. Pruning has to beat all of these. Candidates that need training are timed
untrained, and trained only if they could become the best.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState
from yolort import _checks, _core
from yolort.tools._hash import sha256, text_sha256
from yolort.tools._processes import Jobs, interruptible, jobs
from yolort.tools._stages import stage
from yolort.tools._ultralytics import need_torchvision
from yolort.tools.models.checkpoints import load_checkpoint, task_of
from yolort.tools.search.outcome import Budget, Optimized, Trial, accuracy_of, best_within, pareto_front
from yolort.tools.search.pipeline import Pipeline
from yolort.tools.search.recipe import Recipe
from yolort.tools.search.record import open_record
from yolort.tools.search.space import search_space
from yolort.tools.search.trial import measure_accuracy, measure_time, prepare, untrained

__all__ = ["optimize"]

_log = logging.getLogger(__name__)

#: Points of accuracy that no short training gave back: docs/benchmarks/distillation.md, docs/benchmarks/pruning.md.
_RECOVERED = 2.0
_PRUNED = 3  # number of unchanged models that are pruned before other choices are tried
_CLOSE = 1.25  # times the fastest: within this factor, another size may run faster on another engine


# Long for its documentation.
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
    """Searches for the best artifact within a budget, and returns all trials.

    Args:
        model: the checkpoint (.pt) of any task to deploy, trained on `data` unless `epochs` is given.
        data: a `data.yaml` with images in train and val that are labeled for the model's task; of a classifier a folder
            with a folder for each class in train/ and val/.
        budget: limits of latency, accuracy loss and size.
        folder: folder for all results; a search restarted in it resumes.
        engines: engines to consider; None: all available.
        siblings: other sizes of the model, of the same task, trained on `data` unless `epochs` is given.
        imgsz: side of the input; None: that of the training.
        epochs: number of epochs to train the model and its siblings first.
        finetune: number of epochs after pruning, with the unpruned model as teacher, and for siblings and smaller
            inputs with the model as teacher (in addition to `epochs`); 0 tries neither.
        hours: start no trial after this many hours.
        trials: maximum number of trials, including earlier runs; `hours` or `trials` must be given.
        trial_minutes: timeout for building and timing, and for training and scoring, a trial; a trial that exceeds it
            is listed as failed.
        seed: random seed of training and search.
        ray: address of a Ray cluster, whose nodes see `folder` and the data. Training, export and accuracy run there in
            parallel; times are measured here, between them. "auto" and "local" work as in Ray.
        ray_workers: number of parallel trials; None: one per node.
        progress: called with a line of text for each trial.
        **training: other arguments of Ultralytics' train.

    Raises ValueError, FileNotFoundError, CheckpointError or LabelError for unusable arguments, EngineError if no engine
    is available, and ModuleNotFoundError if a classifier is to be trained and torchvision cannot be imported.
    """
    _check_limits(hours, trials, trial_minutes)
    source = load_checkpoint(model, tasks=True)
    task = task_of(source.model)
    _check_task(task, siblings, epochs or finetune)
    side = _checks.integer("imgsz", imgsz) if imgsz is not None else source.side
    pipeline = Pipeline(folder, data, task)
    if not epochs:
        pipeline.data.check(source.model, model)
    base = Recipe(
        model=str(model),
        imgsz=side,
        epochs=epochs,
        method="taylor",
        round_to=16,  # fastest on AVX-512 and no worse elsewhere: docs/benchmarks/pruning.md
        engine="onnxruntime",
        train=training,
    )
    network: Any = source.model
    one_to_one = getattr(network.model[-1], "one2one_cv2", None) is not None
    space = search_space([str(model), *map(str, siblings)], side, engines, finetune, one_to_one)
    with ExitStack() as stack:
        record = stack.enter_context(_record(pipeline, base, finetune, seed, progress))
        search = _Search(record, pipeline, base, space, budget, finetune, seed, trial_minutes * 60)

        def outcome() -> Optimized:
            return Optimized(budget, search.trials(), pipeline, str(data), seed)

        stack.enter_context(interruptible(lambda: outcome() if search.count else None))
        _go_on(search, stack.enter_context(jobs(ray, ray_workers)), budget, hours, trials, progress)
        return outcome()


def _check_limits(hours: float | None, trials: int | None, trial_minutes: float) -> None:
    """Raises ValueError for a search without limits, or with limits that allow no trial."""
    if hours is None and trials is None:
        raise ValueError("set hours or trials: a search does not end by itself")
    for name, value in (("hours", hours), ("trials", trials), ("trial_minutes", trial_minutes)):
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0, not {value}")


def _check_task(task: str, siblings: Sequence[str | Path], trains: int) -> None:
    """Raises ValueError for a sibling of another task, ModuleNotFoundError if training lacks a package."""
    for sibling in siblings:
        if (other := task_of(load_checkpoint(sibling, tasks=True).model)) != task:
            raise ValueError(f"sibling {sibling} is for {other}, the model for {task}; give one of the same task")
    if task == "classify" and trains:
        need_torchvision()


def _record(
    pipeline: Pipeline, base: Recipe, finetune: int, seed: int, progress: Callable[[str], None]
) -> AbstractContextManager[optuna.Study]:
    """Opens this search's study in the folder's file; another model, dataset or training gives another study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = pipeline.data
    of: dict[str, Any] = {"model": sha256(base.model), "data": list(data.sha256.values()), "metric": data.metric}
    of |= {"recipe": base.to_dict(), "finetune": finetune, "seed": seed, "machine": _core.machine()}
    text = json.dumps(of, sort_keys=True)
    folder = pipeline.cache.folder
    return open_record(
        (folder / "study.db").absolute(),
        text_sha256(text)[:16],
        seed,
        lambda: progress(f"another search works in {folder}; this one waits for it"),
    )


def _go_on(
    search: _Search,
    pool: Jobs,
    budget: Budget,
    hours: float | None,
    trials: int | None,
    progress: Callable[[str], None],
) -> None:
    """Runs trials until the time or the number of trials is used up, or nothing is left to try."""
    deadline = time.monotonic() + hours * 3600 if hours is not None else None
    while deadline is None or time.monotonic() < deadline:
        first = search.count == 0
        wave = search.wave(pool, trials - search.count if trials is not None else pool.workers, trials)
        for trial in wave:
            rest = "" if deadline is None else f", {max(deadline - time.monotonic(), 0) / 60:.0f} min left"
            found = trial.note or f"{trial.ms:.2f} ms, {accuracy_of(trial):.2f} {search.metric}"
            progress(f"trial {trial.number}: {trial.name}: {found}{rest}")
        if not wave:
            break
        if first and (doubt := budget.doubt(search.trials()[0], search.metric)):
            progress(doubt)


class _Search:
    """Asks Optuna for trials, measures them, and reports the results to it."""

    def __init__(
        self,
        study: optuna.Study,
        pipeline: Pipeline,
        base: Recipe,
        space: Mapping[str, tuple[Any, ...]],
        budget: Budget,
        finetune: int,
        seed: int,
        trial_seconds: float,
    ) -> None:
        self._study, self._pipeline, self._base, self._budget = study, pipeline, base, budget
        self._finetune, self._seed, self._trial_seconds = finetune, seed, trial_seconds
        self._space = {name: CategoricalDistribution(values) for name, values in space.items()}
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):  # from a killed run
            self._study.tell(left.number, state=TrialState.FAIL)
            if not left.user_attrs.get("again"):
                self._study.enqueue_trial(left.params, user_attrs={**left.user_attrs, "again": True})
        if not self.trials():  # the reference comes first, also if an earlier run was killed during it
            for _ in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                self._study.tell(self._study.ask(dict(self._space)), state=TrialState.FAIL)
            self._enqueue({"engine": engine} for engine in space["engine"])

    @property
    def metric(self) -> str:
        """Name of the metric that trials are compared by."""
        return self._pipeline.data.metric

    @property
    def count(self) -> int:
        """Finished trials."""
        return len(self.trials())

    def recipe(self, choice: Mapping[str, Any]) -> Recipe:
        """The recipe of a choice."""
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
        if prune or not choice["distil"]:  # a pruned model learns from the unpruned one
            return recipe
        return replace(recipe, epochs=self._base.epochs + self._finetune, teacher=self._base)

    def wave(self, pool: Jobs, most: int, total: int | None = None) -> list[Trial]:
        """Runs up to `most` more trials, as many at a time as there are workers; none if nothing is left to try."""
        asked = self._ask(min(most, pool.workers))
        shared = (str(self._pipeline.cache.folder), self._pipeline.data.path, self._base)
        given = {one.number: (*shared, self.recipe(one.params), self._seed, self._pipeline.data.task) for one in asked}
        found: dict[int, dict[str, Any]] = {one.number: {"seconds": 0.0} for one in asked}
        if asked:
            names = ", ".join(Trial(one[3], number).name for number, one in given.items())
            stage(f"trial {asked[0].number}: {names}", done=self.count, total=total)

        def run(where: Jobs, work: Callable[..., dict[str, Any]], numbers: Sequence[int]) -> None:
            done = where.run(work, [given[number] for number in numbers], self._trial_seconds)
            for number, told in zip(numbers, done, strict=True):
                found[number] = {**found[number], **told, "seconds": found[number]["seconds"] + told["seconds"]}

        def going_on() -> list[int]:
            return [number for number, told in found.items() if not told.get("failed")]

        if pool.workers > 1:
            run(pool, prepare, going_on())
        run(Jobs(), measure_time, going_on())  # on this machine, with nothing else running, because latency is measured
        self._pass_over({number: given[number][3] for number in going_on()}, found)
        run(pool, measure_accuracy, [number for number in going_on() if not found[number].get("note")])
        for one in asked:
            told = found[one.number]
            for name, value in told.items():
                one.set_user_attr(name, value)
            if told.get("accuracy") is not None:
                self._study.tell(one, [told["ms"], told["accuracy"]])
            else:
                self._study.tell(one, state=TrialState.FAIL if told.get("failed") else TrialState.PRUNED)
        return [one for one in self.trials() if one.number in found]

    def _pass_over(self, recipes: Mapping[int, Recipe], found: dict[int, dict[str, Any]]) -> None:
        """Adds a note to trials that need training but cannot become the best; they are not trained."""
        before = self.trials()
        rated = [trial for trial in before if trial.accuracy is not None]
        bar = max((accuracy_of(trial) for trial in rated), default=None)
        beaten = min((trial.ms for trial in rated if bar is not None and accuracy_of(trial) >= bar), default=None)
        best = best_within(self._budget, rated, before[0]) if rated else None
        for number, recipe in recipes.items():
            result = found[number]
            if untrained(recipe, self._base) == recipe:
                continue
            if not self._budget.fits(result["ms"], result["size_mb"]):
                result["note"] = "not trained: not within the budget"
            elif beaten is not None and result["ms"] >= beaten:
                result["note"] = "not trained: slower than the most accurate one"
            elif self._hopeless(recipe, before):
                result["note"] = "not trained: already loses too much before training"
            elif self._budget.max_latency is None and best is not None and result["ms"] >= best.ms:
                result["note"] = "not trained: slower than another one within the budget"

    def _hopeless(self, recipe: Recipe, trials: Sequence[Trial]) -> bool:
        """Whether the same network, untrained, loses more accuracy than training could recover."""
        if self._budget.max_drop is None or not trials or trials[0].accuracy is None:
            return False
        least = trials[0].accuracy - self._budget.max_drop - _RECOVERED
        same = [one for one in trials if one.plain and one.accuracy is not None]
        same = [one for one in same if (one.recipe.model, one.recipe.imgsz) == (recipe.model, recipe.imgsz)]
        return bool(same) and max(map(accuracy_of, same)) < least

    def _enqueue(self, changes: Iterable[Mapping[str, Any]]) -> None:
        first = {name: one.choices[0] for name, one in self._space.items()}
        for change in changes:
            self._study.enqueue_trial({**first, **change})

    def _enqueue_siblings(self) -> None:
        """After the unchanged model has run on every engine: siblings and smaller inputs on the fastest engine and
        those close to it, because another size may be fastest on another one.

        Smaller siblings at smaller inputs only on the fastest.
        """
        as_it_is = self._base.model, self._base.imgsz, self._base.head
        listed = [one for one in self.trials() if one.plain]
        plain = [one for one in listed if (one.recipe.model, one.recipe.imgsz, one.recipe.head) == as_it_is]
        if self._study.user_attrs.get("siblings") or len(plain) < len(self._space["engine"].choices):
            return
        rated = [one for one in plain if one.accuracy is not None]
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
        """After siblings and smaller inputs have run: those that lose too much are distilled, the others are pruned."""
        told = self._study.user_attrs
        if not self._finetune or not told.get("siblings") or told.get("trained"):
            return
        if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return
        reference = self.trials()[0]
        plain = [one for one in self.trials() if one.plain and one.accuracy is not None]
        accurate = [one for one in plain if self._budget.accurate(one, reference)]
        fast = [one for one in plain if self._budget.fits(one.ms, one.size_mb)]
        short = [one for one in fast if self._budget.max_drop is None or one not in accurate]

        def choice(one: Trial) -> dict[str, Any]:
            known = {"model": one.recipe.model, "imgsz": one.recipe.imgsz, "head": one.recipe.head}
            return {**known, "engine": f"{one.recipe.engine} {one.recipe.precision}"}

        for one in sorted(short, key=accuracy_of, reverse=True):
            if (one.recipe.model, one.recipe.imgsz) != (self._base.model, self._base.imgsz):
                self._enqueue([{**choice(one), "distil": True}])
        front = pareto_front(accurate)  # if there is a latency target: those that miss it
        slow = [one for one in front if one not in fast] if self._budget.max_latency is not None else front
        for one in slow[:_PRUNED]:
            self._enqueue({**choice(one), "prune": ratio} for ratio in self._space["prune"].choices[1:4])
        self._study.set_user_attr("trained", True)

    def _ask(self, most: int) -> list[optuna.Trial]:
        """Up to `count` choices that have not been tried."""
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
        """Trials that were measured, timed, or failed; the reference first."""
        out = []
        for one in self._study.get_trials(deepcopy=False):
            if not one.state.is_finished() or "seconds" not in (told := one.user_attrs):
                continue
            out.append(
                Trial(
                    self.recipe(one.params),
                    one.number,
                    float(told.get("ms", "nan")),
                    float(told.get("size_mb", "nan")),
                    told.get("accuracy"),
                    float(told["seconds"]),
                    str(told.get("note", "")),
                    told.get("ratio"),
                    told.get("interval"),
                )
            )
        return out
