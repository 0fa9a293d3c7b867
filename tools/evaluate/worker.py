"""Runs one model on one engine in its own process, started and called by `Worker`.

Separate processes keep a row's spinning thread pools, peak memory and crashes from affecting other rows. A worker
sleeps between calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools._processes import Child
from yolort.tools.data.dataset import of_channels
from yolort.tools.evaluate.detectors import open_detector
from yolort.tools.evaluate.memory import memory_mib, runtime_memory

__all__ = ["Worker"]


class Worker(Child):
    """A process that runs a model; close it, or use it as a context manager."""

    def __init__(self, model: str | Path, *, image: np.ndarray, **options: Any) -> None:
        """Starts the process and loads the model; `options`: see `open_detector`. ChildError if that fails."""
        super().__init__(quiet=True)
        try:
            self.facts: dict[str, Any] = self.call(_load, str(model), image, options)
        except BaseException:
            self.close()
            raise

    def ask(self, what: str, **arguments: Any) -> Any:
        """Calls a method of `_Runner` in the process and returns its result; ChildError if it fails."""
        return self.call(_ask, what, arguments)


class _Runner:
    """The interface of a worker. Times are milliseconds; a sample is [total, pre, inference, post]."""

    def __init__(self, model: str, image: np.ndarray, options: dict[str, Any]) -> None:
        threads = options.get("threads")
        self._cores = sorted(os.sched_getaffinity(0)) if threads and hasattr(os, "sched_setaffinity") else []
        if self._cores:
            os.sched_setaffinity(0, self._cores[:threads])  # set before the engine starts its threads, which inherit it
        self._model, self._options = model, options
        self._before = memory_mib("VmRSS")
        start = time.perf_counter()
        self.detector = open_detector(model, **options)
        loaded = time.perf_counter() - start
        self.image = of_channels(image, self.detector.channels)
        self.detector(self.image)
        own = json.loads(self.detector.metadata.get("yolort") or "{}")
        self.facts = {
            "engine": self.detector.engine,
            "device": self.detector.device,
            "precision": self.detector.precision,
            "head": self.detector.head,
            "imgsz": list(self.detector.imgsz),
            "batch": self.detector.batch,
            "load_s": loaded,
            "parameters": own.get("parameters") or _parameters(model),
            "gflops": own.get("gflops"),
        }

    def run(self, count: int) -> list[list[float]]:
        samples = []
        for _ in range(count):
            start = time.perf_counter()
            self.detector(self.image)
            samples.append([(time.perf_counter() - start) * 1e3, *self.detector.speed])
        return samples

    def throughput(self, batch: int, seconds: float) -> float:
        """Images per second with `batch` images per call."""
        images = [self.image] * batch
        self.detector(images)
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            self.detector(images)
            count += batch
        return count / spent

    def workers(self, count: int, seconds: float) -> float:
        """Images per second of `count` threads, each with a clone that computes on one core if it runs on the CPU.

        They may use all cores, so single images are timed before.
        """
        if self._cores:
            os.sched_setaffinity(0, self._cores)
        alone = {"threads": 1} if self.detector.device.lower().startswith("cpu") else {}
        first = open_detector(self._model, **{**self._options, **alone})
        clones = [first, *(first.clone() for _ in range(count - 1))]
        for clone in clones:
            clone(self.image)
        detected = [0] * count
        end = time.perf_counter() + seconds

        def detect(index: int) -> None:
            while time.perf_counter() < end:
                clones[index](self.image)
                detected[index] += 1

        threads = [threading.Thread(target=detect, args=(index,)) for index in range(count)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(detected) / (time.perf_counter() - start)

    def accuracy(self, data: str, split: str, model: str, options: dict[str, Any]) -> dict[str, Any]:
        """The metrics of `validate`. An unreadable image is an error, because rows would not be comparable."""
        from yolort.tools.evaluate.validate import validate

        result = validate(model, data, split=split, **options)
        if result.unreadable:
            raise ValueError(f"{len(result.unreadable)} image(s) of {data} cannot be read: {result.unreadable[0]}")
        figures: dict[str, Any] = result.metrics.to_dict()
        return figures

    def memory(self) -> dict[str, float | None]:
        """MiB: the peak, the part added by the model, and this process's GPU memory if nvidia-smi reports it."""
        gpu = None
        try:
            query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
            rows = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
            gpu = sum(float(row.split(",")[1]) for row in rows if row.split(",")[0].strip() == str(os.getpid())) or None
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            pass
        return {"gpu_mib": gpu, **self._resident()}

    def _resident(self) -> dict[str, float | None]:
        if self.detector.engine != "torch":
            return runtime_memory(self._model, self._options, self.image.shape)
        peak = memory_mib("VmHWM")
        return {"rss_mib": peak, "engine_mib": peak - self._before}


def _parameters(model: str) -> int | None:
    """Number of parameters of an ONNX file whose metadata does not record it, if onnx is installed."""
    if Path(model).suffix != ".onnx":
        return None
    try:
        import onnx

        graph = onnx.load(model, load_external_data=False).graph
        return sum(int(np.prod(array.dims)) for array in graph.initializer if len(array.dims))
    except Exception:  # not worth failing for: only a figure in a table
        return None


_runner: _Runner  # in this process, which is a worker


def _load(model: str, image: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
    global _runner
    _runner = _Runner(model, image, options)
    return _runner.facts


def _ask(what: str, arguments: dict[str, Any]) -> Any:
    return getattr(_runner, what)(**arguments)
