"""Converts detections to response bodies in slices, so that no step holds the interpreter for long."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort.classification import Classification
from yolort.detections import Detections
from yolort.serve.limits import Limits, check_masks
from yolort.serve.protocol import VERSION, InferRequest

_NUMBERS = 2048  # that are written at a time


def answer(name: str, asked: InferRequest, found: list[Any], limits: Limits) -> tuple[bytes, int | None]:
    """The body of a response, and the length of its JSON if binary data follows. TooLargeError if its masks exceed the
    limit.
    """
    usual = asked.parameters.get("binary_data_output") is True
    outputs: list[str] = []
    binary: list[bytes] = []
    for output in asked.outputs or ():
        as_binary = output.parameters.get("binary_data", usual) is True
        column: npt.NDArray[Any] | list[str]
        if output.name == "masks":
            column = _masks(found, limits)
            head: dict[str, Any] = {"name": output.name, "datatype": "BYTES", "shape": [len(column)]}
        else:
            column = _column(output.name, found)
            datatype = "INT32" if column.dtype == np.int32 else "FP32"
            head = {"name": output.name, "datatype": datatype, "shape": list(column.shape)}
        if as_binary:
            binary.append(_binary(column))
            outputs.append(json.dumps({**head, "parameters": {"binary_data_size": len(binary[-1])}}))
        else:
            outputs.append(f'{json.dumps(head)[:-1]}, "data": [{_text(column)}]}}')
    head = {"model_name": name, "model_version": VERSION, **({} if asked.id is None else {"id": asked.id})}
    text = f'{json.dumps(head)[:-1]}, "outputs": [{", ".join(outputs)}]}}'.encode()
    return text + b"".join(binary), len(text) if binary else None


def _column(name: str, found: list[Any]) -> npt.NDArray[Any]:
    """A column of all images, concatenated; `counts` is the number of rows per image."""
    if name == "probs":
        return np.stack([classified.probs for classified in found])
    if name == "counts":
        return np.array([len(detections) for detections in found], np.int32)
    return np.concatenate([getattr(detections, name) for detections in found])


def _masks(found: list[Detections], limits: Limits) -> list[str]:
    """Each mask in COCO's JSON format. TooLargeError."""
    out: list[str] = []
    length = 0
    for detections in found:
        assert detections.masks is not None
        for rows in _slices(detections):
            texts = [json.dumps(rle) for rle in detections.masks[rows].rle()]
            length += sum(map(len, texts))
            check_masks(length, limits)
            out += texts
    return out


def _binary(column: npt.NDArray[Any] | list[str]) -> bytes:
    if isinstance(column, list):
        return b"".join(struct.pack("<I", len(text)) + text.encode() for text in column)
    return column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()


def _text(column: npt.NDArray[Any] | list[str]) -> str:
    """Encodes in slices; other threads can run between them."""
    flat: Any = column if isinstance(column, list) else column.ravel()
    parts = (flat[at : at + _NUMBERS] for at in range(0, len(flat), _NUMBERS))
    return ", ".join(json.dumps(part if isinstance(part, list) else part.tolist())[1:-1] for part in parts)


def _slices(found: Detections) -> Iterator[slice]:
    """Number of rows that are written at once."""
    numbers = 16  # bytes of a detection, approximately
    if found.keypoints is not None:
        numbers += found.keypoints[0].size if len(found) else 0
    step = max(_NUMBERS // numbers, 1)
    return (slice(at, at + step) for at in range(0, len(found), step))


def classes_answer(found: Classification, conf: float, name: str, ms: float) -> bytes:
    """The body of an answer to `POST /detect`: the best classes that score above `conf`."""
    classes = [row for row in found.to_dict()["classes"] if row["score"] > conf]
    return json.dumps({"shape": found.shape, "classes": classes, "model": name, "ms": round(ms, 2)}).encode()


def one_answer(found: Detections, name: str, ms: float, limits: Limits) -> bytes:
    """The body of an answer to `POST /detect`. TooLargeError for its masks."""
    parts = []
    masks = 0
    for rows in _slices(found):
        some = found[rows].to_dict()["detections"]
        masks += sum(len(row["mask"]["counts"]) for row in some if "mask" in row)
        check_masks(masks, limits)
        parts.append(json.dumps(some)[1:-1])
    rest = json.dumps({"model": name, "ms": round(ms, 2)})[1:-1]
    return f'{{"shape": {json.dumps(found.shape)}, "detections": [{", ".join(parts)}], {rest}}}'.encode()
