"""The masks of what was found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _core, images


class Masks:
    """One mask for each detection, in the pixels of the original image.

    A mask is kept as the bits of the pixels within its box; an index or boolean mask selects some, which share them.
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
        """Bytes of memory that the bits of all masks take."""
        return self._core.nbytes

    @property
    def area(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the number of pixels of each."""
        return self._core.area()

    def __len__(self) -> int:
        return len(self._core)

    def __getitem__(self, rows: int | slice | Sequence[int] | npt.NDArray[Any]) -> Masks:
        """Some of the masks: a boolean mask (N,), indices, a slice, or one index."""
        indices = np.arange(len(self))[rows]
        return Masks(self._core.select(np.atleast_1d(indices).tolist()))

    def in_image(self, left: int, top: int, shape: tuple[int, int]) -> Masks:
        """The same masks in the pixels of an image, (height, width), of which theirs is the part that begins at `left`,
        `top`. ValueError if it is not within the image."""
        return Masks(self._core.in_image(left, top, *shape))

    def __repr__(self) -> str:
        return f"Masks(shape={self.shape})"

    def to_dense(self) -> npt.NDArray[np.bool_]:
        """(N, height, width) bool, a byte for each pixel of the image and mask."""
        return self._core.to_dense()

    def crop(self, index: int) -> tuple[int, int, npt.NDArray[np.bool_]]:
        """Left, top, and the pixels (height, width) of the rectangle that holds a mask.

        Raises:
            IndexError: no such mask.
        """
        return self._core.crop(index)

    def rle(self) -> list[dict[str, Any]]:
        """Each mask as COCO's compressed RLE: `{"size": [height, width], "counts": str}`, as pycocotools reads it."""
        return [{"size": list(self._core.shape), "counts": counts} for counts in self._core.rle()]

    def polygons(self) -> list[list[npt.NDArray[np.int32]]]:
        """The outlines of each mask: for each part of it the corners, (n, 2) int32 x y. Holes are filled.

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
