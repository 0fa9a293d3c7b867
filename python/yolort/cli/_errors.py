"""Formats the errors of subcommands."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import typer

import yolort
from yolort.cli._output import report_error


def with_clear_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Prints errors that a user can fix as one line instead of a traceback; YOLORT_TRACEBACK=1 shows the traceback."""

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        try:
            command(**arguments)
        except ModuleNotFoundError as error:
            if os.environ.get("YOLORT_TRACEBACK"):
                raise
            hint = "" if "pip install" in str(error) else '; install the toolchain: pip install "yolort-runtime[tools]"'
            report_error(f"{error}{hint}")
            raise typer.Exit(2) from None
        except UnicodeEncodeError as error:
            if os.environ.get("YOLORT_TRACEBACK"):
                raise
            report_error(f"{error.object[:200]!r} cannot be written as {error.encoding}; rename it")
            raise typer.Exit(2) from None
        except (yolort.Error, OSError, ValueError, TypeError, ImportError) as error:
            if os.environ.get("YOLORT_TRACEBACK"):
                raise
            report_error(error)
            raise typer.Exit(2) from None

    return wrapped
