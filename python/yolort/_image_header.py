"""Reads the size and pixel layout of an image from the first bytes of its file, with bounded work for any bytes, and
without decoding.

Each reader returns (width, height) in pixels of the largest buffer that decoding fills, or None if the bytes have
another format or end too early.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from yolort._netpbm import white_of_text

Size: TypeAlias = "tuple[int, int] | None"

_MAX_MARKERS = 4096  # maximum number of JPEG markers before the size
_MAX_ENTRIES = 512  # in a directory of a TIFF file
_MAX_BOXES = 1024  # in an ISO file, or in one of its boxes
_NEAR = 1 << 16  # other formats have their size within this many bytes
_DESCRIPTION = 1 << 20  # bytes of the box that describes an AVIF or HEIC file


class Header(NamedTuple):
    """Format and size of an image file."""

    format: str  #: "jpeg", "png", ...
    width: int  #: pixels
    height: int


def read(data: bytes | memoryview) -> Header | None:
    """The header of an image file; None for an unknown format, or one without a size."""
    view = memoryview(data)
    start = bytes(view[:64])
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
    """Skips segments by their lengths, like libjpeg, up to the frame header (SOF)."""
    at, end = 2, len(data)
    for _ in range(_MAX_MARKERS):
        if at + 4 > end:
            return None
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # a stray or fill byte; limited like markers
            at += 1
            continue
        if marker == 0:
            at += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _pair(data, at + 5, ">HH", turned=True)
        if marker in (0xD9, 0xDA):
            return None
        length = data[at + 2] << 8 | data[at + 3]
        at += 2 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else 2 + max(length, 2)
    return None


def _png(data: memoryview) -> Size:
    return _pair(data, 16, ">II") if bytes(data[12:16]) == b"IHDR" else None


def png_chunks(data: bytes | bytearray | memoryview) -> Iterator[tuple[bytes, bool]]:
    """Kind of each chunk of a PNG file up to IEND, and whether it ends within the file."""
    at = 8
    while at + 8 <= len(data):
        kind = bytes(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        yield kind, at <= len(data)
        if kind == b"IEND":
            return


def _gif(data: memoryview) -> Size:
    return _pair(data, 6, "<HH")


def _bmp(data: memoryview) -> Size:
    header = _at(data, 14, "<I")
    return None if header is None else _pair(data, 18, "<HH" if header[0] == 12 else "<ii")


def _webp(data: memoryview) -> Size:
    kind = bytes(data[12:16])
    if kind == b"VP8X" and len(data) >= 30:  # the canvas, also for an animation
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    found = _pair(data, 26, "<HH") if kind == b"VP8 " else None
    return (found[0] & 0x3FFF, found[1] & 0x3FFF) if found else None


class _Entry(NamedTuple):
    """Of a directory of a TIFF file."""

    tag: int
    values: int
    value: int | None  #: the first value; None if it is not a whole number


def _directory(data: memoryview) -> list[_Entry] | None:
    """The first directory of a TIFF file."""
    order = "<" if bytes(data[:2]) == b"II" else ">"
    big = bytes(data[2:4]) in (b"\x2b\0", b"\0\x2b")
    offset = f"{order}{'Q' if big else 'I'}"
    start = _at(data, 8 if big else 4, offset)
    count = start and _at(data, start[0], f"{order}{'Q' if big else 'H'}")
    if not start or not count or count[0] > _MAX_ENTRIES:
        return None
    types = {3: "H", 4: "I", 16: "Q"} if big else {3: "H", 4: "I"}
    out = []
    for index in range(count[0]):
        entry = start[0] + (8 + 20 * index if big else 2 + 12 * index)
        head = _at(data, entry, f"{order}HH{'Q' if big else 'I'}")
        if head is None:
            return None
        tag, kind, many = head
        layout, at = order + types.get(kind, "H"), entry + (12 if big else 8)
        if many * struct.calcsize(layout) > struct.calcsize(offset):  # the values are stored elsewhere
            at = (_at(data, at, offset) or (len(data),))[0]
        value = _at(data, at, layout) if kind in types else None
        out.append(_Entry(tag, many, value[0] if value else None))
    return out


def _tiff(data: memoryview) -> Size:
    """From the first directory: the size of the image, or of its tiles if they are larger."""
    entries = _directory(data)
    if entries is None:
        return None
    tags: dict[int, int] = {}
    for tag, count, value in entries:
        if tag in (256, 257, 322, 323):
            if value is None or count != 1:  # no encoder writes a size in this way
                return None
            tags.setdefault(tag, value)
    if 256 not in tags or 257 not in tags:
        return None
    image, tile = (tags[256], tags[257]), (tags.get(322, 0), tags.get(323, 0))
    return max(image, tile, key=lambda size: size[0] * size[1])


def _boxes(data: memoryview, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an ISO file (JPEG 2000, AVIF, HEIC): the kind of each, and where its content starts and ends."""
    for _ in range(_MAX_BOXES):
        head = _at(data, at, ">I4s")
        if head is None or at + 8 > end:
            return
        size, start = head[0], at + 8
        if size == 1:
            large = _at(data, start, ">Q")
            if large is None:
                return
            size, start = large[0], start + 8
        stop = at + size if size else end
        if stop < start:
            return
        yield bytes(data[at + 4 : at + 8]), start, min(stop, end)
        at = stop


