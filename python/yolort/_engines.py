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
    version: str = ""  # of what it runs on; empty if it is not available, or written in Python
    library: str = ""  # path of the shared library that it runs on; empty if that is built in, or not available


class Engine(Protocol):
    """A model that an engine written in Python has loaded, for `register_engine`. It serves one thread at a time.

    The Detector does everything around the network: it writes images into the array that `input` lends, and decodes
    what `run` returns.
    """

    #: (batch, height, width) of the network input, 0 for each that can have any value
    input_shape: tuple[int, int, int]
    #: where it runs, for the user
    device: str
    #: what it computes in, such as "fp16"; "" for what the model's file holds
    precision: str

    def input(self, batch: int, height: int, width: int) -> Any:
        """Lends a C-contiguous numpy array of (batch, 3, height, width), float32 or float16, zero at first.

        The Detector writes RGB in 0 to 1 into it. It must stay the same, and keep what is in it, until another shape is
        asked for.
        """
        ...

    def run(self) -> Sequence[Any]:
        """Runs on that array. Returns the outputs in the model's order, float32 or float16 arrays of 3 or 4 dimensions,
        the first of which is the batch. They must stay as they are until the next run."""
        ...

    def layer_times(self) -> list[tuple[str, str, float]]:
        """(name, type, milliseconds) of each layer, means over the runs since the last call; [] if it times none."""
        ...

    def clone(self) -> Engine:
        """The same weights with buffers of its own."""
        ...


def engines() -> list[EngineStatus]:
    """Every engine this build knows, best first, each with why it cannot run here."""
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
    """Add an engine written in Python, for an accelerator's SDK, say: `Detector(model, engine=name)` then runs on it.

    Args:
        name: what it is called; one of yours with that name is replaced.
        load: `load(path, device, precision, threads, profile)` opens a model. device and precision are "" and threads
            None where the user leaves them open; profile asks for `layer_times`. What it raises, the Detector raises:
            `EngineError`, `ModelError` and ValueError as they are, anything else as an EngineError.
        formats: kinds of files it reads: "onnx", "ncnn", "openvino", "tensorrt".
        priority: an engine of a higher one is tried first where the user names none; yolort's own have 30 to 100.
        unavailable: returns why it cannot run here, or "".
        devices: returns what device may be, the default first.
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
    """Tells the core where Python packages lie, some of which bring the libraries that it opens."""
    for folder in sys.path:
        if Path(folder).is_absolute():
            _core.add_package_folder(folder)


_built_in = _core.engine_names()
_add_package_folders()
