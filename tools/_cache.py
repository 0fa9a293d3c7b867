"""Caches results under a hash of their inputs, so that nothing is computed twice.

    cache = StageCache("runs/ablation")
    folder = cache.get("train", {"model": sha256("yolo26n.pt"), "epochs": 10, "seed": 0}, build)

A result is a folder `<name>-<key>`; the key is a hash of the name and all inputs. It appears with one rename, so that
any interruption, including kill -9 and a full disk, leaves a whole result or none. Processes that share a folder wait
for each other if they need the same result.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from yolort.tools._hash import text_sha256

__all__ = ["StageCache"]

_VERSION = 1  # version of the layout; changing it discards all results


class StageCache:
    """A cache of results in a folder, which is created if missing."""

    def __init__(self, folder: str | Path) -> None:
        """Raises OSError if the folder cannot be created."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.made = 0  # number of results that were not cached

    def get(
        self, name: str, inputs: Mapping[str, Any], build: Callable[[Path], None], *, resumable: bool = False
    ) -> Path:
        """The folder of a result; `build` creates it if it is not cached.

        Args:
            name: kind of result.
            inputs: everything that it depends on, as JSON values.
            build: fills the given folder. If it fails, nothing is cached, and the next call tries again.
            resumable: an interrupted build finds its earlier files; otherwise the folder is empty.
        """
        text = json.dumps({"name": name, "version": _VERSION, "inputs": inputs}, sort_keys=True)
        target = self.folder / f"{name}-{text_sha256(text)[:16]}"
        if target.is_dir():
            return target
        with locked(target.with_name(f".{target.name}.lock")):
            if target.is_dir():
                return target
            work = target.with_name(f".{target.name}")
            if work.is_symlink():
                raise FileExistsError(f"{work} is a link that yolort did not create; delete it")
            if work.exists() and not resumable:
                shutil.rmtree(work)
            work.mkdir(exist_ok=True)
            try:
                build(work)
            except Exception:
                if not resumable:
                    shutil.rmtree(work, ignore_errors=True)
                raise
            (work / "inputs.json").unlink(missing_ok=True)  # a link in the existing folder
            (work / "inputs.json").write_text(json.dumps(json.loads(text), indent=1), encoding="utf-8")
            work.replace(target)
            self.made += 1
        return target


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a lock file and removes it at the end; the kernel releases it if the process dies.

    `waiting` is called if another process holds the lock.
    """
    while True:
        # The name is predictable, so an existing link is not followed and an existing file is not truncated.
        try:
            lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "rb", buffering=0)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise FileExistsError(f"{path} is a link that yolort did not create; delete it") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.lstat()):
                break
        lock.close()  # removed by the previous holder: another process may hold a new file of this name
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
