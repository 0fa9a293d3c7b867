"""Converts arguments to the core's types; a wrong type gives a one-sentence error instead of a binding's signature."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from yolort import _addresses, _core

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_MAX_INT = 2**31 - 1
_MAX_CORNERS = 10_000  # of a polygon


def shown(value: object) -> str:
    """A value for a message."""
    try:
        text = f"{type(value).__name__} {value!r}"
    except Exception:  # a foreign repr may fail, and Python limits the number of digits
        return type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


def integer(name: str, value: object, low: int = 1, high: int = _MAX_INT) -> int:
    """A whole number, including numpy's; not a bool or float. TypeError, ValueError."""
    try:
        if isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):  # numpy's and torch's, too
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {shown(value)}") from None
    if not low <= number <= high:
        is_ = f"is {number}" if number.bit_length() <= 64 else "has more than 64 bits"
        expected = f"{low} or more" if number < low and high == _MAX_INT else f"{low} to {high}"
        raise ValueError(f"{name} {is_}, expected {expected}")
    return number


def count(name: str, value: object) -> int:
    """Number of threads or processes to start: 1 to four per core. TypeError, ValueError."""
    try:
        return integer(name, value, 1, _core.max_threads())
    except ValueError as error:
        raise ValueError(f"{error}, 4 for each core here") from None


def number(name: str, value: object) -> float:
    """A real number, including numpy's; not a bool. TypeError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a number") from None


def flag(name: str, value: object) -> bool:
    """True or False. TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {shown(value)}")
    return bool(value)


def text(name: str, value: object) -> str:
    """Text, or None for the default, which is "". TypeError."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {shown(value)}")
    if not value.isprintable():  # the core cannot accept a lone surrogate
        raise ValueError(f"{name}: expected printable text, got {shown(value)}")
    return value


def device(value: object) -> str:
    """A device by its name, or a GPU by its number; the core interprets the name. TypeError, ValueError."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(integer("device", value, 0))
    if type(value).__module__ == "torch" and type(value).__name__ == "device":
        return str(value)
    if value is not None and not isinstance(value, str):
        raise TypeError(
            f'device: expected a name such as "cpu" or "cuda:0", or the number of a GPU, got {shown(value)}'
        )
    return text("device", value)


def path(name: str, value: object) -> str | bytes:
    """A path as text or bytes; FileNotFoundError for a URL. TypeError, ValueError."""
    try:
        found: str | bytes = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"{name}: expected a path, got {shown(value)}") from None
    if isinstance(found, bytes) and not os.path.exists(found):
        from yolort import _image_header  # rarely needed, and importing yolort stays quick

        if _image_header.read(found) is not None:
            raise ValueError(
                f"{name}: expected a path, got the bytes of an image file; use yolort.images.decode for bytes"
            )
    try:
        decoded = os.fsdecode(os.fsencode(found))
    except UnicodeEncodeError:
        raise ValueError(f"{name}: no file system has such a path: {shown(value)}") from None
    if "\0" in decoded:
        raise ValueError(f"{name}: a path cannot contain NUL, got {_addresses.shown_path(decoded)}")
    if _addresses.is_address(decoded) and not os.path.exists(decoded):
        raise FileNotFoundError(
            f"{name} {_addresses.shown_path(decoded)} is not a file; calls of a Detector accept http and https URLs of "
            "images, and Detector.stream accepts URLs of videos and cameras"
        )
    return found


def paths(name: str, value: object) -> list[str | bytes]:
    """One path or several. TypeError, ValueError."""
    if isinstance(value, (str, bytes, os.PathLike)) or not isinstance(value, Iterable):
        return [path(name, value)]
    return [path(name, item) for item in value]


def contents(name: str, value: object) -> memoryview:
    """The bytes of a model in memory. TypeError."""
    try:
        return memoryview(value).cast("B")  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected the bytes of a model, as format is given, got {shown(value)}") from None


