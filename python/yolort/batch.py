"""Detects in or classifies very many images on a Ray cluster; writes one file of JSON lines per shard.

A shard's file appears whole or not at all. Running again with the same source and output completes the missing shards.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from yolort import _atomic, _checks, _core, images
from yolort._open import Model, open_model

_MANIFEST = "batch.json"


class Shard(TypedDict):
    """A part of the source: image files, or one row group of a Parquet file."""

    number: int
    paths: list[str]
    row_group: int  #: row group of the only path; -1: the paths are image files


class Summary(NamedTuple):
    """Summary of a run; `failed` images have an `error` instead of detections."""

    shards: int
    skipped: int
    images: int
    failed: int


def run(
    source: str | os.PathLike[str],
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    ray_address: str | None = None,
    actors: int = 1,
    shard_size: int = 256,
    column: str = "image",
    options: dict[str, Any] | None = None,
) -> Summary:
    """Detect in all images of a source.

    Args:
        source: a folder or glob pattern of images, a Parquet file, or a folder of Parquet files.
        model: see `Detector`. Every node of the cluster must be able to access source, model and output.
        output: folder for `part-00000.jsonl` and so on; created if missing.
        ray_address: address of a cluster; None: start Ray on this machine for this call.
        actors: number of Detectors in the cluster, at most one per CPU; the CPUs are divided among them.
        shard_size: number of image files per shard, 1 or more; for Parquet, each row group is a shard.
        column: Parquet column with image files as bytes; a column `path` is copied to the output.
        options: more arguments of `Detector`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: an option out of range, or the output folder belongs to another source, model or shard size.
        ImportError: Ray, or for Parquet pyarrow, is not installed.
        EngineError: a worker stopped, for example because the model cannot be loaded there.
    """
    actors = _checks.integer("actors", actors)
    shard_size = _checks.integer("shard_size", shard_size)
    _ray()  # before anything is written
    folder = Path(output).absolute()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{output} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    shards = split(source, shard_size)
    _claim(folder, shards, Path(model).absolute(), column, options or {})
    missing = [shard for shard in shards if not _target(folder, shard).exists()]
    if not missing:
        return Summary(len(shards), len(shards), 0, 0)
    rows = _run_on_ray(ray_address, actors, missing, (Path(model).absolute(), folder, column, options or {}))
    found, failed = (sum(row[key] for row in rows) for key in ("images", "failed"))
    return Summary(len(shards), len(shards) - len(missing), found, failed)


def _ray() -> Any:
    """The ray module. Raises ImportError with the command to install it."""
    try:
        import ray
    except ImportError as error:
        raise ImportError(f'{error}; work on a cluster needs Ray: pip install "yolort-runtime[ray]"') from None
    return ray


def _run_on_ray(
    address: str | None, actors: int, shards: list[Shard], work: tuple[Path, Path, str, dict[str, Any]]
) -> list[dict[str, int]]:
    """Yields the result of `detect_shard` for each shard; `work` holds the model, the output, the column and the
    options.
    """
    ray = _ray()
    model, folder, column, options = work
    ray.init(address=address, include_dashboard=False, logging_level="warning")
    try:
        cpus = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        if actors > cpus:
            raise ValueError(f"actors is {actors}, expected at most {cpus}, one per CPU of the cluster")
        cpus //= actors
        data = ray.data.from_items([{"shard": json.dumps(shard)} for shard in shards], override_num_blocks=len(shards))
        rows: list[dict[str, int]] = data.map(
            _Worker,
            fn_constructor_args=(str(model), str(folder), column, options, cpus),
            concurrency=actors,
            num_cpus=cpus,
        ).take_all()
        return rows
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]  # the last line names the cause
        raise _core.EngineError(f"a worker on the Ray cluster stopped: {lines[-1] if lines else repr(error)}") from None
    finally:
        ray.shutdown()


def split(source: str | os.PathLike[str], shard_size: int) -> list[Shard]:
    """The shards of a source, in a fixed order. Arguments and exceptions: see `run`."""
    path = Path(source)
    tables = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix == ".parquet" else []
    if path in tables and not path.is_file():  # reading a pipe would block
        raise FileNotFoundError(f"{os.fspath(path)!r} is not a file")
    tables = [table for table in tables if table.is_file()]
    if tables:
        from pyarrow import parquet

        groups = [
            (str(table.absolute()), i) for table in tables for i in range(parquet.read_metadata(table).num_row_groups)
        ]
        return [Shard(number=i, paths=[table], row_group=group) for i, (table, group) in enumerate(groups)]
    paths = [str(path.absolute()) for path in images.find(source)]
    parts = [paths[at : at + shard_size] for at in range(0, len(paths), shard_size)]
    return [Shard(number=i, paths=part, row_group=-1) for i, part in enumerate(parts)]


def detect_shard(detector: Model, shard: Shard, folder: Path, column: str) -> dict[str, int]:
    """Writes the file of a shard atomically; returns the number of its images and of those that failed."""
    count = failed = 0
    with _atomic.writing(_target(folder, shard), update=True) as built, open(built, "w", encoding="utf-8") as file:
        for name, load in _read(shard, column, detector.channels):
            count += 1
            try:
                line = {**detector(load()).to_dict(), "path": name}
            except (images.ImageError, FileNotFoundError) as error:
                failed += 1
                line = {"path": name, "error": str(error)}
            file.write(json.dumps(line) + "\n")
    return {"images": count, "failed": failed}


class _Worker:
    """A Ray actor: holds a Detector and processes one shard at a time."""

    def __init__(self, model: str, folder: str, column: str, options: dict[str, Any], cpus: int) -> None:
        threads = min(cpus, _core.max_threads())  # Ray may be configured with more CPUs than exist
        self._detector = open_model(model, **{"threads": threads, **options})
        self._folder = Path(folder)
        self._column = column

    def __call__(self, row: dict[str, Any]) -> dict[str, int]:
        return detect_shard(self._detector, json.loads(row["shard"]), self._folder, self._column)


def _read(shard: Shard, column: str, channels: int) -> Iterator[tuple[str, Callable[[], npt.NDArray[np.uint8]]]]:
    """The name of each image, and a function that decodes it."""
    if shard["row_group"] < 0:
        for path in shard["paths"]:
            yield path, partial(images.read, path, channels)
        return
    from pyarrow import parquet

    (path,) = shard["paths"]
    table = parquet.ParquetFile(path).read_row_group(shard["row_group"])
    if column not in table.column_names:
        raise ValueError(f"{path!r} has no column {column!r}; its columns: {', '.join(table.column_names)}")
    for i, row in enumerate(table.to_pylist()):
        yield row.get("path") or f"{path}#{shard['row_group']}.{i}", partial(images.decode, row[column] or b"")


def _target(folder: Path, shard: Shard) -> Path:
    return folder / f"part-{shard['number']:05d}.jsonl"


def _state(file: Path) -> bytes:
    """Size and modification time, which identify a file's contents."""
    try:
        status = file.stat()
    except OSError:
        return b"missing"
    return f"{status.st_size} {status.st_mtime_ns} ".encode()


