"""Hexadecimal SHA-256 of files, folders, texts and arrays."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

__all__ = ["array_sha256", "sha256", "text_sha256"]


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, or of the names and contents of the files in a folder."""
    path = Path(path)
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _sha256(path: Path, *_: int) -> str:
    whole = hashlib.sha256()
    for file in sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path]:
        whole.update(file.name.encode() if path.is_dir() else b"")
        with file.open("rb") as opened:
            while part := opened.read(1 << 20):
                whole.update(part)
    return whole.hexdigest()


def text_sha256(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def array_sha256(values: np.ndarray) -> str:
    """SHA-256 of the values of an array as float32, in C order."""
    return hashlib.sha256(np.ascontiguousarray(values, np.float32).data).hexdigest()
