"""The size of an image from the first bytes of its file: bounded work, whatever the bytes are, and nothing decoded.

Each reader gives (width, height) in pixels of the largest buffer that decoding fills, or None if the bytes are not of
its format or end too early.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

Size: TypeAlias = "tuple[int, int] | None"

_MAX_MARKERS = 4096  # of a JPEG file before its size
_MAX_ENTRIES = 512  # of a directory of a TIFF file
_NEAR = 1 << 16  # bytes from the start in which other formats have their size


class Header(NamedTuple):
    """What an image file is."""

    format: str  #: "jpeg", "png", ...
    width: int  #: pixels
    height: int


def read(data: bytes | memoryview) -> Header | None:
    """The header of an image file; None for an unknown format, or one without a size."""
    view = memoryview(data)
    start = bytes(view[:16])
    for name, fits, size in _READERS:
        if fits(start):
            found = size(view)
            return Header(name, *found) if found else None
    return None


def _at(data: memoryview, offset: int, layout: str) -> tuple[int, ...] | None:
    size = struct.calcsize(layout)
    return struct.unpack(layout, data[offset : offset + size]) if len(data) >= offset + size else None


def _pair(data: memoryview, offset: int, layout: str, turned: bool = False) -> Size:
    found = _at(data, offset, layout)
    if found is None:
        return None
    first, second = abs(found[0]), abs(found[1])
    return (second, first) if turned else (first, second)


def _jpeg(data: memoryview) -> Size:
    """Segments are skipped by their lengths up to the frame header (SOF)."""
    at, end = 2, len(data)
    for _ in range(_MAX_MARKERS):
        if at + 4 > end or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte; at most as many as markers
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _pair(data, at + 5, ">HH", turned=True)
        if marker in (0xD9, 0xDA):
            return None
        length = data[at + 2] << 8 | data[at + 3]
        at += 2 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else 2 + length
    return None


def _png(data: memoryview) -> Size:
    return _pair(data, 16, ">II") if bytes(data[12:16]) == b"IHDR" else None


def _gif(data: memoryview) -> Size:
    return _pair(data, 6, "<HH")


def _bmp(data: memoryview) -> Size:
    header = _at(data, 14, "<I")
    return None if header is None else _pair(data, 18, "<HH" if header[0] == 12 else "<ii")


def _webp(data: memoryview) -> Size:
    kind = bytes(data[12:16])
    if kind == b"VP8X" and len(data) >= 30:  # the canvas, also of an animation
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    found = _pair(data, 26, "<HH") if kind == b"VP8 " else None
    return (found[0] & 0x3FFF, found[1] & 0x3FFF) if found else None


def _tiff(data: memoryview) -> Size:
    """Of the first directory: the image, or a tile of it where that is larger."""
    order = "<" if bytes(data[:2]) == b"II" else ">"
    big = bytes(data[2:4]) in (b"\x2b\0", b"\0\x2b")
    start = _at(data, 8 if big else 4, f"{order}{'Q' if big else 'I'}")
    count = start and _at(data, start[0], f"{order}{'Q' if big else 'H'}")
    if not start or not count or count[0] > _MAX_ENTRIES:
        return None
    tags: dict[int, int] = {}
    for index in range(count[0]):
        entry = start[0] + (8 + 20 * index if big else 2 + 12 * index)
        head = _at(data, entry, f"{order}HH")
        if head is None:
            return None
        layout = {3: "H", 4: "I", 16: "Q"}.get(head[1])
        value = layout and _at(data, entry + (12 if big else 8), order + layout)
        if value:
            tags.setdefault(head[0], value[0])
    if 256 not in tags or 257 not in tags:
        return None
    image, tile = (tags[256], tags[257]), (tags.get(322, 0), tags.get(323, 0))
    return max(image, tile, key=lambda size: size[0] * size[1])


def _jpeg2000(data: memoryview) -> Size:
    """Of the codestream: its grid, or a tile of that where it is larger."""
    at = bytes(data[:_NEAR]).find(b"\xff\x4f\xff\x51")
    found = _at(data, at + 8, ">8I") if at >= 0 else None
    return max((found[0], found[1]), (found[4], found[5]), key=lambda size: size[0] * size[1]) if found else None


def _heif(data: memoryview) -> Size:
    """AVIF and HEIC: the largest of its items."""
    sizes = [struct.unpack(">II", found[1]) for found in re.finditer(rb"ispe\0{4}(.{8})", data[:_NEAR], re.DOTALL)]
    return max(((size[0], size[1]) for size in sizes), key=lambda size: size[0] * size[1], default=None)


def _netpbm(data: memoryview) -> Size:
    """PBM, PGM, PPM, PFM; and PAM."""
    text = re.sub(rb"#[^\n]*", b"", bytes(data[:1024]))
    found = re.match(rb"P[1-6Ff]\s+(\d{1,9})\s+(\d{1,9})\s", text)
    if found is None and text.startswith(b"P7"):
        found = re.search(rb"WIDTH\s+(\d{1,9})\s+HEIGHT\s+(\d{1,9})\s", text)
    return found and (int(found[1]), int(found[2]))


def _hdr(data: memoryview) -> Size:
    found = re.search(rb"[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n", data[:_NEAR])
    return found and (int(found[2]), int(found[1]))


def _sun(data: memoryview) -> Size:
    return _pair(data, 4, ">II")


def orientation(data: bytes | memoryview) -> tuple[int, int | None] | None:
    """How an AVIF file says that it is turned: quarter turns anticlockwise, and then mirrored along an axis (0: upside
    down, 1: left to right; None: not). None where it does not say.
    """
    near = bytes(memoryview(data)[:_NEAR])
    turn, mirror = re.search(rb"\0\0\0\x09irot(.)", near, re.DOTALL), re.search(rb"\0\0\0\x09imir(.)", near, re.DOTALL)
    if turn is None and mirror is None:
        return None
    return (turn[1][0] & 3 if turn else 0), (mirror[1][0] & 1 if mirror else None)


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(beginnings)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    return lambda start: start[4:8] == b"ftyp" and start[8:12] in brands


_READERS: tuple[tuple[str, Callable[[bytes], bool], Callable[[memoryview], Size]], ...] = (
    ("jpeg", _starts(b"\xff\xd8"), _jpeg),
    ("png", _starts(b"\x89PNG\r\n\x1a\n"), _png),
    ("webp", lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP", _webp),
    ("gif", _starts(b"GIF8"), _gif),
    ("bmp", _starts(b"BM"), _bmp),
    ("tiff", _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    ("avif", _brand(b"avif", b"avis"), _heif),
    ("heic", _brand(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), _heif),
    ("jp2", _starts(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), _jpeg2000),
    ("pfm", _starts(b"PF", b"Pf"), _netpbm),
    ("pnm", _starts(b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7"), _netpbm),
    ("hdr", _starts(b"#?RADIANCE", b"#?RGBE"), _hdr),
    ("ras", _starts(b"\x59\xa6\x6a\x95"), _sun),
)
