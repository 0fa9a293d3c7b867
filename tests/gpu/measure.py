"""Verifies and measures the TensorRT engine on a GPU, and prints a table; see run.sh.

python measure.py --models FOLDER --data data.yaml --work FOLDER --bare bare_enqueue [--engine tensorrt]

`--engine onnxruntime` runs the same steps without a GPU, to test this program.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import yolort
from yolort.tools.data.dataset import load_dataset
from yolort.tools.evaluate.validate import validate
from yolort.tools.export.tensorrt import EngineOptions, build_engine

parser = argparse.ArgumentParser()
parser.add_argument("--models", type=Path, required=True, help="*.onnx with raw heads, *-int8.onnx, *.torchscript")
parser.add_argument("--data", required=True, help="data.yaml to score on")
parser.add_argument("--work", type=Path, required=True, help="where engines go")
parser.add_argument("--bare", help="the program of bare_enqueue.cpp")
parser.add_argument("--engine", default="tensorrt")
parser.add_argument("--level", type=int, default=3, help="of the builds, 0 to 5: less is faster to build")
parser.add_argument("--runs", type=int, default=300)
parser.add_argument("--seconds", type=float, default=420, help="no new part begins after these")
given = parser.parse_args()
started = time.monotonic()
rows: list[tuple[str, str, str, str]] = []
image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)


def row(model: str, what: str, value: str, accepted: bool | None = None) -> None:
    rows.append((model, what, value, {None: "", True: "ok", False: "FALLS SHORT"}[accepted]))
    print(*rows[-1], sep=" | ", flush=True)


@contextmanager
def part(model: str, what: str) -> Iterator[None]:
    """A failure becomes a row of the table; the rest continues."""
    try:
        if time.monotonic() - started > given.seconds:
            raise TimeoutError("no time left")
        yield
    except Exception as error:
        traceback.print_exc()
        row(model, what, f"{type(error).__name__}: {error}"[:200], False)


def median_ms(work: Callable[[], object], runs: int = given.runs, warmup: int = 30) -> float:
    times = []
    for _ in range(warmup + runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[warmup:])


def bare_ms(engine: Path, batch: int, size: tuple[int, int]) -> float:
    command = [given.bare, str(engine), str(batch), str(size[0]), str(size[1]), str(given.runs)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def on_cpu(engine: Path) -> yolort.Detector:
    """The same engine, with letterbox, a copy of all outputs, and NMS left to the CPU."""
    os.environ["YOLORT_CUDA_KERNELS"] = "0"
    try:
        return yolort.Detector(engine, engine=given.engine)
    finally:
        del os.environ["YOLORT_CUDA_KERNELS"]


def build(source: Path, precision: str, **options: object) -> Path:
    if given.engine != "tensorrt":
        return source
    made: Path = given.work / f"{source.stem}-{precision}{'-dynamic' if 'max_batch' in options else ''}.engine"
    start = time.monotonic()
    build_engine(
        source,
        precision=precision,
        output=made,
        options=EngineOptions(timing_cache=given.work / "times.cache", level=given.level, **options),  # type: ignore[arg-type]
    )
    size = f"{made.stat().st_size / 1e6:.1f} MB"
    row(made.stem, "built", f"{time.monotonic() - start:.1f} s, {size}, {yolort.Detector(made).device}")
    return made


def parity(name: str, reference: Path, engine: Path) -> None:
    """Detections of real images against ONNX Runtime's in FP32."""
    exact = yolort.Detector(reference, engine="onnxruntime")
    detector = yolort.Detector(engine, engine=given.engine)
    matched = found = 0
    worst_iou, worst_score = 1.0, 0.0
    for sample in load_dataset(given.data).samples[:64]:
        pixels = yolort.images.read(sample.path)
        ours, theirs = detector(pixels), exact(pixels)
        found += len(theirs)
        for box, score, cls in theirs:
            same = np.flatnonzero(ours.classes == cls)
            if not len(same):
                continue
            inner = np.minimum(ours.boxes[same, 2:], box[2:]) - np.maximum(ours.boxes[same, :2], box[:2])
            common = np.maximum(inner, 0).prod(1)
            areas = (ours.boxes[same, 2:] - ours.boxes[same, :2]).prod(1) + (box[2:] - box[:2]).prod()
            ious = common / (areas - common)
            best = int(ious.argmax())
            if ious[best] > 0.9:
                matched += 1
                worst_iou = min(worst_iou, float(ious[best]))
                worst_score = max(worst_score, abs(float(ours.scores[same[best]]) - float(score)))
    value = f"{matched} of {found} found again, IoU >= {worst_iou:.4f}, scores within {worst_score:.4f}"
    # Detections with a score near the threshold may be on either side.
    row(
        name,
        "parity with ONNX Runtime FP32",
        value,
        matched >= 0.99 * found and worst_iou >= 0.99 and worst_score <= 0.01,
    )


