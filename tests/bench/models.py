"""Tests which models load unchanged, and whether their results equal Ultralytics': models.py --images FOLDER
[MODEL...].

    python tests/bench/models.py --images coco/images --output models.md

Each model is built from Ultralytics' YAML file with random weights (and random embeddings of texts), normalized on the
images so that few boxes of one score above 0.25. Ultralytics exports it in each of the ways of the columns. Then both
detect in the images, in fp32. "parity (n)": each of the n detections has one of the other, of the same class, IoU 0.99
or more, score within 0.01; one within 0.01 of the threshold may be missing, and one whose IoU with another is 0.70, as
Ultralytics adds 7680 times the class to float32 coordinates before NMS; sides of less than a pixel are compared to half
a pixel. Otherwise a cell says how many differ, and by
how much at most; or why there is nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yolort
from yolort.tools._ultralytics import allow_missing_torchvision
from yolort.tools.data.dataset import letterboxed

MODELS = (
    *("yolov3-tiny", "yolov5n", "yolov5n-p6", "yolov6n", "yolov8n", "yolov8n-ghost", "yolov8n-p2", "yolov8n-p6"),
    *("yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n", "yolo26n-p2", "yolo26n-p6", "yolov8s-world"),
    *("yolov8s-worldv2", "yoloe-11s", "rtdetr-l"),
)
CONF, MARGIN, IOU = 0.25, 0.01, 0.7
FIXED: dict[tuple[str, str], list[Any]] = {}  # Ultralytics' detections, by model and engine
_LIBRARIES: list[Any] = []  # operator definitions; valid as long as this object exists


class Way(NamedTuple):
    """A column in an engine's table: a way to export a model for it."""

    name: str
    engine: str
    format: str
    options: dict[str, Any]


OPTIONS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "dynamic": {"dynamic": True},
    "FP16": {"half": True},
    "nms=True": {"nms": True},
    "end to end": {"nms": False},
}
WAYS = (
    *(Way(name, "onnxruntime", "onnx", options) for name, options in OPTIONS.items()),
    *(Way(name, "openvino", "openvino", options) for name, options in OPTIONS.items()),
    Way("fixed", "ncnn", "ncnn", {}),
    Way("fixed", "tensorrt", "engine", {}),
)


def export(name: str, paths: list[Path], size: int) -> None:
    """Runs in --exporter: exports a model with random weights in all ways, each into a folder named by its number.

    Prints JSON: for each way the path of the model, or why there is none.
    """
    import torch

    if allow_missing_torchvision():
        add_nms()
    import ultralytics.engine.exporter as exporter
    from ultralytics import RTDETR, YOLO
    from ultralytics.utils import checks

    for module in (checks, exporter):
        module.check_requirements = lambda *_, **__: True
    torch.manual_seed(0)
    model: Any = (RTDETR if name.startswith("rtdetr") else YOLO)(f"{name}.yaml")
    if name.startswith("yoloe"):
        texts = torch.nn.functional.normalize(torch.randn(1, 80, 512), dim=2)
        model.model.set_classes([f"class{index}" for index in range(80)], texts)
    spread(model.model, torch.from_numpy(letterboxed(paths, (size, size))))
    made = []
    for number, way in enumerate(WAYS):
        if why_not(name, way):
            made.append({"error": "not asked for"})
            continue
        folder = Path(str(number))
        folder.mkdir()
        model.save(folder / "random.pt")
        try:
            out = type(model)(folder / "random.pt").export(format=way.format, imgsz=size, **way.options)
            made.append({"path": str(Path(out).absolute())})
        except Exception as error:  # the table shows any exception of Ultralytics or PyTorch
            made.append({"error": (str(error).strip().splitlines() or [type(error).__name__])[0]})
    print(json.dumps(made))


def why_not(name: str, way: Way) -> str:
    """Reason why it cannot be exported, or ""."""
    status = {entry.name: entry for entry in yolort.engines()}[way.engine]
    if not status.available:
        return f"not run: {status.reason.partition(';')[0]}"
    if name.startswith("rtdetr") and way.name in ("nms=True", "end to end"):
        return "as fixed: it needs no NMS"
    return ""


