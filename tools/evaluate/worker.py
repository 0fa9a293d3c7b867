"""One model on one engine in a process of its own, told what to do by lines of JSON: `Worker` is the other end of it.

A process apiece keeps spinning thread pools, peak memory and crashes of one row from the others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Worker", "WorkerError"]


class WorkerError(RuntimeError):
    """The worker could not do what it was told; the message is its reason."""


class Worker:
    """A process that runs a model; close it, or let it go as a context manager."""

    def __init__(self, model: str | Path, *, image: np.ndarray, **options: Any) -> None:
        """Starts it and loads the model; `options` as `open_detector`. WorkerError where that fails."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "yolort.tools.evaluate.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.facts: dict[str, Any] = self.ask(
                "load", model=str(model), shape=image.shape, options=options, raw=image.tobytes()
            )
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, what: str, *, raw: bytes = b"", **arguments: Any) -> Any:
        """Has it do something and returns the outcome; the names are those of the functions of `_Server`."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"what": what, **arguments}).encode() + b"\n" + raw)
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            code = self._process.wait()
            died = f"signal {-code}" if code < 0 else f"exit status {code}"
            raise WorkerError(f"its process ended unexpectedly ({died})") from error
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["done"]

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server:
    """What a worker can do. Times are milliseconds; a sample is [total, pre, inference, post]."""

    def load(self, model: str, shape: list[int], options: dict[str, Any], raw: Callable[[int], bytes]) -> Any:
        self.image = np.frombuffer(raw(int(np.prod(shape))), np.uint8).reshape(shape)
        threads = options.get("threads")
        if threads and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[:threads])  # before the engine starts its threads, which inherit it
        from yolort.tools.evaluate.evaluator import open_detector

        start = time.perf_counter()
        self.detector = open_detector(model, **options)
        loaded = time.perf_counter() - start
        self.detector(self.image)
        own = json.loads(self.detector.metadata.get("yolort") or "{}")
        return {
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
        """Images a second, `batch` in a call."""
        images = [self.image] * batch
        self.detector(images)
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            self.detector(images)
            count += batch
        return count / spent

    def workers(self, count: int, seconds: float) -> float:
        """Images a second of `count` threads, each with a clone."""
        clones = [self.detector, *(self.detector.clone() for _ in range(count - 1))]
        done = [0] * count
        end = time.perf_counter() + seconds

        def detect(index: int) -> None:
            while time.perf_counter() < end:
                clones[index](self.image)
                done[index] += 1

        threads = [threading.Thread(target=detect, args=(index,)) for index in range(count)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / (time.perf_counter() - start)

    def accuracy(self, data: str, split: str, model: str, options: dict[str, Any]) -> dict[str, Any]:
        """The metrics of `validate`; an error where an image cannot be read, since rows would not compare."""
        from yolort.tools.evaluate.validate import validate

        done = validate(model, data, split=split, **options)
        if done.unreadable:
            raise ValueError(f"{len(done.unreadable)} image(s) of {data} cannot be read: {done.unreadable[0]}")
        return done.metrics.to_dict()

    def memory(self) -> dict[str, float | None]:
        """Peak resident memory of the process in MiB, and what it holds of the GPU's, where nvidia-smi tells."""
        gpu = None
        try:
            query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
            rows = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
            gpu = sum(float(row.split(",")[1]) for row in rows if row.split(",")[0].strip() == str(os.getpid())) or None
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            pass
        return {"rss_mib": _peak_mib(), "gpu_mib": gpu}


def _peak_mib() -> float:
    """Peak resident memory. Not ru_maxrss where there is another way: Linux has a child start with its parent's."""
    try:
        told = Path("/proc/self/status").read_text()
        return float(re.search(r"VmHWM:\s*(\d+) kB", told).group(1)) / 1024  # type: ignore[union-attr]
    except (OSError, AttributeError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


def _parameters(model: str) -> int | None:
    """Numbers in the weights of an ONNX file that does not say, where onnx is installed."""
    if Path(model).suffix != ".onnx":
        return None
    try:
        import onnx

        return sum(int(np.prod(one.dims)) for one in onnx.load(model).graph.initializer if len(one.dims))
    except Exception:  # it is only a figure in a table
        return None


def _serve() -> None:
    """Answers on what standard output was; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = _Server()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        what = getattr(server, asked.pop("what"))
        if what == server.load:
            asked["raw"] = sys.stdin.buffer.read
        try:
            answer: dict[str, Any] = {"done": what(**asked)}
        except Exception as error:  # whatever it is, it is this row's, and told to the other end
            answer = {"error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
