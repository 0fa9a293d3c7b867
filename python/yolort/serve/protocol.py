"""The Open Inference Protocol (KServe v2): requests to images and settings, detections to answers.

Nothing here takes long while it holds the event loop: JSON is bounded before it is parsed, files are looked at and
decoded by the workers, long answers are written in another thread.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolort import images
from yolort.detections import Detections
from yolort.detector import Detector, Settings
from yolort.serve.limits import Limits, check_pixels, check_size, whole

VERSION = "1"
OUTPUTS = {
    "counts": ("INT32", [-1]),
    "boxes": ("FP32", [-1, 4]),
    "scores": ("FP32", [-1]),
    "classes": ("INT32", [-1]),
}
_SLICE = 1 << 20  # characters of base64 that are decoded at once
_NUMBERS = 4096  # that are written at once

Whole = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


class Options(BaseModel):
    """Thresholds of one request; those left out are the server's."""

    model_config = ConfigDict(extra="forbid")

    conf: float | None = Field(None, ge=0, le=1)
    iou: float | None = Field(None, ge=0, le=1)
    max_det: int | None = Field(None, ge=1, le=100_000)
    classes: str | None = Field(None, max_length=10_000, description="class indices or names: 0,2,person")
    agnostic: bool | None = None

    def settings(self, detector: Detector) -> Settings:
        """As of a call of `detector`. HTTPException for a class that it does not have."""
        given: dict[str, Any] = self.model_dump(exclude_none=True)
        if self.classes is not None:
            given["classes"] = [_class(part.strip(), detector) for part in self.classes.split(",")]
        return cast(Settings, given)


def _class(text: str, detector: Detector) -> int:
    names = detector.names
    index = whole(text, len(names) - 1)
    if index is None:
        index = next((index for index, name in names.items() if name == text), None)
    if index is None:
        raise HTTPException(400, f"query.classes: {text[:80]!r} is no class of this model, which has {len(names)}")
    return index


class Tensor(BaseModel):
    """An input."""

    name: Literal["images", "pixels"]
    datatype: Literal["UINT8", "BYTES"]
    shape: list[Whole] = Field(min_length=1, max_length=4)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class Output(BaseModel):
    """An output that is asked for."""

    name: Literal["counts", "boxes", "scores", "classes"]
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """A request."""

    id: str | None = Field(None, max_length=256)
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Output] | None = Field(None, max_length=16)
    parameters: dict[str, Any] = {}

    def options(self) -> Options:
        """The thresholds among its parameters. HTTPException for others."""
        given = {key: value for key, value in self.parameters.items() if key not in _KNOWN_PARAMETERS}
        try:
            return Options.model_validate(given)
        except ValidationError as reason:
            raise HTTPException(400, f"parameters: {explain(reason.errors())}") from None


#: Of Triton's clients, which say them of every request; what they mean for sequences and priorities is none of ours.
_KNOWN_PARAMETERS = {
    "binary_data_output",
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "timeout",
}


def describe(name: str, detector: Detector) -> dict[str, Any]:
    """The metadata of the model."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": f"yolort_{detector.engine}",
        "inputs": [  # a request has one of them
            {"name": "images", "datatype": "BYTES", "shape": [-1]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
        ],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": shape} for output, (datatype, shape) in OUTPUTS.items()
        ],
        "parameters": {
            "names": list(detector.names.values()),
            "imgsz": list(detector.imgsz),
            "device": detector.device,
            "precision": detector.precision,
        },
    }


def explain(errors: Any) -> str:
    """pydantic's errors in one line."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))[:200]}: {one['msg']}" for one in list(errors)[:5])


def parse(body: bytes, header: str | None, limits: Limits) -> tuple[InferRequest, memoryview]:
    """The JSON of a request, and the binary data after it."""
    end = len(body) if header is None else whole(header, len(body))
    if end is None:
        shown = (header or "")[:20]
        raise HTTPException(400, f"Inference-Header-Content-Length is {shown!r} in a body of {len(body)} bytes")
    text = body if end == len(body) else body[:end]
    values = sum(text.count(mark) for mark in (b",", b"[", b"{", b":"))
    if values > limits.values:
        raise HTTPException(
            413, f"the JSON holds {values} values and lists, more than the {limits.values} allowed; send binary data"
        )
    try:
        return InferRequest.model_validate_json(text), memoryview(body)[end:]
    except ValidationError as reason:
        raise HTTPException(400, explain(reason.errors())) from None