def _jpeg2000(data: memoryview) -> Size:
    """From the codestream: the size of the grid, or of its tiles if they are larger."""
    at = 0
    if bytes(data[4:8]) == b"jP  ":
        at = next((start for kind, start, _ in _boxes(data, 0, len(data)) if kind == b"jp2c"), len(data))
    found = _at(data, at + 8, ">8I") if bytes(data[at : at + 4]) == b"\xff\x4f\xff\x51" else None
    return max((found[0], found[1]), (found[4], found[5]), key=lambda size: size[0] * size[1]) if found else None


def _description(data: memoryview) -> bytes:
    """The boxes of an AVIF or HEIC file that describe its items and tracks; each kind may occur only once."""
    places: dict[bytes, tuple[int, int]] = {}
    for kind, at, end in _boxes(data, 0, len(data)):
        places.setdefault(kind, (at, min(end, at + _DESCRIPTION)))
    return b"".join(bytes(data[slice(*places[kind])]) for kind in (b"meta", b"moov") if kind in places)


# Strings, compiled on first use, so that importing yolort stays quick.
_ITEM = rb"(?s)ispe\x00{4}(.{4})(.{4})"
_TRACK = rb"(?s)tkhd(?:\x00.{75}|\x01.{87})(..)..(..)"
_SAMPLES = rb"(?s)stsd.{40}(..)(..)"


