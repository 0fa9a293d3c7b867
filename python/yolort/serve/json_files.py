"""Finds base64 image files in JSON without parsing it, and decodes them without copying the text."""

from __future__ import annotations

import base64
import binascii
import json

from fastapi import HTTPException

from yolort import images
from yolort.serve.limits import Limits

_TEXT = 1 << 17  # bytes of base64 decoded at once
_LONG = 4096  # JSON strings of at least this many bytes must be image files
_ESCAPE = 6  # length of the longest JSON escape in bytes


def without_files(view: memoryview, body: bytes | bytearray, limits: Limits) -> tuple[bytearray, dict[str, memoryview]]:
    """JSON with its long strings replaced by placeholders, and the raw strings by placeholder."""
    kept = bytearray()
    files: dict[str, memoryview] = {}
    at, end = 0, len(view)
    inside = opened = False  # whether it is a string, judging by the quote before `at`
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


def from_base64(text: memoryview) -> bytearray:
    """Decodes a raw JSON string in slices so that other threads can run in between. ImageError."""
    out = bytearray()
    rest = ""
    at = 0
    try:
        while at < len(text):
            part = bytes(text[at : at + _TEXT])
            cut = part.rfind(b"\\", -_ESCAPE)
            if cut > 0 and at + len(part) < len(text):  # do not split an escape
                part = part[:cut]
            at += len(part)
            rest += json.loads(b'"%b"' % part) if b"\\" in part else part.decode("ascii")
            groups = len(rest) - len(rest) % 4 if at < len(text) else len(rest)
            out += base64.b64decode(rest[:groups], validate=True)
            rest = rest[groups:]
    except (ValueError, binascii.Error):
        raise images.ImageError("images: BYTES in JSON must be base64-encoded image files") from None
    return out
