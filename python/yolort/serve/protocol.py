"""The Open Inference Protocol (KServe v2): converts requests to images and settings; see `answers` for responses.
`parse`, `parse_form` and `answers` must run in a thread other than the event loop's.

No step holds the interpreter for long: unbounded data is searched, decoded and written in slices. Image files are never
copied out of the body, even within JSON; the workers check and decode them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import HTTPException
from pydantic import BaseModel, Field, ValidationError

from yolort import images
from yolort._open import Model
from yolort._types import Settings
from yolort.classifier import Classifier
from yolort.detector import Detector
from yolort.serve.json_files import from_base64, without_files
from yolort.serve.limits import Limits, check_pixels, check_size, whole
from yolort.serve.options import DetectOptions, explain

VERSION = "1"
_OUTPUTS = {
    "counts": ("INT32", [-1]),
    "boxes": ("FP32", [-1, 4]),
    "scores": ("FP32", [-1]),
    "classes": ("INT32", [-1]),
}
_OUTPUTS_OF_TASKS = {  # beside those
    "segment": {"masks": ("BYTES", [-1])},
    "pose": {"keypoints": ("FP32", [-1, -1, -1])},
    "obb": {"rotated": ("FP32", [-1, 5])},
}
_NUMBERS = 2048  # number that is read at once
_MAX_LISTS = 10_000  # and objects in JSON

Whole = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Parameters = Annotated[dict[str, Any], Field(max_length=64)]
Fetch = Callable[[], npt.NDArray[np.uint8]]


class Tensor(BaseModel):
    """An input."""

    name: Literal["images", "pixels"]
    datatype: Literal["UINT8", "BYTES"]
    shape: list[Whole] = Field(min_length=1, max_length=4)
    parameters: Parameters = {}
    data: list[Any] | None = None


class Output(BaseModel):
    """A requested output."""

    name: Literal["counts", "boxes", "scores", "classes", "masks", "keypoints", "rotated", "probs"]
    parameters: Parameters = {}


class InferRequest(BaseModel):
    """A request."""

    id: str | None = Field(None, max_length=256)
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Output] | None = Field(None, max_length=16)
    parameters: Parameters = {}

    def options(self) -> DetectOptions:
        """The thresholds among its parameters. HTTPException for unknown parameters."""
        chosen = {key: value for key, value in self.parameters.items() if key not in _KNOWN_PARAMETERS}
        try:
            return DetectOptions.model_validate(chosen)
        except ValidationError as reason:
            raise HTTPException(400, f"parameters: {explain(reason.errors())}") from None


#: Parameters that Triton's clients send with every request; they concern sequences and priorities and are ignored.
_KNOWN_PARAMETERS = {
    "binary_data_output",
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "timeout",
}


def outputs_of(detector: Model) -> dict[str, tuple[str, list[int]]]:
    """Datatype and shape of each output of a model."""
    if isinstance(detector, Classifier):
        return {"probs": ("FP32", [-1, len(detector.names)])}
    return {**_OUTPUTS, **_OUTPUTS_OF_TASKS.get(detector.task, {})}


def describe(name: str, detector: Model) -> dict[str, Any]:
    """The metadata of the model."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": f"yolort_{detector.engine}",
        "inputs": [  # a request uses one of them
            {"name": "images", "datatype": "BYTES", "shape": [-1]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1, _bands(detector)]},
        ],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": shape}
            for output, (datatype, shape) in outputs_of(detector).items()
        ],
        "parameters": {
            "task": detector.task,
            "names": list(detector.names.values()),
            "skeleton": detector.skeleton if isinstance(detector, Detector) else (),
            "imgsz": list(detector.imgsz),
            "device": detector.device,
            "precision": detector.precision,
        },
    }


def _bands(detector: Model) -> int:
    """Number of channels of pixels: a gray model accepts color."""
    return 3 if detector.channels == 1 else detector.channels


def parse(
    body: bytes | bytearray, header: str | None, detector: Model, limits: Limits
) -> tuple[InferRequest, list[Fetch], Settings]:
    """A request: functions that return its images in a worker's thread (or raise ImageError), and its thresholds."""
    end = len(body) if header is None else whole(header, len(body))
    if end is None:
        shown = (header or "")[:20]
        raise HTTPException(400, f"Inference-Header-Content-Length is {shown!r} in a body of {len(body)} bytes")
    view = memoryview(body)
    text, files = without_files(view[:end], body, limits)
    lists = text.count(b"[") + text.count(b"{")
    values = lists + text.count(b",") + text.count(b":")
    for count, limit, what in ((values, limits.values, "values"), (lists, _MAX_LISTS, "lists and objects")):
        if count > limit:
            raise HTTPException(413, f"the JSON has {count} {what}, more than the {limit} allowed; send binary data")
    try:
        asked = InferRequest.model_validate_json(text)
    except ValidationError as reason:
        raise HTTPException(400, explain(reason.errors(include_input=False, include_context=False))) from None
    if asked.id in files:
        raise HTTPException(400, "id: longer than 256 characters")
    settings = asked.options().settings(detector, "parameters")
    fetchers = _fetchers(asked.inputs[0], files, view[end:], _bands(detector), limits)
    _check_outputs(asked, detector)
    asked.inputs.clear()  # keeps only what the response needs
    asked.parameters = _only(asked.parameters, "binary_data_output")
    for output in asked.outputs or ():  # all known at this point
        output.parameters = _only(output.parameters, "binary_data")
    if (rows := len(fetchers) * (settings.get("max_det") or 0)) > limits.detections:
        raise HTTPException(413, f"max_det: {rows} detections exceed the limit of {limits.detections} per response")
    return asked, fetchers, settings


