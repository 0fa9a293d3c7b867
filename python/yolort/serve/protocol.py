"""The Open Inference Protocol (KServe v2): requests to images and settings, detections to answers.

`parse`, `parse_form` and the answers belong into a thread beside the event loop, and none of their steps holds the
interpreter for long: what is not bounded is searched, decoded and written in slices. Image files are never copied out
of the body, also where they stand in JSON; the workers look at them and decode them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, pairwise
from typing import Annotated, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolort import _checks, images
from yolort._types import Settings
from yolort.detections import Detections
from yolort.detector import Detector
from yolort.serve.limits import Limits, check_pixels, check_size, whole

VERSION = "1"
OUTPUTS = {
    "counts": ("INT32", [-1]),
    "boxes": ("FP32", [-1, 4]),
    "scores": ("FP32", [-1]),
    "classes": ("INT32", [-1]),
}
_SLICE = 1 << 20  # bytes that are searched at once
_TEXT = 1 << 17  # bytes of base64 that are decoded at once
_NUMBERS = 2048  # that are read or written at once
_ROWS = 128  # detections that are written at once
_MAX_LISTS = 10_000  # and objects in JSON
_LONG = 4096  # bytes of a string in JSON, from which on it can be an image file only
_MAX_PARTS = 16  # of a form
_MAX_PART_HEAD = 4096  # bytes
_DISPOSITION = re.compile(r"^content-disposition:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(r';\s*([^=;\s]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)')
_ESCAPE = 6  # bytes of the longest escape in JSON

Whole = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Parameters = Annotated[dict[str, Any], Field(max_length=64)]
Fetch = Callable[[], npt.NDArray[np.uint8]]


class Options(BaseModel):
    """Thresholds of one request; those left out are the server's."""

    model_config = ConfigDict(extra="forbid")

    conf: float | None = Field(None, ge=0, le=1)
    iou: float | None = Field(None, ge=0, le=1)
    max_det: int | None = Field(None, ge=1, le=100_000)
    classes: str | None = Field(None, max_length=_LONG, description="class indices or names: 0,2,person")
    agnostic: bool | None = None

    def settings(self, detector: Detector, where: str) -> Settings:
        """As of a call of `detector`. HTTPException, which says `where`, for a class that it does not have."""
        given: dict[str, Any] = self.model_dump(exclude_none=True)
        if self.classes is not None:
            given["classes"] = _classes(self.classes, detector, where)
        return cast(Settings, given)


def _classes(text: str, detector: Detector, where: str) -> list[int]:
    named = _checks.indices_of(detector.names)
    found: list[int] = []
    for part in map(str.strip, text.split(",")):
        number = whole(part, len(detector.names) - 1)
        indices = named.get(part) if number is None else [number]
        if indices is None:
            raise HTTPException(
                400, f"{where}.classes: {part[:80]!r} is no class of this model, which has {len(detector.names)}"
            )
        found += indices
    return list(dict.fromkeys(found))


class Tensor(BaseModel):
    """An input."""

    name: Literal["images", "pixels"]
    datatype: Literal["UINT8", "BYTES"]
    shape: list[Whole] = Field(min_length=1, max_length=4)
    parameters: Parameters = {}
    data: list[Any] | None = None


class Output(BaseModel):
    """An output that is asked for."""

    name: Literal["counts", "boxes", "scores", "classes"]
    parameters: Parameters = {}


class InferRequest(BaseModel):
    """A request."""

    id: str | None = Field(None, max_length=256)
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Output] | None = Field(None, max_length=16)
    parameters: Parameters = {}

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


