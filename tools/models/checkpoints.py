"""Reads the detectors of Ultralytics: checkpoints (.pt) and architectures (.yaml)."""

from __future__ import annotations

import contextlib
import pickletools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from yolort import Error
from yolort.tools._hash import sha256
from yolort.tools.models.architectures import ArchitectureError, build

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "detect_head",
    "find_checkpoint",
    "load_checkpoint",
    "read_checkpoint",
    "restricted",
]

#: What the pickle of a checkpoint may call. Ultralytics' allow-list has classes too: they are made without a call
#: (NEWOBJ), and called they would read other files (`DistillationModel("evil.pt", ...)`) or build any network.
_CALLED = frozenset(
    {
        *("collections OrderedDict", "_codecs encode"),
        *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("set", "getattr")),
        *("torch Size", "torch device", "torch._utils _rebuild_parameter", "torch._utils _rebuild_tensor_v2"),
        *("torch.serialization _get_layout", "torch._utils _rebuild_parameter_with_state"),
        *("ultralytics.utils IterableSimpleNamespace", "ultralytics.yolo.utils IterableSimpleNamespace"),
        *("numpy dtype", "numpy.core.multiarray scalar", "numpy._core.multiarray scalar"),
        *(f"{module} {flavour}Path" for module in ("pathlib", "pathlib._local") for flavour in ("Posix", "Windows")),
    }
)
_MAX_PICKLE = 16 << 20  # bytes; that of YOLO26x has 1 MiB
_MAX_NUMBERS = 1 << 29  # 2 GiB of float32; YOLO26x has 59 million


class CheckpointError(Error):
    """The file is no detector of Ultralytics', or a damaged one."""


@dataclass(frozen=True)
class Checkpoint:
    """A model read from a file, on the CPU, float32, in evaluation mode, not fused."""

    name: str  # file name
    sha256: str  # of the file
    model: nn.Module  # ultralytics DetectionModel
    imgsz: int | None  # the size it was trained at, where the file tells
    license: str
    train_args: dict[str, Any] = field(default_factory=dict)  # Ultralytics' arguments of the training


def load_checkpoint(model: str | Path) -> Checkpoint:
    """Reads a checkpoint, or builds an architecture, which then has random but repeatable weights.

    `model` is a `.pt` file or a `.yaml`: a file, or the name of one that Ultralytics ships (`yolo26n.yaml`).
    Checkpoints are unpickled with `weights_only=True` and Ultralytics' list of known classes, so that a hostile
    file runs no code. That needs torch 2.6: on an older one Ultralytics falls back to plain unpickling, which runs
    whatever the file says; use only files you trust.

    Raises FileNotFoundError, ValueError for another kind of file, CheckpointError for one that is no detector.
    """
    path, name = find_checkpoint(Path(model)), Path(model).name
    if path.suffix == ".pt":
        read = read_checkpoint(path)
        network: Any = read.get("ema") or read.get("model")
        trained = dict(read.get("train_args") or {})
        imgsz, license = trained.get("imgsz"), read.get("license")
    else:
        network, imgsz, license, trained = _build(path, name), None, None, {}
    _check_size(path, network)
    try:
        detect = detect_head(network)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
    names = network.names if isinstance(network.names, dict) else dict(enumerate(network.names))
    if sorted(names) != list(range(detect.nc)):
        raise CheckpointError(f"{path} has {detect.nc} classes and names for the classes {sorted(names)}")
    network.names = {index: str(names[index]) for index in range(detect.nc)}
    channels = network.yaml.get("channels", 3)
    if channels != 3:
        raise CheckpointError(f"{path} takes images of {channels} channels; only RGB models can be used")
    size = imgsz if isinstance(imgsz, int) else None
    return Checkpoint(name, sha256(path), network.float().eval(), size, license or "not stated", trained)


