"""Outputs that appear whole or not at all: built in a hidden folder beside their place, then renamed into it."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["folder_beside", "place", "replaceable", "write"]


def replaceable(target: Path, endings: Collection[str]) -> None:
    """Raises an OSError where an output folder must not go: its parent is missing, or what is there is not ours.

    `endings` are those of the files that the folder may hold.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {target.parent}")
    if target.is_dir():
        foreign = {file.name for file in target.iterdir() if file.is_dir() or file.suffix not in endings}
        if foreign:
            raise FileExistsError(
                f"{target} would be replaced, but holds other files too: {', '.join(sorted(foreign))}"
            )
    elif target.exists():
        raise NotADirectoryError(f"{target} is a file; this writes a folder")


def write(path: str | Path, content: str | bytes) -> None:
    """Writes a file that appears whole or not at all, text in UTF-8; OSError where it cannot."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {target.parent}")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; this writes a file")
    with folder_beside(target) as folder:
        built = folder / "built"
        built.write_bytes(content.encode() if isinstance(content, str) else content)
        place(built, target)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `target`, so that what is built there can be renamed."""
    try:
        folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-")
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write there ({error.strerror}); choose another output", str(target.parent)
        ) from error
    with folder as path:
        yield Path(path)


def place(built: Path, target: Path) -> None:
    """Renames a built file or folder to `target`; a folder that was there is left beside `built` or as it."""
    if built.is_file() or not target.exists():
        os.replace(built, target)
    elif not _exchange(built, target):
        aside = built.with_name("replaced")
        os.rename(target, aside)
        try:
            os.rename(built, target)
        except BaseException:
            os.rename(aside, target)
            raise


def _exchange(a: Path, b: Path) -> bool:
    """Swaps two folders atomically with Linux's renameat2(2); False where that does not exist."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_fdcwd, rename_exchange = -100, 2
    return (
        renameat2 is not None
        and renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), ctypes.c_uint(rename_exchange)) == 0
    )