def parse(
    body: bytes | bytearray, header: str | None, detector: Detector, limits: Limits
) -> tuple[InferRequest, list[Fetch], Settings]:
    """A request, what gives each of its images in a worker's thread (or raises ImageError), and its thresholds."""
    end = len(body) if header is None else whole(header, len(body))
    if end is None:
        shown = (header or "")[:20]
        raise HTTPException(400, f"Inference-Header-Content-Length is {shown!r} in a body of {len(body)} bytes")
    view = memoryview(body)
    text, files = _without_files(view[:end], body, limits)
    lists = text.count(b"[") + text.count(b"{")
    values = lists + text.count(b",") + text.count(b":")
    for count, most, what in ((values, limits.values, "values"), (lists, _MAX_LISTS, "lists and objects")):
        if count > most:
            raise HTTPException(413, f"the JSON holds {count} {what}, more than the {most} allowed; send binary data")
    try:
        asked = InferRequest.model_validate_json(text)
    except ValidationError as reason:
        raise HTTPException(400, explain(reason.errors(include_input=False, include_context=False))) from None
    if asked.id in files:
        raise HTTPException(400, "id: longer than 256 characters")
    settings = asked.options().settings(detector, "parameters")
    fetchers = _fetchers(asked.inputs[0], files, view[end:], limits)
    names = [output.name for output in asked.outputs or ()]
    if len(set(names)) < len(names):
        raise HTTPException(400, "outputs: one of them is named twice")
    asked.inputs.clear()  # what is not needed for the answer is not kept until then
    asked.parameters = _only(asked.parameters, "binary_data_output")
    for output in asked.outputs or ():
        output.parameters = _only(output.parameters, "binary_data")
    if (rows := len(fetchers) * (settings.get("max_det") or 0)) > limits.detections:
        raise HTTPException(413, f"max_det: {rows} detections are more than the {limits.detections} of one answer")
    return asked, fetchers, settings


def _only(parameters: Parameters, name: str) -> Parameters:
    return {name: parameters[name]} if name in parameters else {}


def _without_files(
    view: memoryview, body: bytes | bytearray, limits: Limits
) -> tuple[bytearray, dict[str, memoryview]]:
    """JSON without its long strings, and these, still as they are written, by what stands in their place."""
    kept = bytearray()
    files: dict[str, memoryview] = {}
    at, end = 0, len(view)
    inside = opened = False  # a string; by the quote right before `at`
    while at < end:
        quote = body.find(b'"', at, end)
        stop = end if quote < 0 else quote
        part = view[at:stop]
        escaped = inside and _ends_in_escape(part)
        if opened and len(part) > _LONG and quote >= 0 and not escaped:
            place = f"\x7f{len(files)}"
            files[place] = part
            part = memoryview(place.encode())
        if len(kept) + len(part) > limits.json:
            raise HTTPException(
                413,
                f"the JSON is longer than {limits.json} bytes, not counting image files in base64; send binary data",
            )
        kept += part
        if quote >= 0:
            kept += b'"'
        if not escaped:
            inside = not inside
        opened = inside and not escaped
        at = stop + 1
    return kept, files


def _ends_in_escape(text: memoryview) -> bool:
    """Whether it ends in an odd number of backslashes."""
    tail = bytes(text[-_LONG:])  # more of them are too many in any string
    return (len(tail) - len(tail.rstrip(b"\\"))) % 2 == 1


def _fetchers(tensor: Tensor, texts: dict[str, memoryview], binary: memoryview, limits: Limits) -> list[Fetch]:
    size = tensor.parameters.get("binary_data_size")
    sent = type(size) is int and size == len(binary)
    if (tensor.data is None) == (size is None) or (size is not None and not sent):
        raise HTTPException(400, f"images: expected either data, or binary_data_size of the {len(binary)} bytes sent")
    if tensor.data is not None and len(binary):
        raise HTTPException(400, f"images: the data stand in the JSON, but {len(binary)} bytes come behind it")
    count = tensor.shape[0] if tensor.datatype == "BYTES" or len(tensor.shape) == 4 else 1
    if count > limits.images:
        raise HTTPException(413, f"images: {count} are more than the {limits.images} of one request")
    if tensor.datatype == "BYTES":
        if tensor.data is None:
            files: list[Fetch] = [partial(decode, file, limits) for file in _split_bytes(binary, limits.images)]
        elif all(isinstance(item, str) for item in tensor.data):
            written = (texts.get(item, memoryview(item.encode())) for item in tensor.data)
            files = [partial(_decode_base64, text, limits) for text in written]
        else:
            raise HTTPException(400, "images: BYTES in JSON are image files in base64")
        if tensor.shape != [len(files)]:
            raise HTTPException(400, f"images: expected shape [{len(files)}], got {tensor.shape}")
        if not files:
            raise HTTPException(400, "images: expected one image or more, got none")
        return files
    if len(tensor.shape) < 3 or tensor.shape[-1] != 3 or 0 in tensor.shape:
        raise HTTPException(400, f"images: expected shape [(count,) height, width, 3], got {tensor.shape}")
    height, width = tensor.shape[-3:-1]
    check_size(height, width, limits)
    flat = np.frombuffer(binary, np.uint8) if tensor.data is None else _pixels(tensor.data, tensor.shape)
    if flat is None or flat.size != count * height * width * 3:
        raise HTTPException(400, f"images: data is not UINT8 of shape {tensor.shape}, whole numbers 0 to 255")
    return [partial(_itself, image) for image in flat.reshape(count, height, width, 3)]


