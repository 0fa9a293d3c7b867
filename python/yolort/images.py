"""Finds, reads and writes image files with OpenCV, which is imported on first use."""

from __future__ import annotations

import functools
import glob
import importlib.util
import io
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from yolort import _addresses, _atomic, _bands, _checks, _glob, _image_header, _netpbm
from yolort._core import Error

#: Maximum number of pixels of a decoded file: 400 MB, plus up to 2 GB used by decoders (JPEG 2000, AVIF). The
#: environment variable YOLORT_MAX_PIXELS changes it.
MAX_PIXELS = 2**27
#: Maximum size of a file in bytes: 1 GiB.
MAX_BYTES = 2**30

#: File endings, grouped by the one with which support is tested: OpenCV can write the formats that it can read.
_PROBED = {
    ".avif": ".avif .avifs",
    ".bmp": ".bmp .dib",
    ".gif": ".gif",
    ".hdr": ".hdr .rgbe",
    ".jp2": ".j2c .j2k .jp2 .jpc .jpeg2000 .jpf .jpx",
    ".jpg": ".jfif .jpe .jpeg .jpg .mpo .pjp .pjpeg",
    ".pam": ".pam",
    ".pfm": ".pfm",
    ".png": ".apng .png",
    ".ppm": ".pbm .pgm .pnm .ppm",
    ".ras": ".ras .sr",
    ".tiff": ".tif .tiff",
    ".webp": ".webp",
}
_HEIC = (".heic", ".heics", ".heif", ".heifs", ".hif")
#: Endings of unsupported image formats; such files are reported instead of silently skipped.
_OTHERS = ".arw .bpg .cr2 .cr3 .dcm .dds .dng .exr .ico .jls .jxl .jxr .nef .orf .pcx .pef .psd .qoi .raf .rw2 .tga"
_KNOWN = frozenset([*" ".join(_PROBED.values()).split(), *_HEIC, *_OTHERS.split()])
#: Endings of videos, which `Detector.stream` reads.
VIDEOS = frozenset(
    [
        *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    ]
)
_MAX_CHUNKS = 1_000_000  # in a PNG file
_DEEP = ("hdr", "pfm", "png", "pnm", "tiff")  # formats whose pixels may have more than 8 bits
_ROWS = 256  # rows of a deep image that are converted at a time
_DARK = 1 << 14  # if the brightest 16-bit pixel is darker than this, the image may use only 10 to 14 bits


class ImageError(Error):
    """A file that cannot be read or written as an image."""


