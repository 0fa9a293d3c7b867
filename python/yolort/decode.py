"""Decodes what a network returns, for those who run it with `Detector.infer`; a `Detector` does it by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _checks, _core

__all__ = ["box_sides"]


def box_sides(maps: npt.NDArray[np.floating[Any]], reg_max: int) -> npt.NDArray[np.float32]:
    """Distances from each cell's center to the left, top, right and bottom side of its box, in cells.

    They are what the box maps of a `raw` head hold, or the means of the distributions that they hold (DFL).

    Args:
        maps: (n, 4 * reg_max, height, width), an output of `Detector.infer`.
        reg_max: bins of each side; 1 if the maps hold the distances themselves.

    Returns:
        (n, 4, height, width) float32.

    Raises:
        ValueError: the maps have another shape.
    """
    return _core.box_sides(np.asarray(maps, np.float32), _checks.integer("reg_max", reg_max))
