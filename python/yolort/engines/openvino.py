"""OpenVINO. The input array is shared with the infer request, and the outputs are its own tensors: no copies."""

from __future__ import annotations

import logging
import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from yolort import _core
from yolort._core import EngineError, ModelError

_log = logging.getLogger(__name__)

_TYPES = {"f32": np.float32, "f16": np.float16}
_PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


def devices() -> list[str]:
    """OpenVINO's own, with the names of the hardware."""
    core = openvino.Core()
    return [f"{name} {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in core.available_devices]


def precisions() -> list[str]:
    """Those that the CPU computes in itself."""
    return _able(openvino.Core(), "CPU")


def _able(core: openvino.Core, device: str) -> list[str]:
    able = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    return ["fp32", *(name for name in ("bf16", "fp16") if name.upper() in able)]


def _computes_in(core: openvino.Core, compiled: openvino.CompiledModel, asked: str) -> str:
    """The precision that a model runs in. EngineError if it is not one of the devices' own: OpenVINO takes another."""
    for device in compiled.get_property("EXECUTION_DEVICES"):
        able = _able(core, device.strip("()"))  # in brackets while another is being prepared
        if asked not in able:
            raise EngineError(
                f'engine "openvino" cannot compute in {asked} on {device.lower()}; it can in {", ".join(able)}'
            )
    try:
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    except RuntimeError:  # AUTO does not tell
        return asked
    return next((name for name, kind in _PRECISIONS.items() if kind == hint), str(hint))


def load(path: str, device: str, precision: str, threads: int | None, profile: bool) -> OpenvinoEngine:
    """Compile an .onnx or .xml file.

    Args:
        path: the .onnx file, or the .xml with its .bin beside it.
        device: "" or "cpu", or a device name of OpenVINO ("GPU", "NPU", "AUTO").
        precision: "fp32", "fp16" or "bf16"; "": fp32, since bf16 costs accuracy on YOLO26.
        threads: CPU threads of one run; None: OpenVINO's choice, one a core.
        profile: time every layer.

    Raises:
        EngineError: OpenVINO does not have the device, or that does not compute in the precision.
        ModelError: OpenVINO refuses the file, or its input is no image.
    """
    core = openvino.Core()
    name = _device(device, core.available_devices)
    precision = precision or "fp32"
    if precision not in _PRECISIONS:
        raise ValueError(f'precision "{precision}" is none of openvino\'s: {", ".join(_PRECISIONS)}')
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "PERF_COUNT": profile,
    }
    if threads is not None and name == "CPU":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        streams = max(cores // threads, 1)  # so that clones run side by side, each on so many
        settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads * streams}
    try:
        model = core.read_model(path)
        if name == "CPU" and _rounds_to_signed(model):
            _log.warning("%s: its INT8 is signed, which OpenVINO computes wrongly on the CPU; it runs in float", path)
            settings["LP_TRANSFORMS_MODE"] = "NO"
        compiled = core.compile_model(model, name, settings)
    except RuntimeError as error:
        raise ModelError(f'model "{path}": OpenVINO cannot load it: {error}') from error
    if len(compiled.inputs) != 1:
        raise ModelError(f'model "{path}" has {len(compiled.inputs)} inputs, expected one image')
    shape, kind = compiled.input().partial_shape, compiled.input().element_type.get_type_name()
    if kind not in _TYPES or len(shape) != 4 or (shape[1].is_static and shape[1].get_length() != 3):
        raise ModelError(f'model "{path}": its input is {kind} {shape}, expected float (batch, 3, height, width)')
    return OpenvinoEngine(compiled, name.lower(), _computes_in(core, compiled, precision), profile)


def _device(device: str, available: list[str]) -> str:
    """OpenVINO's name of a device: "GPU.1" of "cuda:1", which is the core's name of any GPU. EngineError."""
    gpus = [name for name in available if name.partition(".")[0] == "GPU"]
    gpu = _core.device_index(device, "cuda")
    if gpu >= len(gpus):
        raise EngineError(f'device "{device}": OpenVINO has {len(gpus)} GPU(s) here; yolort.devices("openvino")')
    name = gpus[gpu] if gpu >= 0 else (device or "cpu").upper()
    if re.split("[.:]", name)[0] not in {"AUTO", *(other.partition(".")[0] for other in available)}:
        raise EngineError(f'device "{device}" is none of OpenVINO\'s here: {", ".join(available)}')
    return name


def _rounds_to_signed(model: openvino.Model) -> bool:
    """Whether activations are rounded to signed 8 bits: int8 ONNX for TensorRT or ARM, and what Ultralytics makes.

    With OpenVINO 2026.4 the low-precision passes of the CPU plugin then give other results than ONNX Runtime: of such a
    YOLOv8n 0.04 mAP50-95 instead of 0.16, and as it should be without those passes.
    """
    for node in model.get_ops():
        if node.get_type_name() == "Convert" and node.get_output_element_type(0) == openvino.Type.i8:
            rounding = node.input_value(0).get_node()
            if rounding.get_type_name() == "FakeQuantize" and not _constant(rounding.input_value(0)):
                return True
    return False


def _constant(value: Any) -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


class OpenvinoEngine:
    """One compiled model with its own infer request; `clone()` shares the compiled model."""

    def __init__(self, compiled: openvino.CompiledModel, device: str, precision: str, profile: bool = False) -> None:
        self._compiled = compiled
        self._profile = profile
        self._times: dict[tuple[str, str], float] = {}
        self._runs = 0
        self._request = compiled.create_infer_request()
        self.device = device
        self.precision = precision
        self._type = _TYPES[compiled.input().element_type.get_type_name()]
        batch, _, height, width = (
            side.get_length() if side.is_static else 0 for side in compiled.input().partial_shape
        )
        self.input_shape = (batch, height, width)

    def input(self, batch: int, height: int, width: int) -> npt.NDArray[Any]:
        """Lend a (batch, 3, height, width) array that the request reads in place."""
        self._array = np.zeros((batch, 3, height, width), self._type)
        try:
            self._request.set_input_tensor(openvino.Tensor(self._array, shared_memory=True))
        except RuntimeError as error:
            raise EngineError(f'engine "openvino" refused an input of {self._array.shape}: {error}') from error
        return self._array

    def run(self) -> list[npt.NDArray[Any]]:
        """Run; the outputs are views of the request's tensors."""
        try:
            self._request.infer()
        except RuntimeError as error:
            raise EngineError(f'engine "openvino" failed to run the model: {error}') from error
        if self._profile:
            self._runs += 1
            for layer in self._request.profiling_info:
                key = (layer.node_name, f"{layer.node_type} {layer.exec_type}")
                self._times[key] = self._times.get(key, 0) + layer.real_time.total_seconds() * 1e3
        return [tensor.data for tensor in self._request.output_tensors]

    def layer_times(self) -> list[tuple[str, str, float]]:
        """Means over the runs since the last call; layers that OpenVINO optimised away are left out."""
        out = [(*key, total / self._runs) for key, total in self._times.items() if total]
        self._times, self._runs = {}, 0
        return out

    def clone(self) -> OpenvinoEngine:
        """The same compiled model with a request of its own."""
        return OpenvinoEngine(self._compiled, self.device, self.precision, self._profile)
