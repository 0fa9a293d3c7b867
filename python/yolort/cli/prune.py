"""`yolort prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yolort.cli._options import (
    Batch,
    ClassWeights,
    Gamma,
    Sampling,
    Seed,
    balancing,
    train_settings,
)
from yolort.cli._output import percent, print_table, say, show_log
from yolort.cli._progress import progress, stages


# Long because each option is a parameter with its help.
def prune(
    model: Annotated[
        Path, typer.Argument(help="A .pt checkpoint of YOLOv8, YOLO11 or YOLO26, of any task.", show_default=False)
    ],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Ultralytics training settings for --finetune: lr0=0.001 mosaic=0")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Share of channels to remove (or give one of the targets).")
    ] = None,
    target_flops: Annotated[
        str | None,
        typer.Option(help="Target GFLOPs per image, or a percentage such as 60%; the nearest widths are used."),
    ] = None,
    target_latency: Annotated[
        float | None, typer.Option(help="Latency target in ms per image, timed on --engine.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engine that --target-latency is timed on: ncnn, onnxruntime, ...")
    ] = None,
    method: Annotated[
        str, typer.Option(help="Ranking of channels: l1, random, group-norm, bn, or taylor (needs --data).")
    ] = "group-norm",
    allocate: Annotated[
        str,
        typer.Option(
            help="Distribution over the layers: uniform, global (by importance) or sensitivity (as measured)."
        ),
    ] = "uniform",
    round_to: Annotated[int, typer.Option(help="Divisor of all widths.")] = 8,
    steps: Annotated[
        int, typer.Option(help="Number of prune-and-fine-tune rounds; --finetune is divided among them.")
    ] = 1,
    unstructured: Annotated[
        bool,
        typer.Option(
            help="Zero single weights and keep them zero in --finetune; for comparison only, nothing gets faster."
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="A data.yaml, or folder of classes, for taylor, --finetune, --allocate sensitivity, and accuracy "
            "before and after."
        ),
    ] = None,
    finetune: Annotated[int, typer.Option(help="Number of epochs to train after pruning.")] = 0,
    distill: Annotated[bool, typer.Option(help="Fine-tune with the unpruned model as teacher.")] = False,
    gamma: Gamma = 0.0,
    class_weights: ClassWeights = None,
    sampling: Sampling = None,
    batch: Batch = 16,
    imgsz: Annotated[int | None, typer.Option(help="Side of the network input; default: that of the training.")] = None,
    measure: Annotated[
        bool, typer.Option(help="Measure the sensitivity of each layer, and accuracy on --data.")
    ] = True,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option(help="File to write; default: <model>-pruned.pt beside the model.")
    ] = None,
) -> None:
    """Remove the least important channels of a model; the result is a checkpoint that Ultralytics loads."""
    show_log()
    from yolort.tools import prune as run

    with stages():
        done = run(
            model,
            method=method,
            ratio=ratio,
            target_flops=target_flops,
            target_latency=target_latency,
            engine=engine,
            allocate=allocate,
            round_to=round_to,
            steps=steps,
            unstructured=unstructured,
            data=data,
            finetune=finetune,
            distill=distill,
            measure=measure,
            output=output,
            progress=lambda steps: progress(steps, "sensitivity"),
            **balancing(gamma, class_weights, sampling),
            **train_settings(settings, batch=batch, imgsz=imgsz, seed=seed),
        )
    _print_pruned(done)


def _print_pruned(done: Any) -> None:
    def row(what: str, form: str, before: float, after: float) -> list[object]:
        return [what, form.format(before), form.format(after), f"{after / before:.2f} x"]

    rows = [
        row("channels", "{}", *done.channels),
        row("M parameters", "{:.3f}", *(count / 1e6 for count in done.parameters)),
        row(f"GFLOPs at {done.imgsz[0]}x{done.imgsz[1]}", "{:.3f}", *done.gflops),
    ]
    if done.ms:
        rows.append([*row("ms, p50", "{:.2f}", *done.ms)[:3], f"{done.ms[0] / done.ms[1]:.2f} x as fast"])
    if done.sparsity is not None:
        rows.append(["zero weights", "", f"{done.sparsity:.1%}", ""])
    if done.cost:
        before, change = done.cost.before, "other classes before"
        if done.cost.interval:
            low, high = (100 * value for value in done.cost.interval)
            change = f"{100 * (done.cost.after - before):+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append(
            [f"{done.cost.metric} on val", "-" if before is None else percent(before), percent(done.cost.after), change]
        )
    print_table(["", "before", "after", ""], rows)
    for remark in done.notes:
        say(f"note: {remark}")
    say(f"written to {done.path}")
