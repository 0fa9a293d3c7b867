"""Reads Ultralytics models: checkpoints (.pt) and architectures (.yaml)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from yolort.tools._hash import sha256
from yolort.tools.models.architectures import MAX_CHANNELS, ArchitectureError, build, other_way
from yolort.tools.models.pickles import CheckpointError, check_pickle

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "channels_of",
    "detect_head",
    "extra_branch",
    "find_checkpoint",
    "load_checkpoint",
    "read_checkpoint",
    "restricted",
    "stride_of",
    "task_of",
]

#: Heads other than detection heads, and their tasks.
_TASKS = {f"{name}{version}": name.lower() for name in ("Segment", "Pose", "OBB") for version in ("", "26")}
CLASSIFIER_STRIDE = 32  # stride of the last map; Ultralytics' own attribute is 1
_MAX_CLASSES = 65_536
_MAX_KEYPOINTS = 4096
_MAX_STRIDE = 512
_MAX_NUMBERS = 1 << 29  # 2 GiB of float32; YOLO26x has 59 million


@dataclass(frozen=True)
class Checkpoint:
    """A model read from a file, on the CPU, float32, in evaluation mode, not fused."""

    name: str  # file name
    sha256: str  # of the file
    model: nn.Module  # ultralytics DetectionModel, or ClassificationModel
    imgsz: int | None  # training size, if the file records it
    license: str
    train_args: dict[str, Any] = field(default_factory=dict)  # Ultralytics' arguments of the training

    @property
    def side(self) -> int:
        """`imgsz`, or if the file does not record it, 640 (224 for a classifier). CheckpointError for an impossible
        training size.
        """
        default = 224 if task_of(self.model) == "classify" else 640
        side, stride = default if self.imgsz is None else self.imgsz, stride_of(self.model)
        if not 32 <= side <= 8192 or (self.imgsz is not None and side % stride):
            raise CheckpointError(
                f"{self.name} says that it was trained at an imgsz of {str(side)[:40]}, which is not a multiple of "
                f"{stride} in 32..8192; set imgsz"
            )
        return side


def load_checkpoint(model: str | Path, *, tasks: bool = False) -> Checkpoint:
    """Reads a checkpoint, or builds an architecture with random but reproducible weights.

    `model` is a `.pt` file, a `.yaml` file, or the name of one that Ultralytics ships (`yolo26n.yaml`). Checkpoints are
    unpickled with `weights_only=True` and Ultralytics' list of known classes, so that a hostile file cannot run code.
    This requires torch 2.6: with older versions Ultralytics falls back to plain unpickling, which runs any code in the
    file, so use only trusted files.

    With `tasks`, checkpoints for segmentation, poses, oriented boxes and classification are accepted, too.

    Raises FileNotFoundError, ValueError for another kind of file, CheckpointError if it is not a detector.
    """
    path, name = find_checkpoint(Path(model)), Path(model).name
    if path.suffix == ".pt":
        read = read_checkpoint(path, tasks=tasks)
        network: Any = read.get("model") if read.get("ema") is None else read["ema"]
        trained = {} if read.get("train_args") is None else read["train_args"]
        license = read.get("license")
    else:
        network, license, trained = _build(path, name), None, {}
    try:
        _check_size(path, network)
        _check_state(network, trained, tasks)
        network = network.float().eval()
        if path.suffix == ".pt":  # an architecture has been run
            _try(network)
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path} cannot be used: {error}") from None
    except Exception as error:  # any exception that damaged objects cause
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} cannot be used: it is damaged ({type(error).__name__}: {reason})") from error
    imgsz = trained.get("imgsz")
    size = imgsz if isinstance(imgsz, int) and not isinstance(imgsz, bool) else None
    license = license if isinstance(license, str) and license else "not stated"
    name = name.encode(errors="backslashreplace").decode()  # written into metadata, so it must be valid text
    return Checkpoint(name, sha256(path), network, size, license, dict(trained))


def find_checkpoint(model: Path) -> Path:
    """The path of `model`: itself, or the YAML file of that name in the Ultralytics package."""
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


def read_checkpoint(path: Path, *, tasks: bool = False) -> dict[str, Any]:
    """The contents of a checkpoint: model, optimizer, arguments. CheckpointError if it is not a detector's."""
    named = check_pickle(path)
    classes = {name for module, name in named if module == "ultralytics.nn.tasks" and name.endswith("Model")}
    known = classes & {"SegmentationModel", "PoseModel", "OBBModel", "ClassificationModel"} if tasks else set()
    if not known and not any(name.endswith("DetectionModel") for name in classes):
        found = f"it holds a {', '.join(sorted(classes))}" if classes else "it holds no Ultralytics model"
        can = (
            "those that detect, segment, find poses or oriented boxes, or classify can"
            if tasks
            else "detection checkpoints can"
        )
        raise CheckpointError(f"{path} cannot be used: {found}; only {can}{other_way(found)}")

    from ultralytics.nn.tasks import torch_safe_load

    try:
        checkpoint, _ = torch_safe_load(str(path.resolve()), safe_only=True)
    except Exception as error:  # damaged and foreign files can raise anything
        raise CheckpointError(f"{path} cannot be loaded as an Ultralytics checkpoint: {error}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} is not an Ultralytics checkpoint: it holds a {type(checkpoint).__name__}")
    modelopt = checkpoint.get("modelopt")
    if modelopt is not None and not (isinstance(modelopt, (bool, dict)) and not modelopt):
        raise CheckpointError(
            f"{path} is a quantisation-aware checkpoint: export it with Ultralytics (format='onnx', quantize=8), which "
            "yolort runs; or export the float one it came from"
        )
    return checkpoint


