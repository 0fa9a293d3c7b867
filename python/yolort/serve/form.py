"""Forms (multipart/form-data) with an image file. The file is not copied out of the body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from fastapi import HTTPException

_SLICE = 1 << 20  # number of bytes that are searched at once
_MAX_PARTS = 16
_MAX_PART_HEAD = 4096  # bytes
_MAX_FIELD = 4096  # bytes
_DISPOSITION = re.compile(r"^content-disposition:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(r';\s*([^=;\s]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)')


def parse_form(body: bytearray, content_type: str) -> tuple[memoryview, dict[str, str]]:
    """The file and the text fields of a form (multipart/form-data). HTTPException if it is damaged."""
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
            raise HTTPException(400, "the form is damaged: the head of a part is not terminated")
        disposition = _DISPOSITION.search(str(body[start:end], "latin-1"))
        about = _parameters(disposition[1]) if disposition else {}
        content = memoryview(body)[end + 4 : after - len(mark)]
        name = about.get("name")
        if about.keys() & {"filename", "filename*"}:
            if file is not None:
                raise HTTPException(400, "the form has more than one file")
            file = content
        elif name is None or len(content) > _MAX_FIELD:
            raise HTTPException(400, f"the form is damaged: a field without a name, or longer than {_MAX_FIELD} bytes")
        elif name in fields:
            raise HTTPException(400, f"form.{name[:80]}: given twice")
        else:
            fields[name] = str(content, "utf-8", "replace")
    if file is None:
        raise HTTPException(400, "the form has no file")
    return file, fields


def _parameters(text: str) -> dict[str, str]:
    """Parameters of a header: the parts after the first semicolon, without quotes."""
    return {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(text)}


def _places(body: bytearray, mark: bytes) -> Iterator[int]:
    """The position of `mark`, searched in slices so that other threads can run in between."""
    for at in range(0, len(body), _SLICE):
        place = at - 1
        while (place := body.find(mark, place + 1, at + _SLICE + len(mark) - 1)) >= 0:
            yield place