def add_nms() -> None:
    """`torchvision.ops.nms` in graphs, for a torchvision that cannot be imported: ONNX's NonMaxSuppression."""
    import torch
    import torchvision
    from torch.onnx.symbolic_helper import parse_args
    from torch.onnx.utils import register_custom_op_symbolic
    from ultralytics.utils.nms import TorchNMS

    def symbolic(graph: Any, boxes: Any, scores: Any, threshold: float) -> Any:
        constant = partial(graph.op, "Constant")
        boxes = graph.op("Unsqueeze", boxes, constant(value_t=torch.tensor([0])))
        scores = graph.op("Unsqueeze", scores, constant(value_t=torch.tensor([0, 1])))
        count = constant(value_t=torch.tensor([2**31 - 1]))
        rows = graph.op("NonMaxSuppression", boxes, scores, count, constant(value_t=torch.tensor([threshold])))
        indices = graph.op("Gather", rows, constant(value_t=torch.tensor([2])), axis_i=1)
        return graph.op("Squeeze", indices, constant(value_t=torch.tensor([1])))

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    library.impl("nms", TorchNMS.nms, "CPU")
    register_custom_op_symbolic("torchvision::nms", parse_args("v", "v", "f")(symbolic), 13)
    torchvision.ops.nms = torch.ops.torchvision.nms
    _LIBRARIES.append(library)


def spread(network: Any, images: Any) -> None:
    """Scales random weights so that activations do not vanish and scores differ: few per image are above 0.25."""
    import torch

    head = network.eval().model[-1]
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    contrastive = type(head).__name__.startswith(("World", "YOLOE"))  # compares with text embeddings
    last: list[Any] = []
    for branch in ("cv4", "one2one_cv4") if contrastive else ("cv3", "one2one_cv3"):
        blocks = getattr(head, branch, None) or []
        last += [block[-1] if isinstance(block, torch.nn.Sequential) else block for block in blocks]
    if type(head).__name__ == "RTDETRDecoder":
        last = [*head.dec_score_head, head.enc_score_head]
    logits: dict[Any, Any] = {}
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        network(images)
        network.eval()
        hooks = [layer.register_forward_hook(lambda one, _, out: logits.update({one: out})) for layer in last]
        network(images)
        for hook in hooks:
            hook.remove()
        for layer, values in logits.items():
            scale = 1.5 / float(values.std())
            top = values.flatten().kthvalue(int(0.9999 * values.numel())).values
            if contrastive:
                layer.logit_scale += math.log(scale)
            else:
                layer.weight *= scale
            layer.bias.copy_((layer.bias - top) * scale - 1.1)  # whose sigmoid is 0.25


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes (n, 4) and (m, 4): (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    return np.asarray(inter / np.maximum(areas[0][:, None] + areas[1][None] - inter, 1e-9))


def differences(found: yolort.Detections, result: Any) -> list[tuple[float, float]]:
    """For each detection without a counterpart: distance of the nearest one in pixels and score."""
    ours, theirs = rows_of(found, *(found.shape or (0, 0))), rows_of(of_result(result), *result.orig_shape)
    away = np.abs(theirs[:, None, :4] - ours[:, :4]).max(2)
    thin = (theirs[:, 2:4] - theirs[:, :2]).min(1, initial=math.inf) < 1  # pixels: IoU of tiny boxes varies
    same = np.where(thin[:, None], away < 0.5, overlap(theirs[:, :4], ours[:, :4]))
    same *= theirs[:, None, 5] == ours[:, 5]
    alike = (same >= 0.99) & (np.abs(theirs[:, None, 4] - ours[:, 4]) <= 0.01)
    free, alone = set(range(len(ours))), []
    for i in range(len(theirs)):
        j = max(free, key=lambda row: (alike[i, row], same[i, row]), default=-1)
        if j >= 0 and alike[i, j]:
            free.discard(j)
        else:
            alone.append((theirs[i], ours, same[i]))
    alone += [(ours[j], theirs, same[:, j]) for j in free]
    out = []
    for row, others, near in alone:
        rivals = np.concatenate([ours, theirs])
        with_rivals = overlap(row[None, :4], rivals[rivals[:, 5] == row[5], :4])
        if row[4] <= CONF + MARGIN or np.abs(with_rivals - IOU).min() < 0.005:  # may be kept or dropped by NMS
            continue
        nearest = others[near.argmax()] if near.size and near.max() >= 0.5 else np.full(6, np.inf)
        out.append((float(np.abs(row - nearest)[:4].max()), abs(float(row[4] - nearest[4]))))
    return out


def rows_of(found: yolort.Detections, height: int, width: int) -> np.ndarray:
    """Box within the image, score, class."""
    boxes = np.clip(found.boxes, 0, [width, height, width, height])
    return np.column_stack([boxes, found.scores, found.classes])


def compared(detector: yolort.Detector, results: list[Any], images: list[np.ndarray], fixed: list[Any]) -> str:
    """The table cell of a model that loads; `fixed`: Ultralytics' detections with the export without options."""
    found = [detector(image) for image in images]
    wrong = [one for ours, theirs in zip(found, results, strict=True) for one in differences(ours, theirs)]
    count = sum(map(len, found))
    if not wrong:
        return f"parity ({count})" if count else "nothing found"
    near = [one for one in wrong if one[0] < math.inf]
    pixels, score = np.max(near, axis=0) if near else (0, 0)
    by = [f"by {pixels:.1f} pixels and {score:.3f}"] * bool(near) + [f"{len(wrong) - len(near)} alone"]
    out = f"{len(wrong)} of {count} differ ({', '.join(by)})"
    if fixed:
        changed = sum(len(differences(of_result(half), full)) for half, full in zip(results, fixed, strict=True))
        out += f"; FP16 itself changes {changed}"
    return out


def of_result(result: Any) -> yolort.Detections:
    boxes = result.boxes
    return yolort.Detections(
        boxes.xyxy.numpy().astype(np.float32),
        boxes.conf.numpy().astype(np.float32),
        boxes.cls.numpy().astype(np.int32),
        shape=result.orig_shape,
    )


def row(name: str, folder: Path, exporter: str, paths: list[Path], size: int) -> list[str]:
    """The cells of a model, by way."""
    folder.mkdir()
    command = [exporter, str(Path(__file__).absolute()), name, "--export", "--size", str(size)]
    command += ["--images", str(paths[0].parent), "--count", str(len(paths))]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600)
    if made.returncode:
        sys.exit(f"{name} cannot be exported:\n{made.stderr}")
    exports = json.loads(made.stdout.splitlines()[-1])
    return [cell(name, way, one, paths, size) for way, one in zip(WAYS, exports, strict=True)]


