"""What was found in one image."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolort import images

if TYPE_CHECKING:
    import supervision


class Detections:
    """Columns of equal length, best score first; an index or mask selects rows of all of them.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the original image, clipped to it.
        scores: (N,) float32, 0 to 1.
        classes: (N,) int32, keys of `names`.
        names: class names by class index.
        path: the file the image was read from, or None.
        shape: (height, width) of the image in pixels, or None.
    """

    __slots__ = ("boxes", "classes", "names", "path", "scores", "shape")

    def __init__(
        self,
        boxes: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int32],
        *,
        names: Mapping[int, str] | None = None,
        path: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Columns as described above.

        Raises:
            ValueError: the columns' shapes do not belong together.
        """
        n = len(scores)
        if boxes.shape != (n, 4) or scores.shape != (n,) or classes.shape != (n,):
            raise ValueError(
                f"expected boxes (N, 4), scores (N,), classes (N,), got {boxes.shape}, {scores.shape}, {classes.shape}"
            )
        self.boxes = boxes
        self.scores = scores
        self.classes = classes
        self.names = names or {}
        self.path = path
        self.shape = shape

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.float32], float, int]]:
        """Yield (box, score, class) of each detection; box is (4,) float32."""
        return zip(self.boxes, self.scores.tolist(), self.classes.tolist(), strict=True)

    def __getitem__(self, rows: int | slice | list[int] | npt.NDArray[Any]) -> Detections:
        """Rows as new Detections: a boolean mask (N,), indices, a slice, or one index."""
        if isinstance(rows, (int, np.integer)):
            rows = [int(rows)]
        return Detections(
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            names=self.names,
            path=self.path,
            shape=self.shape,
        )

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for cls in self.classes.tolist():
            name = self.names.get(cls, str(cls))
            counts[name] = counts.get(name, 0) + 1
        return f"Detections({', '.join(f'{n} {name}' for name, n in counts.items()) or 'none'})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, ready for JSON."""
        return {
            "path": self.path,
            "shape": list(self.shape) if self.shape else None,
            "detections": [
                {"box": box.tolist(), "score": score, "class": cls, "name": self.names.get(cls, str(cls))}
                for box, score, cls in self
            ],
        }

    def to_supervision(self) -> supervision.Detections:
        """The same as `supervision.Detections`, class names in `data["class_name"]`.

        Raises:
            ImportError: supervision is not installed.
        """
        import supervision

        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.classes.astype(int),
            data={"class_name": np.array([self.names.get(cls, str(cls)) for cls in self.classes.tolist()])},
        )

    def draw(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A copy of the image with boxes, names and scores drawn.

        Args:
            image: (height, width, 3) BGR uint8, the image that was detected in.

        Raises:
            ImportError: OpenCV is not installed.
            ValueError: the image is not (height, width, 3), or not of the size that was detected in.
        """
        cv2 = images.opencv()
        if image.ndim != 3 or image.shape[2] != 3 or (self.shape and image.shape[:2] != self.shape):
            raise ValueError(f"image: expected shape {(*(self.shape or ('height', 'width')), 3)}, got {image.shape}")
        out: npt.NDArray[np.uint8] = np.ascontiguousarray(image).copy()
        height, width = out.shape[:2]
        line = max(round(max(height, width) / 400), 1)
        scale = max(max(height, width) / 1600, 0.35)
        for box, score, cls in reversed(list(self)):  # the best on top
            color = _color(cls)
            x1, y1, x2, y2 = (round(float(v)) for v in box)
            cv2.rectangle(out, (x1, y1), (x2, y2), color, line, cv2.LINE_AA)
            label = f"{self.names.get(cls, str(cls))} {score:.2f}".encode(errors="replace").decode()
            (text_width, text_height), base = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, line)
            top = y1 - text_height - base if y1 - text_height - base >= 0 else y1
            left = min(x1, max(width - text_width, 0))
            cv2.rectangle(out, (left, top), (left + text_width, top + text_height + base), color, -1)
            ink = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
            origin = (left, top + text_height)
            cv2.putText(out, label, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, line, cv2.LINE_AA)
        return out

    def save(self, path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
        """Write the image with the detections drawn; the ending chooses the format.

        The file appears whole or not at all, and replaces only an image that yolort wrote.

        Raises:
            ImportError: OpenCV is not installed.
            ValueError: as `draw`.
            ImageError: the ending is unknown, or the file must not or cannot be written.
        """
        images.write(path, self.draw(image), sources=[self.path] if self.path else ())


def _color(cls: int) -> tuple[int, int, int]:
    """A BGR color a class: hues a golden angle apart, so that neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb(cls * 0.618034 % 1, 0.75, 0.95)
    return round(255 * blue), round(255 * green), round(255 * red)
