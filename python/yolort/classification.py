"""What one image shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _drawing, images

_SHOWN = 5  # classes in `to_dict`, `draw` and `repr`
_LABEL = 22  # pixels from one label to the next, of lines of one pixel


class Classification:
    """Scores of one image for every class.

    Attributes:
        probs: (classes,) float32, by class index; 0 to 1, and together 1, if the graph of the model sees to that.
        names: class names by class index.
        path: the file the image was read from, or None.
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
            ValueError: the scores are not one for each of one or more classes.
        """
        if probs.ndim != 1 or not len(probs):
            raise ValueError(f"expected probs (classes,), got {probs.shape}")
        self.probs = probs
        self.names = names or {}
        self.path = path
        self.shape = shape

    def top(self, count: int) -> list[int]:
        """The `count` best classes, best first; of equal scores the lower index."""
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
            ValueError: no image is given and `path` is no file; or it is not (height, width, 3).
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
        """Write the image with the classes drawn, as `Detections.save` does.

        Raises:
            ImportError, FileNotFoundError, ValueError: as `draw`.
            ImageError: the ending is unknown, or a file must not or cannot be read or written.
        """
        images.write(path, self.draw(image), sources=[self.path] if self.path else ())

    def to_dict(self, count: int = _SHOWN) -> dict[str, Any]:
        """Plain numbers and text, ready for JSON, of the `count` best classes."""
        classes = [
            {"class": cls, "name": self.names.get(cls, str(cls)), "score": float(self.probs[cls])}
            for cls in self.top(count)
        ]
        return {"path": self.path, "shape": list(self.shape) if self.shape else None, "classes": classes}
