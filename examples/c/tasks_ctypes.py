"""Reads masks, keypoints and oriented boxes through the C API:
tasks_ctypes.py LIBRARY MODEL FRAME WIDTH HEIGHT
"""

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int32, c_size_t, c_ssize_t, c_uint8, c_void_p

IMAGE = [("pixels", c_char_p), ("width", c_int32), ("height", c_int32), ("stride", c_ssize_t), ("format", c_int32)]
SIDES = [("x", c_int32), ("y", c_int32), ("width", c_int32), ("height", c_int32)]


class Image(Structure):
    _fields_ = [*IMAGE, ("memory", c_int32), ("stream", c_void_p)]


class Detection(Structure):
    _fields_ = [("box", c_float * 4), ("score", c_float), ("class_id", c_int32)]


class Mask(Structure):
    _fields_ = [*SIDES, ("row_bytes", c_size_t), ("bits", POINTER(c_uint8))]


class RotatedBox(Structure):
    _fields_ = [("center", c_float * 2), ("size", c_float * 2), ("angle", c_float)]


library, model, frame, width, height = sys.argv[1:]
yolort = ctypes.CDLL(library)
yolort.yolort_last_error.restype = yolort.yolort_name.restype = c_char_p
yolort.yolort_results_get.restype = POINTER(Detection)
yolort.yolort_results_masks.restype = POINTER(Mask)
yolort.yolort_results_keypoints.restype = POINTER(c_float)
yolort.yolort_results_rotated.restype = POINTER(RotatedBox)


def check(status: int) -> None:
    if status:
        sys.exit(yolort.yolort_last_error().decode())


detector, found, count, first = c_void_p(), c_void_p(), c_size_t(), c_size_t(0)
with open(frame, "rb") as file:
    image = Image(file.read(), int(width), int(height))
check(yolort.yolort_open(model.encode(), None, byref(detector)))
check(yolort.yolort_detect(detector, byref(image), c_size_t(1), None, byref(found)))
objects = yolort.yolort_results_get(found, first, byref(count))
masks = yolort.yolort_results_masks(found, first)  # NULL (false) for other tasks
keypoints, values = c_int32(), c_int32()
points = yolort.yolort_results_keypoints(found, first, byref(keypoints), byref(values))
rotated = yolort.yolort_results_rotated(found, first)
for i in range(count.value):
    line = f"{yolort.yolort_name(detector, objects[i].class_id).decode()} {objects[i].score:.3f}"
    if masks:
        bits = masks[i].bits[: masks[i].row_bytes * masks[i].height]
        line += f" {sum(byte.bit_count() for byte in bits)} pixels"
    if points:
        numbers = points[i * keypoints.value * values.value : (i + 1) * keypoints.value * values.value]
        pairs = zip(numbers[:: values.value], numbers[1 :: values.value], strict=True)
        line += "".join(f" {x:.1f},{y:.1f}" for x, y in pairs)
    if rotated:
        corners = (c_float * 8)()
        check(yolort.yolort_corners(byref(rotated[i]), corners))
        line += "".join(f" {corners[k]:.1f},{corners[k + 1]:.1f}" for k in range(0, 8, 2))
    print(line)
yolort.yolort_results_free(found)
yolort.yolort_free(detector)
