"""Outcomes of long measurements: shown also when they are interrupted, and written as reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolort import _atomic
from yolort.cli._output import note, report_error, say


@contextmanager
def showing(show: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Shows the outcome of a long search; one that is interrupted shows what it has so far, and stays interrupted."""
    try:
        yield show
    except (KeyboardInterrupt, SystemExit) as stop:
        if (outcome := getattr(stop, "outcome", None)) is not None:
            note("interrupted; this is what was finished")
            show(outcome)
        raise


def check_reports(report: list[Path] | None, forms: Collection[str], *sources: str | Path | None) -> None:
    for path in report or ():
        if path.suffix not in forms:
            raise ValueError(f"--report {path}: expected an ending of {', '.join(forms)}")
    _atomic.check_all(report or (), sources=[source for source in sources if source is not None])


def save_reports(done: Any, report: list[Path] | None) -> None:
    """Writes every report, also after one that cannot be written; the first error is raised at the end."""
    first: OSError | None = None
    for path in report or ():
        try:
            done.save(path)
        except OSError as error:
            if first is not None:
                report_error(error)
            first = first or error
        else:
            say(f"written to {path}")
    if first is not None:
        raise first