@contextlib.contextmanager
def restricted() -> Iterator[None]:
    """Context in which files that Ultralytics reads itself cannot run code.

    Checkpoints (of a resumed run, and of the teacher it names) are read like in `read_checkpoint`; label caches in a
    dataset, which are pickles, are ignored and created again.
    """
    from ultralytics.data import dataset
    from ultralytics.nn import tasks
    from ultralytics.utils import torch_utils

    load = tasks.torch_safe_load

    def load_safely(path: str | Path, *_: Any, **__: Any) -> tuple[dict[str, Any], str]:
        check_pickle(Path(path))
        return load(path, safe_only=True)  # type: ignore[no-any-return]

    def no_cache(path: Path) -> dict[str, Any]:
        raise FileNotFoundError(path)

    with contextlib.ExitStack() as restored:
        for module, name, value in (
            (tasks, "SAFE_LOAD", True),
            (tasks, "torch_safe_load", load_safely),
            (torch_utils, "torch_load", lambda path, **_: load_safely(path)[0]),
            (dataset, "load_dataset_cache_file", no_cache),
        ):
            restored.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield


def _check_size(path: Path, network: Any) -> None:
    """Raises CheckpointError for tensors that would be larger in memory than their data in the file."""
    tensors = [*network.parameters(), *network.buffers()] if isinstance(network, nn.Module) else []
    total = sum(tensor.numel() for tensor in tensors)
    if total > _MAX_NUMBERS:
        raise CheckpointError(
            f"{path} cannot be used: it has {total} numbers, more than the {_MAX_NUMBERS} that are read"
        )


def _check_state(network: Any, trained: Any, tasks: bool) -> None:
    """Raises CheckpointError for a detector that lacks required attributes; converts its names to {0: text, 1: ...}."""
    is_classifier = tasks and task_of(network) == "classify"
    detect = network.model[-1] if is_classifier else detect_head(network, tasks=tasks)
    if not isinstance(trained, dict):
        raise CheckpointError(f"its 'train_args' are a {type(trained).__name__}")
    count = detect.linear.out_features if is_classifier else detect.nc
    if not _is_whole(count, 1, _MAX_CLASSES):
        raise CheckpointError(f"its head has {str(count)[:40]} classes, expected 1 to {_MAX_CLASSES}")
    names = getattr(network, "names", None)
    if not isinstance(names, (dict, list, tuple)):
        raise CheckpointError(f"its 'names' are a {type(names).__name__}")
    names = names if isinstance(names, dict) else dict(enumerate(names))
    if len(names) != count or set(names) != set(range(count)):
        shown = ", ".join(str(one)[:40] for one in list(names)[:10])
        raise CheckpointError(
            f"it has {count} classes and {len(names)} names ({shown}), expected those of 0, 1, 2, ..."
        )
    network.names = {index: str(names[index]) for index in range(count)}
    described = getattr(network, "yaml", None)
    if not isinstance(described, dict):
        raise CheckpointError(f"its 'yaml' is a {type(described).__name__}")
    channels = described.get("channels", 3)
    if not _is_whole(channels, 1, MAX_CHANNELS):
        raise CheckpointError(f"it takes images of {str(channels)[:40]} channels, expected 1 to {MAX_CHANNELS}")
    for index, layer in enumerate(network.model):
        sources = layer.f if isinstance(layer.f, (list, tuple)) else [layer.f]
        if not sources or not all(_is_whole(one, -max(1, index), index - 1) for one in sources):
            raise CheckpointError(f"layer {index} takes {str(layer.f)[:40]}, expected earlier layers, or -1")
        lost = [one % index for one in sources if one != -1 and one % index not in network.save]
        if lost or layer.i != index:
            raise CheckpointError(f"layer {index} is not connected to layer {lost[0] if lost else index - 1}")
    if not is_classifier:
        _check_head(network, detect)


