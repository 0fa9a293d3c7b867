"""Weights as INT8, and the shift of their mean."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.quantize.rounding import bias_shift, round_weights


def test_rounding() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 3, 3, 3)).astype(np.float32)
    weights[2] = 0
    values, scale = round_weights(weights)
    np.testing.assert_allclose(values * scale.reshape(-1, 1, 1, 1), weights, atol=float(scale.max()) / 2 + 1e-6)
    assert np.abs(values).max() == 127
    means = np.array([0.5, 2, -1], np.float32)
    shift = bias_shift(weights, values, scale, means, 1)
    images = np.broadcast_to(means.reshape(1, 3, 1, 1), (1, 3, 3, 3))
    lost = ((weights - values * scale.reshape(-1, 1, 1, 1)) * images).sum((1, 2, 3))
    np.testing.assert_allclose(shift, lost, atol=1e-5)