def _heif(data: memoryview) -> Size:
    """AVIF and HEIC: the size of the largest item or track."""
    described = _description(data)
    sizes = [
        (int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big"))
        for pattern in (_ITEM, _TRACK, _SAMPLES)
        for found in re.finditer(pattern, described)
    ]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _netpbm(data: memoryview) -> Size:
    """PBM, PGM, PPM, PFM; and PAM."""
    text = re.sub(rb"#[^\r\n]*", b"", bytes(data[:_NEAR]))
    if text.startswith(b"P7"):
        width, height = (re.findall(rb"(?m)^%b\s+(\d{1,9})\s" % side, text) for side in (b"WIDTH", b"HEIGHT"))
        return (max(map(int, width)), max(map(int, height))) if width and height else None
    found = re.match(rb"P[1-6Ff]\s+(\d{1,9})\s+(\d{1,9})\s", text)
    return found and (int(found[1]), int(found[2]))


def _hdr(data: memoryview) -> Size:
    """The line after the first empty line."""
    found = re.match(rb"-Y (\d{1,9}) \+X (\d{1,9})\n", bytes(data[:_NEAR]).partition(b"\n\n")[2])
    return found and (int(found[2]), int(found[1]))


def _sun(data: memoryview) -> Size:
    return _pair(data, 4, ">II")


def orientation(data: bytes | memoryview) -> tuple[int, int | None] | None:
    """Orientation of an AVIF file: the number of counterclockwise quarter turns, and the axis it is then mirrored along
    (0: upside down, 1: left to right, None: not mirrored). None if the file has no orientation.
    """
    described = _description(memoryview(data))
    turn, mirror = (re.search(rb"\0\0\0\x09%b(.)" % kind, described, re.DOTALL) for kind in (b"irot", b"imir"))
    if turn is None and mirror is None:
        return None
    return (turn[1][0] & 3 if turn else 0), (mirror[1][0] & 1 if mirror else None)


class Layout(NamedTuple):
    """Pixel properties in a file's header that OpenCV ignores."""

    white: int = 0  #: integer value of white, if no pixel exceeds it; 0: the type's maximum
    channels: tuple[int, int, int] = (0, 1, 2)  #: order of the channels that OpenCV reads as blue, green, red
    inverted: bool = False  #: 0 is white, with more than 8 bits
    multiplied: bool = False  #: OpenCV multiplies the colors by the alpha
    unusual: bool = False  #: OpenCV may not read such pixels
    refused: bool = False  #: OpenCV reads such pixels wrongly


def layout(format: str, data: bytes | memoryview) -> Layout:
    """The pixel layout of a file whose format was determined by `read`."""
    found = _LAYOUTS.get(format)
    return found(memoryview(data)) if found else Layout()


def _layout_of_png(data: memoryview) -> Layout:
    """With sBIT: some writers store the significant bits in the low bits instead of the high ones."""
    at, color = 33, data[25] if len(data) > 25 else 0
    for _ in range(_MAX_BOXES if len(data) > 24 and data[24] == 16 else 0):
        length, kind = _at(data, at, ">I"), bytes(data[at + 4 : at + 8])
        if length is None or kind in (b"IDAT", b"PLTE"):
            break
        if kind == b"sBIT":
            bits = max(bytes(data[at + 8 : at + 8 + min(length[0], 3 if color & 2 else 1)]), default=16)
            return Layout(white=2**bits - 1 if bits < 16 else 0)
        at += 12 + length[0]
    return Layout()


_BYTES = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2}  # BMP color masks by the byte that they select


def _layout_of_bmp(data: memoryview) -> Layout:
    head, masks = _at(data, 14, "<I10xHI"), _at(data, 54, "<III")
    if head is None or masks is None or head[0] < 40 or head[1] not in (16, 32) or head[2] not in (3, 6):
        return Layout()
    if head[1] == 16:
        return Layout(refused=masks not in ((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)))
    if head[0] >= 56:  # OpenCV uses the masks that are part of the header
        return Layout()
    red, green, blue = masks
    if {red, green, blue} != _BYTES.keys():
        return Layout(refused=True)
    return Layout(channels=(_BYTES[blue], _BYTES[green], _BYTES[red]))


def _layout_of_tiff(data: memoryview) -> Layout:
    tags: dict[int, int] = {}
    for tag, _, value in _directory(data) or []:
        if value is not None:
            tags.setdefault(tag, value)
    bits, photometric, samples = tags.get(258, 1), tags.get(262, 1), tags.get(277, 1)
    kind = tags.get(339, 1)
    usual = (kind == 1 and bits <= 16 and samples <= 4 and not (photometric == 5 and bits > 8)) or (
        kind == 3 and bits in (32, 64) and samples in (1, 3)
    )
    return Layout(
        inverted=photometric == 0 and bits > 8,
        multiplied=bits == 8 and samples == 4 and photometric == 2 and tags.get(338) == 2,
        unusual=not usual,
        refused=bits > 8 and samples > 1 and tags.get(284) == 2,
    )


_LAYOUTS: dict[str, Callable[[memoryview], Layout]] = {
    "bmp": _layout_of_bmp,
    "png": _layout_of_png,
    "pnm": lambda data: Layout(white=white_of_text(data)),
    "tiff": _layout_of_tiff,
}


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(beginnings)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    """Whether the file's brand or one of its compatible brands is among these."""
    return lambda start: (
        start[4:8] == b"ftyp"
        and any(start[at : at + 4] in brands for at in (8, *range(16, int.from_bytes(start[:4], "big"), 4)[:12]))
    )


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
