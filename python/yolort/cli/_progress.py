"""Progress of long work on standard error: bars on a terminal, one line per stage in a log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from yolort.cli._output import note, say, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")

_STAGES = "yolort.stages"  # the logger of yolort.tools._stages, which needs no import here
_shown: list[_Stages] = []  # the stages being shown; at most one entry


def progress(items: Sequence[T], description: str = "detecting") -> Iterable[T]:
    """The items, with a progress bar on standard error if that is a terminal."""
    with _bars(quiet=len(items) < 2) as bars:
        yield from bars.track(items, description=visible(description))


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], bool]]:
    """Shows nested phases as progress bars on standard error if it is a terminal. The yielded function is called with
    (name of the phase, step, number of steps).
    """
    tasks: dict[str, TaskID] = {}
    with _bars() as bars:

        def step(phase: str, done: int, steps: int) -> bool:
            if phase not in tasks:
                tasks[phase] = bars.add_task(visible(phase), total=steps)
            bars.update(tasks[phase], completed=done)
            if done >= steps:
                bars.remove_task(tasks.pop(phase))
            return True

        yield step


@contextmanager
def stages() -> Iterator[None]:
    """Shows the stages that the tools announce: as a bar if standard error is a terminal, otherwise as lines on it."""
    console = Console(stderr=True)
    handler = _Stages(console) if console.is_terminal else _Lines()
    logger = logging.getLogger(_STAGES)
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False  # not in yolort's log as well
    logger.addHandler(handler)
    if isinstance(handler, _Stages):
        _shown.append(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        _shown.clear()
        handler.close()


def say_above(text: object) -> None:
    """Prints on standard output, above the bars."""
    bars = _shown[0].bars if _shown and sys.stdout.isatty() else None
    if bars is not None and bars.live.is_started:
        bars.stop()
        say(text)
        bars.start()
    else:
        say(text)


class _Lines(logging.Handler):
    """One line per stage."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


class _Stages(logging.Handler):
    """A bar with the name of the current stage; hidden while a stage prints its own progress."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.bars = _new_bars(console)
        self._task: TaskID | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._task is not None:
            self.bars.remove_task(self._task)
            self._task = None
        if getattr(record, "prints", False):
            self.bars.stop()
            note(record.getMessage())
            return
        self.bars.start()
        done, total = getattr(record, "done", None), getattr(record, "total", None)
        self._task = self.bars.add_task(visible(record.getMessage()), total=total, completed=done or 0)

    def close(self) -> None:
        self.bars.stop()
        super().close()


@contextmanager
def _bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress bars on standard error if it is a terminal; those of `stages` if these are shown."""
    console = Console(stderr=True)
    if _shown and not quiet:
        bars = _shown[0].bars
        before = set(bars.task_ids)
        bars.start()
        try:
            yield bars
        finally:
            for task in set(bars.task_ids) - before:
                bars.remove_task(task)
        return
    with _new_bars(console, disable=quiet or bool(_shown) or not console.is_terminal) as bars:
        yield bars


def _new_bars(console: Console, *, disable: bool = False) -> Progress:
    """Standard output is not redirected, so that it can go to a file."""
    from rich.progress import Progress

    return Progress(console=console, transient=True, redirect_stdout=False, disable=disable)