def _pixels(data: list[Any], shape: list[int]) -> npt.NDArray[np.uint8] | None:
    """Numbers of JSON, in one list or nested as `shape` says; None for others than 0 to 255, or another nesting."""
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
    return decode(_from_base64(text), limits)


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


def _from_base64(text: memoryview) -> bytearray:
    """Of a string as JSON writes it, in slices, between which other threads have their turn. ImageError."""
    out = bytearray()
    rest = ""
    at = 0
    try:
        while at < len(text):
            part = bytes(text[at : at + _TEXT])
            cut = part.rfind(b"\\", -_ESCAPE)
            if cut > 0 and at + len(part) < len(text):  # not within an escape
                part = part[:cut]
            at += len(part)
            rest += json.loads(b'"%b"' % part) if b"\\" in part else part.decode("ascii")
            groups = len(rest) - len(rest) % 4 if at < len(text) else len(rest)
            out += base64.b64decode(rest[:groups], validate=True)
            rest = rest[groups:]
    except (ValueError, binascii.Error):
        raise images.ImageError("images: BYTES in JSON are image files in base64") from None
    return out


def parse_form(body: bytearray, content_type: str) -> tuple[memoryview, dict[str, str]]:
    """The file of a form (multipart/form-data), and its text fields. HTTPException for a damaged one."""
    boundary = _parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= 70 or not boundary.isascii():
        raise HTTPException(400, "the form is damaged: no boundary of 1 to 70 characters")
    mark = b"\r\n--" + boundary.encode()
    starts = [len(mark) - 2] if body.startswith(mark[2:]) else []
    for place in _places(body, mark):
        starts.append(place + len(mark))
        if len(starts) > _MAX_PARTS:
            raise HTTPException(400, f"the form has more than {_MAX_PARTS} parts")
    file: memoryview | None = None
    fields: dict[str, str] = {}
    for start, after in pairwise(starts):
        if body[start : start + 2] == b"--":
            break
        end = body.find(b"\r\n\r\n", start, min(after, start + _MAX_PART_HEAD))
        if end < 0:
            raise HTTPException(400, "the form is damaged: the head of a part does not end")
        disposition = _DISPOSITION.search(str(body[start:end], "latin-1"))
        about = _parameters(disposition[1]) if disposition else {}
        content = memoryview(body)[end + 4 : after - len(mark)]
        name = about.get("name")
        if about.keys() & {"filename", "filename*"}:
            if file is not None:
                raise HTTPException(400, "the form holds more than one file")
            file = content
        elif name is None or len(content) > _LONG:
            raise HTTPException(400, f"the form is damaged: a field without a name, or longer than {_LONG} bytes")
        elif name in fields:
            raise HTTPException(400, f"form.{name[:80]}: given twice")
        else:
            fields[name] = str(content, "utf-8", "replace")
    if file is None:
        raise HTTPException(400, "the form holds no file")
    return file, fields


def _parameters(text: str) -> dict[str, str]:
    """Of a header: those after its first semicolon, without quotes."""
    return {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(text)}


def _places(body: bytearray, mark: bytes) -> Iterator[int]:
    """Where `mark` stands, searched in slices, between which other threads have their turn."""
    for at in range(0, len(body), _SLICE):
        place = at - 1
        while (place := body.find(mark, place + 1, at + _SLICE + len(mark) - 1)) >= 0:
            yield place


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
    rows = (found[at : at + _ROWS].to_dict()["detections"] for at in range(0, len(found), _ROWS))
    detections = ", ".join(json.dumps(some)[1:-1] for some in rows)
    rest = json.dumps({"model": name, "ms": round(ms, 2)})[1:-1]
    return f'{{"shape": {json.dumps(found.shape)}, "detections": [{detections}], {rest}}}'.encode()
