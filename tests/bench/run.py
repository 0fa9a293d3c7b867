"""Speed of the runtime against its rivals: run.py [TABLE...] [--weights a.pt] [--calibrate data.yaml] [--image x.jpg].

Tables: letterbox, engines, detector, ncnn, busy, import; alone, tasks, of --weights that segment, find poses or
oriented boxes, or classify. Without --weights the embedded model is measured, and the rivals that need a checkpoint are
left out.
Rivals run in separate processes, in alternating rounds, because two spinning thread pools in one process disturb each
other.
Quote ratios of one run; single times depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import numpy as np
import worker
import yolort
from yolort import _core
from yolort.tools._processes import Child


class Rival(NamedTuple):
    name: str
    kind: str
    model: Path
    options: Mapping[str, Any] = MappingProxyType({})


class Model(NamedTuple):
    name: str
    onnx: Path
    ncnn: Path
    ultralytics: Path | None = None  # Ultralytics' own ONNX export
    int8: Path | None = None  # for OpenVINO


def measure(rivals: list[Rival], image: np.ndarray, rounds: int, burst: int) -> dict[str, dict[str, float]]:
    """p50 of each rival's parts in milliseconds, over `rounds` alternating bursts."""
    samples: dict[str, list[dict[str, float]]] = {rival.name: [] for rival in rivals}
    with ExitStack() as stack:
        workers = {rival.name: stack.enter_context(start(rival, image)) for rival in rivals}
        for number in range(rounds + 1):
            for name, child in workers.items():
                timed = child.call(worker.measure, burst)
                if number:  # the first round warms up
                    samples[name] += timed
                time.sleep(0.2)  # until its threads sleep
    return {
        name: {part: statistics.median(sample[part] for sample in timed) for part in timed[0]}
        for name, timed in samples.items()
    }


def start(rival: Rival, image: np.ndarray) -> Child:
    """The process in which it is loaded."""
    child = Child(quiet=True)
    child.call(worker.load, rival.kind, str(rival.model), image, dict(rival.options))
    return child


def table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        cells = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row]
        print(f"| {' | '.join(cells)} |", flush=True)