def find_checkpoint(model: Path) -> Path:
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


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint: model, optimizer, arguments; CheckpointError where it is none of a detector."""
    named = _check_pickle(path)
    classes = {name for module, name in named if module == "ultralytics.nn.tasks" and name.endswith("Model")}
    if not any(name.endswith("DetectionModel") for name in classes):
        found = f"it holds a {', '.join(sorted(classes))}" if classes else "it holds no Ultralytics model"
        raise CheckpointError(f"{path} cannot be used: {found}; only detection checkpoints can")

    from ultralytics.nn.tasks import torch_safe_load

    try:
        checkpoint, _ = torch_safe_load(str(path.resolve()), safe_only=True)
    except Exception as error:  # whatever the unpickler meets in a damaged or foreign file
        raise CheckpointError(f"{path} cannot be loaded as an Ultralytics checkpoint: {error}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} is not an Ultralytics checkpoint: it holds a {type(checkpoint).__name__}")
    if checkpoint.get("modelopt"):
        raise CheckpointError(
            f"{path} is a quantisation-aware checkpoint: export it with Ultralytics (format='onnx', quantize=8), which "
            "yolort runs; or export the float one it came from"
        )
    return checkpoint


@contextlib.contextmanager
def restricted() -> Iterator[None]:
    """Within it, no file that Ultralytics itself reads runs code, whoever wrote it.

    Checkpoints (of the run that is resumed, of the teacher that it names) are read as `read_checkpoint` does, and the
    caches of labels that lie in a data set, which are pickles, are not read but made again.
    """
    from ultralytics.data import dataset
    from ultralytics.nn import tasks
    from ultralytics.utils import torch_utils

    load = tasks.torch_safe_load

    def load_safely(path: str | Path, *_: Any, **__: Any) -> tuple[dict[str, Any], str]:
        _check_pickle(Path(path))
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
    """CheckpointError for tensors that would be larger than what the file holds of them, once they are copied."""
    tensors = [*network.parameters(), *network.buffers()] if isinstance(network, nn.Module) else []
    total = sum(tensor.numel() for tensor in tensors)
    if total > _MAX_NUMBERS:
        raise CheckpointError(
            f"{path} cannot be used: it has {total} numbers, more than the {_MAX_NUMBERS} that are read"
        )


def _check_pickle(path: Path) -> set[tuple[str, str]]:
    """The (module, name) of everything that a checkpoint refers to; CheckpointError if it would call what none calls.

    The pickle is read as torch reads it, from the same record, and not run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise CheckpointError(f"{path} cannot be used: its records are compressed, which torch.save never does")
        if any(record.file_size > _MAX_PICKLE for record in records if record.filename.lower().endswith(".pkl")):
            raise CheckpointError(f"{path} cannot be used: it describes more than {_MAX_PICKLE >> 20} MiB of objects")
        with path.open("rb") as file:
            named, called = _references(torch._C.PyTorchFileReader(file).get_record("data.pkl"))
    except (zipfile.BadZipFile, ValueError, LookupError, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or a damaged one") from error
    if foreign := sorted(map(str, called - _CALLED)):
        raise CheckpointError(f"{path} cannot be used: it calls {foreign[0]}, which no checkpoint of a detector does")
    return {(module, name) for module, _, name in (one.partition(" ") for one in named)}


def _references(pickled: bytes) -> tuple[set[str], set[str | None]]:
    """What a pickle names ("module name"), and what of it is called; None is called where that is not a name."""
    named: set[str] = set()
    called: set[str | None] = set()
    stack: list[Any] = []  # names, None for any other value, and marks
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            named.add(str(argument))
            stack.append(argument)
        elif opcode.name == "MARK":
            stack.append(pickletools.markobject)
        elif "PUT" in opcode.name:
            memo[argument] = stack[-1]
        elif "GET" in opcode.name:
            stack.append(memo[argument])
        elif opcode.name == "REDUCE":
            called.add(stack[-2])
            stack[-2:] = [None]
        else:
            taken = list(opcode.stack_before)
            if pickletools.markobject in taken:
                while stack.pop() is not pickletools.markobject:
                    pass
                taken = taken[: taken.index(pickletools.markobject)]
            del stack[len(stack) - len(taken) :]
            stack += [None] * len(opcode.stack_after)
    return named, called


def _build(path: Path, name: str) -> Any:
    """The model of an architecture file, at the scale in its `name`, with random but repeatable weights."""
    try:
        return build(path, name)
    except ArchitectureError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def detect_head(model: Any) -> Any:
    """The Detect head of a model; CheckpointError where it has another one."""
    from ultralytics.nn.modules.head import Detect, v10Detect
    from ultralytics.nn.tasks import DetectionModel

    if not isinstance(model, DetectionModel):
        raise CheckpointError(f"expected an Ultralytics detection model, not {type(model).__name__}")
    layers: Any = model.model
    head: Any = layers[-1]
    if type(head) not in (Detect, v10Detect):  # its subclasses segment, rotate or estimate poses
        raise CheckpointError(f"expected a detection model; this one ends in a {type(head).__name__} head")
    return head
