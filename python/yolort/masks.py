"""The masks of the detections in one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _core, images


class Masks:
    """One mask per detection, in pixels of the original image.

    A mask is stored as one bit per pixel of its box. An index or boolean mask selects some masks, which share the bits.
    """

    __slots__ = ("_core",)

    def __init__(self, core: _core.Masks) -> None:
        self._core = core

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of masks, and height and width of the image in pixels."""
        return (len(self._core), *self._core.shape)

    @property
    def nbytes(self) -> int:
        """Memory used by the bits of all masks, in bytes."""
        return self._core.nbytes

    @property
    def area(self) -> npt.NDArray[np.int64]:
        """(N,) int64, number of pixels per mask."""
        return self._core.area()

    def __len__(self) -> int:
        return len(self._core)

    def __getitem__(self, rows: int | slice | Sequence[int] | npt.NDArray[Any]) -> Masks:
        """Some of the masks: a boolean mask (N,), indices, a slice, or one index."""
        indices = np.arange(len(self))[rows]
        return Masks(self._core.select(np.atleast_1d(indices).tolist()))

    def in_image(self, left: int, top: int, shape: tuple[int, int]) -> Masks:
        """The same masks in pixels of a larger image, (height, width), of which this image is the region at `left`,
        `top`. Raises ValueError if the region is not within it.
        """
        return Masks(self._core.in_image(left, top, *shape))

    def __repr__(self) -> str:
        return f"Masks(shape={self.shape})"

    def to_dense(self) -> npt.NDArray[np.bool_]:
        """(N, height, width) bool, one byte per image pixel and mask."""
        return self._core.to_dense()

    def crop(self, index: int) -> tuple[int, int, npt.NDArray[np.bool_]]:
        """left, top and the pixels, (height, width) bool, of the rectangle that contains a mask.

        Raises:
            IndexError: no such mask.
        """
        return self._core.crop(index)

    def rle(self) -> list[dict[str, Any]]:
        """Each mask as COCO's compressed RLE: `{"size": [height, width], "counts": str}`, as pycocotools reads it."""
        return [{"size": list(self._core.shape), "counts": counts} for counts in self._core.rle()]

    def polygons(self) -> list[list[npt.NDArray[np.int32]]]:
        """The outlines of each mask: a list of parts, each (n, 2) int32 x y of its corners. Holes are filled.

        Raises:
            ImportError: OpenCV is not installed.
        """
        cv2 = images.opencv()
        out = []
        for index in range(len(self)):
            left, top, pixels = self._core.crop(index)
            outlines = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
            out.append([outline.reshape(-1, 2) + np.array([left, top], np.int32) for outline in outlines])
        return out
