"""Exports a YOLOv8, YOLO11 or YOLO26 detector to ONNX or NCNN, cut at the raw convolutions of its head.

    from yolort.tools.export import export
    export("yolo26n.pt")                                      # yolo26n.onnx beside it
    export("yolo26n.pt", format="ncnn", imgsz=(384, 640))     # yolo26n_ncnn_model/
    export("yolo26n.pt", head="raw-e2e", output="nms-free.onnx")

The graph ends where the Detect head still has one box map and one class map a level; decoding and NMS are the
work of the yolort runtime. So boxes and scores never share a quantisation scale, and the one-to-one branch of
YOLO26 converts to NCNN. The artefact describes itself: its metadata hold what Ultralytics writes, and the key
`yolort`.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import importlib
import json
import logging
import os
import pickletools
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

__all__ = ["FORMATS", "HEADS", "ExportError", "export", "raw_maps"]

_log = logging.getLogger(__name__)

HEADS = ("raw", "raw-e2e")
_CONTRACT = 1  # version of the `yolort` metadata key
_TOLERANCE = 1e-2  # largest accepted |artefact - torch|, in logits and in grid cells
_OPSETS = range(13, 21)  # 13 brought per-channel Q/DQ, 20 is the last of torch's TorchScript exporter
_NCNN_FILES = frozenset(  # what an NCNN folder may hold and still be replaced; Ultralytics adds the script
    {"model.ncnn.param", "model.ncnn.bin", "metadata.yaml", "model_ncnn.py"}
)


class ExportError(RuntimeError):
    """The model cannot be exported, or its export does not compute what the model computes."""


@dataclass(frozen=True)
class _Source:
    """A model read from a file, on the CPU, float32, in evaluation mode, not fused."""

    name: str  # file name
    sha256: str  # of the file
    model: nn.Module  # ultralytics DetectionModel
    imgsz: int | None  # the size it was trained at, where the file tells
    license: str


class _RawMaps(nn.Module):
    """Stands for a Detect head: the last convolutions of one of its branches and nothing after them.

    Takes the feature maps of the levels, (B, C_i, H/s_i, W/s_i); returns the tuple box0, cls0, box1, cls1,
    ... of `raw_maps`.
    """

    def __init__(self, boxes: nn.ModuleList, scores: nn.ModuleList) -> None:
        super().__init__()
        self.boxes = boxes
        self.scores = scores

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        maps = []
        for feature, box, score in zip(features, self.boxes, self.scores, strict=True):
            maps += [box(feature), score(feature)]
        return tuple(maps)


def raw_maps(model: nn.Module, head: str = "raw") -> nn.Module:
    """A copy of an Ultralytics `DetectionModel`, cut at the raw maps of its head, Conv and BatchNorm fused.

    Takes (B, 3, H, W) float32 RGB in 0..1 with H and W multiples of the largest stride; returns the tuple
    box0, cls0, box1, cls1, ... of float32 maps, finest level first: box_i (B, 4 * reg_max, H/s_i, W/s_i),
    distances from the cell's centre to left, top, right, bottom in grid cells (DFL logits where reg_max > 1),
    and cls_i (B, nc, H/s_i, W/s_i), logits.

    `head` is "raw", the one-to-many branch (needs NMS), or "raw-e2e", the one-to-one branch of YOLO26 (needs
    none). `model` itself is not changed. Raises ValueError for another `head`, ExportError where the model is
    no detector or lacks that branch.
    """
    _check_head(head)
    detect = _detect_head(model)
    prefix = "one2one_" if head == "raw-e2e" else ""
    if getattr(detect, f"{prefix}cv2", None) is None:
        branch, other = ("one-to-one", "raw") if prefix else ("one-to-many", "raw-e2e")
        raise ExportError(f'head "{head}" needs the {branch} branch, which this model lacks; use "{other}"')

    from ultralytics.nn.modules.block import C2f

    cut = copy.deepcopy(model).float().eval().requires_grad_(False)
    layers: Any = cut.model
    detect = layers[-1]
    maps: Any = _RawMaps(getattr(detect, f"{prefix}cv2"), getattr(detect, f"{prefix}cv3"))
    maps.f, maps.i, maps.type = detect.f, detect.i, "RawMaps"  # what Ultralytics wires its layers by
    layers[-1] = maps  # before fusing: Detect.fuse() would delete a branch of its own choice
    fuse: Any = cut.fuse
    fuse(verbose=False)
    for module in cut.modules():
        if isinstance(module, C2f):  # the same sums with a plain Split, as Ultralytics' exporter has it
            module.forward = module.forward_split  # type: ignore[method-assign]
    return cut.eval().requires_grad_(False)


def export(
    model: str | Path,
    *,
    format: str = "onnx",
    head: str = "raw",
    imgsz: int | Sequence[int] | None = None,
    output: str | Path | None = None,
    opset: int | None = None,
) -> Path:
    """Converts a detector to what `yolort.Detector` loads, checks it against torch and returns its path.

    `model` is an Ultralytics detection checkpoint (`.pt`) or an architecture, which then has random weights
    (`.yaml`: a file, or the name of one that Ultralytics ships). Checkpoints are unpickled with
    `weights_only=True` and Ultralytics' list of known classes, so that a hostile file runs no code. That
    needs torch 2.6: on an older one Ultralytics falls back to plain unpickling, which runs whatever the file
    says; export only files you trust.

    `format` is "onnx" or "ncnn"; `head` as in `raw_maps`. `imgsz` is one side or (height, width) in pixels,
    32..8192, multiples of the largest stride; None takes the size of the training, else 640. `output` is the
    path of the artefact, `*.onnx` or a folder `*_ncnn_model`; None puts `<stem>.onnx` or `<stem>_ncnn_model`
    beside the source. `opset` is for ONNX only, 13..20; None takes 17.

    The artefact is float32: input (1, 3, H, W), RGB in 0..1; outputs as in `raw_maps` with B = 1. It is built
    in a hidden folder beside `output` and renamed into place once its outputs agree with torch's within 1e-2
    on a seeded image. Whatever interrupts it, `output` is the old artefact or the new one, never a part of
    one; a killed process can leave the hidden folder. Where the swap of two folders is not atomic (not
    Linux), a kill between two renames can leave the old NCNN folder in there.

    Raises FileNotFoundError for a missing `model` or folder, ValueError for bad arguments, other OSError
    where `output` cannot be written or would replace something else, ModuleNotFoundError for a converter that
    is not installed, ExportError where the model cannot be exported or the result differs from torch.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    _check_head(head)
    if opset is not None and (format != "onnx" or opset not in _OPSETS):
        raise ValueError(f"opset is for onnx and within {_OPSETS[0]}..{_OPSETS[-1]}, not {opset!r} for {format}")
    path = _find(Path(model))
    target = _target(path, Path(model), FORMATS[format], output)
    with _folder_beside(target) as folder:
        source = _load(path, Path(model).name)
        detect = _detect_head(source.model)
        strides = [int(stride) for stride in detect.stride]
        height, width = _size(imgsz if imgsz is not None else source.imgsz or 640, max(strides))
        cut = raw_maps(source.model, head)
        image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        described = _metadata(source, head, strides, detect.reg_max, (height, width), FORMATS[format].engine)
        built = FORMATS[format].convert(cut, image, described, folder, opset or 17)
        difference = _verify(cut, FORMATS[format].run, built, image)
        size = sum(file.stat().st_size for file in ([built] if built.is_file() else built.iterdir()))
        _place(built, target)
    checked = "not run here" if difference is None else f"largest difference from torch {difference:.1e}"
    _log.info("%s: head %s, %dx%d, %.1f MB, %s", target, head, height, width, size / 1e6, checked)
    return target


