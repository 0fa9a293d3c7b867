"""Reads binary PGM, PPM and PAM, because OpenCV does not scale values by the maximum, reads BLACKANDWHITE as black, and
swaps red and blue in RGB PAM.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

_NEAR = 1 << 16  # a header ends within this many bytes
# Strings, compiled on first use, so that importing yolort stays quick.
_PLAIN = rb"P[23](?:(?:\s|#[^\r\n]*[\r\n])+\d{1,9}){2}(?:\s|#[^\r\n]*[\r\n])+(\d{1,5})\s"
_BINARY = rb"P([56])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})" + rb"\s"
_PAM = rb"(?s)P7\s*\n(.*?\n)?ENDHDR\n"
_FIELD = rb"(?m)^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d{1,9})\s"


def white_of_text(data: memoryview) -> int:
    """The value of white in an ASCII PGM or PPM file as decoded by OpenCV; 0 for the type's maximum."""
    found = re.match(_PLAIN, bytes(data[:_NEAR]))
    white = int(found[1]) if found else 0
    return white if 255 < white < 65535 else 0


def is_binary(data: memoryview) -> bool:
    """Whether `decode` handles this file."""
    return bytes(data[:2]) in (b"P5", b"P6", b"P7")


def decode(data: memoryview, size: tuple[int, int]) -> tuple[npt.NDArray[Any], int] | None:
    """(height, width, 3) BGR with 8 or 16 bits, and the value of white. None if the file is damaged, or its size
    differs from the (width, height) that was checked.
    """
    found = _header(bytes(data[:_NEAR]))
    if found is None:
        return None
    width, height, depth, white, start = found
    kind = np.dtype(np.uint8 if white < 256 else ">u2")
    count = width * height * depth
    if (
        (width, height) != size
        or not count
        or depth > 4
        or not 0 < white < 65536
        or len(data) < start + count * kind.itemsize
    ):
        return None
    pixels = (
        np.frombuffer(data, kind, count, start).reshape(height, width, depth).astype(kind.newbyteorder("="), copy=False)
    )
    return pixels[..., [2, 1, 0] if depth > 2 else [0, 0, 0]], white  # the last of 2 or 4 is alpha


def _header(start: bytes) -> tuple[int, int, int, int, int] | None:
    """Width, height, channels, the value of white, and the offset of the pixels."""
    if found := re.match(_BINARY, start):
        return int(found[2]), int(found[3]), 3 if found[1] == b"6" else 1, int(found[4]), found.end()
    if found := re.match(_PAM, start):
        fields = {name: int(value) for name, value in re.findall(_FIELD, found[1] or b"")}
        if len(fields) == 4:
            return fields[b"WIDTH"], fields[b"HEIGHT"], fields[b"DEPTH"], fields[b"MAXVAL"], found.end()
    return None


def encode_pam(image: npt.NDArray[np.uint8]) -> bytes:
    """Encodes (height, width, 3) BGR as a PAM file."""
    height, width = image.shape[:2]
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    return head.encode() + image[..., ::-1].tobytes()
