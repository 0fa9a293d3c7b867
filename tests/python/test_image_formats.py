"""Decoding of image files: deep pixels, floats, unusual layouts, orientation."""

from __future__ import annotations

import io
import struct
from typing import Literal

import numpy as np
import pytest
import yolort
from image_files import COLOR, GRAY, RGB, bmp, by_pillow, chunk, encoded, tiff_of
from yolort import _bands, images

pillow = pytest.importorskip("PIL.Image", reason="writes test images; pip install pillow")


def test_heic_without_color() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pip install pillow-heif")
    out = io.BytesIO()
    heif.from_pillow(pillow.fromarray(GRAY[..., 0])).save(out, quality=100)
    assert np.abs(images.decode(out.getvalue()).astype(int) - GRAY).mean() < 2


@pytest.mark.parametrize("ending", [".png", ".tiff", ".ppm"])
def test_sixteen_bits(ending: str) -> None:
    np.testing.assert_array_equal(images.decode(encoded(ending, COLOR.astype(np.uint16) * 257)), COLOR)
    with pytest.raises(yolort.ImageError, match="16 bits, but no pixel above 2.. of 65535; save it with 8 bits"):
        images.decode(encoded(ending, COLOR.astype(np.uint16)))  # would be black
    assert not images.decode(encoded(ending, np.zeros((4, 4, 3), np.uint16))).any()


@pytest.mark.parametrize("ending", [".pfm", ".tiff"])
def test_fractions_up_to_255_are_refused(ending: str) -> None:
    with pytest.raises(yolort.ImageError, match=r"most exceed 1 \(white\); save it with 8 bits"):
        images.decode(encoded(ending, COLOR.astype(np.float32)))


def test_deep_tiff_without_color() -> None:
    gray = GRAY[..., 0]
    np.testing.assert_array_equal(images.decode(encoded(".tiff", gray.astype(np.float32) / 255)), GRAY)
    with pytest.raises(yolort.ImageError, match="pixels of type int32, which is not supported"):
        images.decode(encoded(".tiff", gray.astype(np.int32)))


@pytest.mark.parametrize("ending", [".pfm", ".tiff", ".hdr"])
def test_fractions_are_not_black(ending: str) -> None:
    found = images.decode(encoded(ending, COLOR.astype(np.float32) / 255))
    assert np.abs(found.astype(int) - COLOR).max() <= (6 if ending == ".hdr" else 0)
    odd = np.full((4, 4, 3), np.nan, np.float32)
    odd[0] = 7.0
    assert images.decode(encoded(".tiff", odd)).max(axis=(1, 2)).tolist() == [255, 0, 0, 0]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_sbit_of_png(bits: int) -> None:
    low = COLOR.astype(np.uint16) << (bits - 8)
    high = (low << (16 - bits)).astype(np.uint16)  # according to the standard
    for pixels in (low, high, low[..., 0], high[..., 0]):
        data = encoded(".png", pixels)
        data = data[:33] + chunk(b"sBIT", bytes([bits] * (3 if pixels.ndim == 3 else 1))) + data[33:]
        wanted = COLOR if pixels.ndim == 3 else np.broadcast_to(COLOR[..., :1], COLOR.shape)
        assert np.abs(images.decode(data).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_almost_black_16_bit_images_give_a_warning(ending: str) -> None:
    with pytest.warns(
        UserWarning,
        match="16 bits, but no pixel above 4080 of 65535: the image is almost black; if it should not be",
    ):
        images.decode(encoded(ending, np.full((8, 8, 3), 4080, np.uint16)))
    images.decode(encoded(ending, np.full((8, 8, 3), 20_000, np.uint16)))


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


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_whose_zero_is_white(order: Literal["<", ">"]) -> None:
    gray = GRAY[..., :1]
    deep = gray.astype(np.uint16) * 257
    for pixels, photometric in ((gray, 1), (~gray, 0), (deep, 1), (~deep, 0)):
        np.testing.assert_array_equal(images.decode(tiff_of(pixels, order, t262=photometric)), GRAY)
    with pytest.raises(yolort.ImageError, match="its pixel type cannot be read"):
        images.decode(tiff_of(gray.astype(np.float32) / 255, order, t262=0))


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_in_planes(order: Literal["<", ">"]) -> None:
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
    with pytest.raises(yolort.ImageError, match="would multiply its colors by alpha; save it as PNG"):
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


def test_avif_of_another_brand() -> None:
    if ".avif" not in images.endings():
        pytest.skip("this OpenCV does not read AVIF")
    data = encoded(".avif", COLOR)
    np.testing.assert_array_equal(images.decode(data[:8] + b"mif1" + data[12:]), images.decode(data))


def test_pages_of_a_tiff_that_share_their_entries() -> None:
    """A page that links to itself, with as many entries as fit in the file, is not read repeatedly."""
    count = 1000
    page = struct.pack("<H", count) + struct.pack("<HHII", 256, 4, 1, 64) * count + struct.pack("<I", 8)
    looping = b"II*\0" + struct.pack("<I", 8) + page
    assert _bands._page_sides(looping, 512) == []
    with pytest.raises(yolort.ImageError, match="cannot be read as height x width x 6"):
        yolort.images.decode(looping, channels=6)