def latency(name: str, engine: Path) -> None:
    """One host image of 1280 x 720, alternating with the bare engine, and with the engine using the CPU for the
    rest.
    """
    detector, plain = yolort.Detector(engine, engine=given.engine), on_cpu(engine)
    whole, bare, slow = [], [], []
    for _ in range(3):
        whole.append(median_ms(lambda: detector(image)))
        slow.append(median_ms(lambda: plain(image), runs=100))
        if given.bare:
            bare.append(bare_ms(engine, 1, detector.imgsz))
    ms = statistics.median(whole)
    speed = detector.speed
    split = f"pre {speed.pre:.3f}, inference {speed.inference:.3f}, post {speed.post:.3f}"
    row(name, "batch 1, from the host", f"{ms:.3f} ms ({split})")
    ratio = statistics.median(slow) / ms
    row(
        name, "the same with the CPU's letterbox and NMS", f"{statistics.median(slow):.3f} ms, {ratio:.2f}x", ratio >= 2
    )
    if bare:
        ratio = ms / statistics.median(bare)
        row(name, "bare enqueueV3", f"{statistics.median(bare):.3f} ms; the whole is {ratio:.2f}x of it", ratio <= 1.25)
    try:
        import torch
    except ImportError:
        return
    if torch.cuda.is_available() and given.engine == "tensorrt":
        on_gpu = torch.from_numpy(image).cuda()
        row(name, "batch 1, from a torch tensor of the GPU", f"{median_ms(lambda: detector(on_gpu)):.3f} ms")
        found, expected = detector(on_gpu), detector(image)
        row(name, "the same detections from it", str(len(found)), np.array_equal(found.boxes, expected.boxes))


def throughput(name: str, engine: Path) -> None:
    detector = yolort.Detector(engine, engine=given.engine)
    for batch in (1, 8, 16, 32):
        ms = median_ms(partial(detector, [image] * batch), runs=60, warmup=10)
        bare = bare_ms(engine, batch, detector.imgsz) if given.bare else float("nan")
        value = f"{1000 * batch / ms:.0f} images/s; bare {1000 * batch / bare:.0f}"
        row(name, f"throughput, batch {batch}", value, ms <= 1.1 * bare if batch == 32 and given.bare else None)


def streams(name: str, engine: Path) -> None:
    detector = yolort.Detector(engine, engine=given.engine)
    for threads in (1, 2, 4, 8):
        clones = [detector.clone() for _ in range(threads)]
        counts = [0] * threads
        stop = time.monotonic() + 2

        def work(index: int) -> None:
            while time.monotonic() < stop:  # noqa: B023
                clones[index](image)  # noqa: B023
                counts[index] += 1  # noqa: B023

        workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        row(name, f"{threads} clone(s) in threads", f"{sum(counts) / 2:.0f} images/s")


def memory(name: str, engine: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        return
    free = torch.cuda.mem_get_info()[0]
    held = [yolort.Detector(engine, engine=given.engine)]
    held[0](image)
    one = free - torch.cuda.mem_get_info()[0]
    held += [held[0].clone() for _ in range(4)]
    for clone in held:
        clone(image)
    clones = (free - torch.cuda.mem_get_info()[0] - one) / 4
    row(name, "memory of the GPU", f"{one / 2**20:.0f} MiB, {clones / 2**20:.0f} MiB more for a clone")


def torch_ms(name: str, script: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        return
    for half in (False, True):
        network = torch.jit.load(script).cuda().eval()
        tensor = torch.rand(1, 3, 640, 640, device="cuda")
        if half:
            network, tensor = network.half(), tensor.half()

        def run() -> None:
            network(tensor)  # noqa: B023
            torch.cuda.synchronize()

        with torch.inference_mode():
            row(
                name, f"torch (TorchScript) {'fp16' if half else 'fp32'}, the network alone", f"{median_ms(run):.3f} ms"
            )


def onnxruntime_ms(name: str, source: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return row(name, "ONNX Runtime CUDA", "not installed here")
    detector = yolort.Detector(source, engine="onnxruntime", device="cuda")
    return row(name, "ONNX Runtime CUDA, batch 1 from the host", f"{median_ms(lambda: detector(image)):.3f} ms")


floats = sorted(path for path in given.models.glob("*.onnx") if not path.stem.endswith("-int8"))
for source in floats:
    name = source.stem
    with part(name, "accuracy of ONNX Runtime"):
        exact = validate(source, given.data, resamples=0, engine="onnxruntime").metrics.map50_95
        row(name, "mAP50-95, ONNX Runtime FP32", f"{100 * exact:.2f}")
    int8 = source.with_name(f"{name}-int8.onnx")
    variants = [(int8, "fp16", 1.0)] if int8.exists() else []
    variants += [(source, "fp16", 0.1), (source, "fp32", 0.1)]
    for onnx, precision, drop in variants:
        label = f"{onnx.stem} {precision}"
        with part(label, "build"):
            engine = build(onnx, precision)
            if onnx is source and precision == "fp32":
                with part(label, "parity"):
                    parity(label, source, engine)
            with part(label, "accuracy"):
                got = validate(engine, given.data, resamples=0, engine=given.engine).metrics.map50_95
                row(label, "mAP50-95", f"{100 * got:.2f}", 100 * (exact - got) <= drop)
            with part(label, "latency"):
                latency(label, engine)
            with part(label, "memory"):
                memory(label, engine)
    with part(name, "torch"):
        if source.with_suffix(".torchscript").exists():
            torch_ms(name, source.with_suffix(".torchscript"))
    with part(name, "ONNX Runtime CUDA"):
        onnxruntime_ms(name, source)
for source in sorted(given.models.glob("dynamic/*.onnx")):
    with part(source.stem, "build"):
        engine = build(source, "fp16", max_batch=32, max_imgsz=(640, 640))
        with part(source.stem, "throughput"):
            throughput(source.stem, engine)
        with part(source.stem, "clones"):
            streams(source.stem, engine)

widths = [max(len(one[column]) for one in rows) for column in range(4)]
print()
for one in rows:
    print("  ".join(cell.ljust(width) for cell, width in zip(one, widths, strict=True)).rstrip())
short = sum(one[3] == "FALLS SHORT" for one in rows)
print(f"{len(rows)} rows, {short} of them fall short; {time.monotonic() - started:.0f} s")
sys.exit(short > 0)