def _metadata(
    source: _Source, head: str, strides: list[int], reg_max: int, imgsz: tuple[int, int], engine: str
) -> dict[str, Any]:
    """What the artefact says about itself: the keys Ultralytics writes, and `yolort`, one line of JSON.

    `strides` in pixels, finest level first; `imgsz` is (height, width); `engine` the one that can run it, or
    "any". ONNX keeps the values as `str()`, NCNN as YAML.
    """
    import ultralytics

    model: Any = source.model
    contract = {
        "format": _CONTRACT,
        "head": head,
        "strides": strides,
        "reg_max": reg_max,
        "input": {"shape": [1, 3, *imgsz], "colour": "rgb", "scale": 255, "pad": 114},
        "precision": "fp32",
        "engine": engine,
        "source": {"name": source.name, "sha256": source.sha256},
    }
    return {
        "description": f"{Path(source.name).stem}, exported by yolort",
        "date": datetime.now().astimezone().isoformat(),
        "version": ultralytics.__version__,
        "license": source.license,
        "stride": max(strides),
        "task": "detect",
        "batch": 1,
        "imgsz": list(imgsz),
        "names": dict(model.names),
        "channels": 3,
        "end2end": head == "raw-e2e",
        "yolort": json.dumps(contract),
    }


# --- the source


