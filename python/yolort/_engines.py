"""The list of engines, and the registration of engines written in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from yolort import _checks, _core

FORMATS = ("onnx", "ncnn", "openvino", "tensorrt", "tflite")


class EngineStatus(NamedTuple):
    """An engine and whether it can run here."""

    name: str
    available: bool
    reason: str  # why it is not available; empty when it is
    version: str = ""  # version of its library; empty if not available, or written in Python
    library: str = ""  # path of its shared library; empty if built in or not available


class Engine(Protocol):
    """A model loaded by an engine written in Python, see `register_engine`. Used by one thread at a time.

    The Detector does everything except running the network: it writes images into the array that `input` returns, and
    decodes the outputs of `run`.
    """

    #: (batch, height, width) of the network input; 0 for dynamic ones
    input_shape: tuple[int, int, int]
    #: device name shown to the user
    device: str
    #: precision, such as "fp16"; "" for the model file's own
    precision: str

    def input(self, batch: int, height: int, width: int) -> Any:
        """Returns a C-contiguous numpy array (batch, 3, height, width), float32 or float16, initially zero.

        The Detector writes RGB values from 0 to 1 into it. Until another shape is requested, return the same array and
        do not change its contents.
        """
        ...

    def run(self) -> Sequence[Any]:
        """Runs the network on that array. Returns the outputs in the model's order: float32 or float16 arrays with 3 or
        4 dimensions, batch first. They must stay unchanged until the next run.
        """
        ...

    def layer_times(self) -> list[tuple[str, str, float]]:
        """(name, type, milliseconds) of each layer, averaged over the runs since the last call; [] if layers are not
        timed.
        """
        ...

    def clone(self) -> Engine:
        """Another model on the same weights, with its own buffers."""
        ...


def engines() -> list[EngineStatus]:
    """All engines of this build, best first; an unavailable one says why."""
    return [EngineStatus(*entry) for entry in _core.engines()]


def devices(engine: str) -> list[str]:
    """Valid values of `device` for an engine, the default first; the name of the hardware follows after a space.

    Opens the drivers: `devices("ncnn")` is `["cpu", "vulkan:0 NVIDIA H200"]`.

    Raises:
        ValueError: an unknown engine.
        EngineError: the engine cannot run here.
    """
    return _core.devices(_checks.text("engine", engine))


def register_engine(
    name: str,
    load: Callable[[str, str, str, int | None, bool], Engine],
    *,
    formats: Sequence[str],
    priority: int = 0,
    unavailable: Callable[[], str] = str,
    devices: Callable[[], list[str]] = lambda: ["cpu"],
    precisions: Callable[[], list[str]] = lambda: ["fp32"],
) -> None:
    """Add an engine written in Python, for example for an accelerator's SDK. `Detector(model, engine=name)` then uses
    it.

    Args:
        name: name of the engine; replaces an earlier engine of yours with this name.
        load: `load(path, device, precision, threads, profile)` opens a model. device and precision are "" and threads
            is None if the user did not set them; profile requests `layer_times`. Exceptions reach the user:
            `EngineError`, `ModelError` and ValueError unchanged, others as an EngineError.
        formats: kinds of files it reads: "onnx", "ncnn", "openvino", "tensorrt".
        priority: if the user names no engine, higher priorities are tried first; yolort's own engines have 30 to 100.
        unavailable: returns the reason why the engine cannot run here, or "".
        devices: returns the valid device names, the default first.
        precisions: returns the precisions worth measuring on this machine, for `yolort tune`.

    Raises:
        ValueError: an unknown format, or a name that is empty or one of yolort's own.
    """
    if not _checks.text("name", name) or name in _built_in:
        raise ValueError(
            f"name is {name!r}, expected a name other than those of the built-in engines: {', '.join(_built_in)}"
        )
    if isinstance(formats, str) or not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f"formats is {formats!r}, expected a list of {', '.join(FORMATS)}")
    _core.register_engine(name, priority, list(formats), unavailable, load, devices, precisions)


def _add_package_folders() -> None:
    """Tells the core where Python packages are installed, because some contain the libraries that it opens."""
    for folder in sys.path:
        if Path(folder).is_absolute():
            _core.add_package_folder(folder)


_built_in = _core.engine_names()
_add_package_folders()
