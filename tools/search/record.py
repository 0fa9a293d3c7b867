"""The record of a search: an Optuna database in its folder."""

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
    """Opens or creates the study of this name, for one process at a time; `waiting` is called if another process has it
    open.

    Raises FileExistsError if the file is not a record of a search, OSError if it cannot be used.
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
        except Exception as error:  # exceptions of Optuna, SQLAlchemy and SQLite
            raise OSError(f"{file} cannot be used: {' '.join(str(error).split())[:200]}; move it") from error
        yield study


def _check(file: Path) -> None:
    """Raises FileExistsError, without changing the file, if it is not Optuna's: Optuna would write its tables into
    it.
    """
    if not os.path.lexists(file):
        return
    from optuna.storages._rdb.models import BaseModel

    tables = {"alembic_version", *BaseModel.metadata.tables}
    why = "it is not a regular file"
    if file.is_file() and not file.is_symlink():
        try:
            # Opened as immutable, so that it also works after a process was killed during a write, which only a writer
            # can roll back.
            with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as opened:
                found = {name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")}
            foreign = sorted(name for name in found - tables if not name.startswith("sqlite_"))
            if not foreign:
                return
            why = f"it holds the table '{foreign[0][:80]}'"
        except sqlite3.DatabaseError as error:
            why = str(error)
    raise FileExistsError(f"{file} is not the record of a search ({why}); move it or choose another folder")
