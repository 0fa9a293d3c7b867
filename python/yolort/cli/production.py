"""The subcommands that go on: streams and the server."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

import yolort
from yolort._checks import without_secrets
from yolort.cli._output import report, say
from yolort.cli.common import MODEL_HELP, Device, Engine, Model, Precision, Threads

_Workers = Annotated[int, typer.Option(min=1, help="Clones of the Detector that run side by side.")]
_MaxBatch = Annotated[int | None, typer.Option(min=1, help="Images of one run; default: what suits the model.")]
_MaxWait = Annotated[float, typer.Option(min=0, max=60, help="Seconds to wait for a batch to fill.")]


def stream(
    source: Annotated[
        list[str], typer.Argument(help="Videos, camera indices, URLs, folders or glob patterns.", show_default=False)
    ],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    policy: Annotated[
        Literal["all", "latest"] | None, typer.Option(help="Default: latest of cameras and URLs, else all.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    conf: Annotated[float, typer.Option(help="Keep scores above this.")] = 0.25,
    workers: Annotated[int | None, typer.Option(min=1, help="Clones of the Detector; default: 2, or 1.")] = None,
    max_batch: _MaxBatch = None,
    max_wait: _MaxWait = 0.0,
) -> None:
    """Detect in videos and cameras: one JSON object a frame, on standard output."""
    detector = yolort.Detector(model, engine=engine, device=device, threads=threads, precision=precision, conf=conf)
    sources = [int(one) if re.fullmatch(r"-?\d{1,18}", one) and not Path(one).exists() else one for one in source]
    given = 0
    with detector.stream(sources, policy=policy, workers=workers, max_batch=max_batch, max_wait=max_wait) as stream:
        for frame in stream:
            about = {"source": without_secrets(source[frame.source]), "index": frame.index, "time": frame.time}
            say(json.dumps({**about, **frame.detections.to_dict()}))
            given += 1
            if given == frames:
                break


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    name: Annotated[str | None, typer.Option(help="In /v2/models/NAME; default: the name of the file.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Holds the API key; or set YOLORT_API_KEY. Default: none is asked for.")
    ] = None,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    conf: Annotated[float, typer.Option(help="Keep scores above this, where a request does not say.")] = 0.25,
    workers: _Workers = 2,
    max_batch: _MaxBatch = None,
    max_wait: _MaxWait = 0.0,
    max_requests: Annotated[int, typer.Option(min=1, help="In the server at a time; more are answered 429.")] = 64,
    max_body: Annotated[int, typer.Option(min=1, help="MiB of a request; more is answered 413.")] = 20,
    max_pixels: Annotated[float, typer.Option(min=0.01, help="Megapixels of an image; more is answered 413.")] = 50,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve a model over HTTP: the Open Inference Protocol (KServe v2), POST /detect, metrics and a page to try it."""
    try:
        from yolort import serve as server
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; the server needs more packages: pip install "yolort[serve]"') from None
    key = os.environ.get("YOLORT_API_KEY")
    if api_key_file is not None:
        key = api_key_file.read_text(encoding="utf-8").strip()
    detector = yolort.Detector(model, engine=engine, device=device, threads=threads, precision=precision, conf=conf)
    app = server.create_app(
        detector,
        name=name or model.resolve().stem,
        limits=server.Limits(body=max_body * 2**20, pixels=round(max_pixels * 1e6), requests=max_requests),
        api_key=key,
        workers=workers,
        max_batch=max_batch,
        max_wait=max_wait,
    )
    server.run(app, host, port, log_level=log_level)


def batch(
    source: Annotated[str, typer.Argument(help="A folder or pattern of images, or Parquet.", show_default=False)],
    model: Annotated[Path, typer.Option(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option(help="Folder for part-00000.jsonl and so on; a second run goes on there.")],
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster; default: Ray on this machine.")] = None,
    actors: Annotated[int, typer.Option(min=1, help="Detectors in the cluster.")] = 1,
    shard_size: Annotated[int, typer.Option(min=1, help="Image files of one output file.")] = 256,
    column: Annotated[str, typer.Option(help="Of Parquet: the one that holds image files.")] = "image",
    engine: Engine = None,
    device: Device = None,
    precision: Precision = None,
    conf: Annotated[float, typer.Option(help="Keep scores above this.")] = 0.25,
) -> None:
    """Detect in very many images on a Ray cluster; what is done is kept, and done once."""
    from yolort.batch import run

    options = {"engine": engine, "device": device, "precision": precision, "conf": conf}
    done = run(
        source, model, output, ray_address=ray, actors=actors, shard_size=shard_size, column=column, options=options
    )
    say(f"{done.images} image(s) in {done.shards - done.skipped} shard(s); {done.skipped} shard(s) were there already")
    if done.failed:
        report(f"{done.failed} of {done.images} image(s) failed; their lines say why")
        raise typer.Exit(1)
