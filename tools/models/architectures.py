"""Checks untrusted Ultralytics architectures (.yaml) completely before Ultralytics builds them.

Ultralytics evaluates the activation as code and looks up modules by any name; here both must be on a list, all
arguments must be plain values, and the network's memory use is determined on torch's meta device, which allocates
nothing.
"""

from __future__ import annotations

import ast
import copy
import math
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from yolort.tools._yaml import read_yaml

__all__ = ["ArchitectureError", "build", "other_way"]

#: Modules used by the detectors that Ultralytics ships (cfg/models of 8.4.190), and closely related ones.
_MODULES = frozenset(
    {
        *("A2C2f", "ADown", "AConv", "Bottleneck", "BottleneckCSP", "C1", "C2", "C2PSA", "C2f", "C2fCIB"),
        *("C2fPSA", "C3", "C3Ghost", "C3TR", "C3k2", "C3x", "CBFuse", "CBLinear", "Concat", "Conv", "ConvTranspose"),
        *("DWConv", "DWConvTranspose2d", "Detect", "ELAN1", "Focus", "GhostBottleneck", "GhostConv"),
        *("PSA", "RepC3", "RepNCSPELAN4", "SCDown", "SPP", "SPPELAN", "SPPF"),
        *("v10Detect", "nn.AvgPool2d", "nn.BatchNorm2d", "nn.Conv2d", "nn.ConvTranspose2d"),
        *("nn.Identity", "nn.MaxPool2d", "nn.Upsample", "nn.ZeroPad2d"),
    }
)
_HEADS = ("Detect", "v10Detect")
_TASKS = ("segment", "pose", "obb", "classify")
_WORDS = frozenset({"nc", "None", "True", "False", "nearest", "bilinear", "bicubic", "area"})  # as arguments
_ACTIVATIONS = frozenset(
    {
        *("CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "Mish", "PReLU"),
        *("ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Tanh"),
    }
)
_MAX_LAYERS = 300
_MAX_REPEATS = 100  # of a layer
_MAX_LEVELS = 8  # maximum number of head levels, as in the core
_MAX_NUMBER = 65_536  # of an argument
_MAX_PARAMETERS = 1 << 29  # 2 GiB of float32; YOLO26x has 59 million
_MAX_MODULES = 20_000
_MAX_VALUES = 1 << 29  # limit of the values that all operations produce for one image
_MAX_FLOPS = 1e12  # for one image; YOLO11x takes 3e10
MAX_CHANNELS = 512  # maximum number of channels, as in cpp/src/model/model.h
_SIDE = 256  # side of the image with which Ultralytics measures strides
_IMAGE = f"an image of {_SIDE} x {_SIDE} pixels"


class ArchitectureError(ValueError):
    """An architecture is malformed or requests something unsupported."""


def other_way(kind: str) -> str:
    """Advice for a model or head of this kind, to append to an error; "" if there is none."""
    if "RTDETR" in kind:
        head, before = "end2end", ""
    elif "World" in kind or "YOLOE" in kind:
        head, before = "boxes", ", with the classes that were set before"
    else:
        return ""
    return (
        f'; its maps cannot be cut out: the head to ask for is "{head}". Detector runs Ultralytics\' own export of it, '
        f"which has that{before}: YOLO(...).export()"
    )


def build(path: Path, name: str) -> Any:
    """The DetectionModel of an architecture file, at the scale in its `name`, with random but reproducible weights.

    Raises ArchitectureError, which names the layer and the problem.
    """
    from ultralytics.nn.modules.conv import Conv
    from ultralytics.nn.tasks import DetectionModel, guess_model_scale

    described = _read(path)
    described["scale"] = guess_model_scale(name) or described.get("scale", "")
    _check_scales(described)
    described["yaml_file"] = name
    activation = Conv.default_act
    try:
        _measure(copy.deepcopy(described))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return DetectionModel(described, verbose=False)
    except ArchitectureError:
        raise
    except Exception as error:  # bad arguments can raise anything in a module
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchitectureError(f"{_layer_of(error)} cannot be built: {reason[:300]}") from error
    finally:
        Conv.default_act = activation  # Ultralytics sets it globally, and does not restore it after an error


def _layer_of(error: Exception) -> str:
    """The layer that was being built or run when an error occurred."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in ("parse_model", "_measure") and "i" in frame.f_locals:
            return f"layer {frame.f_locals['i']}"
    return "it"


def _read(path: Path) -> dict[str, Any]:
    try:
        read = read_yaml(path)
    except ValueError as error:
        raise ArchitectureError(f"it is not valid YAML: {error}") from error
    if not isinstance(read, dict) or not isinstance(read.get("head"), list):
        raise ArchitectureError("it does not describe a detection model: it has no list of layers under 'head'")
    described = {str(key): value for key, value in read.items()}
    for key in ("nc", "reg_max", "depth_multiple", "width_multiple"):
        if key in described and not _is_number(described[key], 0):
            raise ArchitectureError(f"'{key}' is {_shown(described[key])}, expected a number above 0")
    if described.get("end2end") not in (None, True, False):
        raise ArchitectureError(f"'end2end' is {_shown(described['end2end'])}, expected true or false")
    if described.get("activation"):
        described["activation"] = _activation(described["activation"])
    backbone = described.get("backbone")
    if not isinstance(backbone, list):
        raise ArchitectureError("there is no list of layers under 'backbone'")
    layers = backbone + described["head"]
    if not 0 < len(layers) <= _MAX_LAYERS:
        raise ArchitectureError(f"it has {len(layers)} layers, expected 1 to {_MAX_LAYERS}")
    head = layers[-1][2] if isinstance(layers[-1], list) and len(layers[-1]) == 4 else None
    if head not in _HEADS:
        task = next((task for task in _TASKS if task in str(head).lower()), None)
        raise ArchitectureError(
            f"it describes a {task} model; only detection models can"
            if task
            else f"it ends in {_shown(head)}; only detection models can, which end in {' or '.join(_HEADS)}"
            f"{other_way(str(head))}"
        )
    for index, layer in enumerate(layers):
        _check_layer(index, layer)
    return described


def _check_layer(index: int, layer: Any) -> None:
    where = f"layer {index}"
    if not isinstance(layer, list) or len(layer) != 4:
        raise ArchitectureError(f"{where} is {_shown(layer)}, expected [from, repeats, module, arguments]")
    sources, repeats, module, arguments = layer
    listed = sources if isinstance(sources, list) else [sources]
    low = -1 if index == 0 else -index
    if not listed or not all(_is_whole(one, low, index - 1) for one in listed):
        raise ArchitectureError(f"{where} takes {_shown(sources)}, expected earlier layers, or -1 for the one before")
    if module in _HEADS and not (isinstance(sources, list) and len(sources) <= _MAX_LEVELS):
        raise ArchitectureError(f"{where} takes {_shown(sources)}, expected a list of 1 to {_MAX_LEVELS} layers")
    if not _is_whole(repeats, 1, _MAX_REPEATS):
        raise ArchitectureError(f"{where} is repeated {_shown(repeats)} times, expected 1 to {_MAX_REPEATS}")
    if not isinstance(module, str) or module not in _MODULES:
        raise ArchitectureError(f"{where} is a {_shown(module)}, which is not a supported layer")
    if not isinstance(arguments, list) or not all(map(_is_argument, arguments)):
        raise ArchitectureError(
            f"{where} ({module}) has the arguments {_shown(arguments)}, expected a list of numbers up to "
            f"{_MAX_NUMBER}, true, false and {', '.join(sorted(_WORDS))}"
        )


def _is_argument(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < 2 and len(value) <= 64 and all(_is_argument(one, depth + 1) for one in value)
    if isinstance(value, str):
        return value in _WORDS
    return value is None or isinstance(value, bool) or _is_number(value, -_MAX_NUMBER)


def _is_number(value: Any, above: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and above <= value <= _MAX_NUMBER
        and (value != above or above < 0)
    )


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (low <= value <= high or value == -1)


def _check_scales(described: dict[str, Any]) -> None:
    scales, scale = described.get("scales"), described["scale"]
    if not isinstance(scale, str):
        raise ArchitectureError(f"'scale' is {_shown(scale)}, expected a letter such as n")
    if scales is None:
        _check_depth(described, described.get("depth_multiple", 1))
        return
    if not isinstance(scales, dict) or not scales:
        raise ArchitectureError(f"'scales' is {_shown(scales)}, expected depth, width and most channels of each scale")
    scale = described["scale"] = scale or next(iter(scales))
    known = scales.get(scale)
    if not isinstance(known, list) or len(known) != 3 or not all(_is_number(one, 0) for one in known):
        raise ArchitectureError(f"scale {_shown(scale)} is {_shown(known)}, expected depth, width and most channels")
    _check_depth(described, known[0])


def _check_depth(described: dict[str, Any], depth: float) -> None:
    for index, (_, repeats, _, _) in enumerate(described["backbone"] + described["head"]):
        if repeats > 1 and repeats * depth > _MAX_REPEATS:
            raise ArchitectureError(
                f"layer {index} is repeated {repeats} x {depth} times, expected 1 to {_MAX_REPEATS}"
            )


def _activation(said: Any) -> str:
    """`nn.X()` with numbers and booleans as arguments, rewritten so that evaluating it is safe."""
    try:
        call = ast.parse(str(said).strip(), mode="eval").body
        name = ast.unparse(call.func).removeprefix("torch.") if isinstance(call, ast.Call) else ""
        if name.removeprefix("nn.") not in _ACTIVATIONS or not name.startswith("nn.") or not isinstance(call, ast.Call):
            raise ValueError
        positional = [ast.literal_eval(one) for one in call.args]
        named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords if one.arg is not None}
        numbers = [one for one in [*positional, *named.values()] if not isinstance(one, bool)]
        if not all(_is_number(one, -_MAX_NUMBER) for one in numbers) or len(named) < len(call.keywords):
            raise ValueError
        with torch.device("meta"):
            getattr(nn, name.removeprefix("nn."))(*positional, **named)
    except (ValueError, SyntaxError, TypeError, RuntimeError, MemoryError):  # RecursionError too
        raise ArchitectureError(
            f"'activation' is {_shown(said)}, expected one such as nn.SiLU() or nn.LeakyReLU(0.1): "
            f"{', '.join(sorted(_ACTIVATIONS))}"
        ) from None
    arguments = [*map(repr, positional), *(f"{key}={value!r}" for key, value in named.items())]
    return f"torch.{name}({', '.join(arguments)})"


def _measure(described: dict[str, Any]) -> None:
    """Raises ArchitectureError for a network that needs too much memory, without allocating any."""
    from ultralytics.nn.tasks import parse_model

    channels = described.get("channels", 3)
    if not isinstance(channels, int) or isinstance(channels, bool) or not 1 <= channels <= MAX_CHANNELS:
        raise ArchitectureError(f"'channels' is {_shown(channels)}, expected 1 to {MAX_CHANNELS}")
    modules = 0

    def count(*_: Any) -> None:
        nonlocal modules
        modules += 1
        if modules > _MAX_MODULES:
            raise ArchitectureError(f"it has more than the {_MAX_MODULES} modules that are built")

    counting = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"):
            described.setdefault("nc", 80)
            layers, _ = parse_model(described, ch=channels, verbose=False)
    finally:
        counting.remove()
    parameters = sum(one.numel() for one in layers.parameters())
    if parameters > _MAX_PARAMETERS:
        raise ArchitectureError(f"it has {parameters} parameters, more than the {_MAX_PARAMETERS} that are built")
    outputs: list[Any] = []
    with torch.device("meta"), torch.no_grad(), _Values(), FlopCounterMode(display=False) as work:
        x: Any = torch.empty(1, channels, _SIDE, _SIDE)
        for i, layer in enumerate(layers[:-1]):  # the head's outputs are small, and it needs strides
            if layer.f != -1:
                x = outputs[layer.f] if isinstance(layer.f, int) else [x if j == -1 else outputs[j] for j in layer.f]
            x = layer(x)
            outputs.append(x)
            if work.get_total_flops() > _MAX_FLOPS:
                raise ArchitectureError(f"layer {i} takes more than {_MAX_FLOPS:.0e} operations for {_IMAGE}")


class _Values(TorchDispatchMode):
    """Counts the output values of every operation, also within layers; ArchitectureError beyond the limit."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.pooled = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        out = function(*arguments, **(named or {}))
        tensors = out if isinstance(out, (list, tuple)) else [out]
        self.total += sum(one.numel() for one in tensors if torch.is_tensor(one))
        if self.total > _MAX_VALUES:
            raise ArchitectureError(f"its layers give more than {_MAX_VALUES} values for {_IMAGE}")
        # FlopCounterMode ignores pooling. Adaptive pooling reads each value about once, for any output size.
        name = function._schema.name
        if "pool" in name and "adaptive" not in name:
            kernel = arguments[1] if len(arguments) > 1 else (named or {})["kernel_size"]
            area = kernel[0] * kernel[-1] if isinstance(kernel, (list, tuple)) else kernel**2
            self.pooled += area * tensors[0].numel()
            if self.pooled > _MAX_FLOPS:
                raise ArchitectureError(f"its pooling takes more than {_MAX_FLOPS:.0e} operations for {_IMAGE}")
        return out


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
