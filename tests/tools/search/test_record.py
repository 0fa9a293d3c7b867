"""The record of a search."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from optuna.trial import TrialState
from yolort.tools.search.record import open_record


def _search(file: Path, barrier: Barrier) -> None:
    barrier.wait(120)
    with open_record(file, "one", 0, lambda: None) as study:
        assert not study.get_trials(states=(TrialState.RUNNING,))
        trial = study.ask()
        time.sleep(0.5)
        study.tell(trial, [1.0, 1.0])


@pytest.mark.slow
def test_one_search_works_at_a_time(tmp_path: Path) -> None:
    """One process creates the tables; the next does not mistake its trials for those of a killed process."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    file = tmp_path / "study.db"
    processes = [context.Process(target=_search, args=(file, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
    waited: list[int] = []
    with open_record(file, "one", 0, lambda: waited.append(1)) as study:
        assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 3
    assert not waited
