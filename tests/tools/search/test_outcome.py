"""Findings of a search about its trials."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("ultralytics")
pytest.importorskip("optuna")

from yolort.tools.search.outcome import Budget, Optimized, Trial
from yolort.tools.search.recipe import Recipe


def made_up(*trials: tuple[float, float | None, bool], budget: Budget) -> Optimized:
    recipe = Recipe(model="m.pt")
    done = object.__new__(Optimized)
    taught = {False: {"epochs": 2, "teacher": recipe}, True: {}}
    listed = [
        Trial(recipe.but({"imgsz": 640 - 32 * at, **taught[plain]}), at, ms, 1.0, accuracy)
        for at, (ms, accuracy, plain) in enumerate(trials)
    ]
    vars(done).update(budget=budget, trials=listed, setup={}, metric="mAP50-95", _data="d.yaml", _seed=0)
    return done


def test_the_best_trial_meets_the_budget() -> None:
    trials = ((20.0, 50.0, True), (10.0, 49.5, True), (5.0, 48.0, False), (30.0, 51.0, True), (4.0, None, False))
    fastest = made_up(*trials, budget=Budget(max_drop=2.0)).best
    assert fastest is not None and fastest.ms == 5
    most_accurate = made_up(*trials, budget=Budget(max_latency=12.0)).best
    assert most_accurate is not None and most_accurate.ms == 10
    both = made_up(*trials, budget=Budget(max_latency=8.0, max_drop=1.0))
    assert both.best is None
    assert both.findings() == ["Nothing is within the budget: 5 were tried, 4 of them scored."]
    assert both.commands() == []
    assert made_up(*trials, budget=Budget(max_size=0.5)).best is None
    failed = made_up((20.0, None, True), *trials, budget=Budget(max_drop=2.0))  # the reference
    assert failed.best is None
    assert "has no figures" in failed.findings()[0]
    assert failed.table()[1][0][5] == "-" and failed.to_markdown()
    pruned = made_up(*trials, budget=Budget(max_drop=2.0)).findings()
    assert "Without pruning and training the best is" in pruned[1]


def test_untried_steps_are_not_mentioned() -> None:
    budget = Budget(max_drop=2.0)
    plain = made_up((20.0, 50.0, True), (10.0, 49.5, True), budget=budget)
    assert plain.findings()[1:] == ["Neither pruning nor training was tried."]
    scored = made_up((20.0, 50.0, True), (10.0, 49.5, True), (5.0, 20.0, False), (6.0, 30.0, False), budget=budget)
    assert scored.findings()[1:] == ["None of the 2 pruned or distilled models that were scored is better."]
    failed = made_up((20.0, 50.0, True), (10.0, 49.5, True), (5.0, None, False), budget=budget)
    failed.trials[2] = replace(failed.trials[2], note="not trained: not within the budget")
    assert failed.findings()[1:] == [
        "1 pruned or distilled models were tried, and none was scored: not trained: not within the budget."
    ]


def test_a_drop_that_is_large_compared_with_the_reference_is_reported() -> None:
    weak = made_up((20.0, 1.7, True), (10.0, 0.9, True), budget=Budget(max_drop=1.0)).findings()
    assert "max_drop 1 is large against the 1.70 mAP50-95 of the reference" in weak[-1]
    strong = made_up((20.0, 40.0, True), (10.0, 39.5, True), budget=Budget(max_drop=1.0)).findings()
    assert "large against" not in " ".join(strong)
