"""The `yolort` command: its subcommands, and how their errors look."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

import yolort
from yolort.cli import production, runtime, toolchain
from yolort.cli._output import report

_HELP = "Run YOLO detectors on NCNN, ONNX Runtime and OpenVINO, and make, measure and choose models for them."
_COMMANDS = (
    runtime.demo,
    runtime.predict,
    runtime.engines,
    runtime.info,
    production.stream,
    production.serve,
    production.batch,
    toolchain.export,
    toolchain.val,
    toolchain.benchmark,
    toolchain.profile,
    toolchain.tune,
    toolchain.calibrate,
    toolchain.quantize,
    toolchain.sweep,
    toolchain.train,
    toolchain.distill,
    toolchain.prune,
    toolchain.advise,
    toolchain.ablate,
    toolchain.optimize,
)


def app() -> typer.Typer:
    """The command and its subcommands."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(help=_HELP)(_options)
    for command in _COMMANDS:
        app.command()(_with_clear_errors(command))
    app.command("study", hidden=True, deprecated=True)(_with_clear_errors(toolchain.sweep))  # for one release
    return app


def _print_version(asked: bool) -> None:
    if asked:
        print(f"yolort {yolort.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the subcommand; the callbacks do the work."""


def _with_clear_errors(command: Callable[..., None]) -> Callable[..., None]:
    """What a user can mend is one line, not a traceback; YOLORT_TRACEBACK=1 shows it all the same."""

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        try:
            command(**arguments)
        except ModuleNotFoundError as error:
            if os.environ.get("YOLORT_TRACEBACK"):
                raise
            hint = "" if "pip install" in str(error) else '; the toolchain has it: pip install "yolort[tools]"'
            report(f"{error}{hint}")
            raise typer.Exit(2) from None
        except (yolort.Error, OSError, ValueError, TypeError, ImportError) as error:
            if os.environ.get("YOLORT_TRACEBACK"):
                raise
            report(error)
            raise typer.Exit(2) from None

    return wrapped
