"""The `yolort` command and its subcommands, one module each."""

from __future__ import annotations

from typing import Annotated

import typer

from yolort.cli import (
    ablate,
    advise,
    batch,
    benchmark,
    calibrate,
    demo,
    distill,
    doctor,
    engines,
    export,
    info,
    optimize,
    predict,
    profile,
    prune,
    quantize,
    serve,
    stream,
    sweep,
    train,
    tune,
    val,
)
from yolort.cli._errors import with_clear_errors
from yolort.cli._output import say

_HELP = "Run YOLO models on NCNN, ONNX Runtime, OpenVINO and TensorRT; train, export, quantize and measure them."
_COMMANDS = (
    demo.demo,
    predict.predict,
    engines.engines,
    doctor.doctor,
    info.info,
    stream.stream,
    serve.serve,
    batch.batch,
    export.export,
    val.val,
    benchmark.benchmark,
    profile.profile,
    tune.tune,
    calibrate.calibrate,
    quantize.quantize,
    sweep.sweep,
    train.train,
    distill.distill,
    prune.prune,
    advise.advise,
    ablate.ablate,
    optimize.optimize,
)


def app() -> typer.Typer:
    """The command and its subcommands."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(help=_HELP)(_options)
    for command in _COMMANDS:
        app.command()(with_clear_errors(command))
    app.command("study", hidden=True)(with_clear_errors(sweep.study))
    return app


def _print_version(asked: bool) -> None:
    if asked:
        say("\n".join(doctor.build()))
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print version, build and engines, and exit."
        ),
    ] = False,
) -> None:
    """Options before the subcommand; the callbacks do the work."""
