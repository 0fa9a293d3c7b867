from __future__ import annotations

import numpy as np
from yolort.tools.quantize.activations import Range
from yolort.tools.quantize.histogram import silu
from yolort.tools.quantize.ncnn_parts import Part, cut, joined, quantizer, ranges, real, table

A, B = Part("a", 8, 16, 0.1, 3, "conv"), Part("b", 0, 8, 0.2, 7, "other")


def test_cut_takes_channels_across_parts() -> None:
    assert cut([A, B], 12, 8) == [Part("a", 20, 4, 0.1, 3, "conv"), Part("b", 0, 4, 0.2, 7, "other")]
    assert cut([A, B], 16, 8) == [B]


def test_neighbors_of_one_map_are_joined() -> None:
    first, second = cut([A], 0, 4), cut([A], 4, 12)
    assert joined([*first, *second, B]) == [A, B]
    assert joined([*second, *first]) == [*second, *first]
    doubled = Part("a", 24, 4, 0.1, 3, "conv", doubled=True)
    assert joined([A, doubled]) == [A, doubled]


def test_ranges_are_an_array_of_ncnn() -> None:
    assert ranges([A, B]) == {"-23310": "6,8,16,0,0,8,0"}


def test_real_numbers_are_told_from_integers() -> None:
    assert [real(value) for value in (255.0, 0.5, 1e-7)] == ["255.0", "0.5", "1e-07"]


def test_quantizer_holds_the_range_and_zero() -> None:
    step, zero = quantizer(Range(-0.5, 2.05, 2.05))
    assert (0 - zero) * step <= -0.5 + step / 2
    assert (255 - zero) * step >= 2.05 - step / 2
    assert quantizer(Range(0.0, 0.0, 0.0))[1] == 0


def test_table_is_the_activation_of_each_byte() -> None:
    step, zero = 0.05, 100
    bytes_, (after, origin) = table(step, zero, silu)
    exact = silu((np.arange(256) - zero) * step)
    np.testing.assert_allclose((bytes_.astype(int) - origin) * after, exact, atol=after / 2 + 1e-6)
    assert bytes_.dtype == np.uint8
    assert bytes_[zero] == origin  # SiLU of 0 is 0