def opencv() -> ModuleType:
    """The cv2 module.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"reading, drawing and writing image files needs OpenCV ({error}); "
            "pip install opencv-python-headless, or pass images as numpy arrays"
        ) from error
    return cv2


@functools.cache
def endings() -> frozenset[str]:
    """Endings of the image files that can be read here, lower case: what OpenCV decodes, and HEIC with pillow-heif."""
    cv2 = opencv()
    read = [ending for probe, kinds in _PROBED.items() if cv2.haveImageWriter(f"x{probe}") for ending in kinds.split()]
    return frozenset((*read, *(_HEIC if importlib.util.find_spec("pillow_heif") else ())))


@functools.cache
def encodes(ending: str) -> bool:
    """Whether `write` supports this ending: formats that OpenCV encodes in 8-bit color."""
    return (
        ending.lower() in endings()
        and ending.lower() not in (".pbm", ".pfm", ".pgm")
        and opencv().haveImageWriter(f"x{ending.lower()}")
    )


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file with the ending of an image that can be read here."""
    path = Path(path)
    return path.suffix.lower() in endings() and path.is_file()


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a file with the ending of a video."""
    path = Path(path)
    return path.suffix.lower() in VIDEOS and path.is_file()


def left_out(paths: Iterable[Path]) -> str:
    """A sentence about the image files among these that cannot be read here; "" if there are none."""
    unread = _KNOWN - endings()
    others = [path for path in paths if path.suffix.lower() in unread and path.is_file()]
    if not others:
        return ""
    kinds = sorted({path.suffix.lower() for path in others})
    hint = "; pip install pillow-heif to read HEIC" if set(kinds) & set(_HEIC) else ""
    return f"skipped {len(others)} image(s) in unsupported formats ({', '.join(kinds)}){hint}"


def find(source: str | bytes | os.PathLike[str], *, videos: bool = False) -> list[Path]:
    """The image files of a source, sorted.

    Args:
        source: a file, a folder (without its subfolders), or a glob pattern (`**` enters each subfolder once). Existing
            folders before the pattern are taken literally, also `dir[1]`.
        videos: include video files.

    Images in unsupported formats are skipped with a UserWarning.

    Raises:
        FileNotFoundError: nothing there.
    """
    text = os.fsdecode(_checks.path("source", source))
    name = _addresses.shown_path(text)
    if not text:
        raise FileNotFoundError("the source is an empty path")
    path, kinds = Path(text), "images or videos" if videos else "images"
    if os.path.isdir(path):
        entries = list(path.iterdir())
        nothing = f"folder {name} has no {kinds} ({', '.join(sorted(endings() | (VIDEOS if videos else set())))})"
    elif os.path.exists(path):
        return [path]
    else:
        entries = list(_glob.matches(text))
        nothing = f"{name} does not exist and matches no {kinds} as a pattern"
    found = [entry for entry in entries if is_image(entry) or (videos and is_video(entry))]
    unread = left_out(entries)
    if not found:
        raise FileNotFoundError(f"{nothing}; {unread}" if unread else nothing)
    if unread:
        warnings.warn(f"{name}: {unread}", stacklevel=2)
    return sorted(found)


def below(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders, including linked folders, each folder once; without hidden files."""
    return _glob.matches(os.path.join(glob.escape(os.fspath(folder)), "**"))


def read(path: str | bytes | os.PathLike[str], channels: int = 3) -> npt.NDArray[np.uint8]:
    """Decode an image file to (height, width, 3) BGR uint8, turned as its EXIF orientation says.

    For two or more than four `channels`, the file is a TIFF with one page per channel or a numpy array (.npy), uint8 or
    uint16; the result is (height, width, channels) uint8. Of values with more than 8 bits the upper 8 bits are kept, or
    the file's value of white becomes 255 (netpbm; PNG with sBIT). In floating-point images, 0 is black and 1 is white.
    A UserWarning reports 16-bit images that would be almost black. Alpha is ignored. A
    JPEG file may lack its end marker.

    Raises:
        FileNotFoundError: no such file.
        ImageError: not an image, damaged, not readable, or larger than `MAX_PIXELS` or `MAX_BYTES`.
        ImportError: OpenCV is not installed.
    """
    opencv()
    place = _checks.path("image", path)
    name = f"image {_addresses.shown_path(os.fsdecode(place))}"
    # Not imread: it cannot open every Unicode path, and hides why it fails.
    try:
        status = os.stat(place)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "device, a pipe or a socket"
            raise ImageError(f"{name} is a {kind}, not a file")
        video = "; yolort stream and Detector.stream read videos" if is_video(os.fsdecode(place)) else ""
        if status.st_size > MAX_BYTES:
            raise ImageError(f"{name} has {status.st_size} bytes, more than the limit of {MAX_BYTES}{video}")
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(place, flags), "rb") as file:
            data = file.read(MAX_BYTES) or b""
    except FileNotFoundError:
        raise FileNotFoundError(f"{name} does not exist") from None
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror or error}") from None
    if video and _image_header.read(data) is None:
        raise ImageError(f"{name} is not an image; its ending is that of a video{video}")
    return decode(data, name, channels)