def _claim(folder: Path, shards: list[Shard], model: Path, column: str, options: dict[str, Any]) -> None:
    """An output folder belongs to one job: results of another job would be mistaken for this one's."""
    digest = hashlib.sha256(json.dumps([shards, str(model), column, options], sort_keys=True).encode())
    for file in (model, *(sorted(model.iterdir()) if model.is_dir() else ())):
        digest.update(_state(file))
    for shard in shards:
        for path in shard["paths"]:
            digest.update(_state(Path(path)))
    about = {"writer": _atomic.MARK, "model": str(model), "shards": len(shards), "work": digest.hexdigest()}
    mine = json.dumps(about)
    manifest = folder / _MANIFEST
    if not manifest.exists():
        if any(folder.glob("part-*.jsonl")):
            raise ValueError(
                f"{str(folder)!r} has parts, but no {_MANIFEST} that describes them; choose another output"
            )
        with _atomic.workspace(manifest) as work:
            claim = work / _MANIFEST
            claim.write_text(mine, encoding="utf-8")
            try:
                os.link(claim, manifest)
            except FileExistsError:  # another process created it first
                pass
            except OSError:  # no hard links here: two processes that start at the same time may both claim it
                _atomic.write(manifest, mine)
    if not manifest.is_file() or manifest.read_bytes() != mine.encode():
        raise ValueError(
            f"{str(folder)!r} has results for another source, model or options, or these files have changed since; "
            "choose another output"
        )
