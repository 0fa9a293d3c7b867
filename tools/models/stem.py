"""Finds the first convolutions of a network, which gain least from INT8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Step", "stem"]

_STEM = 3  # convolutions in a row: at 1, 1/2 and 1/4 of the image's sides


class Step(NamedTuple):
    """A layer of a graph."""

    name: str
    convolution: bool
    inputs: Iterable[str]
    outputs: Iterable[str]


def stem(steps: Iterable[Step]) -> set[str]:
    """The convolutions with at most two others between them and the image; `layers` are in execution order.

    They have the network's largest maps, the least arithmetic, and the longest-tailed values, so INT8 saves little or
    nothing there and loses the most accuracy (docs/benchmarks/int8.md).
    """
    depth: dict[str, int] = {}
    out = set()
    for step in steps:
        deep = max((depth.get(name, 0) for name in step.inputs), default=0) + step.convolution
        if step.convolution and deep <= _STEM:
            out.add(step.name)
        depth |= dict.fromkeys(step.outputs, deep)
    return out