def _check_head(head: str) -> None:
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, not {head!r}; decoded heads come from Ultralytics")


def _find(model: Path) -> Path:
    """The file that `model` means: itself, or the YAML of that name in the Ultralytics package."""
    if model.suffix not in (".pt", ".yaml", ".yml"):
        raise ValueError(f"model must be an Ultralytics checkpoint (.pt) or architecture (.yaml), not '{model}'")
    if model.is_file():
        return model
    if model.suffix != ".pt" and model.name == str(model):
        import ultralytics

        unscaled = re.sub(r"(\d+)[nslmx]", r"\1", model.name, count=1)  # yolo26n is yolo26 at scale n
        shipped = Path(ultralytics.__file__).parent / "cfg" / "models"
        for file in sorted(shipped.rglob("*.yaml")):
            if file.name in (model.name, unscaled):
                return file
    raise FileNotFoundError(f"no such model file: {model}")


def _load(path: Path, name: str) -> _Source:
    """Reads the model of a `.pt` or `.yaml` file; ExportError where that is no detector of Ultralytics'."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".pt":
        checkpoint = _read_checkpoint(path)
        model: Any = checkpoint.get("ema") or checkpoint.get("model")
        trained = checkpoint.get("train_args") or {}
        imgsz, license = trained.get("imgsz"), checkpoint.get("license")
    else:
        model, imgsz, license = _build(path, name), None, None
    detect = _detect_head(model)
    names = model.names if isinstance(model.names, dict) else dict(enumerate(model.names))
    if sorted(names) != list(range(detect.nc)):
        raise ExportError(f"{path} has {detect.nc} classes and names for the classes {sorted(names)}")
    model.names = {index: str(names[index]) for index in range(detect.nc)}
    channels = model.yaml.get("channels", 3)
    if channels != 3:
        raise ExportError(f"{path} takes images of {channels} channels; only RGB models can be exported")
    size = imgsz if isinstance(imgsz, int) else None
    return _Source(name, sha256, model.float().eval(), size, license or "not stated")


def _read_checkpoint(path: Path) -> dict[str, Any]:
    classes = _model_classes(path)
    if not any(name.endswith("DetectionModel") for name in classes):
        found = f"it holds a {', '.join(sorted(classes))}" if classes else "it holds no Ultralytics model"
        raise ExportError(f"{path} cannot be exported: {found}; only detection checkpoints can")

    from ultralytics.nn.tasks import torch_safe_load

    try:
        checkpoint, _ = torch_safe_load(str(path.resolve()), safe_only=True)
    except Exception as error:  # whatever the unpickler meets in a damaged or foreign file
        raise ExportError(f"{path} cannot be loaded as an Ultralytics checkpoint: {error}") from error
    if checkpoint.get("modelopt"):
        raise ExportError(f"{path} is a quantisation-aware checkpoint; export the float one it came from")
    loaded: dict[str, Any] = checkpoint
    return loaded


def _model_classes(path: Path) -> set[str]:
    """The model classes of Ultralytics that a checkpoint names, read from its pickle without running it."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            opcodes = list(pickletools.genops(archive.read(pickled)))
    except (zipfile.BadZipFile, StopIteration, ValueError, EOFError, RuntimeError) as error:
        raise ExportError(f"{path} is not a PyTorch checkpoint, or a damaged one") from error
    named = [str(argument).partition(" ") for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"]
    return {name for module, _, name in named if module == "ultralytics.nn.tasks" and name.endswith("Model")}


def _build(path: Path, name: str) -> Any:
    """The model of an architecture file, at the scale in its `name`, with random but repeatable weights."""
    from ultralytics.nn.tasks import DetectionModel, guess_model_scale, guess_model_task

    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    task = guess_model_task(described) if isinstance(described, dict) and "head" in described else None
    if task != "detect":
        described_as = f"a {task} model" if task else "no detection model"
        raise ExportError(f"{path} cannot be exported: it describes {described_as}; only detection models can")
    described["scale"] = guess_model_scale(name) or described.get("scale", "")
    described["yaml_file"] = name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DetectionModel(described, verbose=False)


def _detect_head(model: Any) -> Any:
    """The Detect head of a model; ExportError where it has another one."""
    from ultralytics.nn.modules.head import Detect, v10Detect
    from ultralytics.nn.tasks import DetectionModel

    if not isinstance(model, DetectionModel):
        raise ExportError(f"only Ultralytics detection models can be exported, not {type(model).__name__}")
    layers: Any = model.model
    head: Any = layers[-1]
    if type(head) not in (Detect, v10Detect):  # its subclasses segment, rotate or estimate poses
        raise ExportError(f"only detection models can be exported; this one ends in a {type(head).__name__} head")
    return head


def _size(imgsz: int | Sequence[int], stride: int) -> tuple[int, int]:
    sides = tuple(imgsz) if isinstance(imgsz, Sequence) else (imgsz, imgsz)
    fits = [isinstance(side, int) and 32 <= side <= 8192 and side % stride == 0 for side in sides]
    if fits != [True, True]:
        raise ValueError(f"imgsz must be one side or (height, width), multiples of {stride} in 32..8192, not {imgsz}")
    return sides[0], sides[1]


# --- the formats


def _to_onnx(cut: nn.Module, image: torch.Tensor, described: dict[str, Any], folder: Path, opset: int) -> Path:
    """Writes `model.onnx` into `folder`: input `images`, outputs box0, cls0, ...; metadata_props."""
    onnx, onnxslim = _need("onnx"), _need("onnxslim")
    levels = len(json.loads(described["yolort"])["strides"])
    path = folder / "model.onnx"
    with _quiet():
        torch.onnx.export(
            cut,
            (image,),
            path,
            input_names=["images"],
            output_names=[f"{kind}{level}" for level in range(levels) for kind in ("box", "cls")],
            opset_version=opset,
            dynamo=False,  # the other exporter needs onnxscript and turns a static graph into a larger one
        )
        graph = onnxslim.slim(onnx.load(path))
    del graph.metadata_props[:]
    for key, value in described.items():
        graph.metadata_props.add(key=key, value=str(value))
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
    return path


def _to_ncnn(cut: nn.Module, image: torch.Tensor, described: dict[str, Any], folder: Path, _: int) -> Path:
    """Writes the folder `model` into `folder`: blobs in0 and out0, out1, ...; metadata.yaml."""
    pnnx = _need("pnnx")
    work, path = folder / "pnnx", folder / "model"
    work.mkdir()
    path.mkdir()
    with _quiet():
        torch.jit.trace(cut, image, check_trace=False).save(work / "model.pt")
    shape = ",".join(str(side) for side in image.shape)
    command = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[{shape}]f32", "fp16=0"]
    done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    made = [work / "model.ncnn.param", work / "model.ncnn.bin"]
    if done.returncode != 0 or not all(file.is_file() for file in made):
        log = "\n".join(done.stdout.decode(errors="replace").splitlines()[-20:])
        raise ExportError(f"pnnx could not convert the model (exit status {done.returncode}):\n{log}")
    for file in made:
        file.rename(path / file.name)
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    (path / "metadata.yaml").write_text(text, encoding="utf-8")
    return path


def _run_onnx(path: Path, image: np.ndarray, _: int) -> list[np.ndarray]:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"images": image})]


