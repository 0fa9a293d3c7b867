"""The subcommands of the toolchain (`yolort.tools`), which is imported when one runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

import yolort
from yolort import _atomic
from yolort.cli._output import note, phases, print_table, progress, say, show_log
from yolort.cli._output import report as print_error
from yolort.cli.common import (
    Augment,
    Device,
    Engine,
    Flip,
    Imgsz,
    Merge,
    Precision,
    ScaleModel,
    Scales,
    Threads,
    augmentation,
    parse_imgsz,
)

_ENGINE = "Of an engine (TensorRT)"
Data = Annotated[str, typer.Option(help="A data.yaml of Ultralytics, with train and val.", show_default=False)]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]
Side = Annotated[int, typer.Option("--imgsz", help="Side of the network's input, pixels.")]
Batch = Annotated[int, typer.Option(help="Images of one step.")]
Ray = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster that shares the folders: auto, local, HOST:PORT.")
]
RayWorkers = Annotated[int | None, typer.Option(help="Stages or trials at a time, of Ray; default: one a node.")]
Seed = Annotated[int, typer.Option(help="Of all that is random.")]
Run = Annotated[Path, typer.Option(help="Folder of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --output.")]


def export(
    model: Annotated[
        Path, typer.Argument(help="A checkpoint (.pt) or architecture (.yaml); for an engine, .onnx too.")
    ],
    format: Annotated[str, typer.Option(help="onnx, ncnn, openvino or engine (TensorRT).")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, or fp16: half the size.")] = "fp32",
    head: Annotated[
        str,
        typer.Option(help="raw, boxes, or of YOLO26's NMS-free branch raw-e2e, end2end; Ultralytics loads the second."),
    ] = "raw",
    imgsz: Imgsz = None,
    batch: Annotated[int, typer.Option(help="Images of one run.")] = 1,
    dynamic: Annotated[bool, typer.Option(help="Any batch and any size; --imgsz is the default.")] = False,
    opset: Annotated[int | None, typer.Option(help="Of ONNX; default: 17.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Pictures to compare with PyTorch on; default: the embedded one and noise.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Default: beside the model.")] = None,
    device: Annotated[str, typer.Option(help="GPU that TensorRT builds for: cuda:1.", rich_help_panel=_ENGINE)] = "",
    workspace: Annotated[
        int | None, typer.Option(help="MiB that one layer may take; default: all.", rich_help_panel=_ENGINE)
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of measured times, read and written.", rich_help_panel=_ENGINE)
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="INT8 without Q/DQ: of quantize --format cache.", rich_help_panel=_ENGINE)
    ] = None,
    level: Annotated[int | None, typer.Option(help="Of optimisation, 0 to 5.", rich_help_panel=_ENGINE)] = None,
    version_compatible: Annotated[
        bool, typer.Option(help="Later versions of TensorRT can run it.", rich_help_panel=_ENGINE)
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option(help="Other GPUs from Ampere on can run it.", rich_help_panel=_ENGINE)
    ] = False,
    max_batch: Annotated[int, typer.Option(help="Images of one run, of --dynamic.", rich_help_panel=_ENGINE)] = 16,
    max_imgsz: Annotated[
        str | None, typer.Option(help="Largest input, of --dynamic; default: twice.", rich_help_panel=_ENGINE)
    ] = None,
) -> None:
    """Turn an Ultralytics checkpoint into a model that `Detector` loads, and compare it with PyTorch.

    An ONNX file, such as quantize --target gpu writes, can be turned into an engine as well.
    """
    show_log()
    with phases() as shown:
        engine = None
        if format == "engine":
            from yolort.tools.export.tensorrt import EngineOptions, build_engine

            engine = EngineOptions(
                device=device,
                workspace=workspace,
                timing_cache=timing_cache,
                calibration=calibration,
                version_compatible=version_compatible,
                hardware_compatible=hardware_compatible,
                level=level,
                max_batch=max_batch,
                max_imgsz=_pair(max_imgsz),
                progress=shown,
            )
        if engine and model.suffix == ".onnx":
            if head != "raw" or batch != 1 or dynamic or imgsz or opset or images:
                raise ValueError("--head, --imgsz, --batch, --dynamic, --opset and --images are as in the ONNX file")
            written = build_engine(model, precision=precision, output=output, options=engine)
        else:
            from yolort.tools.export.pipeline import export as run

            written = run(
                model,
                format=format,
                precision=precision,
                head=head,
                imgsz=parse_imgsz(imgsz),
                batch=batch,
                dynamic=dynamic,
                opset=opset,
                images=yolort.images.find(images) if images else (),
                output=output,
                engine=engine,
            )
    say(f"written to {written}")


def val(
    model: Annotated[Path, typer.Argument(help="What predict takes; or a .pt, for the baseline.", show_default=False)],
    data: Annotated[str, typer.Option(help="A data.yaml of Ultralytics, or COCO JSON.", show_default=False)],
    split: Annotated[str, typer.Option(help="train, val or test, of a data.yaml.")] = "val",
    images: Annotated[Path | None, typer.Option(help="Folder of the images of COCO JSON; default: beside it.")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for metrics.json and the plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    conf: Annotated[float, typer.Option(help="Keep scores above this.")] = 0.001,
    iou: Annotated[float, typer.Option(help="NMS drops boxes that overlap a better one by more.")] = 0.7,
    max_det: Annotated[int, typer.Option(help="At most this many detections an image.")] = 300,
    imgsz: Imgsz = None,
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of the images for the interval; 0: none.")] = 200,
    augment: Augment = False,
    scales: Scales = None,
    flip: Flip = None,
    merge: Merge = None,
    scale_model: ScaleModel = None,
) -> None:
    """Measure accuracy on labelled images, through the runtime that ships; of augmentation, gain and cost."""
    from yolort.tools.evaluate.validate import validate

    if save:
        _atomic.check(save, sources=[model, data, *([images] if images else [])], folder=True)
    done = validate(
        model,
        data,
        split=split,
        images=images,
        resamples=resamples,
        progress=progress,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        conf=conf,
        iou=iou,
        max_det=max_det,
        imgsz=parse_imgsz(imgsz),
        **augmentation(augment, scales, flip, merge, scale_model),
    )
    if as_json:
        say(json.dumps(done.to_dict()))
    else:
        _print_metrics(done)
    for remark in done.notes:
        note(remark)
    if save:
        done.save(save)
        if not as_json:
            say(f"written to {save}")
    for reason in done.unreadable:
        print_error(reason)
    if done.unreadable:
        print_error(f"{len(done.unreadable)} image(s) cannot be read and are left out")
        raise typer.Exit(1)


def benchmark(
    models: Annotated[list[Path], typer.Argument(help="What predict takes, and .pt files.", show_default=False)],
    engine: Annotated[str | None, typer.Option(help="Only these: ncnn,openvino; default: all.")] = None,
    precision: Annotated[str | None, typer.Option(help="Only these: fp32,bf16; default: all that pay here.")] = None,
    device: Annotated[str | None, typer.Option(help="These: cpu,vulkan; default: each engine's own.")] = None,
    threads: Annotated[str | None, typer.Option(help="A row for each: 1,2,4; pinned. Default: one a core.")] = None,
    data: Annotated[str | None, typer.Option(help="Measure mAP on this data.yaml or COCO JSON too.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test, of a data.yaml.")] = "val",
    image: Annotated[Path | None, typer.Option(help="Picture to detect in; default: the embedded one.")] = None,
    imgsz: Imgsz = None,
    batch: Annotated[int, typer.Option(help="Above 1: throughput at this batch too.")] = 1,
    workers: Annotated[int, typer.Option(help="Above 1: throughput of this many threads too.")] = 1,
    runs: Annotated[int, typer.Option(help="Detections that count.")] = 200,
    warmup: Annotated[int, typer.Option(help="Detections before them.")] = 50,
    report: Annotated[list[Path] | None, typer.Option(help="Write .html, .md, .csv or .json; may stand often.")] = None,
) -> None:
    """Measure latency, throughput, memory and accuracy: one row per model, engine and precision."""
    from yolort.tools.evaluate.benchmark import REPORT_WRITERS, cases
    from yolort.tools.evaluate.benchmark import benchmark as run

    _check_reports(report, REPORT_WRITERS, *models, data, image)
    chosen = cases(
        models,
        engines=_parts(engine),
        precisions=_parts(precision),
        devices=_parts(device),
        threads=[_whole("--threads", part) for part in _parts(threads)],
        imgsz=_pair(imgsz),
    )
    with _showing(lambda done: _finish_benchmark(done, report)) as shown:
        shown(
            run(
                chosen=chosen,
                image=yolort.images.read(image) if image else None,
                data=data,
                split=split,
                runs=runs,
                warmup=warmup,
                batch=batch,
                workers=workers,
                progress=lambda steps: progress(steps, "measuring"),
            )
        )


def profile(
    model: Annotated[Path, typer.Argument(help="What predict takes, or a .pt.", show_default=False)],
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    imgsz: Imgsz = None,
    image: Annotated[Path | None, typer.Option(help="Picture to detect in; default: the embedded one.")] = None,
    runs: Annotated[int, typer.Option(help="Detections that count.")] = 50,
    top: Annotated[int, typer.Option(min=1, help="Layers that are shown.")] = 15,
    trace: Annotated[Path | None, typer.Option(help="Write a Chrome trace (.json) for Perfetto.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every layer, as one JSON object.")] = False,
    nsys: Annotated[Path | None, typer.Option(help="Run in Nsight Systems, and write its report there.")] = None,
) -> None:
    """Show where the time of one image goes, layer by layer."""
    from yolort.tools.evaluate.profile import nsys as under_nsys
    from yolort.tools.evaluate.profile import profile as run

    if nsys:
        given = [part for part in sys.argv[1:] if part != "--nsys" and part != str(nsys) and "--nsys=" not in part]
        raise typer.Exit(subprocess.call(under_nsys([sys.executable, "-m", "yolort", *given], nsys)))
    done = run(
        model,
        image=yolort.images.read(image) if image else None,
        runs=runs,
        trace=trace,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        imgsz=_pair(imgsz),
    )
    if as_json:
        say(json.dumps(done.to_dict()))
        return
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
    say(f"layers {whole:.2f} ms, outside them {done.outside:.2f} ms")
    if trace:
        say(f"written to {trace}")


def tune(
    model: Annotated[Path, typer.Argument(help="What Detector will be given.", show_default=False)],
    others: Annotated[
        list[Path] | None,
        typer.Argument(help="Other artefacts of the same model, beside it, that may run instead.", show_default=False),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Only these: ncnn,openvino.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Only these: fp32,bf16; default: those that keep the accuracy.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to detect in; default: the embedded one.")] = None,
    seconds: Annotated[float, typer.Option(help="Time to measure in.")] = 45,
    under_load: Annotated[
        bool, typer.Option("--under-load", help="Measure and record also while other processes take the cores.")
    ] = False,
) -> None:
    """Find the fastest engine, precision and thread count for a model here; Detector uses it from then on."""
    from yolort.tools.evaluate.tune import cost
    from yolort.tools.evaluate.tune import tune as run

    done = run(
        model,
        others or (),
        engines=_parts(engine),
        precisions=_parts(precision),
        image=yolort.images.read(image) if image else None,
        seconds=seconds,
        under_load=under_load,
        say=note,
        progress=lambda steps: progress(steps, "tuning"),
    )
    rows: list[list[object]] = [
        [row.case.model, row.case.engine, row.case.precision or "-", row.case.threads, row.error or f"{row.p50:.2f}"]
        for row in done.rows
    ]
    print_table(["model", "engine", "precision", "threads", "p50 ms"], rows)
    say(f"fastest: {done.best.case}; written to {done.path}")
    if lost := cost(done.best.facts["precision"]):
        say(f"accuracy: {lost}")
    say(f'yolort.Detector("{model}") runs it; tuned=False, or an engine of your own, does not')


def calibrate(
    model: Annotated[
        Path, typer.Argument(help="An FP32 .onnx with raw head, or a checkpoint (.pt).", show_default=False)
    ],
    data: Annotated[
        str, typer.Option(help="Images of the training: a data.yaml, COCO JSON, a folder, a .txt.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="train, val or test, of a data.yaml.")] = "train",
    images: Annotated[int, typer.Option(help="At most so many, chosen at random, the same every time.")] = 512,
    method: Annotated[str, typer.Option(help="minmax, entropy or percentile.")] = "percentile",
    percentile: Annotated[float, typer.Option(help="Of the values; what is beyond is cut off.")] = 99.999,
    batch: Annotated[int, typer.Option(help="Images of one run, of a model exported with --dynamic.")] = 8,
    head: Annotated[str, typer.Option(help="Of a checkpoint: raw or raw-e2e.")] = "raw",
    imgsz: Imgsz = None,
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    allow_overlap: Annotated[bool, typer.Option(help="Take images of the val and test splits too.")] = False,
) -> None:
    """Measure what INT8 has to hold, over images of the training: once, for every format."""
    show_log()
    from yolort.tools.quantize.calibrate import calibrate as run

    _atomic.check(output, sources=[model, data])
    done = run(
        model,
        data,
        split=split,
        images=images,
        method=method,
        percentile=percentile,
        batch=batch,
        head=head,
        imgsz=parse_imgsz(imgsz),
        allow_overlap=allow_overlap,
        progress=lambda steps: progress(steps, "calibrating"),
    )
    say(f"{len(done.ranges)} activations over {len(done.images)} images, {done.method}")
    done.save(output)
    say(f"written to {output}")


def quantize(
    model: Annotated[
        Path, typer.Argument(help="What was calibrated; for ncnn its *_ncnn_model; or the .pt.", show_default=False)
    ],
    calibration: Annotated[Path | None, typer.Option(help="calibration.json; none for --dynamic.")] = None,
    format: Annotated[str, typer.Option(help="onnx, ncnn, or cache: TensorRT's calibration cache.")] = "onnx",
    target: Annotated[
        str | None,
        typer.Option(help="Of onnx: openvino, onnxruntime, arm, gpu. Default: openvino on x86, arm on ARM."),
    ] = None,
    dynamic: Annotated[bool, typer.Option(help="Activations by the range of each image.")] = False,
    weights_only: Annotated[bool, typer.Option(help="Only store the weights in INT8.")] = False,
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="A weight scale for each output channel.")
    ] = True,
    reduce_range: Annotated[
        bool | None, typer.Option(help="Weights of 7 bits, for x86 without VNNI. Default: if this machine has none.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Convolutions that stay float; * and ? match.")] = None,
    int8_stem: Annotated[
        bool | None,
        typer.Option(
            "--int8-stem/--float-stem", help="The first three convolutions; by default as the target is best."
        ),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Keep layers float until mAP50-95 falls by no more points; needs --data.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Labelled images to measure accuracy on before and after.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test, of a data.yaml.")] = "val",
    allow_overlap: Annotated[bool, typer.Option(help="Score on images that were calibrated on.")] = False,
    measure: Annotated[bool, typer.Option(help="Time both models here.")] = True,
    output: Annotated[Path | None, typer.Option(help="Default: <model>-int8 beside the model.")] = None,
) -> None:
    """Make an INT8 model, check it against the float one, and say whether it pays."""
    show_log()
    from yolort.tools.quantize.quantize import quantize as run

    if dynamic and weights_only:
        raise ValueError("--dynamic and --weights-only exclude each other")
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
        data=data,
        split=split,
        max_drop=max_drop,
        allow_overlap=allow_overlap,
        measure=measure,
        output=output,
        progress=lambda steps: progress(steps, "sensitivity"),
    )
    _print_quantized(done)


def sweep(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.pt).", show_default=False)],
    data: Annotated[str, typer.Option(help="A data.yaml: calibrated on train, scored on val.", show_default=False)],
    images: Annotated[str, typer.Option(help="Calibration-set sizes.")] = "100,500,1000,2000",
    method: Annotated[str, typer.Option(help="Of calibration.")] = "minmax,entropy,percentile",
    granularity: Annotated[str, typer.Option(help="Of weight scales: channel,tensor.")] = "channel,tensor",
    target: Annotated[str, typer.Option(help="openvino,onnxruntime,arm,ncnn.")] = "openvino",
    head: Annotated[str, typer.Option(help="raw or raw-e2e.")] = "raw",
    imgsz: Imgsz = None,
    runs: Annotated[int, typer.Option(help="Detections that are timed.")] = 100,
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    report: Annotated[list[Path] | None, typer.Option(help="Write .md, .csv, .json or .html; may stand often.")] = None,
) -> None:
    """Compare INT8 recipes: calibration-set size x method x granularity, weights only, dynamic, the naive one."""
    show_log()
    from yolort.tools.evaluate.benchmark import REPORT_WRITERS
    from yolort.tools.quantize.sweep import sweep as run

    _check_reports(report, REPORT_WRITERS, model, data)

    with _showing(lambda done: _finish_benchmark(done, report)) as shown:
        shown(
            run(
                model,
                data,
                images=[_whole("--images", part) for part in _parts(images)],
                methods=_parts(method),
                granularities=_parts(granularity),
                targets=_parts(target),
                head=head,
                imgsz=parse_imgsz(imgsz),
                runs=runs,
                progress=progress,
            )
        )


def train(
    model: Annotated[
        Path, typer.Argument(help="A checkpoint (.pt), a pruned one too, or architecture (.yaml).", show_default=False)
    ],
    data: Data,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Of Ultralytics' train: lr0=0.01 cls=1.0 mosaic=0", show_default=False)
    ] = None,
    epochs: Epochs = 100,
    imgsz: Side = 640,
    batch: Batch = 16,
    seed: Seed = 0,
    gamma: Annotated[float, typer.Option(help="Of the focal loss; 0: cross-entropy.")] = 0.0,
    alpha: Annotated[float | None, typer.Option(help="Of the focal loss, between 0 and 1.")] = None,
    class_weights: Annotated[
        str | None, typer.Option(help="median, inverse or effective: weights of the class loss from class counts.")
    ] = None,
    beta: Annotated[float, typer.Option(help="Of effective: nearer to 1, more weight to rare classes.")] = 0.999,
    clip: Annotated[str, typer.Option(help="Least and greatest class weight.")] = "0.1,10",
    sampling: Annotated[
        str | None, typer.Option(help="balanced, or repeat (LVIS): draw images of rare classes more often.")
    ] = None,
    repeat_threshold: Annotated[
        float | None, typer.Option(help="Of repeat: classes in fewer of the images, 0 to 1, are repeated.")
    ] = None,
    scales: Annotated[str | None, typer.Option(help="Side of each batch, at random: 0.5,1.5 of --imgsz.")] = None,
    output: Run = Path("runs/train"),
    resume: Resume = False,
) -> None:
    """Train with Ultralytics, and with focal loss, class weights and balanced sampling where classes are rare."""
    show_log()
    from yolort.tools.data.class_balance import class_report
    from yolort.tools.train.train import train as run

    report = class_report(data, imgsz)
    headings, rows = report.table()
    print_table(headings, rows)
    say(f"{report.total_images} images, {report.empty_images} of them empty; {report.ratio:.1f} : 1 objects of classes")
    best = run(
        model,
        data,
        gamma=gamma,
        alpha=alpha,
        class_weights=class_weights,
        beta=beta,
        clip=_two("--clip", clip),
        sampling=sampling,
        repeat_threshold=repeat_threshold,
        scales=_two("--scales", scales) if scales else None,
        report=report,
        output=output,
        resume=resume,
        **_settings(settings, epochs=epochs, batch=batch, imgsz=imgsz, seed=seed),
    )
    say(f"written to {best}")


def distill(
    teacher: Annotated[Path, typer.Option(help="A checkpoint trained on these classes.", show_default=False)],
    student: Annotated[Path, typer.Option(help="A checkpoint, a pruned one too, or architecture.", show_default=False)],
    data: Data,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Of Ultralytics' train: lr0=0.01 patience=20", show_default=False)
    ] = None,
    epochs: Epochs = 100,
    imgsz: Side = 640,
    batch: Batch = 16,
    seed: Seed = 0,
    feature: Annotated[float, typer.Option(help="Gain of the features (Ultralytics' dis).")] = 6.0,
    logit: Annotated[float, typer.Option(help="Gain of the class logits, times Ultralytics' cls.")] = 1.0,
    box: Annotated[float, typer.Option(help="Gain of the boxes, times Ultralytics' box.")] = 1.0,
    output: Run = Path("runs/distill"),
    resume: Resume = False,
) -> None:
    """Train a small model with a larger one as its teacher."""
    show_log()
    from yolort.tools.train.distill import distill as run

    best = run(
        teacher,
        student,
        data,
        feature=feature,
        logit=logit,
        box=box,
        output=output,
        resume=resume,
        **_settings(settings, epochs=epochs, batch=batch, imgsz=imgsz, seed=seed),
    )
    say(f"written to {best}")


def prune(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.pt) of YOLOv8, YOLO11 or YOLO26.", show_default=False)],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Of Ultralytics' train, for --finetune: lr0=0.001 mosaic=0")
    ] = None,
    ratio: Annotated[float | None, typer.Option(help="Share of channels to take out; or one of the targets.")] = None,
    target_flops: Annotated[str | None, typer.Option(help="GFLOPs of an image, or 60% of what they are.")] = None,
    target_latency: Annotated[float | None, typer.Option(help="Milliseconds an image, timed on --engine.")] = None,
    engine: Annotated[str | None, typer.Option(help="Of --target-latency: ncnn, onnxruntime, ...")] = None,
    method: Annotated[
        str, typer.Option(help="l1, random, group-norm, bn, or taylor, which needs --data.")
    ] = "group-norm",
    allocate: Annotated[
        str, typer.Option(help="uniform: every layer by the ratio; global: by importance; sensitivity: as measured.")
    ] = "uniform",
    round_to: Annotated[int, typer.Option(help="Widths are multiples of this.")] = 8,
    steps: Annotated[int, typer.Option(help="Reach the ratio in so many, each with its part of --finetune.")] = 1,
    unstructured: Annotated[
        bool, typer.Option(help="Zero single weights, for comparison; nothing gets faster.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="A data.yaml: for taylor, --finetune, --allocate sensitivity.")
    ] = None,
    finetune: Annotated[int, typer.Option(help="Epochs of training afterwards.")] = 0,
    distill: Annotated[bool, typer.Option(help="Fine-tune with the unpruned model as teacher.")] = False,
    batch: Batch = 16,
    imgsz: Annotated[
        int | None, typer.Option(help="Side of the network's input; default: that of the training.")
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure how sensitive each layer is.")] = True,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option(help="Default: <model>-pruned.pt beside the model.")] = None,
) -> None:
    """Take the least important channels out of a model; it stays a checkpoint that Ultralytics loads."""
    show_log()
    from yolort.tools.prune.prune import prune as run

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
        **_settings(settings, batch=batch, imgsz=imgsz, seed=seed),
    )
    _print_pruned(done)


def ablate(
    study: Annotated[Path, typer.Argument(help="A YAML file: baseline, steps, seeds.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="Where every stage is kept; a study goes on where it was.")] = Path(
        "runs/ablation"
    ),
    runs: Annotated[int, typer.Option(help="Detections that are timed.")] = 100,
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    report: Annotated[list[Path] | None, typer.Option(help="Write .md, .csv, .json or .html; may stand often.")] = None,
) -> None:
    """Measure what each step (distil, prune, INT8, ...) is worth against one baseline, over seeds, with intervals."""
    show_log()
    from yolort.tools.search.ablate import REPORT_WRITERS
    from yolort.tools.search.ablate import ablate as run

    _check_reports(report, REPORT_WRITERS, study)

    def show(done: Any) -> None:
        headings, cells = done.table()
        print_table(headings, [list(row) for row in cells])
        say("\n".join(done.findings()))
        _save_reports(done, report)

    with _showing(show) as shown:
        shown(run(study, folder, runs=runs, ray=ray, ray_workers=ray_workers, progress=progress))


def advise(
    data: Annotated[str | None, typer.Option(help="A data.yaml: its training images are counted.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Milliseconds an image, end to end.")] = None,
    imgsz: Side = 640,
) -> None:
    """Say where to start on this machine, each line with what was measured for it; nothing is run."""
    from yolort.tools.search.advise import advise as run
    from yolort.tools.search.advise import device

    for number, one in enumerate(run(device(), imgsz=imgsz, max_latency=max_latency, data=data), 1):
        say(f"{number}. {one.text}\n   measured: {one.measured} ({one.page})")


def optimize(
    model: Annotated[Path, typer.Argument(help="The checkpoint (.pt) that is to be deployed.", show_default=False)],
    data: Data,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Of Ultralytics' train: lr0=0.001 batch=16", show_default=False)
    ] = None,
    max_latency: Annotated[float | None, typer.Option(help="Milliseconds an image, p50, end to end.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Points of mAP50-95 that may be lost.")] = None,
    max_size: Annotated[float | None, typer.Option(help="MB of the artefact.")] = None,
    engine: Annotated[str | None, typer.Option(help="Only these: ncnn,openvino; default: all that are here.")] = None,
    sibling: Annotated[list[Path] | None, typer.Option(help="Another size of the model; may stand often.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the input; default: that of the training.")] = None,
    epochs: Annotated[int, typer.Option(help="Train the models on the data first.")] = 0,
    finetune: Annotated[int, typer.Option(help="Epochs after pruning, and of distilling others.")] = 10,
    hours: Annotated[float | None, typer.Option(help="No trial begins after them.")] = None,
    trials: Annotated[int | None, typer.Option(help="At most so many, earlier ones counted.")] = None,
    trial_minutes: Annotated[float, typer.Option(help="A trial that takes longer has failed.")] = 60.0,
    seed: Seed = 0,
    folder: Annotated[Path, typer.Option(help="Where all is kept; a search goes on where it was.")] = Path(
        "runs/optimize"
    ),
    ray: Ray = None,
    ray_workers: RayWorkers = None,
    report: Annotated[list[Path] | None, typer.Option(help="Write .html, .md or .json; may stand often.")] = None,
) -> None:
    """Find the best artefact within a budget of latency, accuracy and size, and say how to make it."""
    show_log()
    from yolort.tools.search.optimize import optimize as run
    from yolort.tools.search.outcome import REPORT_WRITERS, Budget

    _check_reports(report, REPORT_WRITERS, model, data, *(sibling or ()))

    def show(done: Any) -> None:
        headings, cells = done.table()
        print_table(headings, [list(row) for row in cells])
        say("\n".join([*done.findings(), *done.commands()]))
        if done.artefact:
            say(f"it is {done.artefact}")
        _save_reports(done, report)

    with _showing(show) as shown:
        shown(
            run(
                model,
                data,
                Budget(max_latency, max_drop, max_size),
                folder=folder,
                engines=_parts(engine) or None,
                siblings=sibling or [],
                finetune=finetune,
                hours=hours,
                trials=trials,
                trial_minutes=trial_minutes,
                ray=ray,
                ray_workers=ray_workers,
                progress=say,
                **_settings(settings, epochs=epochs, imgsz=imgsz, seed=seed),
            )
        )


@contextmanager
def _showing(show: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Shows the outcome of a long search; one that is interrupted shows what it has so far, and stays interrupted."""
    try:
        yield show
    except (KeyboardInterrupt, SystemExit) as stop:
        if (outcome := getattr(stop, "outcome", None)) is not None:
            note("interrupted; this is what was finished")
            show(outcome)
        raise


