"""Finds the names that a checkpoint's pickle refers to, without running it."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch
from yolort import Error

__all__ = ["CheckpointError", "check_pickle"]

#: Names that the pickle of a checkpoint may call. Classes on Ultralytics' allowlist are created without a call
#: (NEWOBJ); calling them could read other files (`DistillationModel("evil.pt", ...)`) or build any network.
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
_MAX_PICKLE = 16 << 20  # bytes; YOLO26x has 1 MiB


class CheckpointError(Error):
    """The file is damaged, or not a usable Ultralytics model."""


def check_pickle(path: Path) -> set[tuple[str, str]]:
    """The (module, name) of everything that a checkpoint refers to.

    CheckpointError if it would call anything unusual. The pickle is parsed from the same record that torch reads,
    without running it.
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
    """Names in a pickle ("module name"), and those that are called; None if the called object is not a name."""
    named: set[str] = set()
    called: set[str | None] = set()
    stack: list[Any] = []  # names, marks, and None for any other value
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