def _check_head(network: Any, detect: Any) -> None:
    """Raises CheckpointError for a head that lacks required attributes."""
    strides = detect.stride
    if not isinstance(detect.f, (list, tuple)) or not _is_whole(detect.nl, len(detect.f), len(detect.f)):
        raise CheckpointError(f"its head takes {str(detect.f)[:40]}, expected a list of {str(detect.nl)[:40]} layers")
    if not isinstance(strides, (torch.Tensor, list, tuple)) or len(strides) != detect.nl:
        raise CheckpointError(f"its head has the strides {str(strides)[:40]}, expected {detect.nl} numbers")
    if not all(1 <= float(one) <= _MAX_STRIDE and float(one).is_integer() for one in strides):
        raise CheckpointError(f"its head has the strides {str(strides)[:80]}, expected whole numbers of pixels")
    if not _is_whole(detect.reg_max, 1, 256):
        raise CheckpointError(f"its head has a reg_max of {str(detect.reg_max)[:40]}")
    if task_of(network) == "pose":
        shape = detect.kpt_shape
        if not isinstance(shape, (list, tuple)) or len(shape) != 2 or not _is_whole(shape[0], 1, _MAX_KEYPOINTS):
            raise CheckpointError(f"its head has a kpt_shape of {str(shape)[:40]}")
        if shape[1] not in (2, 3):
            raise CheckpointError(f"its head has a kpt_shape of {str(shape)[:40]}, expected 2 or 3 values a keypoint")


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


@torch.no_grad()
def _try(network: Any) -> None:
    """Runs every layer on a small image, as the network itself would; nothing is stored."""
    detect, is_classifier = network.model[-1], task_of(network) == "classify"
    side = max(64, 2 * stride_of(network))
    x: Any = torch.zeros(1, channels_of(network), side, side)
    outputs: list[Any] = []
    for layer in network.model:
        if layer.f != -1:
            x = (
                [x if one == -1 else outputs[one] for one in layer.f]
                if not isinstance(layer.f, int)
                else outputs[layer.f]
            )
        if layer is detect and not is_classifier:
            break
        x = layer(x)
        outputs.append(x)
    if is_classifier:
        if x[0].shape != (1, detect.linear.out_features):
            raise CheckpointError(f"it gives scores of the shape {list(x[0].shape)}")
        return
    for prefix in ("", "one2one_"):
        if getattr(detect, f"{prefix}cv2", None) is None:
            continue  # this head lacks the branch
        branches = [(getattr(detect, f"{prefix}cv2"), 4 * detect.reg_max), (getattr(detect, f"{prefix}cv3"), detect.nc)]
        if (extra := extra_branch(detect, prefix)) is not None:
            branches.append((extra, _extra_channels(network, detect)))
        for convolutions, channels in branches:
            for feature, convolution in zip(x, convolutions, strict=True):
                given = convolution(feature)
                if given.shape[:2] != (1, channels):
                    raise CheckpointError(f"its head gives {list(given.shape)}, expected {channels} channels")


def _build(path: Path, name: str) -> Any:
    """The model of an architecture file, at the scale in its `name`, with random but reproducible weights."""
    try:
        return build(path, name)
    except ArchitectureError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def detect_head(model: Any, *, tasks: bool = False) -> Any:
    """The Detect head of a model; with `tasks`, also heads for segmentation, poses and oriented boxes. CheckpointError
    for other heads.
    """
    from ultralytics.nn.modules import head as heads
    from ultralytics.nn.tasks import DetectionModel

    if not isinstance(model, DetectionModel):
        raise CheckpointError(f"expected an Ultralytics detection model, not {type(model).__name__}")
    layers: Any = model.model
    head: Any = layers[-1]
    known = ["Detect", "v10Detect", *(_TASKS if tasks else ())]
    if type(head) not in [getattr(heads, name, None) for name in known]:
        name = type(head).__name__
        raise CheckpointError(f"expected a detection model; this one ends in a {name} head{other_way(name)}")
    return head


def channels_of(model: Any) -> int:
    """Number of input channels of a model."""
    return int(model.yaml.get("channels", 3))


def task_of(model: Any) -> str:
    """Task of a model: "detect", "segment", "pose", "obb" or "classify"."""
    from ultralytics.nn.modules.head import Classify
    from ultralytics.nn.tasks import ClassificationModel

    if isinstance(model, ClassificationModel) and type(model.model[-1]) is Classify:
        return "classify"
    layers = getattr(model, "model", None)
    return _TASKS.get(type(layers[-1]).__name__, "detect") if isinstance(layers, nn.Sequential) else "detect"


def stride_of(model: Any) -> int:
    """Stride of a model: the input sides must be multiples of it."""
    return CLASSIFIER_STRIDE if task_of(model) == "classify" else int(max(detect_head(model, tasks=True).stride))


def extra_branch(detect: Any, prefix: str = "") -> nn.ModuleList | None:
    """The modules that produce the task's additional values (mask coefficients, keypoints, angle) at each level; None
    for a detection head. `prefix` is "one2one_" for that branch.
    """
    convolutions = getattr(detect, f"{prefix}cv4", None)
    last = getattr(detect, f"{prefix}cv4_kpts", None)  # Pose26 has a trunk before its last convolutions
    if convolutions is None or last is None:
        return convolutions
    return nn.ModuleList(nn.Sequential(*parts) for parts in zip(convolutions, last, strict=True))


def _extra_channels(model: Any, detect: Any) -> int:
    """Number of additional values per box."""
    task = task_of(model)
    count: int = detect.nm if task == "segment" else detect.kpt_shape[0] * detect.kpt_shape[1] if task == "pose" else 1
    return count