def _check_reports(report: list[Path] | None, forms: Collection[str], *sources: str | Path | None) -> None:
    for path in report or ():
        if path.suffix not in forms:
            raise ValueError(f"--report {path}: expected an ending of {', '.join(forms)}")
    _atomic.check_all(report or (), sources=[source for source in sources if source is not None])


def _save_reports(done: Any, report: list[Path] | None) -> None:
    """Writes every report, also after one that cannot be written; the first error is raised at the end."""
    first: OSError | None = None
    for path in report or ():
        try:
            done.save(path)
        except OSError as error:
            if first is not None:
                print_error(error)
            first = first or error
        else:
            say(f"written to {path}")
    if first is not None:
        raise first


def _finish_benchmark(done: Any, report: list[Path] | None) -> None:
    headings, cells = done.table()
    print_table(headings, [list(row) for row in cells])
    say("\n".join(f"{key}: {value}" for key, value in done.setup.items()))
    say("".join(f"failed: {note}\n" for note in done.notes()), end="")
    for doubt in done.doubts():
        say(doubt)
    _save_reports(done, report)
    failed = sum(bool(row.error) for row in done.rows)
    if failed:
        raise typer.Exit(1)


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
    print_table(["", "before", "after", ""], rows)
    for remark in done.notes:
        say(f"note: {remark}")
    say(f"written to {done.path}")