def engine_options(value: object) -> dict[str, str]:
    """Engine settings as text, from a mapping of names to text, numbers or booleans. TypeError, ValueError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"engine_options: expected a mapping of names to values, got {shown(value)}")
    out = {}
    for key, setting in value.items():
        if not isinstance(setting, (str, int, float, np.integer, np.floating, np.bool_)):
            raise TypeError(f"engine_options: {key!r}: expected text, a number or a boolean, got {shown(setting)}")
        name = text("engine_options", key)
        is_flag = isinstance(setting, (bool, np.bool_))
        out[name] = text(f"engine_options: {key!r}", str(int(setting) if is_flag else setting))
    return out


def imgsz(value: object) -> tuple[int, int] | None:
    """(height, width) from one side or a pair. TypeError, ValueError."""
    if value is None:
        return None
    if not _is_several(value):
        side = integer("imgsz", value)
        return side, side
    pair = [integer("imgsz", side) for side in value]
    if len(pair) != 2:
        raise ValueError(f"imgsz: expected a side or (height, width), got {shown(value)}")
    return pair[0], pair[1]


def channels(value: object) -> str:
    """The order of three channels, or the number of channels as text; "" for None. TypeError, ValueError."""
    if value is None or isinstance(value, str):
        return text("channels", value)
    return str(integer("channels", value))


def numbers(name: str, value: object) -> list[float]:
    """One number or several; [] for None. TypeError, ValueError."""
    if value is None:
        return []
    found = [number(name, item) for item in (value if _is_several(value) else [value])]
    if not found:
        raise ValueError(f"{name}: expected a number, or one per channel, got none")
    return found


def sides(name: str, value: object) -> list[int]:
    """One whole number or several. TypeError, ValueError."""
    return [integer(name, side) for side in (value if _is_several(value) else [value])]


def keypoints(name: str, value: object) -> list[int]:
    """Indices of keypoints; the core checks their range. TypeError, ValueError."""
    if not _is_several(value):
        raise TypeError(f"{name}: expected a list of keypoints, got {shown(value)}")
    return [integer(name, keypoint, 0) for keypoint in value]


def limbs(name: str, value: object) -> list[tuple[int, int]]:
    """Pairs of keypoints. TypeError, ValueError."""
    if not _is_several(value):
        raise TypeError(f"{name}: expected a list of pairs of keypoints, got {shown(value)}")
    pairs = [keypoints(name, limb) for limb in value]
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{name}: expected pairs of keypoints, got {pair}")
    return [(start, end) for start, end in pairs]


def names(value: object) -> list[str]:
    """Class names in the order of their indices; [] for None. TypeError, ValueError."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise ValueError(f"names: keys must be 0 to {len(value) - 1}, got {shown(list(value)[:10])}")
        value = [value[index] for index in range(len(value))]
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"names: expected a list of class names, or a dict of them by index, got {shown(value)}")
    if not value:
        raise ValueError("names: expected one class name or more, got none")
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"names: a class name must be text, got {shown(name)}")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(f"names: a class name must be text that can be encoded, got {shown(name)}")
    return list(value)


def classes(value: Any, known: Mapping[int, str]) -> list[int]:
    """Indices of the classes to keep; [] for None, which keeps all.

    Args:
        value: an index, a class name, or several of either; a name stands for all classes that have it.
        known: the model's class names by index.

    Raises:
        TypeError, ValueError: wrong type, a name that the model does not have, or an empty list.
    """
    if value is None:
        return []
    named = indices_of(known)
    indices = [
        index for item in (value if _is_several(value) else [value]) for index in _indices("classes", item, named)
    ]
    if not indices:
        raise ValueError("classes is empty, so nothing would be detected; None keeps all classes")
    return list(dict.fromkeys(indices))


def conf_of_file(value: Any) -> Any:
    """The thresholds by class name in a .json file if `value` is its path; otherwise `value`."""
    if isinstance(value, os.PathLike) or (isinstance(value, str) and value.endswith(".json")):
        from yolort import _class_conf  # rarely needed, and importing yolort stays quick

        return _class_conf.read(path("conf", value))
    return value


def conf(value: Any, known: Mapping[int, str]) -> float | dict[int, float]:
    """One score threshold, or thresholds by class index for some classes.

    Args:
        value: a number, a dict of numbers by class index or name, or the path of a .json file of `val --save-conf`.
        known: the model's class names by index.

    Raises:
        TypeError, ValueError: another type, or a class that the model does not have.
        FileNotFoundError: no such file.
    """
    value = conf_of_file(value)
    if not isinstance(value, Mapping):
        return number("conf", value)
    if not value:
        raise ValueError("conf: expected a number, or a dict of thresholds by class, got an empty dict")
    named = indices_of(known)
    out: dict[int, float] = {}
    for name, least in value.items():
        for index in _indices("conf", name, named):
            if index not in known:
                raise ValueError(f"conf: {index} is not a class of this model, expected 0 to {len(known) - 1}")
            out[index] = number("conf", least)
    return out