def _run_ncnn(path: Path, image: np.ndarray, outputs: int) -> list[np.ndarray]:
    ncnn = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = 1  # OpenMP's spinning costs more than it brings where another process is busy
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if net.load_param(str(path / "model.ncnn.param")) or net.load_model(str(path / "model.ncnn.bin")):
        raise ExportError("ncnn cannot load the model that pnnx made")
    extractor = net.create_extractor()
    extractor.set_light_mode(False)  # keep what the outputs share instead of computing it again for each
    borrowed = ncnn.Mat(image[0])  # borrows the memory of `image`
    if extractor.input("in0", borrowed):
        raise ExportError("the model that pnnx made has no input in0")
    maps = []
    for index in range(outputs):
        status, extracted = extractor.extract(f"out{index}")
        if status:
            raise ExportError(f"ncnn cannot compute output out{index} of the model that pnnx made (status {status})")
        maps.append(np.array(extracted)[None])
    return maps


@dataclass(frozen=True)
class _Format:
    """How a cut model becomes an artefact in a folder, and how that artefact is run for comparison."""

    ending: str  # of the artefact's name; a file where it begins with a dot, else a folder
    engine: str  # the engine that can run the artefact, or "any"
    convert: Callable[[nn.Module, torch.Tensor, dict[str, Any], Path, int], Path]
    run: Callable[[Path, np.ndarray, int], list[np.ndarray]]


