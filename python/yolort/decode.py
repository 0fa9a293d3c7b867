"""Decodes network outputs for code that uses `Detector.infer`; calling a `Detector` decodes them itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _checks, _core

__all__ = ["box_sides"]


def box_sides(maps: npt.NDArray[np.floating[Any]], reg_max: int) -> npt.NDArray[np.float32]:
    """Distances from each cell's center to the left, top, right and bottom side of its box, in cells.

    The box maps of a `raw` head hold these distances, or distributions (DFL) whose means are the distances.

    Args:
        maps: (n, 4 * reg_max, height, width), an output of `Detector.infer`.
        reg_max: number of bins per side; 1 if the maps hold the distances themselves.

    Returns:
        (n, 4, height, width) float32.

    Raises:
        ValueError: the maps have another shape.
    """
    return _core.box_sides(np.asarray(maps, np.float32), _checks.integer("reg_max", reg_max))