def thresholds(
    conf: float | Mapping[int, float],
    iou: float,
    max_det: int,
    classes: Sequence[int],
    agnostic: bool,
    multi_label: bool,
    *,
    of_others: float = 0.25,
    count: int = 0,
) -> _core.Thresholds:
    """Thresholds for the core, which checks the ranges. `conf` may be a dict by class index; `of_others` is then the
    threshold of the remaining ones of `count` classes.

    Raises TypeError.
    """
    return _core.Thresholds(
        conf=of_others if isinstance(conf, Mapping) else number("conf", conf),
        iou=number("iou", iou),
        max_det=integer("max_det", max_det),
        classes=classes,
        agnostic=flag("agnostic", agnostic),
        multi_label=flag("multi_label", multi_label),
        class_conf=[conf.get(index, of_others) for index in range(count)] if isinstance(conf, Mapping) else [],
    )


def region(name: str, value: object) -> tuple[tuple[float, float], ...]:
    """The corners of a region: two for a rectangle, otherwise those of a polygon. TypeError, ValueError."""
    try:
        corners = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        corners = np.empty(0)
    if corners.shape in ((4,), (2, 2)):
        corners = corners.reshape(2, 2)
        if not (corners[0] < corners[1]).all():
            raise ValueError(f"{name}: expected x1 < x2 and y1 < y2, got {shown(value)}")
    elif corners.ndim != 2 or len(corners) < 3 or len(corners) > _MAX_CORNERS or corners.shape[1] != 2:
        raise ValueError(f"{name}: expected x1, y1, x2, y2, or 3 to {_MAX_CORNERS} corners (x, y), got {shown(value)}")
    if not np.isfinite(corners).all():
        raise ValueError(f"{name}: expected numbers, got {shown(value)}")
    return tuple((x, y) for x, y in corners.tolist())


def settings(given: Mapping[str, Any], known: Mapping[int, str]) -> dict[str, Any]:
    """The settings of a call in a normal form that can be compared and reused, without those that are None.

    Raises:
        TypeError, ValueError: an unknown setting, a wrong type, or classes that are not in `known`.
    """
    unknown = given.keys() - _SETTINGS.keys()
    if unknown:
        raise TypeError(f"unknown setting {', '.join(sorted(unknown))}; known: {', '.join(_SETTINGS)}")
    of_classes: dict[str, Callable[[Any, Mapping[int, str]], Any]] = {"classes": classes, "conf": conf}
    return {
        name: of_classes[name](value, known) if name in of_classes else _SETTINGS[name](name, value)
        for name, value in given.items()
        if value is not None
    }


def _pixel_format(name: str, value: object) -> str:
    found = text(name, value)
    if found not in _FORMATS:
        raise ValueError(f"{name} is {found[:40]!r}, expected {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}")
    return found


_FORMATS = ("bgr", "rgb", "bgra", "rgba", "gray")
_SETTINGS: dict[str, Callable[[str, Any], Any]] = {
    "conf": number,
    "iou": number,
    "max_det": integer,
    "classes": integer,  # see `classes`; and `conf`
    "agnostic": flag,
    "multi_label": flag,
    "format": _pixel_format,
    "augment": flag,
    "region": region,
}


def _is_several(value: object) -> TypeIs[Iterable[Any]]:
    """Whether an argument holds several values; text and zero-dimensional arrays count as one."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) != 0


def indices_of(names: Mapping[int, str]) -> dict[str, list[int]]:
    """The class indices of each name: several classes may share a name."""
    out: dict[str, list[int]] = {}
    for index, name in names.items():
        out.setdefault(name, []).append(index)
    return out


def _indices(setting: str, item: object, known: Mapping[str, list[int]]) -> list[int]:
    if not isinstance(item, str):
        return [integer(setting, item, 0)]
    if item in known:
        return known[item]
    some = ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "")
    raise ValueError(f"{setting}: the model has no class {item!r}; it has {some}")