def fetchers(tensor: Tensor, binary: memoryview, limits: Limits) -> list[Callable[[], npt.NDArray[np.uint8]]]:
    """What gives each image of an input, in a worker's thread, when its turn has come; it raises ImageError."""
    size = tensor.parameters.get("binary_data_size")
    sent = type(size) is int and size == len(binary)
    if (tensor.data is None) == (size is None) or (size is not None and not sent):
        raise HTTPException(400, f"images: expected either data, or binary_data_size of the {len(binary)} bytes sent")
    count = tensor.shape[0] if tensor.datatype == "BYTES" or len(tensor.shape) == 4 else 1
    if count > limits.images:
        raise HTTPException(413, f"images: {count} are more than the {limits.images} of one request")
    if tensor.datatype == "BYTES":
        files = list(_split_bytes(binary, limits.images)) if tensor.data is None else _texts(tensor.data)
        if tensor.shape != [len(files)]:
            raise HTTPException(400, f"images: expected shape [{len(files)}], got {tensor.shape}")
        if not files:
            raise HTTPException(400, "images: expected one image or more, got none")
        return [partial(decode, file, limits) for file in files]
    if len(tensor.shape) < 3 or tensor.shape[-1] != 3 or 0 in tensor.shape:
        raise HTTPException(400, f"images: expected shape [(count,) height, width, 3], got {tensor.shape}")
    height, width = tensor.shape[-3:-1]
    check_size(height, width, limits)
    try:
        flat = np.frombuffer(binary, np.uint8) if tensor.data is None else np.asarray(tensor.data, np.uint8)
        pixels = flat.reshape(count, height, width, 3)
    except (TypeError, ValueError, OverflowError) as reason:
        raise HTTPException(400, f"images: data is not UINT8 of shape {tensor.shape}: {str(reason)[:200]}") from None
    return [partial(_itself, image) for image in pixels]


def _itself(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return image


def decode(file: str | bytes | memoryview, limits: Limits) -> npt.NDArray[np.uint8]:
    """An image file, or one in base64. ImageError, TooLargeError."""
    data = _from_base64(file) if isinstance(file, str) else bytes(file)
    check_pixels(data, limits)
    return images.decode(data, "the image")


def _split_bytes(binary: memoryview, most: int) -> Iterator[memoryview]:
    """Elements of a BYTES tensor: each behind its length, 4 bytes little-endian."""
    at = count = 0
    while at < len(binary):
        (length,) = struct.unpack_from("<I", binary, at) if at + 4 <= len(binary) else (len(binary),)
        at += 4 + length
        count += 1
        if at > len(binary):
            raise HTTPException(400, "images: the binary data ends within an element")
        if count > most:
            raise HTTPException(413, f"images: the binary data holds more than the {most} elements of one request")
        yield binary[at - length : at]


def _texts(data: list[Any]) -> list[str]:
    if not all(isinstance(item, str) for item in data):
        raise HTTPException(400, "images: BYTES in JSON are image files in base64")
    return data


def _from_base64(text: str) -> bytes:
    """In slices, between which other threads have their turn. ImageError."""
    try:
        parts = (text[at : at + _SLICE] for at in range(0, len(text), _SLICE))  # whole groups of 4 characters
        return b"".join(base64.b64decode(part, validate=True) for part in parts)
    except (ValueError, binascii.Error):
        raise images.ImageError("images: BYTES in JSON are image files in base64") from None


def columns(found: list[Detections]) -> dict[str, npt.NDArray[Any]]:
    """Columns of all images one behind the other; `counts` says how many rows are of each."""
    return {
        "counts": np.array([len(one) for one in found], np.int32),
        "boxes": np.concatenate([one.boxes for one in found]),
        "scores": np.concatenate([one.scores for one in found]),
        "classes": np.concatenate([one.classes for one in found]),
    }


def answer(name: str, asked: InferRequest, found: list[Detections]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where binary data follow it."""
    values = columns(found)
    wanted = asked.outputs if asked.outputs else [Output.model_construct(name=output) for output in OUTPUTS]
    usual = asked.parameters.get("binary_data_output") is True
    outputs: list[str] = []
    binary: list[bytes] = []
    for output in wanted:
        column = values[output.name]
        head: dict[str, Any] = {
            "name": output.name,
            "datatype": OUTPUTS[output.name][0],
            "shape": list(column.shape),
        }
        if output.parameters.get("binary_data", usual) is True:
            binary.append(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())
            outputs.append(json.dumps({**head, "parameters": {"binary_data_size": len(binary[-1])}}))
        else:
            outputs.append(f'{json.dumps(head)[:-1]}, "data": [{_numbers(column)}]}}')
    head = {"model_name": name, "model_version": VERSION, **({} if asked.id is None else {"id": asked.id})}
    text = f'{json.dumps(head)[:-1]}, "outputs": [{", ".join(outputs)}]}}'.encode()
    return text + b"".join(binary), len(text) if binary else None


def _numbers(column: npt.NDArray[Any]) -> str:
    """In slices, between which other threads have their turn."""
    flat = column.ravel()
    return ", ".join(json.dumps(flat[at : at + _NUMBERS].tolist())[1:-1] for at in range(0, len(flat), _NUMBERS))


def one_answer(found: Detections, name: str, ms: float) -> bytes:
    """The body of an answer to `POST /detect`."""
    said = found.to_dict()
    detections = ", ".join(json.dumps(one) for one in said["detections"])
    rest = json.dumps({"model": name, "ms": round(ms, 2)})[1:-1]
    return f'{{"shape": {json.dumps(said["shape"])}, "detections": [{detections}], {rest}}}'.encode()
