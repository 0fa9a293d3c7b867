"""All output of the command. Control characters in text from models, files and file names are escaped, so an escape
sequence in a class name is shown and has no effect.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from typing import TextIO

from rich.console import Console

_PIPE_WIDTH = 500  # maximum table width in a pipe or file, in characters
#: Control characters except the line feed, line and paragraph separators, text direction marks, and halves of
#: surrogate pairs (bytes of a file name that are not valid text).
_HIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object, *, lines: bool = True) -> str:
    """Text with its control characters written as `\\x1b` or `\\u202e`; line feeds too, unless it may have `lines`."""
    shown = _HIDDEN.sub(lambda found: _escape(found[0]), str(text))
    return shown if lines else shown.replace("\n", "\\n")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def say(text: object, *, end: str = "\n") -> None:
    """Prints on standard output, at once."""
    print(visible(text), end=end, flush=True)


def report_error(error: object) -> None:
    """Prints an error on standard error."""
    print(f"yolort: error: {visible(error)}", file=sys.stderr)


def note(text: object) -> None:
    """Prints a remark on standard error."""
    print(f"yolort: {visible(text)}", file=sys.stderr)


def set_up() -> None:
    """Sets up the process: characters that cannot be encoded are escaped, and warnings are printed as one line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning


def show_log() -> None:
    """Shows yolort's log from INFO on, and other logs from WARNING on."""

    class Visible(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # looks sys.stderr up, which progress bars replace
            print(visible(self.format(record)), file=sys.stderr)

    logging.basicConfig(level=logging.WARNING, handlers=[Visible()], format="%(message)s")
    logging.getLogger("yolort").setLevel(logging.INFO)


def print_table(columns: list[str], rows: list[list[object]]) -> None:
    """Prints cells as plain text, never as markup. In a file or pipe, each row takes one line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, show_header=bool(columns))
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=_PIPE_WIDTH)).print(table)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = (
        f"yolort: warning: {message}"
        if issubclass(category, UserWarning)
        else warnings.formatwarning(message, category, filename, lineno, line).rstrip()
    )
    print(visible(text), file=file or sys.stderr)


def percent(fraction: float) -> str:
    """A fraction in percent, without the percent sign; "-" for NaN."""
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"
