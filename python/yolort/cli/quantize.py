"""`yolort quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yolort.cli._options import (
    Split,
)
from yolort.cli._output import percent, print_table, say, show_log
from yolort.cli._progress import progress, stages


# Long because each option is a parameter with its help.
def quantize(
    model: Annotated[
        Path,
        typer.Argument(
            help="The .onnx or .pt passed to calibrate; for ncnn, its *_ncnn_model folder.", show_default=False
        ),
    ],
    calibration: Annotated[
        Path | None, typer.Option(help="Result of calibrate (calibration.json); not needed for --dynamic.")
    ] = None,
    format: Annotated[
        str, typer.Option(help="Output format: onnx, ncnn, or cache (TensorRT's calibration cache).")
    ] = "onnx",
    target: Annotated[
        str | None,
        typer.Option(
            help="Target of an ONNX model: openvino, onnxruntime, arm, gpu. Default: arm on ARM, openvino on x86, or "
            "onnxruntime with --dynamic and --weights-only."
        ),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option(help="Compute activation ranges at run time; several times slower than float.")
    ] = False,
    weights_only: Annotated[bool, typer.Option(help="Store only the weights in INT8; compute in float.")] = False,
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="Use one weight scale per output channel, or per tensor.")
    ] = True,
    reduce_range: Annotated[
        bool | None,
        typer.Option(help="Round weights to 7 bits, for x86 without VNNI; default: yes if this machine lacks VNNI."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Convolutions that stay float; * and ? are wildcards. Can be given several times."),
    ] = None,
    int8_stem: Annotated[
        bool | None,
        typer.Option(
            "--int8-stem/--float-stem", help="Precision of the first three convolutions; default depends on --target."
        ),
    ] = None,
    stock: Annotated[
        bool, typer.Option("--stock", help="For ncnn: write only layers that every build of ncnn supports.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Allowed loss of accuracy in points (mAP50-95 of boxes, masks or keypoints; top-1); layers stay float "
            "until it is met. Needs --data."
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Labeled images for measuring accuracy before and after.")] = None,
    split: Split = "val",
    allow_overlap: Annotated[
        bool, typer.Option(help="Allow scoring on images that were used for calibration.")
    ] = False,
    measure: Annotated[bool, typer.Option(help="Time both models on this machine.")] = True,
    output: Annotated[
        Path | None, typer.Option(help="File or folder to write; default: <model>-int8 beside the model.")
    ] = None,
) -> None:
    """Build an INT8 model, compare it with the float model, and say whether it is faster."""
    show_log()
    from yolort.tools import quantize as run

    if dynamic and weights_only:
        raise ValueError("--dynamic and --weights-only cannot be combined")
    with stages():
        done = run(
            model,
            calibration,
            format=format,
            target=target,
            mode="dynamic" if dynamic else "weights" if weights_only else "static",
            per_channel=per_channel,
            reduce_range=reduce_range,
            exclude=exclude or (),
            int8_stem=int8_stem,
            stock=stock,
            data=data,
            split=split,
            max_drop=max_drop,
            allow_overlap=allow_overlap,
            measure=measure,
            output=output,
            progress=lambda steps: progress(steps, "sensitivity"),
        )
    print_quantized(done)


def print_quantized(done: Any) -> None:
    before, after = done.megabytes
    rows: list[list[object]] = [
        ["file", _size(before) if before else "-", _size(after), f"{after / before:.2f} x" if before else "-"]
    ]
    if done.ms:
        speed = done.ratio.speedup() if done.ratio else "-"
        rows.append(["time, p50", *(f"{ms:.2f} ms" for ms in done.ms), speed])
    if done.accuracy:
        drop = 100 * (done.accuracy[0] - done.accuracy[1])
        rows.append([done.metric, *map(percent, done.accuracy), f"drop {drop:.2f}"])
    if done.conf:
        rows.append(["conf of the best F1", *(f"{conf:.3f}" for conf in done.conf), f"recommended: {done.conf[1]:.3f}"])
    print_table(["", "float", "INT8", ""], rows)
    for name, why in done.floats.items():
        say(f"float: {name}: {why}")
    for remark in done.notes:
        say(f"note: {remark}")
    say(f"written to {done.path}")


def _size(megabytes: float) -> str:
    return f"{megabytes:.2f} MB" if megabytes >= 0.1 else f"{1000 * megabytes:.1f} kB"
