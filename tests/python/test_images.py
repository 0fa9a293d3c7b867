"""Image files: which are read, what they become, and what they may cost."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from yolort import _image_header, images

cv2 = pytest.importorskip("cv2")
pillow = pytest.importorskip("PIL.Image", reason="writes test images; pip install pillow")

COLOR = images.read(yolort.demo_image())[:90, :160].copy()
GRAY = cv2.cvtColor(cv2.cvtColor(COLOR, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def encoded(ending: str, image: np.ndarray) -> bytes:
    data: bytes = cv2.imencode(ending, image)[1].tobytes()
    return data


def by_pillow(format: str, **options: object) -> bytes:
    out = io.BytesIO()
    pillow.fromarray(COLOR[..., ::-1]).save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("ending", "most"),
    [(".bmp", 0), (".png", 0), (".tiff", 0), (".ppm", 0), (".ras", 0), (".jp2", 1), (".jpg", 3),
     (".webp", 3), (".avif", 4), (".gif", 30)],
)  # fmt: skip
def test_what_is_read(ending: str, most: float, tmp_path: Path) -> None:
    if ending not in images.endings():
        pytest.skip(f"this OpenCV does not read {ending}")
    data = encoded(ending, COLOR)
    header = _image_header.read(data)
    assert header is not None
    assert (header.width, header.height) == (160, 90)
    (tmp_path / f"x{ending}").write_bytes(data)
    (found,) = images.find(tmp_path)
    assert np.abs(images.read(found).astype(int) - COLOR).mean() <= most


def test_endings_of_one_format(tmp_path: Path) -> None:
    for ending, kinds in {
        ".jpg": ".jfif .jpe .mpo .pjpeg .pjp .JPG",
        ".png": ".apng",
        ".jp2": ".jpeg2000 .jpf .jpx",
        ".hdr": ".rgbe",
    }.items():
        for kind in kinds.split():
            (tmp_path / f"x{kind}").write_bytes(encoded(ending, COLOR))
    (tmp_path / "x.j2k").write_bytes(encoded(".jp2", COLOR).partition(b"jp2c")[2])
    found = images.find(tmp_path)
    assert len(found) == 12
    assert all(images.read(path).shape == COLOR.shape for path in found)


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(".jpg", COLOR))
    for name in ("b.cr2", "c.psd", "notes.txt", "labels.json"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"left out 2 image\(s\) of kinds that are not read here \(\.cr2, \.psd\)$"):
        assert len(images.find(tmp_path)) == 1
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no images.*left out 2 image"):
        images.find(tmp_path)


def test_heic_needs_its_package(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + box(b"meta", ispe(64))
    (tmp_path / "a.heic").write_bytes(heic)
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        with pytest.raises(FileNotFoundError, match="pip install pillow-heif"):
            images.find(tmp_path)
        with pytest.raises(yolort.ImageError, match="is HEIC.*pip install pillow-heif"):
            images.read(tmp_path / "a.heic")
    else:
        with pytest.raises(yolort.ImageError, match="cannot be decoded"):
            images.read(tmp_path / "a.heic")


def test_heic_without_color() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pip install pillow-heif")
    out = io.BytesIO()
    heif.from_pillow(pillow.fromarray(GRAY[..., 0])).save(out, quality=100)
    assert np.abs(images.decode(out.getvalue()).astype(int) - GRAY).mean() < 2


@pytest.mark.parametrize("ending", [".png", ".tiff", ".ppm"])
def test_sixteen_bits(ending: str) -> None:
    np.testing.assert_array_equal(images.decode(encoded(ending, COLOR.astype(np.uint16) * 257)), COLOR)
    with pytest.raises(yolort.ImageError, match="16 bits, but no pixel above 2.. of 65535; save it with 8 bits"):
        images.decode(encoded(ending, COLOR.astype(np.uint16)))  # it would be black
    assert not images.decode(encoded(ending, np.zeros((4, 4, 3), np.uint16))).any()


@pytest.mark.parametrize("ending", [".pfm", ".tiff"])
def test_fractions_up_to_255_are_refused(ending: str) -> None:
    with pytest.raises(yolort.ImageError, match="most are above 1, which is white; save it with 8 bits"):
        images.decode(encoded(ending, COLOR.astype(np.float32)))


def test_deep_tiff_without_color() -> None:
    gray = GRAY[..., 0]
    np.testing.assert_array_equal(images.decode(encoded(".tiff", gray.astype(np.float32) / 255)), GRAY)
    with pytest.raises(yolort.ImageError, match="pixels of int32, which are not read"):
        images.decode(encoded(".tiff", gray.astype(np.int32)))


@pytest.mark.parametrize("ending", [".pfm", ".tiff", ".hdr"])
def test_fractions_are_not_black(ending: str) -> None:
    found = images.decode(encoded(ending, COLOR.astype(np.float32) / 255))
    assert np.abs(found.astype(int) - COLOR).max() <= (6 if ending == ".hdr" else 0)
    odd = np.full((4, 4, 3), np.nan, np.float32)
    odd[0] = 7.0
    assert images.decode(encoded(".tiff", odd)).max(axis=(1, 2)).tolist() == [255, 0, 0, 0]


RGB = COLOR[..., ::-1]


def netpbm(kind: str, pixels: np.ndarray, white: int) -> bytes:
    """As netpbm writes: P2, P3 in digits, P5, P6 in bytes, P7 (PAM) with channels."""
    height, width, channels = pixels.shape
    if kind == "P7":
        head = f"P7\n# a note\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {white}\nTUPLTYPE RGB\nENDHDR\n"
    else:
        head = f"{kind}\n# a note\n{width} {height}\n{white}\n"
    if kind in ("P2", "P3"):
        return (head + " ".join(map(str, pixels.ravel())) + "\n").encode()
    return head.encode() + pixels.astype(np.uint8 if white < 256 else ">u2").tobytes()


@pytest.mark.parametrize("white", [1, 15, 100, 255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6", "P7"])
def test_white_of_netpbm(kind: str, white: int) -> None:
    pixels = (RGB.astype(np.uint32) * white + 127) // 255
    pixels = pixels[..., 1:2] if kind in ("P2", "P5") else pixels
    wanted = np.broadcast_to(np.round(pixels * 255 / white), RGB.shape)[..., ::-1]
    found = images.decode(netpbm(kind, pixels, white))
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_of_pam(channels: int, white: int) -> None:
    alpha = np.full((*RGB.shape[:2], 1), 7, np.uint8)
    pixels = {1: RGB[..., :1], 2: np.dstack([RGB[..., :1], alpha]), 3: RGB, 4: np.dstack([RGB, alpha])}[channels]
    found = images.decode(netpbm("P7", pixels.astype(np.uint32) * (white // 255), white))
    np.testing.assert_array_equal(found, COLOR if channels > 2 else np.broadcast_to(RGB[..., :1], RGB.shape))


def test_pam_that_is_written(tmp_path: Path) -> None:
    images.write(tmp_path / "x.pam", COLOR)
    assert (tmp_path / "x.pam").read_bytes().partition(b"ENDHDR\n")[2].startswith(RGB.tobytes())
    np.testing.assert_array_equal(images.read(tmp_path / "x.pam"), COLOR)


def test_netpbm_that_is_damaged() -> None:
    for data in (netpbm("P6", RGB, 255)[:-1], netpbm("P7", RGB, 255)[:-1], b"P6\n4 4\n0\n" + bytes(48),
                 b"P6\n4 4\n70000\n" + bytes(96), b"P7\nWIDTH 4\nHEIGHT 4\nENDHDR\n" + bytes(48),
                 b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 5\nMAXVAL 255\nENDHDR\n" + bytes(20)):  # fmt: skip
        with pytest.raises(yolort.ImageError, match="empty, damaged or of an unknown format"):
            images.decode(data)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_sbit_of_png(bits: int) -> None:
    low = COLOR.astype(np.uint16) << (bits - 8)
    high = (low << (16 - bits)).astype(np.uint16)  # as the standard has it
    for pixels in (low, high, low[..., 0], high[..., 0]):
        data = encoded(".png", pixels)
        data = data[:33] + chunk(b"sBIT", bytes([bits] * (3 if pixels.ndim == 3 else 1))) + data[33:]
        wanted = COLOR if pixels.ndim == 3 else np.broadcast_to(COLOR[..., :1], COLOR.shape)
        assert np.abs(images.decode(data).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bits_that_are_almost_black_are_told(ending: str) -> None:
    with pytest.warns(
        UserWarning, match="16 bits, but no pixel above 4080 of 65535: it is almost black; save it with 8"
    ):
        images.decode(encoded(ending, np.full((8, 8, 3), 4080, np.uint16)))
    images.decode(encoded(ending, np.full((8, 8, 3), 20_000, np.uint16)))


def bmp(bits: int, masks: tuple[int, ...], pixels: np.ndarray, head: int = 40, compression: int = 3) -> bytes:
    """With BI_BITFIELDS."""
    height, width = pixels.shape[:2]
    rest = struct.pack("<III", *masks) + bytes(head - 40)
    body = pixels[::-1].tobytes()
    info = struct.pack("<IiiHHIIiiII", head, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 26 + head + len(body), 0, 0, 26 + head) + info + rest + body


@pytest.mark.parametrize("head", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("order", ["bgr", "rgb", "gbr", "grb"])
def test_masks_of_bmp(order: str, head: int) -> None:
    pixels = np.zeros((*COLOR.shape[:2], 4), np.uint8)
    for at, channel in enumerate(order):
        pixels[..., at] = COLOR[..., "bgr".index(channel)]
    masks = tuple(0xFF << 8 * order.index(channel) for channel in "rgb")
    np.testing.assert_array_equal(images.decode(bmp(32, masks, pixels, head)), COLOR)


def test_masks_of_bmp_that_are_not_read() -> None:
    small = (COLOR.astype(np.uint16) >> 3) @ np.array([1, 32, 1024], np.uint16)
    assert np.abs(images.decode(bmp(16, (0x7C00, 0x3E0, 0x1F), small)).astype(int) - COLOR).max() < 8
    for bits, masks in ((32, (0xFF000000, 0xFF0000, 0xFF00)), (32, (0x3FF00000, 0xFFC00, 0x3FF)), (32, (255, 255, 255)),
                        (16, (0x1F, 0x7E0, 0xF800)), (16, (0xF00, 0xF0, 0xF))):  # fmt: skip
        pixels = small if bits == 16 else np.dstack([COLOR, COLOR[..., :1]])
        with pytest.raises(yolort.ImageError, match="its pixel type cannot be read; save it as 8-bit PNG"):
            images.decode(bmp(bits, masks, pixels))


def tiff_of(pixels: np.ndarray, order: str = "<", **more: int) -> bytes:
    """One strip; `more` are tags by t and their number."""
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


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_whose_zero_is_white(order: str) -> None:
    gray = GRAY[..., :1]
    deep = gray.astype(np.uint16) * 257
    for pixels, photometric in ((gray, 1), (~gray, 0), (deep, 1), (~deep, 0)):
        np.testing.assert_array_equal(images.decode(tiff_of(pixels, order, t262=photometric)), GRAY)
    with pytest.raises(yolort.ImageError, match="its pixel type cannot be read"):
        images.decode(tiff_of(gray.astype(np.float32) / 255, order, t262=0))


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_in_planes(order: str) -> None:
    np.testing.assert_array_equal(images.decode(tiff_of(RGB, order, t284=2)), COLOR)
    for pixels in (RGB.astype(np.uint16) * 257, RGB.astype(np.float32) / 255):
        with pytest.raises(yolort.ImageError, match="its pixel type cannot be read; save it as 8-bit PNG"):
            images.decode(tiff_of(pixels, order, t284=2))


def test_alpha_of_tiff() -> None:
    for value, extra in ((255, 2), (128, 1), (128, 0)):
        pixels = np.dstack([RGB, np.full(RGB.shape[:2], value, np.uint8)])
        np.testing.assert_array_equal(images.decode(tiff_of(pixels, t338=extra)), COLOR)
    deep = np.dstack([RGB, np.full(RGB.shape[:2], 128, np.uint8)]).astype(np.uint16) * 257
    np.testing.assert_array_equal(images.decode(tiff_of(deep, t338=2)), COLOR)
    with pytest.raises(yolort.ImageError, match="multiplies the colors of its pixels by their alpha; save it as PNG"):
        images.decode(tiff_of(np.dstack([RGB, np.full(RGB.shape[:2], 128, np.uint8)]), t338=2))


@pytest.mark.parametrize(
    ("kind", "channels", "photometric"), [("i4", 4, 2), ("f2", 1, 1), ("u2", 4, 5), ("u1", 5, 2), ("f4", 4, 2)]
)
def test_tiff_that_is_sound_but_not_read(kind: str, channels: int, photometric: int) -> None:
    data = tiff_of(np.ones((8, 8, channels), kind), t262=photometric)
    with pytest.raises(yolort.ImageError, match="its pixel type cannot be read; save it as 8-bit PNG"):
        images.decode(data)
    with pytest.raises(yolort.ImageError, match="damaged"):
        images.decode(tiff_of(RGB)[:-200])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format: str, orientation: int) -> None:
    if format == "AVIF" and (".avif" not in images.endings() or format not in pillow.SAVE):
        pytest.skip("AVIF is not written or read here")
    from PIL import ImageOps

    exif = pillow.Exif()
    exif[0x0112] = orientation
    data = by_pillow(format, exif=exif, quality=100) if format != "TIFF" else by_pillow(format, exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(pillow.open(io.BytesIO(data))).convert("RGB"))[..., ::-1]
    found = images.decode(data)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker(progressive: bool) -> None:
    data = by_pillow("JPEG", progressive=progressive)
    np.testing.assert_array_equal(images.decode(data[:-2]), images.decode(data))
    for cut in (data[: len(data) // 2], data[:200], data[:4]):
        with pytest.raises(yolort.ImageError, match="damaged"):
            images.decode(cut)


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
    """Of an ISO file: JPEG 2000, AVIF, HEIC."""
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
    # What a decoder reads is not what stands first, or where it is expected.
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


@pytest.mark.parametrize("name", BOMBS)
def test_pixels_are_bounded_before_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)  # not called
    with pytest.raises(yolort.ImageError, match=rf"more than the {2**27} that are decoded; YOLORT_MAX_PIXELS"):
        images.decode(BOMBS[name])


@pytest.mark.parametrize(
    "data",
    [
        b"v/1\1 OpenEXR",
        b"P6\n000000000050000 50000\n255\n",
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y   50000   +X   50000\n",
        b"II*\0" + struct.pack("<IHHHIiHHIi", 8, 2, 256, 9, 1, 50_000, 257, 9, 1, 50_000),  # signed sides
        b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 256, 16, 1, 38, 257, 16, 1, 38) + struct.pack("<IQ", 0, 50_000),
    ],
)
def test_what_has_no_known_size_is_not_decoded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)  # not called
    with pytest.raises(yolort.ImageError, match="empty, damaged or of an unknown format"):
        images.decode(data)


def test_avif_of_another_brand() -> None:
    if ".avif" not in images.endings():
        pytest.skip("this OpenCV does not read AVIF")
    data = encoded(".avif", COLOR)
    np.testing.assert_array_equal(images.decode(data[:8] + b"mif1" + data[12:]), images.decode(data))


def test_the_bound_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORT_MAX_PIXELS", "100")
    with pytest.raises(yolort.ImageError, match="160 x 90 pixels, more than the 100"):
        images.decode(encoded(".png", COLOR))
    monkeypatch.setenv("YOLORT_MAX_PIXELS", "14400")
    assert images.decode(encoded(".png", COLOR)).shape == COLOR.shape
    for wrong in ("x", "-1", "0", "9" * 5000, "²"):
        monkeypatch.setenv("YOLORT_MAX_PIXELS", wrong)
        with pytest.raises(ValueError, match="YOLORT_MAX_PIXELS is"):
            images.decode(encoded(".png", COLOR))


def test_headers_of_nonsense() -> None:
    """Every beginning of every format, and noise behind it: a size or None, at once."""
    random = np.random.default_rng(0)
    for data in [*BOMBS.values(), encoded(".png", COLOR), encoded(".jpg", COLOR), b""]:
        for end in range(min(len(data), 100) + 1):
            _image_header.read(data[:end])
        for _ in range(200):
            noise = bytearray(data[:64] + random.bytes(64))
            noise[random.integers(2, len(noise))] = random.integers(0, 256)
            _image_header.read(bytes(noise))
    for format in ("bmp", "png", "pnm", "tiff"):
        for data in (tiff_of(RGB), bmp(32, (1, 2, 3), COLOR), encoded(".png", COLOR.astype(np.uint16)), BOMBS["pam"]):
            for end in range(min(len(data), 200)):
                _image_header.layout(format, data[:end])
            for _ in range(100):
                noise = bytearray(data[:300])
                noise[random.integers(2, len(noise))] = random.integers(0, 256)
                _image_header.layout(format, bytes(noise))
    assert _image_header.read(b"\xff\xd8" + b"\xff\xfe\0\x02" * 5000) is None
    assert _image_header.read(b"\xff\xd8" + b"\xff" * 100_000) is None


def special(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "broken link":
        path.symlink_to(path.with_name("gone.jpg"))
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(10 << 30)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="such files are of Unix")
@pytest.mark.parametrize(
    ("kind", "error"),
    [("pipe", yolort.ImageError), ("folder", yolort.ImageError), ("socket", yolort.ImageError),
     ("device", yolort.ImageError), ("broken link", FileNotFoundError), ("sparse", yolort.ImageError)],
)  # fmt: skip
def test_what_is_no_file_is_not_waited_for(kind: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match=r"image '.*x\.jpg' "):
        images.read(special(kind, tmp_path / "x.jpg"))


@pytest.mark.parametrize(
    ("path", "error"),
    [("a\0b.jpg", ValueError), ("x" * 5000, yolort.ImageError), ("", FileNotFoundError), ("~", FileNotFoundError),
     ("-", FileNotFoundError), (3, TypeError), (None, TypeError)],
)  # fmt: skip
def test_what_is_no_path(path: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="image.{0,400}$"):
        images.read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that gives nothing")
def test_a_file_that_gives_nothing() -> None:
    with pytest.raises(yolort.ImageError):
        images.read("/proc/kmsg")


@pytest.mark.skipif(sys.platform == "win32", reason="such files are of Unix")
def test_models_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    with pytest.raises(yolort.ModelError, match="empty or cannot be read"):
        yolort.Detector(tmp_path / "x.onnx")
    with open(tmp_path / "zeros.onnx", "wb") as file:
        file.truncate(10 << 30)
    (tmp_path / "fields.onnx").write_bytes(b"\x08\0" * 1_000_000)
    for name in ("zeros.onnx", "fields.onnx"):  # read to their ends they take minutes
        with pytest.raises(yolort.ModelError, match="not an ONNX file"):
            yolort.Detector(tmp_path / name)
    folder = tmp_path / "x_ncnn_model"
    folder.mkdir()
    (folder / "model.ncnn.param").write_text("7767517\n")
    os.mkfifo(folder / "model.ncnn.bin")
    with pytest.raises(yolort.ModelError, match="are no file"):
        yolort.Detector(folder)


def tree(root: Path) -> None:
    for name in ("a.jpg", "dir[1]/b.jpg", "dir[1]/deep/c.jpg", ".hidden/d.jpg", "dir1/e.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(".jpg", COLOR))
    (root / "dir[1]" / "deep" / "up").symlink_to(root, target_is_directory=True)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("dir[1]/*.jpg", ["dir[1]/b.jpg"]),
        ("dir[1]", ["dir[1]/b.jpg"]),
        ("dir[0-9]/*.jpg", ["dir1/e.jpg"]),
        ("**/*.jpg", ["a.jpg", "dir1/e.jpg", "dir[1]/b.jpg", "dir[1]/deep/c.jpg"]),
        ("dir[1]/**/*.jpg", ["dir[1]/b.jpg", "dir[1]/deep/c.jpg"]),
        ("**/deep/*.jpg", ["dir[1]/deep/c.jpg"]),
        ("dir*/*.jpg", ["dir1/e.jpg", "dir[1]/b.jpg"]),
    ],
)
def test_patterns(pattern: str, found: list[str], tmp_path: Path) -> None:
    tree(tmp_path)
    if pattern == "dir[1]/**/*.jpg":  # the link leads to folders that are seen from there for the first time
        (tmp_path / "dir[1]" / "deep" / "up").unlink()
    names = [str(path.relative_to(tmp_path)) for path in images.find(tmp_path / pattern)]
    assert names == found


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as file:
        file.write(encoded(".png", COLOR))
    (found,) = images.find(tmp_path)
    assert images.read(found).shape == COLOR.shape
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    for given in (found, path, os.fsdecode(path)):
        alone, (listed,) = detector(given), detector([given])
        assert isinstance(alone, yolort.Detections)
        assert os.fsencode(alone.path or "") == os.fsencode(listed.path or "") == path
    with pytest.raises(yolort.ImageError, match="cannot be encoded"):
        images.write(tmp_path / "x.\udcff", COLOR)
    model = os.fsencode(tmp_path) + b"/\xff_ncnn_model"
    os.mkdir(model)
    for file in yolort.demo_model("ncnn").iterdir():
        with open(model + b"/" + os.fsencode(file.name), "wb") as copy:
            copy.write(file.read_bytes())
    for given in (model, os.fsdecode(model), Path(os.fsdecode(model))):
        assert len(yolort.Detector(given, engine="ncnn")(found)) == len(detector(found))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        yolort.Detector(b"\xff.onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["webp", "png", "tiff", "gif", "avif"])
def test_bombs_take_no_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(BOMBS[name])
    program = f"""
