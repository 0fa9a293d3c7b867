"""PBM, PGM, PPM and PAM: all values of white and numbers of channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yolort
from image_files import COLOR, RGB
from yolort import images


def netpbm(kind: str, pixels: np.ndarray, white: int) -> bytes:
    """Writes netpbm formats: P2, P3 in ASCII, P5, P6 binary, P7 (PAM) with any number of channels."""
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
        with pytest.raises(yolort.ImageError, match="empty, damaged or in an unknown format"):
            images.decode(data)
