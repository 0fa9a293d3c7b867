"""ONNX Runtime. Input and outputs are bound to arrays of ours, so that nothing is copied or allocated in a run."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from yolort import _core
from yolort._core import EngineError, ModelError

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def devices() -> list[str]:
    """The CPU, and GPUs by their numbers if onnxruntime-gpu is installed."""
    return ["cpu", *(["cuda"] if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else [])]


def precisions() -> list[str]:
    """One: the file decides."""
    return ["fp32"]


def load(path: str, device: str, precision: str, threads: int | None, profile: bool) -> OnnxRuntimeEngine:
    """Open an ONNX file.

    Args:
        path: the .onnx file.
        device: "" or "cpu"; "cuda" or "cuda:1" with onnxruntime-gpu.
        precision: "" or "fp32"; the file decides what ONNX Runtime computes in.
        threads: CPU threads of one operator; None: ONNX Runtime's choice, one a core.
        profile: time every operator.

    Raises:
        ValueError: a device or precision this engine does not know.
        EngineError: the device cannot be used here.
        ModelError: ONNX Runtime refuses the file, or its input is no image.
    """
    if precision not in ("", "fp32"):
        raise ValueError(f'precision "{precision}": onnxruntime computes in what the file holds; export it so')
    providers: list[Any] = ["CPUExecutionProvider"]
    gpu = _core.device_index(device, "cuda")
    if gpu >= 0:
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise EngineError(f'device "{device}": this onnxruntime has no CUDA; pip install onnxruntime-gpu')
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": gpu}))
    elif device not in ("", "cpu"):
        raise ValueError(f'device "{device}" is none of onnxruntime\'s: cpu, cuda, cuda:1')
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    traces = _Traces() if profile else None
    if traces:
        options.enable_profiling = True
        options.profile_file_prefix = f"{traces.folder}/trace"
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # its exceptions share no base class
        if gpu >= 0:
            raise EngineError(f'device "{device}": onnxruntime cannot load {path} there: {error}') from error
        raise ModelError(f'model "{path}": onnxruntime cannot load it: {error}') from error
    if gpu >= 0 and "CUDAExecutionProvider" not in session.get_providers():  # it falls back and logs it only
        raise EngineError(f'device "{device}": CUDA cannot be used here by onnxruntime; its log says why')
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelError(f'model "{path}" has {len(inputs)} inputs, expected one image')
    if inputs[0].type not in _TYPES or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, None):
        raise ModelError(
            f'model "{path}": its input is {inputs[0].type} {inputs[0].shape}, expected float (batch, 3, height, width)'
        )
    return OnnxRuntimeEngine(session, f"cuda:{gpu}" if gpu >= 0 else "cpu", traces)


def mean_times(events: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    """(name, type, ms) of each operator: means over the runs of a profile (its microseconds), without the first run."""
    runs = sorted(event["ts"] for event in events if event.get("name") == "model_run")
    start = runs[1] if len(runs) > 1 else 0
    sums: dict[tuple[str, str], float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= start:
            key = (event["name"].removesuffix("_kernel_time"), event["args"]["op_name"])
            sums[key] = sums.get(key, 0) + event["dur"]
    return [(*key, total / 1e3 / max(len(runs) - 1, 1)) for key, total in sums.items()]


class _Traces:
    """A temporary folder, deleted with this object."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="yolort-")
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


class OnnxRuntimeEngine:
    """One session with its own binding; `clone()` shares the session, whose run is thread-safe."""

    precision = ""  # what the file holds

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        device: str,
        traces: _Traces | None = None,  # of a session that times its operators
    ) -> None:
        self._session = session
        self.device = device
        self._traces = traces
        self._input = session.get_inputs()[0]
        batch, _, height, width = (side if isinstance(side, int) else 0 for side in self._input.shape)
        self.input_shape = (batch, height, width)
        self._outputs: list[npt.NDArray[Any]] = []

    def input(self, batch: int, height: int, width: int) -> npt.NDArray[Any]:
        """Lend a (batch, 3, height, width) array and bind it."""
        self._array = np.zeros((batch, 3, height, width), _TYPES[self._input.type])
        self._binding = self._session.io_binding()
        self._binding.bind_input(
            self._input.name, "cpu", 0, self._array.dtype, self._array.shape, self._array.ctypes.data
        )
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)
        self._outputs = []
        return self._array

    def run(self) -> list[npt.NDArray[Any]]:
        """Run; the outputs are the same arrays each time."""
        try:
            self._session.run_with_iobinding(self._binding)
            if not self._outputs:  # the first run told the shapes: from now on ONNX Runtime writes into these arrays
                self._outputs = self._binding.copy_outputs_to_cpu()
                self._binding.clear_binding_outputs()
                for output, array in zip(self._session.get_outputs(), self._outputs, strict=True):
                    self._binding.bind_output(output.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        except Exception as error:  # its exceptions share no base class
            raise EngineError(f'engine "onnxruntime" failed to run the model: {error}') from error
        return self._outputs

    def layer_times(self) -> list[tuple[str, str, float]]:
        """Of all runs but the first, from ONNX Runtime's profile, which ends here."""
        return mean_times(self.end_profile()) if self._traces else []

    def end_profile(self) -> list[dict[str, Any]]:
        """The events of ONNX Runtime's profile, in the form of a Chrome trace."""
        assert self._traces
        with open(self._session.end_profiling(), encoding="utf-8") as file:
            events: list[dict[str, Any]] = json.load(file)
        self._traces = None
        return events

    def clone(self) -> OnnxRuntimeEngine:
        """The same session with buffers of its own."""
        return OnnxRuntimeEngine(self._session, self.device)
