"""Rounding of weights, shared by all INT8 formats."""

from __future__ import annotations

import numpy as np

__all__ = ["bias_shift", "round_weights"]


def round_weights(weights: np.ndarray, *, per_channel: bool = True, levels: int = 127) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric INT8 values within -`levels`..`levels`, and their scales, (out,) or (): weights = values * scales.

    `weights` are float32, (out, in / groups, height, width).
    """
    largest = np.abs(weights).reshape(len(weights), -1).max(1) if per_channel else np.abs(weights).max()
    scale = np.where(largest > 0, largest / levels, 1).astype(np.float32)
    return np.clip(np.round(weights / _wide(scale, weights)), -levels, levels).astype(np.int8), scale


def bias_shift(
    weights: np.ndarray, values: np.ndarray, scale: np.ndarray, means: np.ndarray | None, groups: int
) -> np.ndarray:
    """(out,) float32 to add to the bias: the change of the output's mean caused by rounding the weights.

    `means`: means of the input channels (None: unknown, no shift). Borders are treated like the interior. Nagel et al.,
    Data-free quantization through weight equalization and bias correction, arXiv:1906.04721, section 4.2.
    """
    if means is None or len(means) != weights.shape[1] * groups or len(weights) % groups:
        return np.zeros(len(weights), np.float32)
    lost = (weights - values * _wide(scale, weights)).reshape(*weights.shape[:2], -1).sum(2)  # (out, in / groups)
    taken = np.repeat(means.reshape(groups, -1), len(weights) // groups, axis=0)
    shift: np.ndarray = (lost * taken).sum(1).astype(np.float32)
    return shift


def _wide(scale: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *[1] * (weights.ndim - 1)) if scale.ndim else scale
