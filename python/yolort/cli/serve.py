"""`yolort serve`."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from yolort._open import open_model
from yolort.cli._options import (
    Classes,
    Device,
    Engine,
    EngineOption,
    Input,
    Iou,
    MaxBatch,
    MaxDet,
    MaxWait,
    Model,
    Precision,
    Rect,
    Skeleton,
    Threads,
    keypoints,
    parse_classes,
    parse_conf,
    runner,
)


# Long because each option is a parameter with its help.
def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 listens on all addresses.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    name: Annotated[str | None, typer.Option(help="Model name in /v2/models/NAME; default: the file name.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the API key (or set YOLORT_API_KEY); default: no key is needed.")
    ] = None,
    engine: Engine = None,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = None,
    engine_option: EngineOption = None,
    rect: Rect = None,
    input: Input = None,
    conf: Annotated[
        str, typer.Option(help="Minimum score if a request does not set one; or a .json file, see val --save-conf.")
    ] = "0.25",
    iou: Iou = 0.7,
    max_det: MaxDet = 300,
    classes: Classes = None,
    skeleton: Skeleton = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of Detector clones that run in parallel.")] = 2,
    max_batch: MaxBatch = None,
    max_wait: MaxWait = 0.0,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Maximum number of concurrent requests; others get status 429.")
    ] = 64,
    max_body: Annotated[
        int, typer.Option(min=1, help="Maximum size of a request in MiB; larger ones get status 413.")
    ] = 20,
    max_pixels: Annotated[
        float, typer.Option(min=0.01, help="Maximum size of an image in megapixels; larger ones get status 413.")
    ] = 50,
    log_level: Annotated[str, typer.Option(help="Log level: debug, info, warning or error.")] = "info",
) -> None:
    """Serve a model over HTTP: the Open Inference Protocol (KServe v2), POST /detect, metrics and a page to try it."""
    try:
        from yolort import serve as server
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{error}; the server needs more packages: pip install "yolort-runtime[serve]"'
        ) from None
    key = os.environ.get("YOLORT_API_KEY")
    if api_key_file is not None:
        try:
            key = api_key_file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError(f"--api-key-file {api_key_file} is not UTF-8 text") from None
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise ValueError(f"--host {host}: no such address ({error.strerror})") from None
    chosen = runner(engine, device, threads, precision, engine_option, rect, input) | keypoints(None, skeleton)
    detector = open_model(
        model, conf=parse_conf(conf), iou=iou, max_det=max_det, classes=parse_classes(classes), **chosen
    )
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
