"""The `yolort` command."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Entry point.

    Exit codes: 0 done; 1 something failed while the rest went on (an image, an engine); 2 wrong use, a missing or
    damaged file, nothing done; 130 interrupted; 143 terminated.
    """
    try:
        try:  # imports take a second, during which an interrupt may arrive
            from yolort.cli._output import set_up
            from yolort.cli.main import app
        except ImportError as error:  # the runtime needs numpy only
            sys.exit(
                f'yolort: error: the command line needs more packages ({error}); pip install "yolort-runtime[cli]"'
            )
        set_up()
        # SIGTERM raises an exception, so that cleanup runs as after an interrupt.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        app()()
    except KeyboardInterrupt:
        sys.exit(130)
