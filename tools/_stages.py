"""Announces the stages of long work, which the command line shows as a bar on a terminal or as lines in a log."""

from __future__ import annotations

import logging

__all__ = ["LOGGER", "stage"]

#: Name of the logger; its records may have the attributes `done` and `total`, the numbers of finished and of all steps,
#: and `prints`: whether the stage prints its own progress.
LOGGER = "yolort.stages"

_log = logging.getLogger(LOGGER)


def stage(text: str, *, done: int | None = None, total: int | None = None, prints: bool = False) -> None:
    """Announces that a stage begins.

    Args:
        text: what is done now, such as "comparing with torch".
        done: number of finished steps of `total`, if known.
        total: number of all steps, if known.
        prints: the stage prints its own progress, as Ultralytics' training does, so no bar must be shown.
    """
    _log.info("%s", text, extra={"done": done, "total": total, "prints": prints})
