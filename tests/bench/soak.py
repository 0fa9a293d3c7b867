"""Checks that memory does not grow: soak.py [--minutes 60] [--load 1.0] [MODEL ...]

Repeats for that long: images of any size on every engine, a stream, a batcher, opening and closing detectors, models
that cannot be opened. Prints the resident memory every minute and, at the end, how far the median of the last quarter
exceeds that of the second. Exits with 1 if that is more than 2 % and 8 MB.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yolort

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def images(rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """A random image of any size up to 1280 x 960."""
    for _ in range(count):
        yield rng.integers(0, 256, (int(rng.integers(1, 960)), int(rng.integers(1, 1280)), 3), np.uint8)


def round_of(model: str, engine: str, detector: yolort.Detector, rng: np.random.Generator) -> int:
    """Runs everything once; returns the number of detections."""
    done = 0
    for image in images(rng, 8):
        detector(image, conf=float(rng.uniform(0.01, 0.9)))
        done += 1
    with detector.stream(images(rng, 8)) as stream:
        done += sum(1 for _ in stream)
    with yolort.Batcher(detector) as batcher:
        for future in [batcher.submit(image) for image in images(rng, 8)]:
            future.result()
            done += 1
    yolort.Detector(model, engine=engine)(next(images(rng, 1)))
    for bad in ("/nowhere.onnx", __file__):
        try:
            yolort.Detector(bad)
        except (yolort.Error, OSError):
            continue
        raise AssertionError(f"{bad} was opened")
    return done + 1


def main() -> int:
    """Soaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=[yolort.demo_model("onnx"), yolort.demo_model("ncnn")])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--load", type=float, default=1.0, help="share of the time to work in, 0 to 1")
    given = parser.parse_args()
    opened = []
    for model in map(str, given.models):
        for engine in ("ncnn",) if model.endswith("_ncnn_model") else ("onnxruntime", "openvino"):
            opened.append((model, engine, yolort.Detector(model, engine=engine)))
    rng = np.random.default_rng(0)
    start = last = time.monotonic()
    end = start + 60 * given.minutes
    detections = 0
    levels: list[Any] = []
    while time.monotonic() < end:
        began = time.monotonic()
        for model, engine, detector in opened:
            detections += round_of(model, engine, detector, rng)
        time.sleep((time.monotonic() - began) * (1 / given.load - 1))
        if time.monotonic() - last >= 60 or not levels:
            last = time.monotonic()
            gc.collect()
            levels.append(resident())
            print(f"{(last - start) / 60:5.1f} min {detections:8d} detections {levels[-1]:8.1f} MB", flush=True)
    quarters = np.array_split(levels, 4)
    first = float(np.median(quarters[1] if len(quarters[1]) else levels))
    grown = float(np.median(quarters[3] if len(quarters[3]) else levels)) - first
    print(f"{detections} detections in {given.minutes:g} minutes on {', '.join(engine for _, engine, _ in opened)}; "
          f"medians: second quarter {first:.1f} MB, last {grown:+.1f} MB")  # fmt: skip
    return int(grown > max(8, 0.02 * first))


if __name__ == "__main__":
    sys.exit(main())