def cell(name: str, way: Way, made: dict[str, str], paths: list[Path], size: int) -> str:
    """The text of the table cell."""
    if reason := why_not(name, way):
        return reason
    if "error" in made:
        return f"no export: {made['error'][:100]}"
    from ultralytics import RTDETR, YOLO

    model = Path(made["path"])
    try:
        detector = yolort.Detector(model, engine=way.engine, precision=None if way.format == "onnx" else "fp32")
    except yolort.Error as error:
        return f"refused: {str(error).partition(': ')[2].partition(' (cpp/')[0]}"
    if way.name == "end to end" and detector.metadata.get("end2end", "").lower() != "true":
        return "as fixed: no such head"
    rival = RTDETR(model) if name.startswith("rtdetr") else YOLO(model, task="detect")
    images = [yolort.images.read(path) for path in paths]
    results = [
        rival.predict(image, conf=CONF, imgsz=size, rect=detector.rect, verbose=False, save=False)[0]
        for image in images
    ]
    if way.name == "fixed":
        FIXED[name, way.engine] = results
    return compared(detector, results, images, FIXED.get((name, way.engine), []) if way.name == "FP16" else [])


def table(models: list[str], cells_of: Callable[[str], list[str]]) -> str:
    """Markdown with one table per engine; a model's cells are printed as soon as they are complete."""
    cells = {}
    for name in models:
        for way, text in zip(WAYS, cells_of(name), strict=True):
            cells[name, way.engine, way.name] = text.replace("|", "/").replace("\n", " ")
            print(name, way.engine, way.name, cells[name, way.engine, way.name], sep=" | ", file=sys.stderr, flush=True)
    out = []
    for engine in dict.fromkeys(way.engine for way in WAYS):
        columns = [way.name for way in WAYS if way.engine == engine]
        rows = [[engine, *columns], ["---"] * (len(columns) + 1)]
        rows += [[name, *(cells[name, engine, column] for column in columns)] for name in models]
        out.append("".join(f"| {' | '.join(row)} |\n" for row in rows))
    return "\n".join(out)


def compute_in_fp32() -> None:
    """Ultralytics lets OpenVINO choose the precision, which is bf16 on some processors."""
    import openvino

    compile_model = openvino.Core.compile_model

    def in_fp32(core: Any, *arguments: Any, config: Any = None, **more: Any) -> Any:
        return compile_model(core, *arguments, config={**(config or {}), "INFERENCE_PRECISION_HINT": "f32"}, **more)

    openvino.Core.compile_model = in_fp32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names of YAML files; default: all of the table")
    parser.add_argument("--images", type=Path, help="folder of JPEG files")
    parser.add_argument("--count", type=int, default=8, help="images that are compared")
    parser.add_argument(
        "--size", type=int, default=384, help="network input, a multiple of 96 (YOLO-World pools its maps to 3 x 3)"
    )
    parser.add_argument("--exporter", default=sys.executable, help="Python that exports")
    parser.add_argument("--output", type=Path, help="Markdown file that the table is written to")
    parser.add_argument("--export", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    paths = sorted(arguments.images.absolute().rglob("*.jpg"))[: arguments.count]
    if arguments.export:
        export(arguments.models[0], paths, arguments.size)
        return
    allow_missing_torchvision()
    compute_in_fp32()
    with tempfile.TemporaryDirectory() as folder:
        out = table(
            list(arguments.models or MODELS),
            lambda name: row(name, Path(folder) / name, arguments.exporter, paths, arguments.size),
        )
    if arguments.output:
        arguments.output.write_text(out, encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
