"""Results that are kept by what they were made from: nothing that is known is made twice.

    cache = StageCache("runs/ablation")
    folder = cache.get("train", {"model": sha256("yolo26n.pt"), "epochs": 10, "seed": 0}, build)

A result is a folder `<name>-<key>`, the key a hash of the name and of all that went into it. It appears by one rename,
so that whatever interrupts the work, kill -9 and a full disk among them, leaves results whole or not at all. Processes
that share a folder wait for each other where they want the same result.
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

_VERSION = 1  # of the layout of results; another one makes all of them anew


class StageCache:
    """Results in a folder, which is made where it is not there."""

    def __init__(self, folder: str | Path) -> None:
        """OSError where the folder cannot be made."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.made = 0  # results that were not there

    def get(
        self, name: str, inputs: Mapping[str, Any], build: Callable[[Path], None], *, resumable: bool = False
    ) -> Path:
        """The folder of a result, made by `build` where it is not there.

        Args:
            name: of the kind of result.
            inputs: all that it depends on, as JSON can hold it.
            build: fills the folder that it is given. Where it fails, the result is not there, and the next call calls
                it again.
            resumable: a build that was interrupted finds what it left; else the folder is empty.
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
            (work / "inputs.json").unlink(missing_ok=True)  # a link in what was there
            (work / "inputs.json").write_text(json.dumps(json.loads(text), indent=1), encoding="utf-8")
            work.replace(target)
            self.made += 1
        return target


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a lock file, which the kernel lets go of when the process ends, and removes it.

    `waiting` is called if another process holds it.
    """
    while True:
        # Its name can be known beforehand: what is there is neither followed nor emptied.
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
        lock.close()  # the one before removed it: a later process may hold another of this name
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
