"""Shared by the tests of the installed package."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(*command: object, status: int = 0, stdin: bytes = b"") -> str:
    """The standard output of a command; if it must fail, its standard error."""
    done = subprocess.run([str(part) for part in command], capture_output=True, input=stdin)
    assert done.returncode == status, (done.stdout + done.stderr).decode()
    return (done.stderr if status else done.stdout).decode()


def install(build: Path, prefix: Path, *options: str) -> Path:
    """Builds, with no tests and no Python, and installs; waits if another process of pytest -n does."""
    if not shutil.which("cmake") or not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("needs cmake and a C++ compiler")
    build.mkdir(parents=True, exist_ok=True)
    with (build / "pytest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("cmake", "-G", "Ninja", "-S", ROOT, "-B", build, *options)
        run("cmake", "--build", build)
        run("cmake", "--install", build, "--prefix", prefix)
    return prefix


def write_pnm(path: Path, bgr: np.ndarray) -> Path:
    height, width = bgr.shape[:2]
    magic, pixels = ("P6", bgr[..., ::-1]) if bgr.ndim == 3 else ("P5", bgr)
    path.write_bytes(f"{magic}\n# made for a test\n{width} {height}\n255\n".encode() + pixels.tobytes())
    return path


def detections(line: str) -> np.ndarray:
    """Rows of class, score, x1, y1, x2, y2 from a line of yolort-detect."""
    told: dict[str, Any] = json.loads(line)
    rows = [[one["class"], one["score"], *one["box"]] for one in told["detections"]]
    return np.array(rows, np.float64).reshape(-1, 6)


def found_in(path: Path, pattern: str) -> str:
    """The first group of a pattern in a file."""
    match = re.search(pattern, path.read_text(), re.S)
    assert match, (path, pattern)
    return match[1]