def letterbox(models: list[Model], image: np.ndarray, rounds: int, burst: int) -> None:
    """Letterbox against the OpenCV chain, one thread each, in alternating rounds."""
    cv2.setNumThreads(1)
    detect = yolort.Detector(models[0].ncnn, threads=1)
    side = detect.imgsz[0]
    geometry = side, side * 9 // 16, side * 7 // 32  # width and height of a 16:9 image, and the padding above it

    def chain() -> float:
        start = time.perf_counter()
        width, height, above = geometry
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        padded = cv2.copyMakeBorder(resized, above, above, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        planes = cv2.cvtColor(padded, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
        scaled = np.ascontiguousarray(planes).astype(np.float32)
        scaled *= np.float32(1 / 255)  # in place, because dividing into a new array takes five times as long
        return (time.perf_counter() - start) * 1e3

    out = np.empty((1, 3, side, side), np.float32)

    def letterbox_alone() -> float:
        start = time.perf_counter()
        _core.letterbox(image, out)
        return (time.perf_counter() - start) * 1e3

    def in_detector() -> float:
        detect(image)
        return detect.speed.pre

    calls = {"OpenCV chain": chain, "yolort": letterbox_alone, "yolort, between two inferences": in_detector}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += [call() for _ in range(burst)]
    p50 = {name: statistics.median(values) for name, values in times.items()}
    rows: list[list[object]] = [[name, value, p50["OpenCV chain"] / value] for name, value in p50.items()]
    table(f"Letterbox of 1280 x 720 to {side} x {side} float32, one thread ({_core.simd()})", ["", "ms", "x"], rows)


def engines(models: list[Model], image: np.ndarray, rounds: int, burst: int) -> None:
    """All engines that read ONNX, in their precisions, against Ultralytics' predict on its default export. The default
    engine is chosen by these results. ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI simulates a CPU without bf16.
    """
    rows: list[list[object]] = []
    for model in models:
        rivals = [Rival("default, our export", "detector", model.onnx)]
        if model.ultralytics:
            rivals.append(Rival("Ultralytics predict (ONNX)", "ultralytics", model.ultralytics))
            rivals.append(Rival("default, Ultralytics' export", "detector", model.ultralytics))
        chosen = yolort.Detector(model.onnx)
        for engine, precision in (("onnxruntime", None), ("openvino", "fp32"), ("openvino", "bf16")):
            if (precision or "fp32") in {"fp32", chosen.precision}:
                options = {"engine": engine, "precision": precision}
                rivals.append(Rival(f"{engine} {precision or 'fp32'}, our export", "detector", model.onnx, options))
        if model.int8:
            rivals.append(Rival("default, INT8", "detector", model.int8))
        samples = measure(rivals, image, rounds, burst)
        base = samples.get("Ultralytics predict (ONNX)", samples["onnxruntime fp32, our export"])["total"]
        rows += [[model.name, name, parts["total"], parts["total"] / base] for name, parts in samples.items()]
    table("Engines for ONNX, p50", ["model", "", "total ms", "/ Ultralytics"], rows)


def detector(models: list[Model], image: np.ndarray, rounds: int, burst: int) -> None:
    rows: list[list[object]] = []
    for model in models:
        rivals = [
            Rival("yolort onnxruntime", "detector", model.onnx, {"engine": "onnxruntime"}),
            Rival("bare session.run", "session", model.onnx),
            Rival("yolort openvino", "detector", model.onnx, {"engine": "openvino"}),
            Rival("yolort ncnn", "detector", model.ncnn),
        ]
        if model.int8:
            rivals.append(Rival("yolort openvino INT8", "detector", model.int8, {"engine": "openvino"}))
        if model.ultralytics:
            rivals.append(Rival("Ultralytics predict (ONNX)", "ultralytics", model.ultralytics))
        p50 = measure(rivals, image, rounds, burst)
        for name, parts in p50.items():
            around = [parts.get(part, "") for part in ("pre", "inference", "post")]
            ratio = parts["total"] / p50["bare session.run"]["total"]
            rows.append([model.name, name, parts["total"], *around, ratio])
    table("End to end, p50", ["model", "", "total ms", "pre", "inference", "post", "/ session.run"], rows)


def ncnn(models: list[Model], image: np.ndarray, rounds: int, burst: int) -> None:
    rows: list[list[object]] = []
    for model in models:
        rivals = [
            Rival("default", "detector", model.ncnn),
            Rival("fp32", "detector", model.ncnn, {"precision": "fp32"}),
        ]
        p50 = measure(rivals, image, rounds, burst)
        rows += [
            [model.name, name, parts["total"], parts["total"] / p50["fp32"]["total"]] for name, parts in p50.items()
        ]
    table("NCNN precisions, p50", ["model", "precision", "total ms", "/ fp32"], rows)


def busy(models: list[Model], image: np.ndarray, rounds: int, burst: int) -> None:
    """Alone, and beside a process that keeps one core busy."""
    no_spinning = {"session.intra_op.allow_spinning": False}
    rows: list[list[object]] = []
    for model in models:
        rivals = [
            Rival("ncnn", "detector", model.ncnn),
            Rival("openvino", "detector", model.onnx, {"engine": "openvino"}),
            Rival("onnxruntime", "detector", model.onnx, {"engine": "onnxruntime"}),
            Rival(
                "onnxruntime, no spinning", "detector", model.onnx,
                {"engine": "onnxruntime", "engine_options": no_spinning},
            ),
        ]  # fmt: skip
        for rival in rivals:
            samples: dict[bool, list[float]] = {False: [], True: []}
            with start(rival, image) as child:
                child.call(worker.measure, burst)
                for _ in range(rounds):
                    for loaded in samples:
                        spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if loaded else None
                        time.sleep(0.3)
                        samples[loaded] += [sample["total"] for sample in child.call(worker.measure, burst)]
                        if spinner:
                            spinner.kill()
                            spinner.wait()
            quiet, loaded_p50 = (statistics.median(times) for times in samples.values())
            rows.append([model.name, rival.name, quiet, loaded_p50, max(samples[True]), loaded_p50 / quiet])
    table(
        "Beside a process that keeps one core busy", ["model", "", "alone p50 ms", "p50 ms", "max ms", "/ alone"], rows
    )


def tasks(weights: list[Path], image: np.ndarray, rounds: int, burst: int, conf: float, folder: Path) -> None:
    """Total time, and the time before and after the network (including full-resolution masks), against Ultralytics'
    predict.
    """
    rows: list[list[object]] = []
    timed = ("total", "pre", "post")
    for path in weights:
        onnx = export_by_ultralytics(path, folder)
        task = task_of(onnx)
        found = {"conf": conf} if task != "classify" else {}
        rivals = [
            Rival("yolort", "detector" if found else "classifier", onnx, found),
            Rival("Ultralytics predict", "ultralytics", onnx, {"task": task, **found}),
        ]
        if task == "segment":
            options = {"task": task, "conf": conf, "retina_masks": True}
            rivals.append(Rival("Ultralytics predict, retina_masks", "ultralytics", onnx, options))
        p50 = measure(rivals, image, rounds, burst)
        ours = p50["yolort"]
        for name, parts in p50.items():
            objects = round(parts["objects"]) if "objects" in parts else ""
            ratios = [ours[part] / parts[part] for part in timed]
            rows.append([path.stem, name, objects, *(parts[part] for part in timed), *ratios])
    columns = ["model", "", "objects", "total ms", "pre ms", "post ms", *(f"yolort / it, {part}" for part in timed)]
    table("Tasks on Ultralytics' ONNX export, p50", columns, rows)


def import_time() -> None:
    program = (
        "import sys, time; start = time.perf_counter(); import yolort; print(time.perf_counter() - start, "
        "*({'torch', 'ultralytics', 'onnxruntime', 'cv2'} & sys.modules.keys()))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(10)
    ]
    heavy = ", ".join(runs[0][1:]) or "none"
    seconds = statistics.median(float(run[0]) for run in runs)
    table("import yolort", ["seconds", "torch, ultralytics, onnxruntime, cv2 imported"], [[f"{seconds:.3f}", heavy]])


def task_of(model: Path) -> str:
    import onnx

    return str(next(entry.value for entry in onnx.load(model).metadata_props if entry.key == "task"))


def export_by_ultralytics(weights: Path, folder: Path) -> Path:
    """Its ONNX export at the default size: 640 x 640, or 224 x 224 for classifiers."""
    import shutil

    copy = folder / f"ultralytics-{weights.name}"
    shutil.copy(weights, copy)
    program = (
        "from yolort.tools._ultralytics import allow_missing_torchvision; allow_missing_torchvision(); import sys; "
        "from ultralytics import YOLO; YOLO(sys.argv[1]).export(format='onnx')"
    )
    subprocess.run([sys.executable, "-c", program, str(copy)], check=True, stdout=subprocess.DEVNULL)
    return copy.with_suffix(".onnx")


def export_models(weights: list[Path], data: str | None, folder: Path) -> list[Model]:
    """Each checkpoint as ours (ONNX, NCNN, INT8 of `data`) and as Ultralytics' own ONNX export, all 640 x 640."""
    from yolort.tools.export.pipeline import export
    from yolort.tools.quantize.calibrate import calibrate
    from yolort.tools.quantize.quantize import quantize

    models = []
    for path in weights:
        onnx, ncnn = (
            export(path, format=kind, imgsz=640, output=folder / f"{path.stem}{ending}")
            for kind, ending in (("onnx", ".onnx"), ("ncnn", "_ncnn_model"))
        )
        int8 = None
        if data:
            int8 = quantize(onnx, calibrate(onnx, data), target="openvino", measure=False).path
        models.append(Model(path.stem, onnx, ncnn, export_by_ultralytics(path, folder), int8))
    return models


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=["letterbox", "engines", "detector", "ncnn", "busy", "import"])
    parser.add_argument("--weights", nargs="*", type=Path, default=[], help="Ultralytics checkpoints")
    parser.add_argument("--calibrate", help="data set to calibrate INT8 on; without it, no INT8")
    parser.add_argument("--image", type=Path, default=yolort.demo_image(), help="resized to 1280 x 720")
    parser.add_argument("--conf", type=float, default=0.25, help="of the table tasks: fewer or more objects")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--burst", type=int, default=20, help="detections a round")
    options = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}: {' '.join(sys.argv)}")
    with tempfile.TemporaryDirectory() as folder:
        image = np.asarray(cv2.resize(yolort.images.read(options.image), (1280, 720)))
        if options.tables == ["tasks"]:
            tasks(options.weights, image, options.rounds, options.burst, options.conf, Path(folder))
            return
        models = export_models(options.weights, options.calibrate, Path(folder)) if options.weights else []
        models = models or [Model("embedded", yolort.demo_model("onnx"), yolort.demo_model("ncnn"))]
        for name in options.tables:
            if name == "import":
                import_time()
            else:
                tables = {"letterbox": letterbox, "engines": engines, "detector": detector, "ncnn": ncnn, "busy": busy}
                tables[name](models, image, options.rounds, options.burst)


if __name__ == "__main__":
    main()
