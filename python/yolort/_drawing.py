"""Draws detections into an image, (height, width, 3) BGR uint8, and crops rotated boxes from it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from yolort import _addresses, images

_MASK_OPACITY = 0.45
_MIN_VISIBILITY = 0.5  # keypoints less visible than this are left out, as in Ultralytics' plots


def image_of(
    given: npt.NDArray[np.uint8] | None, path: str | None, shape: tuple[int, ...] | None
) -> npt.NDArray[np.uint8]:
    """The image of a result: the one given, otherwise its file, read again. `shape`: required height and width.

    Raises ValueError if there is no image or its shape differs; FileNotFoundError, ImageError: see `images.read`.
    """
    if given is None:
        if path is None or _addresses.is_address(path):
            raise ValueError("image: pass the image; it can only be read again from a file")
        given = images.read(path)
    if given.ndim != 3 or given.shape[2] != 3 or (shape and given.shape[:2] != shape):
        raise ValueError(f"image: expected shape {(*(shape or ('height', 'width')), 3)}, got {given.shape}")
    return given


def draw_mask(
    out: npt.NDArray[np.uint8], left: int, top: int, pixels: npt.NDArray[np.bool_], color: tuple[int, int, int]
) -> None:
    part = out[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    mixed = part[pixels] * (1 - _MASK_OPACITY) + np.multiply(color, _MASK_OPACITY)
    part[pixels] = mixed.astype(np.uint8)


def draw_pose(
    out: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float32],
    skeleton: Sequence[tuple[int, int]],
    color: tuple[int, int, int],
    line: int,
) -> None:
    cv2 = images.opencv()
    visible = points[:, 2] >= _MIN_VISIBILITY if points.shape[1] == 3 else np.ones(len(points), bool)
    at = [(round(x), round(y)) for x, y in points[:, :2].tolist()]
    for start, end in skeleton:
        if visible[start] and visible[end]:
            cv2.line(out, at[start], at[end], color, line, cv2.LINE_AA)
    for point in np.flatnonzero(visible):
        cv2.circle(out, at[point], line + 1, (255, 255, 255), -1, cv2.LINE_AA)


def draw_label(
    out: npt.NDArray[np.uint8], label: str, at: tuple[int, int], color: tuple[int, int, int], line: int
) -> None:
    cv2 = images.opencv()
    height, width = out.shape[:2]
    scale = max(max(height, width) / 1600, 0.35)
    x1, y1 = at
    label = label.encode(errors="replace").decode()
    (text_width, text_height), base = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, line)
    top = y1 - text_height - base if y1 - text_height - base >= 0 else y1
    left = min(x1, max(width - text_width, 0))
    cv2.rectangle(out, (left, top), (left + text_width, top + text_height + base), color, -1)
    ink = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    cv2.putText(out, label, (left, top + text_height), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, line, cv2.LINE_AA)


def straightened(
    image: npt.NDArray[np.uint8], box: npt.NDArray[np.float32], corners: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """The pixels in a rotated box, black outside the image. A box longer than twice the image is scaled down."""
    cv2 = images.opencv()
    width, height = (max(round(min(side, 2.0 * sum(image.shape[:2]))), 1) for side in box[2:4].tolist())
    right_above, left_above, left_below = corners[1:]
    source = np.array([left_above, right_above, left_below], np.float32)
    target = np.array([[0, 0], [width, 0], [0, height]], np.float32)
    turned = cv2.getAffineTransform(source - 0.5, target - 0.5)
    out: npt.NDArray[np.uint8] = cv2.warpAffine(image, turned, (width, height))
    return out


def color_of(cls: int) -> tuple[int, int, int]:
    """One BGR color per class; hues are a golden angle apart, so that neighbors differ."""
    red, green, blue = colorsys.hsv_to_rgb(cls * 0.618034 % 1, 0.75, 0.95)
    return round(255 * blue), round(255 * green), round(255 * red)
