"""A histogram that grows with its values, and INT8 ranges computed from it."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Histogram", "silu"]

_BINS = 2048  # number of bins on each side of zero
_LEVELS = 128  # levels of a symmetric INT8 quantizer on one side of zero


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x)."""
    out: np.ndarray = x / (1 + np.exp(-np.clip(x, -80, 80)))
    return out


class Histogram:
    """Counts finite values in bins of equal width, a power of two, which doubles if a value lies outside.

    The bins of two histograms therefore align, and any number of values takes 32 KiB.
    """

    def __init__(self) -> None:
        self._exponent = -40  # of the width
        self._counts = np.zeros(2 * _BINS, np.int64)

    @property
    def _width(self) -> float:
        return math.ldexp(1.0, self._exponent)

    def add(self, values: np.ndarray) -> None:
        """Counts float32 values of any shape."""
        if not values.size:
            return
        self._reach(max(abs(float(values.min())), abs(float(values.max()))))
        # Shifted to positive values, so that truncation rounds down.
        bins = (values.ravel() * np.float32(1 / self._width) + np.float32(_BINS)).astype(np.intp)
        np.minimum(bins, 2 * _BINS - 1, out=bins)  # values that float32 rounds up to the upper end
        self._counts += np.bincount(bins, minlength=2 * _BINS)

    def merge(self, other: Histogram) -> None:
        """Adds the counts of another histogram."""
        counts, exponent = other._counts, other._exponent
        self._grow(exponent)
        for _ in range(self._exponent - exponent):
            counts = _halved(counts)
        self._counts = self._counts + counts

    def percentile(self, percent: float) -> tuple[float, float]:
        """Bounds that exclude (100 - `percent`) % of the values at each end."""
        sums = np.cumsum(self._counts)
        outside = sums[-1] * (100 - percent) / 100
        first = int(np.searchsorted(sums, outside, side="right"))
        last = int(np.searchsorted(sums, sums[-1] - outside, side="left"))
        return (first - _BINS) * self._width, (last + 1 - _BINS) * self._width

    def entropy(self) -> float:
        """The clipping threshold for symmetric INT8 with the least Kullback-Leibler divergence: TensorRT's method (S.

        Migacz, 8-bit Inference with TensorRT, GTC 2017), as implemented in ncnn and ONNX Runtime.
        """
        counts = (self._counts[_BINS:] + self._counts[:_BINS][::-1]).astype(np.float64)
        counts[0] = 0  # exact zeros (padding, ReLU) would outweigh everything
        used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 1
        best, at = math.inf, used
        for bins in range(min(_LEVELS, used), used + 1, max(1, used // 256)):
            divergence = _divergence(counts, bins)
            if divergence < best:
                best, at = divergence, bins
        return at * self._width

    def silu_range(self) -> tuple[float, float]:
        """Bounds for unsigned INT8 of the input of SiLU that minimize the mean squared error after it.

        SiLU is flat for negative values, so levels there are wasted; this causes most of the INT8 error of such a
        tensor.
        """
        filled = np.flatnonzero(self._counts)
        x = (filled - _BINS + 0.5) * self._width
        weights, exact = self._counts[filled].astype(np.float64), silu(x)
        best, bounds = math.inf, (min(x[0], 0.0), max(x[-1], 0.0))
        for high in np.unique(np.maximum(x[-1] * np.linspace(0.3, 1, 36), self._width)):
            for low in np.unique(np.minimum(np.linspace(max(x[0], -12.0), max(x[0], -1.3), 30), 0)):
                step = (high - low) / 255
                zero = np.round(-low / step)
                seen = (np.clip(np.round(x / step) + zero, 0, 255) - zero) * step
                sigmoid = 1 / (1 + np.exp(-np.clip(x, -80, 80)))
                slope = sigmoid * (1 + x * (1 - sigmoid))
                inside = (x >= low) & (x <= high)
                # Values in a bin wider than a step are uniformly distributed between two levels: error step^2 / 12 on
                # average.
                error = np.where(inside, (slope * step) ** 2 / 12, (silu(seen) - exact) ** 2)
                total = float(weights @ error)
                if total < best:
                    best, bounds = total, (float(low), float(high))
        return bounds

    def _reach(self, magnitude: float) -> None:
        self._grow(math.frexp(magnitude / _BINS)[1] if magnitude else -40)

    def _grow(self, exponent: int) -> None:
        while self._exponent < exponent:
            if not self._counts.any():
                self._exponent = exponent
                return
            self._counts = _halved(self._counts)
            self._exponent += 1


def _halved(counts: np.ndarray) -> np.ndarray:
    """The same counts in bins of twice the width."""
    pairs = counts.reshape(-1, 2).sum(1)
    out = np.zeros_like(counts)
    out[_BINS // 2 : _BINS + _BINS // 2] = pairs
    return out


def _divergence(counts: np.ndarray, bins: int) -> float:
    """Divergence between the first `bins` (the rest clipped into the last) and their quantization to `_LEVELS`
    levels.
    """
    exact = counts[:bins].copy()
    exact[-1] += counts[bins:].sum()
    level = np.arange(bins) * _LEVELS // bins
    filled = counts[:bins] > 0
    sums = np.bincount(level, counts[:bins], _LEVELS)
    among = np.bincount(level, filled, _LEVELS)
    coarse = np.where(filled, (sums / np.maximum(among, 1))[level], 0)
    both = (exact > 0) & (coarse > 0)
    if not both.any():
        return math.inf
    p, q = exact / exact.sum(), coarse / coarse.sum()
    lost = p[(exact > 0) & ~both].sum()  # clipped values in a bin that was empty
    return float((p[both] * np.log(p[both] / q[both])).sum() + lost * math.log(1e4))
