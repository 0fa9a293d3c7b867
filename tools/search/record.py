"""The record of a search: Optuna's database in its folder."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
from yolort.tools._cache import locked

__all__ = ["open_record"]


@contextmanager
def open_record(file: Path, name: str, seed: int, waiting: Callable[[], None]) -> Iterator[optuna.Study]:
    """Opens or makes the study of that name, for one process at a time; `waiting` is called if another one has it open.

    Raises FileExistsError for a file that is no record of a search, OSError for one that cannot be used.
    """
    with locked(file.with_name(f".{file.name}.lock"), waiting):
        _check(file)
        try:
            study = optuna.create_study(
                storage=f"sqlite:///{file}",
                study_name=name,
                directions=["minimize", "maximize"],
                sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True),
                load_if_exists=True,
            )
        except Exception as error:  # Optuna's, SQLAlchemy's and SQLite's own
            raise OSError(f"{file} cannot be used: {' '.join(str(error).split())[:200]}; move it") from error
        yield study


def _check(file: Path) -> None:
    """FileExistsError where a file is none of Optuna's, which would write its tables into it; nothing is changed."""
    if not os.path.lexists(file):
        return
    from optuna.storages._rdb.models import BaseModel

    tables = {"alembic_version", *BaseModel.metadata.tables}
    why = "it is not a regular file"
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
    raise FileExistsError(f"{file} is not the record of a search ({why}); move it or choose another folder")