def decode(data: bytes | npt.NDArray[np.uint8], name: str = "image", channels: int = 3) -> npt.NDArray[np.uint8]:
    """Decode the bytes of an image file, as `read` does; `name` is its name in errors.

    Raises:
        ImageError, ImportError: as `read`.
    """
    if channels not in (1, 3):
        try:
            return _bands.decode(bytes(data), channels, name)
        except ValueError as error:
            raise ImageError(str(error)) from None
    opencv()
    bytes_ = np.frombuffer(data, np.uint8).data
    header = _image_header.read(bytes_)
    limit = _max_pixels()
    if header is None:  # an image of unknown size is not decoded
        raise ImageError(f"{name} is empty, damaged or in an unknown format")
    if header.width * header.height > limit:
        raise ImageError(
            f"{name} has {header.width} x {header.height} pixels, more than the limit of {limit}; "
            "raise it with YOLORT_MAX_PIXELS"
        )
    if header.format == "png":
        for count, (_, ends) in enumerate(_image_header.png_chunks(bytes_)):
            if not ends or count > _MAX_CHUNKS:  # OpenCV allocates whatever size a chunk declares
                raise ImageError(f"{name} is damaged: a chunk is truncated, or there are too many")
    if header.format == "heic":
        return _decode_heic(data, name)
    layout = _image_header.layout(header.format, bytes_)
    if layout.refused:
        raise ImageError(_unread(name))
    if _netpbm.is_binary(bytes_):
        found = _netpbm.decode(bytes_, (header.width, header.height))
        if found is None:
            raise ImageError(f"{name} is empty, damaged or in an unknown format")
        return np.ascontiguousarray(_to_bytes(found[0], name, found[1]))
    return _decode_with_opencv(data, header.format, layout, name)


def _decode_with_opencv(
    data: bytes | npt.NDArray[np.uint8], format: str, layout: _image_header.Layout, name: str
) -> npt.NDArray[np.uint8]:
    cv2 = opencv()
    unread = _unread(name)
    flags = cv2.IMREAD_ANYCOLOR if format == "tiff" else cv2.IMREAD_COLOR  # deep gray TIFF is read only as gray
    if format in _DEEP:
        flags |= cv2.IMREAD_ANYDEPTH
    turned = _image_header.orientation(np.frombuffer(data, np.uint8).data) if format == "avif" else None
    if turned is not None:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    image = _imdecode(data, flags, name)
    if image is None and format == "jpeg":
        image = _without_end_marker(bytes(data), flags, name)
    if image is None:
        raise ImageError(unread if layout.unusual else f"{name} is empty, damaged or in an unknown format")
    if layout.inverted and image.dtype != np.uint8:
        if image.dtype != np.uint16:
            raise ImageError(unread)
        image = ~image
    if layout.multiplied:
        whole = _imdecode(data, cv2.IMREAD_UNCHANGED, name)
        if whole is not None and (whole[..., 3:] != 255).any():
            raise ImageError(f"{name}: OpenCV would multiply its colors by alpha; save it as PNG")
    image = _to_bytes(image, name, layout.white)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif layout.channels != (0, 1, 2):
        image = image[..., layout.channels]
    if turned is not None:
        turns, mirror = turned
        image = np.rot90(image, turns)
        image = image if mirror is None else image[::-1] if mirror == 0 else image[:, ::-1]
    return np.ascontiguousarray(image, np.uint8)


def _unread(name: str) -> str:
    return f"{name}: its pixel type cannot be read; save it as 8-bit PNG"


