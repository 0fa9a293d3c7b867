"""Channel ranges of INT8 maps for yolort's NCNN layers, and conversion of values to bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from yolort.tools.quantize.activations import Range

__all__ = ["Part", "cut", "joined", "quantizer", "ranges", "real", "table"]


@dataclass(frozen=True)
class Part:
    """A range of channels of an INT8 map: value = (byte - zero) * step."""

    blob: str
    offset: int
    channels: int
    step: float
    zero: int
    source: str  # the calibrated tensor before its activation
    doubled: bool = False  # the map has half the rows and columns; each pixel is read twice

    def alike(self, other: Part) -> bool:
        """Whether both are parts of the same map and read in the same way."""
        return (self.blob, self.doubled) == (other.blob, other.doubled)


def quantizer(found: Range | None) -> tuple[float, int]:
    """Step and zero point of unsigned bytes that cover a range; the step is float32."""
    assert found is not None
    step = float(np.float32(max(found.high - found.low, 1e-6) / 255))
    return step, int(np.clip(round(-found.low / step), 0, 255))


def table(step: float, zero: int, function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, tuple[float, int]]:
    """The table of 256 bytes for an activation, with step and zero point of its results."""
    y = function((np.arange(256) - zero) * step)
    after = quantizer(Range(float(min(y.min(), 0)), float(max(y.max(), 0)), 0.0))
    return np.clip(np.round(y / after[0]) + after[1], 0, 255).astype(np.uint8), after


def cut(parts: Sequence[Part], start: int, size: int) -> list[Part]:
    """The channels `start` to `start + size` of concatenated parts."""
    out, at = [], 0
    for part in parts:
        first, last = max(start, at), min(start + size, at + part.channels)
        if first < last:
            out.append(dataclasses.replace(part, offset=part.offset + first - at, channels=last - first))
        at += part.channels
    return out


def joined(parts: Sequence[Part]) -> list[Part]:
    """The same channels with as few parts as possible."""
    out: list[Part] = []
    for part in parts:
        if out and out[-1].offset + out[-1].channels == part.offset and out[-1].alike(part):
            out[-1] = dataclasses.replace(out[-1], channels=out[-1].channels + part.channels)
        else:
            out.append(part)
    return out


def ranges(parts: Iterable[Part]) -> dict[str, str]:
    """The layer parameter that selects the channels of its inputs."""
    numbers = [str(n) for part in parts for n in (part.offset, part.channels, int(part.doubled))]
    return {"-23310": ",".join([str(len(numbers)), *numbers])}


def real(value: float) -> str:
    """Formats a float for ncnn, which recognizes floats by a point or exponent."""
    text = f"{value:.9g}"
    return text if "." in text or "e" in text else f"{text}.0"