FORMATS = {
    "onnx": _Format(".onnx", "any", _to_onnx, _run_onnx),
    "ncnn": _Format("_ncnn_model", "ncnn", _to_ncnn, _run_ncnn),
}


def _verify(
    cut: nn.Module, run: Callable[[Path, np.ndarray, int], list[np.ndarray]], built: Path, image: torch.Tensor
) -> float | None:
    """The largest absolute difference of the artefact from torch; None where its runtime is not installed.

    ExportError where it exceeds the tolerance, or is not a number, or where a shape differs.
    """
    with torch.inference_mode():
        expected = [output.numpy() for output in cut(image)]
    try:
        got = run(built, image.numpy(), len(expected))
    except ModuleNotFoundError as error:
        _log.warning("%s is not installed: the export is not compared with torch", error.name)
        return None
    shapes = [array.shape for array in expected], [array.shape for array in got]
    if shapes[0] != shapes[1]:
        raise ExportError(f"the export has outputs of shapes {shapes[1]}, torch has {shapes[0]}")
    differences = [float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True)]
    worst = int(np.argmax(differences))  # argmax takes a nan for the largest
    if not differences[worst] <= _TOLERANCE:
        raise ExportError(f"output {worst} of the export is {differences[worst]:.2g} off torch, more than {_TOLERANCE}")
    return differences[worst]


def _need(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this export needs the package {package}: pip install {package}", name=package
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the deprecation and tracing warnings of torch's converters: the result is checked instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- the destination


def _target(path: Path, model: Path, format: _Format, output: str | Path | None) -> Path:
    """Where the artefact goes; OSError or ValueError where it must not go there."""
    beside = path.parent if model.is_file() else Path()  # never inside the Ultralytics package
    target = Path(output) if output is not None else beside / f"{model.stem}{format.ending}"
    if not target.name.endswith(format.ending) or target.name == format.ending:
        raise ValueError(f"the output must be named *{format.ending}, not '{output}'")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {target.parent}")
    if format.ending.startswith("."):
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; this format writes a file")
    elif target.is_dir():
        foreign = {file.name for file in target.iterdir()} - _NCNN_FILES
        if foreign:
            raise FileExistsError(
                f"{target} would be replaced, but holds other files too: {', '.join(sorted(foreign))}"
            )
    elif target.exists():
        raise NotADirectoryError(f"{target} is a file; this format writes a folder")
    return target


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `target`, so that what is built there can be renamed."""
    try:
        folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-")
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write there ({error.strerror}); choose another output", str(target.parent)
        ) from error
    with folder as path:
        yield Path(path)


def _place(built: Path, target: Path) -> None:
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