import re, yolort
yolort.images.opencv()
def peak(): return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) >> 10
before = peak()
try:
    yolort.images.read({str(tmp_path / "bomb")!r})
except yolort.ImageError:
    print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 50  # MiB


def test_one_image_that_cannot_be_read_does_not_end_a_folder(tmp_path: Path) -> None:
    special("socket", tmp_path / "a.jpg")
    special("broken link", tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(encoded(".png", COLOR))
    (tmp_path / "d.png").write_bytes(encoded(".png", COLOR))
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    with pytest.warns(UserWarning, match=r"d\.png' does not exist"):
        found = iter(images.find(tmp_path))
        (tmp_path / "d.png").unlink()
        assert len(detector._detect_files(list(found), detector._thresholds, None)) == 1


@pytest.mark.parametrize("ending", [".pfm", ".pbm", ".mpo", ".heic", ".xyz", ""])
def test_formats_that_are_not_written(ending: str, tmp_path: Path) -> None:
    with pytest.raises(yolort.ImageError, match="give it another ending, such as .png"):
        images.write(tmp_path / f"x{ending}", COLOR)


def test_a_warning_does_not_stop_the_rest(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    for name, data in (("a.jpg", b"no image"), ("b.png", encoded(".png", COLOR)), ("c.webp", BOMBS["webp"])):
        (tmp_path / name).write_bytes(data)
    detector = yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(detector(tmp_path)) == 1
    assert len(caught) == 2


@pytest.mark.parametrize("kind", [b"IDAT", b"fdAT"])
def test_a_png_takes_no_memory_for_bytes_that_are_not_there(kind: bytes) -> None:
    def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
        return struct.pack(">I", len(data) if length is None else length) + kind + data + bytes(4)

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    tail = chunk(kind, b"abc", 2**31 - 16)
    with pytest.raises(images.ImageError, match="ends within a chunk"):
        images.decode(head + tail)
