"""Distances between raw maps."""

from __future__ import annotations

import numpy as np
from yolort.tools.evaluate.raw_maps import changed


def test_changed_measures_detections() -> None:
    """Noise in background logits gives 0; a lost or moved detection gives 1."""
    random = np.random.default_rng(0)
    boxes, scores = np.zeros((1, 4, 8, 8), np.float32), random.normal(-12, 1, (1, 3, 8, 8)).astype(np.float32)
    boxes[..., 2:4, 2:4], scores[:, 1, 2:4, 2:4] = 3, 2
    noise = random.normal(0, 3, scores.shape).astype(np.float32)
    noise[:, 1, 2:4, 2:4] = 0
    lost = scores.copy()
    lost[:, 1, 2:4, 2:4] = -12
    assert changed([boxes, scores], [boxes, scores]) == 0
    assert changed([boxes, scores], [boxes, scores + noise]) < 0.1
    assert changed([boxes, scores], [boxes, lost]) > 0.99
    assert changed([boxes, scores], [np.zeros_like(boxes), scores]) > 0.99
    assert np.isnan(changed([boxes, scores], [boxes, np.full_like(scores, np.nan)]))
