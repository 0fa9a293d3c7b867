"""Decoding of raw outputs, compared with the formula."""

from __future__ import annotations

import numpy as np
import pytest
import yolort


@pytest.mark.parametrize("reg_max", [1, 4, 16])
def test_box_sides_are_the_means_of_their_distributions(reg_max: int) -> None:
    maps = np.random.default_rng(0).normal(scale=5, size=(2, 4 * reg_max, 3, 5)).astype(np.float32)
    bins = np.exp(maps.astype(np.float64).reshape(2, 4, reg_max, 3, 5))
    means = (bins * np.arange(reg_max).reshape(-1, 1, 1)).sum(2) / bins.sum(2)
    sides = yolort.box_sides(maps, reg_max)
    assert sides.shape == (2, 4, 3, 5)
    assert sides.dtype == np.float32
    np.testing.assert_allclose(sides, maps if reg_max == 1 else means, rtol=1e-5, atol=1e-5)


def test_box_sides_of_large_logits_and_of_views() -> None:
    maps = np.full((1, 8, 2, 4), 1e30, np.float32)
    assert (yolort.box_sides(maps, 2) == 0.5).all()
    halves = np.random.default_rng(0).random((1, 8, 2, 4)).astype(np.float16)[..., ::2]
    np.testing.assert_array_equal(yolort.box_sides(halves, 2), yolort.box_sides(halves.astype(np.float32).copy(), 2))


@pytest.mark.parametrize("shape", [(1, 8, 2), (1, 9, 2, 2), (8, 2, 2), ()])
def test_box_sides_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"maps: expected shape \(n, 4 \* 2, height, width\), got \("):
        yolort.box_sides(np.zeros(shape, np.float32), 2)
    with pytest.raises(ValueError, match="reg_max is 0"):
        yolort.box_sides(np.zeros((1, 8, 2, 2), np.float32), 0)