def _max_pixels() -> int:
    text = os.environ.get("YOLORT_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:19]) <= 2**40):
        raise ValueError(f"YOLORT_MAX_PIXELS is {text[:40]!r}, expected a number of pixels")
    return int(text)


def _imdecode(data: bytes | npt.NDArray[np.uint8], flags: int, name: str) -> npt.NDArray[Any] | None:
    cv2 = opencv()
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    except cv2.error as error:
        raise ImageError(f"{name} cannot be decoded: {error.err}") from error


def _without_end_marker(data: bytes, flags: int, name: str) -> npt.NDArray[Any] | None:
    """Whether a JPEG file lacks only its end marker: then adding data before the marker changes no pixel."""
    image = _imdecode(data + b"\xff\xd9", flags, name)
    other = None if image is None else _imdecode(data + b"\x55" * 1024 + b"\xff\xd9", flags, name)
    return image if image is not None and other is not None and np.array_equal(image, other) else None


def _to_bytes(image: npt.NDArray[Any], name: str, white: int = 0) -> npt.NDArray[np.uint8]:
    """Converts pixels to 8 bits: for integers the upper 8 bits, or scaled so that `white` becomes 255; for floats 0 to
    1 becomes 0 to 255.

    Refuses images that would become all black or white: 8-bit values stored in 16 bits, and floats up to 255.
    """
    maximum = 255 if image.dtype == np.uint8 else 65535
    if not 0 < white < maximum or image.max() > white:
        white = maximum
    if white == 255:
        return image
    if image.dtype.kind != "f" and image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name} has pixels of type {image.dtype}, which is not supported; save it with 8 bits")
    out = np.empty(image.shape, np.uint8)
    bright = 0
    for at in range(0, len(image), _ROWS):
        rows = image[at : at + _ROWS]
        if white < maximum:
            out[at : at + _ROWS] = (rows.astype(np.uint32) * 255 + white // 2) // white
        elif image.dtype == np.uint16:
            out[at : at + _ROWS] = rows >> 8
        else:
            bright += np.count_nonzero(rows > 1)
            out[at : at + _ROWS] = np.clip(np.nan_to_num(rows), 0, 1) * 255 + 0.5
    brightest = image.max() if image.dtype == np.uint16 and white == maximum else 0
    if 0 < brightest < _DARK:
        what = f"{name} has 16 bits, but no pixel above {brightest} of 65535"
        if brightest < 256:
            raise ImageError(f"{what}; save it with 8 bits")
        warnings.warn(f"{what}: the image is almost black; if it should not be, save it with 8 bits", stacklevel=2)
    if bright > image.size / 2:
        raise ImageError(f"{name} has floating-point pixels, but most exceed 1 (white); save it with 8 bits")
    return out


def _decode_heic(data: bytes | npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(f"{name} is HEIC, which OpenCV does not read; pip install pillow-heif") from None
    try:
        opened = pillow_heif.open_heif(io.BytesIO(bytes(data)), convert_hdr_to_8bit=True)
        image = np.asarray(opened.to_pillow().convert("RGB"))
    except Exception as error:  # libheif's kinds
        raise ImageError(f"{name} cannot be decoded: {error}") from error
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def write(
    path: str | os.PathLike[str], image: npt.NDArray[np.uint8], *, sources: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Encode an image, (height, width, 3) BGR uint8, in the format of the path's ending.

    The file appears whole or not at all. It replaces only an image that yolort wrote (recognized by a mark at its end,
    which decoders ignore), and none of `sources`.

    Raises:
        ImageError: the ending is unknown, or the file must not or cannot be written.
        ImportError: OpenCV is not installed.
    """
    cv2 = opencv()
    name, ending = f"image {os.fspath(path)!r}", Path(path).suffix
    if not encodes(ending):
        raise ImageError(f"{name} cannot be encoded as {ending!r}; give it another ending, such as .png")
    try:
        if ending.lower() == ".pam":
            done, data = True, np.frombuffer(_netpbm.encode_pam(image), np.uint8)
        else:
            done, data = cv2.imencode(ending, image)
    except cv2.error as error:
        raise ImageError(f"{name} cannot be encoded: {error.err}") from error
    if not done:
        raise ImageError(f"{name} cannot be encoded as {ending!r}")
    try:
        _atomic.write(path, data.tobytes() + _atomic.MARK.encode(), sources=sources)
    except OSError as error:
        raise ImageError(f"{name} cannot be written: {error.strerror or error}") from error
