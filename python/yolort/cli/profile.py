"""`yolort profile`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import yolort
from yolort.cli._options import (
    Device,
    Engine,
    ImageFile,
    Imgsz,
    Precision,
    Threads,
    parse_size,
)
from yolort.cli._output import print_table, say


def profile(
    model: Annotated[Path, typer.Argument(help="Exported model or .pt checkpoint.", show_default=False)],
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    imgsz: Imgsz = None,
    image: ImageFile = None,
    runs: Annotated[int, typer.Option(help="Number of timed detections.")] = 50,
    top: Annotated[int, typer.Option(min=1, help="Number of layers to show.")] = 15,
    trace: Annotated[Path | None, typer.Option(help="Write a Chrome trace (.json) for Perfetto.")] = None,
    operators: Annotated[
        bool, typer.Option("--operators", help="Print torch.profiler's operator table (.pt only).")
    ] = False,
    shapes: Annotated[bool, typer.Option("--shapes", help="Print the operator table grouped by input shape.")] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Add the memory that operators allocate to the table.")
    ] = False,
    stacks: Annotated[
        bool, typer.Option("--stacks", help="Print the operator table grouped by source location.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all layers as one JSON object.")] = False,
    nsys: Annotated[
        Path | None, typer.Option(help="Run under Nsight Systems and write its report to this file.")
    ] = None,
) -> None:
    """Show where the time of one image goes, layer by layer."""
    from yolort.tools import profile as run
    from yolort.tools.evaluate.profile import nsys as under_nsys

    if nsys:
        arguments = [part for part in sys.argv[1:] if part != "--nsys" and part != str(nsys) and "--nsys=" not in part]
        raise typer.Exit(subprocess.call(under_nsys([sys.executable, "-m", "yolort", *arguments], nsys)))
    done = run(
        model,
        image=yolort.images.read(image) if image else None,
        runs=runs,
        trace=trace,
        operators=operators,
        shapes=shapes,
        memory=memory,
        stacks=stacks,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        imgsz=parse_size(imgsz),
    )
    if as_json:
        say(json.dumps(done.to_dict()))
        return
    _print_profile(done, top)
    if trace:
        say(f"written to {trace}")


def _print_profile(done: Any, top: int) -> None:
    whole = sum(layer.ms for layer in done.layers) or 1.0
    kinds: list[list[object]] = [
        [kind, count, f"{ms:.3f}", f"{100 * ms / whole:.1f}"] for kind, count, ms in done.by_type()
    ]
    print_table(["type", "layers", "ms", "%"], kinds)
    layers: list[list[object]] = [
        [layer.name, layer.type, f"{layer.ms:.3f}", f"{100 * layer.ms / whole:.1f}"] for layer in done.top(top)
    ]
    print_table(["layer", "type", "ms", "%"], layers)
    what = done.described
    say(f"{what['model']}: {what['engine']}, {what['device']}, {what['precision']}, {what['runs']} runs")
    say(f"pre {done.pre:.2f} ms, inference {done.inference:.2f} ms, post {done.post:.2f} ms (medians)")
    rest = f"{done.outside:.2f} ms outside the layers"
    if done.outside is None:
        rest = "more than the inference time: layers that run in parallel are each counted in full"
    say(f"layers {whole:.2f} ms, {rest}")
    if done.operators:
        say(done.operators)
