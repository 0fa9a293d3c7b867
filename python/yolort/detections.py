"""The detections in one image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolort import _core, _drawing, images
from yolort.masks import Masks

if TYPE_CHECKING:
    import pandas
    import supervision


class Detections:
    """Columns of equal length, best score first; an index or mask selects rows of all of them.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the original image, clipped to it.
        scores: (N,) float32, 0 to 1.
        classes: (N,) int32, keys of `names`.
        masks: `Masks` for a segmentation model; otherwise None.
        keypoints: (N, K, 2 or 3) float32 for a pose model: x y in pixels of the original image, clipped to it, and the
            visibility, 0 to 1, if the model predicts it; otherwise None.
        rotated: (N, 5) float32 for a model of oriented boxes: center x y, width, height in pixels of the original
            image, not clipped, and angle in radians, clockwise; `boxes` are their axis-aligned hulls. Otherwise None.
        names: class names by class index.
        skeleton: for poses, the limbs that `draw` shows: two keypoints each.
        path: file or URL that the image was read from, or None.
        shape: (height, width) of the image in pixels, or None.
    """

    __slots__ = ("boxes", "classes", "keypoints", "masks", "names", "path", "rotated", "scores", "shape", "skeleton")

    def __init__(
        self,
        boxes: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int32],
        *,
        masks: Masks | None = None,
        keypoints: npt.NDArray[np.float32] | None = None,
        rotated: npt.NDArray[np.float32] | None = None,
        names: Mapping[int, str] | None = None,
        skeleton: Sequence[tuple[int, int]] = (),
        path: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Columns as described above.

        Raises:
            ValueError: the shapes of the columns do not match.
        """
        n = len(scores)
        if boxes.shape != (n, 4) or scores.shape != (n,) or classes.shape != (n,):
            raise ValueError(
                f"expected boxes (N, 4), scores (N,), classes (N,), got {boxes.shape}, {scores.shape}, {classes.shape}"
            )
        if masks is not None and len(masks) != n:
            raise ValueError(f"expected {n} masks, got {len(masks)}")
        if keypoints is not None and (keypoints.ndim != 3 or len(keypoints) != n or keypoints.shape[2] not in (2, 3)):
            raise ValueError(f"expected keypoints ({n}, K, 2 or 3), got {keypoints.shape}")
        if rotated is not None and rotated.shape != (n, 5):
            raise ValueError(f"expected rotated ({n}, 5), got {rotated.shape}")
        self.boxes = boxes
        self.scores = scores
        self.classes = classes
        self.masks = masks
        self.keypoints = keypoints
        self.rotated = rotated
        self.names = names or {}
        self.skeleton = skeleton
        self.path = path
        self.shape = shape

    @property
    def corners(self) -> npt.NDArray[np.float32] | None:
        """(N, 4, 2) float32, x y of the corners of `rotated` in order around each box; None without it."""
        return None if self.rotated is None else _core.corners(self.rotated)

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
            masks=None if self.masks is None else self.masks[rows],
            keypoints=None if self.keypoints is None else self.keypoints[rows],
            rotated=None if self.rotated is None else self.rotated[rows],
            names=self.names,
            skeleton=self.skeleton,
            path=self.path,
            shape=self.shape,
        )

    def in_image(self, left: int, top: int, shape: tuple[int, int]) -> Detections:
        """The same detections in pixels of a larger image, of which this image is the region at `left`, `top`.

        Args:
            left: x of the region in the larger image, pixels.
            top: y of the region in the larger image, pixels.
            shape: (height, width) of the larger image, pixels.

        Raises:
            ValueError: there are masks and the region is not within the larger image.
        """
        offset = np.array([left, top], np.float32)
        keypoints, rotated = self.keypoints, self.rotated
        if keypoints is not None:
            keypoints = keypoints.copy()
            keypoints[..., :2] += offset
        if rotated is not None:
            rotated = rotated.copy()
            rotated[:, :2] += offset
        return Detections(
            self.boxes + np.tile(offset, 2),
            self.scores,
            self.classes,
            masks=None if self.masks is None else self.masks.in_image(left, top, shape),
            keypoints=keypoints,
            rotated=rotated,
            names=self.names,
            skeleton=self.skeleton,
            path=self.path,
            shape=shape,
        )

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for cls in self.classes.tolist():
            name = self.names.get(cls, str(cls))
            counts[name] = counts.get(name, 0) + 1
        return f"Detections({', '.join(f'{n} {name}' for name, n in counts.items()) or 'none'})"

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain numbers and strings, ready for JSON.

        In addition to `box`, `score`, `class` and `name`, a detection has the values of the model's task: `mask`
        (COCO's compressed RLE), `keypoints` (each [x, y] or [x, y, visibility]), or `rotated` (center x y, width,
        height, angle) and `corners`.
        """
        detections = []
        for box, score, cls in self:
            name = self.names.get(cls, str(cls))
            detections.append({"box": box.tolist(), "score": score, "class": cls, "name": name})
        for key, values in self._columns().items():
            for detection, value in zip(detections, values, strict=True):
                detection[key] = value
        return {"path": self.path, "shape": list(self.shape) if self.shape else None, "detections": detections}

    def _columns(self) -> dict[str, list[Any]]:
        """The additional columns of the task, as plain values per detection."""
        columns: dict[str, list[Any]] = {}
        if self.masks is not None:
            columns["mask"] = self.masks.rle()
        if self.keypoints is not None:
            columns["keypoints"] = self.keypoints.tolist()
        if self.rotated is not None and self.corners is not None:
            columns |= {"rotated": self.rotated.tolist(), "corners": self.corners.tolist()}
        return columns

    def to_json(self, **settings: Any) -> str:
        """`to_dict` as JSON text; `settings` are those of `json.dumps`."""
        import json

        return json.dumps(self.to_dict(), **settings)

    def to_dataframe(self) -> pandas.DataFrame:
        """A pandas DataFrame with one row per detection: x1, y1, x2, y2, score, class, name, and the additional values
        of `to_dict`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(f"to_dataframe needs pandas ({error}); pip install pandas") from error

        columns: dict[str, Any] = dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True))
        columns |= {"score": self.scores, "class": self.classes, "name": self._class_names()}
        return pandas.DataFrame({**columns, **self._columns()})

    def to_supervision(self) -> supervision.Detections:
        """The same as `supervision.Detections`, class names in `data["class_name"]`.

        Masks become `mask`, (N, height, width) bool; corners of rotated boxes become `data["xyxyxyxy"]`, which
        `supervision.OrientedBoxAnnotator` draws. supervision has a separate type for keypoints: see `to_keypoints`.

        Raises:
            ImportError: supervision is not installed.
        """
        import supervision

        data: dict[str, Any] = {"class_name": self._class_names()}
        if self.corners is not None:
            data["xyxyxyxy"] = self.corners
        return supervision.Detections(
            xyxy=self.boxes,
            mask=None if self.masks is None else self.masks.to_dense(),
            confidence=self.scores,
            class_id=self.classes.astype(int),
            data=data,
        )

    def to_keypoints(self) -> supervision.KeyPoints:
        """The keypoints as `supervision.KeyPoints`, class names in `data["class_name"]`.

        Raises:
            ImportError: supervision is not installed.
            ValueError: the model has no keypoints.
        """
        import supervision

        if self.keypoints is None:
            raise ValueError("there are no keypoints: the model is not a pose model")
        return supervision.KeyPoints(
            xy=self.keypoints[..., :2],
            keypoint_confidence=self.keypoints[..., 2] if self.keypoints.shape[2] == 3 else None,
            detection_confidence=self.scores,
            class_id=self.classes.astype(int),
            data={"class_name": self._class_names()},
        )

    def _class_names(self) -> npt.NDArray[np.str_]:
        return np.array([self.names.get(cls, str(cls)) for cls in self.classes.tolist()], dtype=str)

    def draw(self, image: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """A copy of the image with the detections drawn: names and scores, boxes, masks, skeletons.

        Masks are transparent. Keypoints with a visibility below 0.5 are not drawn, and neither are their limbs
        (`skeleton`).

        Args:
            image: the image, (height, width, 3) BGR uint8; default: the file at `path`, which is read again.

        Raises:
            ImportError: OpenCV is not installed.
            FileNotFoundError, ImageError: the file cannot be read.
            ValueError: no image is given and `path` is not a file, or the image is not (height, width, 3) or has
                another size.
        """
        image = _drawing.image_of(image, self.path, self.shape)
        cv2 = images.opencv()
        out: npt.NDArray[np.uint8] = np.ascontiguousarray(image).copy()
        line = max(round(max(out.shape[:2]) / 400), 1)
        corners = self.corners
        for i in reversed(range(len(self))):  # best last, so that it is on top
            cls = int(self.classes[i])
            color = _drawing.color_of(cls)
            x1, y1, x2, y2 = (round(float(v)) for v in self.boxes[i])
            if self.masks is not None:
                _drawing.draw_mask(out, *self.masks.crop(i), color)
            if corners is not None:
                cv2.polylines(out, [np.rint(corners[i]).astype(np.int32)], True, color, line, cv2.LINE_AA)
            else:
                cv2.rectangle(out, (x1, y1), (x2, y2), color, line, cv2.LINE_AA)
            if self.keypoints is not None:
                _drawing.draw_pose(out, self.keypoints[i], self.skeleton, color, line)
            label = f"{self.names.get(cls, str(cls))} {self.scores[i]:.2f}"
            _drawing.draw_label(out, label, (x1, y1), color, line)
        return out

    #: The same as `draw`, under the name that it has in other libraries.
    plot = draw

    def crops(self, image: npt.NDArray[np.uint8] | None = None) -> list[npt.NDArray[np.uint8]]:
        """The part of the image in each box, (height, width, 3): views, or straightened copies for rotated boxes.

        Args:
            image: see `draw`.

        Raises:
            ImportError: OpenCV, which straightens rotated boxes, is not installed.
            FileNotFoundError, ImageError, ValueError: see `draw`.
        """
        image = _drawing.image_of(image, self.path, self.shape)
        if self.rotated is not None and self.corners is not None:
            return [_drawing.straightened(image, *pair) for pair in zip(self.rotated, self.corners, strict=True)]
        sides = np.column_stack([np.floor(self.boxes[:, :2]), np.ceil(self.boxes[:, 2:])]).astype(int)
        return [image[y1:y2, x1:x2] for x1, y1, x2, y2 in sides.tolist()]

    def save(self, path: str | os.PathLike[str], image: npt.NDArray[np.uint8] | None = None) -> None:
        """Write the image with the detections drawn; the ending chooses the format.

        The file is written atomically and replaces only an image that yolort wrote.

        Args:
            path: the file to write.
            image: see `draw`.

        Raises:
            ImportError: OpenCV is not installed.
            FileNotFoundError, ValueError: see `draw`.
            ImageError: the file ending is unknown, or the file cannot be read or written.
        """
        images.write(path, self.draw(image), sources=[self.path] if self.path else ())


def from_columns(
    columns: _core._Columns,
    names: Mapping[int, str],
    skeleton: Sequence[tuple[int, int]],
    path: str | None,
    shape: tuple[int, int],
) -> Detections:
    """Detections from the columns of the core."""
    boxes, scores, classes, masks, keypoints, rotated = columns
    return Detections(
        boxes,
        scores,
        classes,
        masks=None if masks is None else Masks(masks),
        keypoints=keypoints,
        rotated=rotated,
        names=names,
        skeleton=skeleton,
        path=path,
        shape=shape,
    )
