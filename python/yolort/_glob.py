"""Paths that match a glob pattern."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator
from pathlib import Path


def matches(pattern: str) -> Iterator[Path]:
    """The paths that match a glob pattern. The leading part that exists as a folder is taken literally, and circular
    links are followed only once.
    """
    parts = Path(pattern).parts
    there = 0
    while there < len(parts) and os.path.exists(Path(*parts[: there + 1])):
        there += 1
    root = Path(*parts[:there])
    rest = parts[there:]
    if "**" not in rest:
        yield from (root / match for match in glob.iglob(os.path.join(*rest), root_dir=root)) if rest else ()
        return
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in files:
            relative = os.path.relpath(os.path.join(folder, name), root)
            if _fits(Path(relative).parts, rest):
                yield root / relative


def _fits(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether the parts of a path match the parts of a pattern; `**` matches any number of folders."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return _fits(names, patterns[1:]) or (
            bool(names) and not names[0].startswith(".") and _fits(names[1:], patterns)
        )
    return (
        bool(names)
        and fnmatch.fnmatchcase(names[0], patterns[0])
        and (patterns[0].startswith(".") or not names[0].startswith("."))
        and _fits(names[1:], patterns[1:])
    )
