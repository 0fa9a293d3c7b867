"""Detections to the bodies of answers, in slices: none of the steps holds the interpreter for long."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort.detections import Detections
from yolort.serve.protocol import OUTPUTS, VERSION, InferRequest, Output

_NUMBERS = 2048  # that are written at once
_ROWS = 128  # detections that are written at once


def columns(found: list[Detections]) -> dict[str, npt.NDArray[Any]]:
    """Columns of all images one after the other; `counts` says how many rows are of each."""
    return {
        "counts": np.array([len(detections) for detections in found], np.int32),
        "boxes": np.concatenate([detections.boxes for detections in found]),
        "scores": np.concatenate([detections.scores for detections in found]),
        "classes": np.concatenate([detections.classes for detections in found]),
    }


def answer(name: str, asked: InferRequest, found: list[Detections]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if binary data follow it."""
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