def _check_outputs(asked: InferRequest, detector: Model) -> None:
    """The requested outputs, by default all. HTTPException for outputs that the model does not have."""
    known = outputs_of(detector)
    asked.outputs = asked.outputs or [Output.model_construct(name=name, parameters={}) for name in known]
    names = [output.name for output in asked.outputs]
    if len(set(names)) < len(names):
        raise HTTPException(400, "outputs: an output is named twice")
    for name in names:
        if name not in known:
            raise HTTPException(
                400, f"outputs: a model of task {detector.task!r} has only {', '.join(known)}, not {name}"
            )


def _only(parameters: Parameters, name: str) -> Parameters:
    return {name: parameters[name]} if name in parameters else {}


def _fetchers(
    tensor: Tensor, texts: dict[str, memoryview], binary: memoryview, bands: int, limits: Limits
) -> list[Fetch]:
    size = tensor.parameters.get("binary_data_size")
    sent = type(size) is int and size == len(binary)
    if (tensor.data is None) == (size is None) or (size is not None and not sent):
        raise HTTPException(400, f"images: expected either data, or binary_data_size of the {len(binary)} bytes sent")
    if tensor.data is not None and len(binary):
        raise HTTPException(400, f"images: the data are in the JSON, but {len(binary)} bytes follow it")
    count = tensor.shape[0] if tensor.datatype == "BYTES" or len(tensor.shape) == 4 else 1
    if count > limits.images:
        raise HTTPException(413, f"images: {count} exceed the limit of {limits.images} per request")
    if tensor.datatype == "BYTES":
        if tensor.data is None:
            files: list[Fetch] = [partial(decode, file, limits) for file in _split_bytes(binary, limits.images)]
        elif all(isinstance(item, str) for item in tensor.data):
            written = (texts.get(item, memoryview(item.encode())) for item in tensor.data)
            files = [partial(_decode_base64, text, limits) for text in written]
        else:
            raise HTTPException(400, "images: BYTES in JSON must be base64-encoded image files")
        if tensor.shape != [len(files)]:
            raise HTTPException(400, f"images: expected shape [{len(files)}], got {tensor.shape}")
        if not files:
            raise HTTPException(400, "images: expected at least one image, got none")
        return files
    if len(tensor.shape) < 3 or tensor.shape[-1] != bands or 0 in tensor.shape:
        raise HTTPException(400, f"images: expected shape [(count,) height, width, {bands}], got {tensor.shape}")
    height, width = tensor.shape[-3:-1]
    check_size(height, width, limits)
    flat = np.frombuffer(binary, np.uint8) if tensor.data is None else _pixels(tensor.data, tensor.shape)
    if flat is None or flat.size != count * height * width * bands:
        raise HTTPException(400, f"images: data is not UINT8 of shape {tensor.shape}, whole numbers 0 to 255")
    return [partial(_itself, image) for image in flat.reshape(count, height, width, bands)]


def _pixels(data: list[Any], shape: list[int]) -> npt.NDArray[np.uint8] | None:
    """Numbers in JSON, in one list or nested according to `shape`. None for values outside 0 to 255, or another
    nesting.
    """
    if data and type(data[0]) is list:
        if len(data) != shape[0]:
            return None
        for length in shape[1:]:
            if not all(type(part) is list and len(part) == length for part in data):
                return None
            data = list(chain.from_iterable(data))
    if not data or not all(type(value) is int and 0 <= value <= 255 for value in data):
        return None
    return np.concatenate([np.array(data[at : at + _NUMBERS], np.uint8) for at in range(0, len(data), _NUMBERS)])


def _itself(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return image


def decode(file: bytes | bytearray | memoryview, limits: Limits) -> npt.NDArray[np.uint8]:
    """An image file. ImageError, TooLargeError."""
    check_pixels(file, limits)
    return images.decode(np.frombuffer(file, np.uint8), "the image")


def _decode_base64(text: memoryview, limits: Limits) -> npt.NDArray[np.uint8]:
    return decode(from_base64(text), limits)


def _split_bytes(binary: memoryview, max_count: int) -> Iterator[memoryview]:
    """Elements of a BYTES tensor: each after its length, 4 bytes little-endian."""
    at = count = 0
    while at < len(binary):
        (length,) = struct.unpack_from("<I", binary, at) if at + 4 <= len(binary) else (len(binary),)
        at += 4 + length
        count += 1
        if at > len(binary):
            raise HTTPException(400, "images: the binary data is truncated")
        if count > max_count:
            raise HTTPException(413, f"images: the binary data exceeds the limit of {max_count} elements per request")
        yield binary[at - length : at]
