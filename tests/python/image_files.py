"""Image files for tests: every format, unusual files, and files with false headers."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Literal

import numpy as np
import pytest
import yolort
from yolort import images

cv2 = pytest.importorskip("cv2")
pillow = pytest.importorskip("PIL.Image", reason="writes test images; pip install pillow")

COLOR = images.read(yolort.demo_image())[:90, :160].copy()
RGB = COLOR[..., ::-1]
GRAY = cv2.cvtColor(cv2.cvtColor(COLOR, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def encoded(ending: str, image: np.ndarray) -> bytes:
    data: bytes = cv2.imencode(ending, image)[1].tobytes()
    return data


def by_pillow(format: str, **options: object) -> bytes:
    out = io.BytesIO()
    pillow.fromarray(COLOR[..., ::-1]).save(out, format, **options)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bmp(bits: int, masks: tuple[int, ...], pixels: np.ndarray, head: int = 40, compression: int = 3) -> bytes:
    """With BI_BITFIELDS."""
    height, width = pixels.shape[:2]
    rest = struct.pack("<III", *masks) + bytes(head - 40)
    body = pixels[::-1].tobytes()
    info = struct.pack("<IiiHHIIiiII", head, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 26 + head + len(body), 0, 0, 26 + head) + info + rest + body


def tiff_of(pixels: np.ndarray, order: Literal["<", ">"] = "<", **more: int) -> bytes:
    """A TIFF file with one strip; `more`: additional tags by number."""
    height, width, channels = pixels.shape
    bits, kind = pixels.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [2 if channels > 2 else 1], 273: [0],
            277: [channels], 278: [height], 279: [0], 339: [kind] * channels}  # fmt: skip
    tags |= {int(tag[1:]): [value] for tag, value in more.items()}
    body = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = list(body.transpose(2, 0, 1)) if more.get("t284") == 2 else [body]
    tags[273], tags[279] = [0] * len(planes), [plane.size * bits // 8 for plane in planes]
    end = 14 + 12 * len(tags)
    start = end + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [start + sum(tags[279][:index]) for index in range(len(planes))]
    entries, rest = b"", b""
    for tag, values in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}I", *values)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values))
        entries += raw if len(raw) == 4 else struct.pack(f"{order}I", end + len(rest))
        rest += raw if len(raw) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + rest + b"".join(plane.tobytes() for plane in planes)


def animation(width: int, height: int) -> bytes:
    """A WebP animation of one pixel on a canvas."""
    frame = by_frame()
    canvas = (
        b"VP8X" + struct.pack("<IB3x", 10, 2) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    )
    body = b"WEBP" + canvas + b"ANIM" + struct.pack("<I6x", 6)
    body += b"ANMF" + struct.pack("<I16x", 16 + len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def by_frame() -> bytes:
    out = io.BytesIO()
    pillow.new("RGB", (1, 1)).save(out, "WEBP", lossless=True)
    return out.getvalue()[12:]


def tiff(width: int, height: int, tile: int) -> bytes:
    entries = [(256, width), (257, height), (322, tile), (323, tile)]
    return (
        b"II*\0"
        + struct.pack("<IH", 8, len(entries))
        + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in entries)
    )


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an ISO file: JPEG 2000, AVIF, HEIC."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def ispe(side: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, side, side))


def siz(side: int) -> bytes:
    return b"\xff\x4f\xff\x51" + struct.pack(">HH8I", 47, 0, side, side, 0, 0, side, side, 0, 0)


AVIF = box(b"ftyp", b"avif\0\0\0\0mif1avif")
JP2 = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
SOF = b"\0\x11\x08" + struct.pack(">HH", 65_000, 65_000) + bytes(20)
BOMBS = {
    "png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 50_000, 50_000) + bytes(5),
    "jpeg": b"\xff\xd8\xff\xc0" + SOF,
    "jpeg with a comment": b"\xff\xd8\xff\xfe\0\x04ab\xff\xff\xc2" + SOF,
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 30_000, -30_000) + bytes(30),
    "bmp of OS/2": b"BM" + bytes(12) + struct.pack("<IHH", 12, 60_000, 60_000) + bytes(30),
    "gif": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(20),
    "webp": animation(16_383, 16_383),
    "tiff": tiff(60_000, 60_000, 0),
    "a tile of tiff": tiff(16, 16, 16_368),
    "bigtiff": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2)
    + struct.pack("<HHQQ", 256, 4, 1, 60_000) + struct.pack("<HHQQ", 257, 4, 1, 60_000),
    "ppm": b"P6\n# a comment\n50000 50000\n255\n",
    "pfm": b"PF\n50000 50000\n-1.0\n",
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 50000 +X 50000\n",
    "jp2": siz(50_000),
    "avif": AVIF + box(b"meta", bytes(4) + ispe(50_000)),
    # Files in which the decoded data is not the first, or not in the expected place.
    "jp2 behind a decoy": JP2 + box(b"uuid", bytes(16) + siz(8)) + box(b"jp2c", siz(50_000)),
    "jp2 far from the start": JP2 + box(b"free", bytes(1 << 17)) + box(b"jp2c", siz(50_000)),
    "avif behind a decoy": AVIF + box(b"free", ispe(8)) + box(b"meta", bytes(4) + ispe(50_000)),
    "avif far from the start": AVIF + box(b"free", bytes(1 << 17)) + box(b"meta", bytes(4) + ispe(50_000)),
    "avif of another brand": AVIF.replace(b"ftypavif", b"ftypmif1") + box(b"meta", bytes(4) + ispe(50_000)),
    "a track of avif": AVIF + box(b"moov", box(b"tkhd", bytes(76) + struct.pack(">HHHH", 50_000, 0, 50_000, 0))),
    "a comment of ppm": b"P6\n#c\r50000 50000 #\n1 1\n255\n",
    "pam": b"P7\nTUPLTYPE WIDTH 1\nHEIGHT 50000\nWIDTH 50000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
    "a comment of hdr": b"#?RADIANCE\n#-Y 1 +X 1\n-Y 1 +X 1\nFORMAT=32-bit_rle_rgbe\n\n-Y 50000 +X 50000\n",
    "stray bytes of jpeg": b"\xff\xd8xx\xff\xc0" + SOF,
    "a stuffed byte of jpeg": b"\xff\xd8\xff\0\0\x19\xff\xc0" + SOF + b"\xff\xc0\0\x11\x08\0\x08\0\x08",
    "a segment of jpeg without a length": b"\xff\xd8\xff\xe0\0\0\xff\xc0" + SOF,
}  # fmt: skip
