"""Mirrored keypoints and limbs, which are in the data.yaml but not in a pose checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolort.tools._yaml import read_yaml
from yolort.tools.models.checkpoints import Checkpoint, detect_head, task_of

__all__ = ["known_keypoints"]


def known_keypoints(source: Checkpoint, data: str | Path | None) -> dict[str, Any]:
    """`flip_idx` and `skeleton` of a model, if known.

    `data` is a data.yaml; None: the one that the checkpoint was trained on, if Ultralytics ships it. Raises
    FileNotFoundError, and ValueError for a file that does not fit the model.
    """
    if task_of(source.model) != "pose":
        if data is not None:
            raise ValueError(f"data: only pose models need it, and {source.name} has another task")
        return {}
    path = _shipped(source.train_args.get("data")) if data is None else Path(data)
    if path is None:
        return {}
    count = int(detect_head(source.model, tasks=True).kpt_shape[0])
    try:
        return _read(path, count)
    except ValueError as error:
        if data is None:  # missing in other versions of Ultralytics
            return {}
        raise ValueError(f"data: {path}: {error}") from None


def _shipped(name: object) -> Path | None:
    """The data.yaml of that name in the Ultralytics package."""
    import ultralytics

    if not isinstance(name, str) or Path(name).name != name:
        return None
    path = Path(ultralytics.__file__).parent / "cfg" / "datasets" / name
    return path if path.suffix == ".yaml" and path.is_file() else None


def _read(path: Path, count: int) -> dict[str, Any]:
    read = read_yaml(path)
    if not isinstance(read, dict):
        raise ValueError("it is not a data.yaml")
    found: dict[str, Any] = {}
    if (flip := read.get("flip_idx")) is not None:
        if not _are_keypoints(flip, count) or [flip[other] for other in flip] != list(range(count)):
            raise ValueError(f"flip_idx is {str(flip)[:80]}, expected the counterpart of each of the {count} keypoints")
        found["flip_idx"] = flip
    if (skeleton := read.get("skeleton")) is not None:
        pairs = isinstance(skeleton, list) and all(_are_keypoints(limb, count) and len(limb) == 2 for limb in skeleton)
        if not pairs:
            raise ValueError(f"skeleton is {str(skeleton)[:80]}, expected pairs of keypoints, 0 to {count - 1}")
        found["skeleton"] = skeleton
    return found


def _are_keypoints(values: Any, count: int) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < count for value in values)
