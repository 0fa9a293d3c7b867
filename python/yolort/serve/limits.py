"""Limits of a server: bodies and images that exceed them are refused before they cost memory or time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from fastapi import HTTPException

from yolort import _image_header
from yolort.images import ImageError

_PIECE = 65_536  # bytes passed to the decompressor at once
_SLICE = 1 << 18  # bytes decompressed or searched before other threads can run
_FORMATS = {"bmp": "BMP", "jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
_MAX_SCANS = 100  # scans of a progressive JPEG, each of which covers the whole image
_MAX_SCANNED = 10**9  # pixels of all of them
_MAX_TEXTS = 32  # compressed texts of a PNG, each inflated to at most 8 MB
_MAX_CHUNKS = 100_000
_MAX_MEMBERS = 1000  # members of a gzip file; an empty one takes 20 bytes


@dataclass(frozen=True)
class Limits:
    """Limits of a server; docs/guide/serving.md states the resulting memory.

    Attributes:
        body: bytes of a request, before and after decompression; more is 413.
        pixels: of an image, told by its header before it is decoded; more is 413.
        images: of one inference request; more is 413.
        json: bytes of the JSON of a request, not counting image files in base64; more is 413.
        values: numbers, lists and objects in the JSON of a request; more is 413. Pixels are sent as binary data.
        detections: of one answer (images x `max_det`); more asked for is 413.
        masks: bytes of all masks of one answer, both as bits and as text; more is 413.
        requests: maximum number of concurrent POST requests, until their answers are read; more are 429.
        connections: maximum number of simultaneous connections; a new one closes the oldest without a pending request.
        seconds: for the head of a request, its body, and the answer to be read, each; longer is 408, or the end of the
            connection.
    """

    body: int = 20 * 2**20
    pixels: int = 50_000_000
    images: int = 32
    json: int = 2**20
    values: int = 100_000
    detections: int = 100_000
    masks: int = 64 * 2**20
    requests: int = 64
    connections: int = 1000
    seconds: float = 30.0


def too_long(limits: Limits) -> str:
    """The message of a 413 response."""
    return f"the body is longer than {limits.body} bytes"


def whole(text: str, maximum: int) -> int | None:
    """A number in a header, 0 to `maximum`; None for any other text."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else -1
    return number if 0 <= number <= maximum else None


def inflated(body: bytearray, encoding: str, limits: Limits) -> bytearray:
    """Decodes the Content-Encoding of a body. HTTPException for encodings other than gzip and deflate, and beyond the
    limit.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise HTTPException(415, f"Content-Encoding is {encoding[:40]!r}, expected gzip or deflate")
    wbits = zlib.MAX_WBITS | 32  # zlib or gzip, detected by the header
    inflate = zlib.decompressobj(wbits)
    out = bytearray()
    members = 1
    try:
        for at in range(0, len(body), _PIECE):
            rest = bytes(body[at : at + _PIECE])
            while rest:
                if inflate.eof:  # a gzip body may have several members
                    members += 1
                    inflate = zlib.decompressobj(wbits)
                out += inflate.decompress(rest, _SLICE)
                rest = inflate.unused_data or inflate.unconsumed_tail
                if len(out) > limits.body or members > _MAX_MEMBERS:
                    raise HTTPException(413, too_long(limits))
    except zlib.error as reason:
        raise HTTPException(400, f"the body is not compressed as its Content-Encoding says: {reason}") from None
    if not inflate.eof:
        raise HTTPException(400, "the compressed body ends too early")
    return out


class TooLargeError(ImageError):
    """An image of more pixels than the server decodes."""


def check_pixels(data: bytes | bytearray | memoryview, limits: Limits) -> None:
    """Checks the header: ImageError if it is not an image, TooLargeError if it is too large to decode."""
    header = _image_header.read(memoryview(data))
    if header is None or header.format not in _FORMATS:
        raise ImageError(f"the image is empty, damaged or not one of {', '.join(_FORMATS.values())}")
    check_size(header.height, header.width, limits)
    if header.format == "jpeg":
        max_scans = min(_MAX_SCANS, _MAX_SCANNED // max(header.height * header.width, 1))
        scans = 0
        for at in range(0, len(data), _SLICE):
            scans += bytes(data[at : at + _SLICE + 1]).count(b"\xff\xda")
            if scans > max_scans:
                raise TooLargeError(f"the image has more than {max_scans} scans")
    if header.format == "png":
        texts = 0  # decoders inflate each one to megabytes
        for count, (kind, _) in enumerate(_image_header.png_chunks(data)):
            texts += kind in (b"zTXt", b"iTXt", b"tEXt")
            if texts > _MAX_TEXTS or count > _MAX_CHUNKS:
                raise TooLargeError(f"the image has more than {_MAX_TEXTS} text chunks, or {_MAX_CHUNKS} chunks")


def check_size(height: int, width: int, limits: Limits) -> None:
    """TooLargeError for more pixels than allowed."""
    if height * width > limits.pixels:
        raise TooLargeError(f"the image has {width} x {height} pixels, more than the {limits.pixels} allowed")


def check_masks(length: int, limits: Limits) -> None:
    """TooLargeError if the masks take more bytes than one response may have."""
    if length > limits.masks:
        raise TooLargeError(
            f"the masks take {length} bytes, more than the {limits.masks} of one response; ask for fewer with "
            "max_det or "
            "conf, or send smaller images"
        )
