"""Detects in a frame of raw BGR pixels, through the C API: detect_ctypes.py LIBRARY MODEL FRAME WIDTH HEIGHT

With libyolort.so (-DBUILD_SHARED_LIBS=ON) and Python's standard library only. Other languages call C in the same way.
"""

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int32, c_size_t, c_ssize_t, c_void_p

IMAGE = [("pixels", c_char_p), ("width", c_int32), ("height", c_int32), ("stride", c_ssize_t), ("format", c_int32)]


class Image(Structure):
    _fields_ = [*IMAGE, ("memory", c_int32), ("stream", c_void_p), ("channels", c_int32)]


class Detection(Structure):
    _fields_ = [("box", c_float * 4), ("score", c_float), ("class_id", c_int32)]


library, model, frame, width, height = sys.argv[1:]
yolort = ctypes.CDLL(library)
yolort.yolort_last_error.restype = yolort.yolort_name.restype = c_char_p
yolort.yolort_results_get.restype = POINTER(Detection)


def check(status: int) -> None:
    if status:
        sys.exit(yolort.yolort_last_error().decode())


detector, found, count = c_void_p(), c_void_p(), c_size_t()
with open(frame, "rb") as file:
    image = Image(file.read(), int(width), int(height))
check(yolort.yolort_open(model.encode(), None, byref(detector)))
check(yolort.yolort_detect(detector, byref(image), c_size_t(1), None, byref(found)))
objects = yolort.yolort_results_get(found, c_size_t(0), byref(count))
for it in objects[: count.value]:
    print(yolort.yolort_name(detector, it.class_id).decode(), f"{it.score:.3f}", *(f"{side:.1f}" for side in it.box))
yolort.yolort_results_free(found)
yolort.yolort_free(detector)
