"""The classes of one image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _drawing, images

_SHOWN = 5  # classes in `to_dict`, `draw` and `repr`
_LABEL = 22  # pixels between labels, at a line width of one pixel


class Classification:
    """Scores of all classes for one image.

    Attributes:
        probs: (classes,) float32 by class index; probabilities if the graph of the model ends in a softmax.
        names: class names by class index.
        path: file or URL that the image was read from, or None.
        shape: (height, width) of the image in pixels, or None.
    """

    __slots__ = ("names", "path", "probs", "shape")

    def __init__(
        self,
        probs: npt.NDArray[np.float32],
        *,
        names: Mapping[int, str] | None = None,
        path: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Attributes as described above.

        Raises:
            ValueError: the shape is not (classes,), or there are no classes.
        """
        if probs.ndim != 1 or not len(probs):
            raise ValueError(f"expected probs (classes,), got {probs.shape}")
        self.probs = probs
        self.names = names or {}
        self.path = path
        self.shape = shape

    def top(self, count: int) -> list[int]:
        """Indices of the `count` best classes, best first; ties are in order of the index."""
        order: list[int] = np.argsort(-self.probs, kind="stable")[:count].tolist()
        return order

    @property
    def top1(self) -> int:
        """The best class."""
        return int(self.probs.argmax())

    @property
    def top5(self) -> list[int]:
        """The five best classes, best first."""
        return self.top(5)

    @property
    def name(self) -> str:
        """Name of the best class."""
        return self.names.get(self.top1, str(self.top1))

    def __repr__(self) -> str:
        best = ", ".join(f"{self.names.get(cls, str(cls))} {self.probs[cls]:.2f}" for cls in self.top(_SHOWN))
        return f"Classification({best})"

    def draw(self, image: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """A copy of the image with the best classes and their scores.

        Args:
            image: (height, width, 3) BGR uint8; default: the file at `path`, read again.

        Raises:
            ImportError: OpenCV is not installed.
            FileNotFoundError, ImageError: the file cannot be read.
            ValueError: no image is given and `path` is not a file, or the image is not (height, width, 3).
        """
        image = _drawing.image_of(image, self.path, None)
        images.opencv()
        out: npt.NDArray[np.uint8] = np.ascontiguousarray(image).copy()
        line = max(round(max(out.shape[:2]) / 400), 1)
        for row, cls in enumerate(self.top(_SHOWN), start=1):
            label = f"{self.names.get(cls, str(cls))} {self.probs[cls]:.2f}"
            _drawing.draw_label(out, label, (0, row * _LABEL * line), _drawing.color_of(cls), line)
        return out

    def save(self, path: str | os.PathLike[str], image: npt.NDArray[np.uint8] | None = None) -> None:
        """Write the image with the classes drawn; see `Detections.save`.

        Raises:
            ImportError, FileNotFoundError, ValueError: see `draw`.
            ImageError: the file ending is unknown, or the file cannot be read or written.
        """
        images.write(path, self.draw(image), sources=[self.path] if self.path else ())

    def to_dict(self, count: int = _SHOWN) -> dict[str, Any]:
        """The `count` best classes as a dict of plain numbers and strings, ready for JSON."""
        classes = [
            {"class": cls, "name": self.names.get(cls, str(cls)), "score": float(self.probs[cls])}
            for cls in self.top(count)
        ]
        return {"path": self.path, "shape": list(self.shape) if self.shape else None, "classes": classes}