def _print_quantized(done: Any) -> None:
    before, after = done.megabytes
    rows: list[list[object]] = [
        ["file", f"{before:.2f} MB", f"{after:.2f} MB", f"{after / before:.2f} x" if before else "-"]
    ]
    if done.ms:
        rows.append(["time, p50", *(f"{ms:.2f} ms" for ms in done.ms), f"{done.ms[0] / done.ms[1]:.2f} x as fast"])
    if done.map50_95:
        drop = 100 * (done.map50_95[0] - done.map50_95[1])
        rows.append(["mAP50-95", *map(_percent, done.map50_95), f"drop {drop:.2f}"])
    if done.conf:
        rows.append(["conf of the best F1", *(f"{conf:.3f}" for conf in done.conf), "recommended: the second"])
    print_table(["", "float", "INT8", ""], rows)
    for name, why in done.floats.items():
        say(f"float: {name}: {why}")
    for remark in done.notes:
        say(f"note: {remark}")
    say(f"written to {done.path}")


def _parts(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def _whole(option: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{option}: {text!r} is no number of 1 or more")
    return int(text)


def _two(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} is {text!r}, expected two numbers, low,high") from None
    return low, high


def _settings(given: list[str] | None, **options: Any) -> dict[str, Any]:
    """Ultralytics' `name=value` arguments, whose names are checked by the trainer, and those that are options here."""
    from ultralytics.cfg import smart_value

    pairs = [text.partition("=") for text in given or ()]
    for name, equals, value in pairs:
        if not equals or not name.isidentifier():
            raise ValueError(f"{name!r}: expected name=value, of Ultralytics' train")
        if name in options:
            raise ValueError(f"{name}={value} is an option here: say --{name} {value}")
    return {**options, **{name: smart_value(value) for name, _, value in pairs}}


def _pair(imgsz: str | None) -> tuple[int, int] | None:
    size = parse_imgsz(imgsz)
    return (size, size) if isinstance(size, int) else size


def _print_metrics(done: Any) -> None:
    metrics = done.metrics
    rows: list[list[object]] = [
        [one.name, one.images, one.instances, *map(_percent, (one.map50_95, one.map50, one.precision, one.recall))]
        for one in metrics.classes
        if one.instances
    ]
    print_table(["class", "images", "instances", "mAP50-95", "mAP50", "precision", "recall"], rows)
    interval = metrics.map50_95_ci
    about = f" (95 %: {_percent(interval[0])} to {_percent(interval[1])})" if interval else ""
    what = done.described
    facts: list[list[object]] = [
        ["model", f"{what['model']}: {what['engine']}, {what['device']}, {what['precision']}"],
        ["data", f"{metrics.images} images, {metrics.instances} instances"],
        ["mAP50-95", f"{_percent(metrics.map50_95)}{about}"],
        ["mAP50, mAP75", f"{_percent(metrics.map50)}, {_percent(metrics.map75)}"],
        ["small, medium, large", ", ".join(map(_percent, (metrics.map_small, metrics.map_medium, metrics.map_large)))],
        ["by Ultralytics' formula", f"{_percent(metrics.map50_95_ultralytics)}, {_percent(metrics.map50_ultralytics)}"],
        [
            f"at conf {metrics.best_conf:.3f}, the best F1",
            f"precision {_percent(metrics.precision)}, recall {_percent(metrics.recall)}, F1 {_percent(metrics.f1)}",
        ],
    ]
    if done.augmentation:
        facts += _augmentation_facts(done.augmentation, metrics.map50_95)
    print_table([], facts)


def _augmentation_facts(how: Any, map50_95: float) -> list[list[object]]:
    views = ", ".join(f"{view.scale}{' mirrored' if view.flip else ''}" for view in how.views)
    plain = how.plain.metrics.map50_95
    return [
        ["views", views],
        ["mAP50-95 without augmentation", f"{_percent(plain)}; gain {100 * (map50_95 - plain):+.2f}"],
        ["time, p50", f"{how.ms[1]:.1f} ms, {how.ms[0]:.1f} ms without: {how.latency_ratio:.2f} x"],
    ]


def _percent(fraction: float) -> str:
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"
