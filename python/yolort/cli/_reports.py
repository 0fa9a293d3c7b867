"""Results of long measurements: shown even after an interruption, and written as reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolort import _atomic
from yolort.cli._output import note, report_error, say


@contextmanager
def showing(show: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Shows the result of a long search. On an interruption, shows the partial result and re-raises."""
    try:
        yield show
    except (KeyboardInterrupt, SystemExit) as stop:
        if (outcome := getattr(stop, "outcome", None)) is not None:
            note("interrupted; partial result:")
            show(outcome)
        raise


def check_reports(report: list[Path] | None, forms: Collection[str], *sources: str | Path | None) -> None:
    for path in report or ():
        if path.suffix not in forms:
            raise ValueError(f"--report {path}: expected a file ending in {', '.join(forms)}")
    _atomic.check_all(report or (), sources=[source for source in sources if source is not None])


def save_reports(done: Any, report: list[Path] | None) -> None:
    """Writes all reports, even if one of them fails; raises the first error at the end."""
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
