"""The record of a search."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from yolort.tools.search.record import open_record


def _open(file: Path, barrier: Barrier) -> None:
    barrier.wait(120)
    open_record(file, "one", 0)


def test_processes_that_begin_at_once_share_a_record(tmp_path: Path) -> None:
    """One of them makes the tables."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    file = tmp_path / "study.db"
    processes = [context.Process(target=_open, args=(file, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
