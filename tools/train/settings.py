"""Checks Ultralytics' training settings before anything is read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics.cfg import CFG_FLOAT_KEYS, CFG_FRACTION_KEYS, CFG_INT_KEYS, DEFAULT_CFG_DICT, check_cfg
from ultralytics.utils.torch_utils import parse_device, select_device
from yolort.tools._yaml import read_yaml

__all__ = ["OPTIMIZERS", "check_settings"]

#: The optimizers of Ultralytics' `build_optimizer`; case is ignored.
OPTIMIZERS = ("Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD", "MuSGD", "auto")

#: Numeric settings, for which True would count as 1.
_NUMBERS = CFG_FLOAT_KEYS | CFG_FRACTION_KEYS | CFG_INT_KEYS

_GAINS = ("box", "cls", "dfl", "dis", "pose", "kobj", "rle", "angle")
#: Ultralytics settings that yolort sets itself, and the arguments to use instead.
_OWN = {
    **dict.fromkeys(("save_dir", "project", "name", "exist_ok"), "output"),
    **dict.fromkeys(("model", "pretrained"), "model"),
    **{name: f"the argument {name}" for name in ("data", "resume", "epochs", "imgsz", "seed")},
    "distill_model": "the teacher to distill()",
    "quantize": "Ultralytics' own train afterwards; quantization-aware training is not done here",
    "split": "the split val, which is always evaluated",
    "task": "nothing, it is that of the model",
    "mode": "nothing, it is train",
}


def check_settings(
    settings: Mapping[str, Any], arguments: Collection[str] = (), *, here: bool = True
) -> dict[str, Any]:
    """The settings for Ultralytics' trainer, including those of the file `cfg`.

    Args:
        settings: settings by their Ultralytics names. `cfg` is a YAML file with more settings, which `settings`
            override; Ultralytics' defaults in it are ignored.
        arguments: names of the caller's own arguments.
        here: whether the training runs on this machine, which must then have the device.

    Raises:
        FileNotFoundError: there is no `cfg`.
        ValueError: an unknown setting, or one that yolort sets differently; an invalid value; several devices, or a
        missing one.
    """
    given = {**settings}
    file = given.pop("cfg", None)
    origins = dict.fromkeys(given, "")
    for name, value in ({} if file is None else _read(Path(str(file)))).items():
        if value != DEFAULT_CFG_DICT.get(name) and name not in given:
            given[name], origins[name] = value, f"{file}: "
    for name, value in given.items():
        _check_name(name, value, origins[name], arguments)
    try:
        check_cfg({**given})
    except (TypeError, ValueError) as error:
        raise ValueError(f"Ultralytics' train: {error}") from None
    _check_values(given)
    if here and given.get("device") is not None:
        select_device(given["device"], verbose=False)
    return given


def _are_whole(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"cfg: no such file: {file}")
    try:
        read = read_yaml(file)
    except ValueError as error:
        raise ValueError(f"cfg: {file} is not valid YAML: {error}") from error
    if not isinstance(read, dict) or not all(isinstance(name, str) for name in read):
        raise ValueError(f"cfg: {file} has no settings, expected lines of 'name: value'")
    return read


def _check_name(name: str, value: Any, origin: str, arguments: Collection[str]) -> None:
    if name in arguments:
        raise ValueError(f"{origin}{name}={str(value)[:60]} is a separate argument of this function; use {name}")
    if name in _OWN:
        raise ValueError(f"{origin}{name} is not available in this trainer; use {_OWN[name]}")
    if name == "cfg" or (name not in DEFAULT_CFG_DICT and name != "augmentations"):
        near = difflib.get_close_matches(name, [known for known in DEFAULT_CFG_DICT if known not in _OWN])
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{origin}Ultralytics' train has no argument {name!r}{hint}")


def _check_values(given: Mapping[str, Any]) -> None:
    """Checks that Ultralytics makes only after reading the data, or does not make."""
    for name, value in given.items():
        if isinstance(value, bool) and name in _NUMBERS:
            hint = "; it is a share of imgsz, such as 0.5" if name == "multi_scale" else ""
            raise ValueError(f"{name}={value}: expected a number{hint}")
        if name in _GAINS and value < 0:
            raise ValueError(f"{name}={value}: the gain of a loss is 0 or more")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name}={value}: expected a finite number")
    if (given.get("mask_ratio") or 1) < 1 or given.get("mask_ratio") == 0:
        raise ValueError(f"mask_ratio={given['mask_ratio']}: expected 1 or more, the factor by which masks are reduced")
    if not 0 <= (given.get("dropout") or 0) < 1:
        raise ValueError(f"dropout={given['dropout']}: expected a share from 0 to below 1")
    cache = given.get("cache", False)
    if not isinstance(cache, bool) and cache not in ("ram", "disk"):
        raise ValueError(f"cache={cache}: expected True, False, ram or disk")
    freeze = given.get("freeze")
    if freeze is not None and not _are_whole(freeze if isinstance(freeze, (list, tuple)) else [freeze]):
        raise ValueError(f"freeze={freeze}: expected how many layers, or a list of their numbers")
    optimizer, batch = str(given.get("optimizer", "auto")), given.get("batch", 1)
    if optimizer.lower() not in map(str.lower, OPTIMIZERS):
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {optimizer!r}")
    if batch != -1 and not (0 < batch < 1 or (batch >= 1 and batch == int(batch))):
        raise ValueError(f"batch must be images of one step, -1, or a share of the GPU's memory, not {batch}")
    device = parse_device(given.get("device"))
    if "," in device:
        raise ValueError(f"device={device}: a given module is trained on one device; name one")
