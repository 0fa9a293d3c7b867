"""Score thresholds per class in a JSON file, as `yolort val --save-conf` writes it."""

from __future__ import annotations

import json
import os

_MAX_BYTES = 1 << 23  # 65,536 classes with names of usual length


def read(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> dict[str, float]:
    """Thresholds by class name.

    Args:
        path: a file that `yolort val --save-conf` wrote, or a JSON object of class names and scores.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is too large, not JSON, or has another form.
    """
    name = os.fsdecode(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"conf: {name} is not a file")
    with open(path, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"conf: {name} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"conf: {name} is not valid JSON: {error}") from None
    if isinstance(found, dict) and isinstance(found.get("conf"), dict):
        found = found["conf"]
    if not isinstance(found, dict) or not all(isinstance(value, (int, float)) for value in found.values()):
        raise ValueError(f"conf: {name} must map class names to scores; write it with yolort val --save-conf")
    return {str(cls): float(value) for cls, value in found.items()}
