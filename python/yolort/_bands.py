"""Reads image files with more channels than a color image: TIFF with several pages or bands, and numpy arrays."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

#: Maximum number of values that a file is decoded to.
MAX_VALUES = 2**29


def decode(data: bytes, channels: int, name: str) -> npt.NDArray[np.uint8]:
    """Decodes the bytes of a file to (height, width, channels) uint8; of 16-bit values the upper 8 bits are kept.

    Raises:
        ValueError: another kind of file, damaged, too large, or with another number of channels.
    """
    found = _npy(data) if data.startswith(b"\x93NUMPY") else _tiff(data, channels)
    what = f"the model takes {channels} channels: a TIFF of {channels} pages or bands, or a .npy array"
    if found is None or found.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{name} cannot be read as height x width x {channels} with 8 or 16 bits; {what}")
    if found.ndim != 3 or found.shape[2] != channels:
        raise ValueError(f"{name} has shape {found.shape}; {what}")
    return np.ascontiguousarray(found >> 8 if found.dtype == np.uint16 else found, np.uint8)


def _npy(data: bytes) -> npt.NDArray[Any] | None:
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if dtype.hasobject or np.prod([float(side) for side in shape]) * dtype.itemsize > len(data):
            return None
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError, OSError):
        return None


def _tiff(data: bytes, channels: int) -> npt.NDArray[Any] | None:
    """Pages of equal size as channels; the bands if there is only one page."""
    import cv2  # the caller has checked that it is installed

    sides = _page_sides(data, channels)
    if len(set(sides)) != 1 or len(sides) not in (1, channels) or sides[0][0] * sides[0][1] * channels > MAX_VALUES:
        return None
    try:
        done, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if not done or any(page.shape != pages[0].shape or page.dtype != pages[0].dtype for page in pages):
        return None
    return pages[0] if len(pages) == 1 else np.stack(pages, axis=2) if pages[0].ndim == 2 else None


def _page_sides(data: bytes, channels: int) -> list[tuple[int, int]]:
    """Width and height of the first `channels` + 1 pages of a TIFF file. Empty for other files, and if the pages have
    more entries than fit in the file, because pages then share them.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    out: list[tuple[int, int]] = []
    if order is None:
        return out
    room = len(data) // 12
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        while at and len(out) <= channels:
            (count,) = struct.unpack_from(f"{order}H", data, at)
            room -= count
            if room < 0:
                return []
            tags = {}
            for entry in range(at + 2, at + 2 + 12 * count, 12):
                tag, kind, _ = struct.unpack_from(f"{order}HHI", data, entry)
                tags[tag] = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)[0]
            out.append((tags.get(256, 0), tags.get(257, 0)))
            (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    except struct.error:
        return []
    return out
